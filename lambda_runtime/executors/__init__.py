"""Where functions run: the `RuntimeExecutor` interface (`base`), and its implementations by name.

`process` (the default) needs nothing but the interpreters, `docker` an engine and images, `swarm` a cluster of engines, and
`auto` picks `process` or `docker` for each version; `containers` is the base of those that speak to an engine. What all have of
this machine while they run is a `workspace`, with `code` that is unpacked once into a `code_cache`. A third party
adds its own under the entry-point group `lambda_runtime.executors`, as a callable that takes the `RuntimeConfig`.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lambda_runtime.config import RuntimeConfig
    from lambda_runtime.executors.base import RuntimeExecutor

GROUP = "lambda_runtime.executors"


def executor_names() -> list[str]:
    """The names that `load_executor` knows here."""
    return sorted({found.name for found in entry_points(group=GROUP)})


def load_executor(name: str, config: RuntimeConfig) -> RuntimeExecutor:
    """Make the executor that is registered under this name.

    Raises LookupError that lists the names there are, and ImportError when the one that was asked for lacks a dependency.
    """
    found = entry_points(group=GROUP, name=name)
    if not found:
        raise LookupError(f"no executor is called {name!r}; installed: {', '.join(executor_names()) or 'none'}")
    executor: RuntimeExecutor = next(iter(found)).load()(config)
    return executor
