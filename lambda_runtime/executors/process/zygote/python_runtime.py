"""Run a Python function with awslambdaric, in a process forked from the zygote or in a fresh one.

The library and awslambdaric are imported before the fork. Its C extension reads AWS_LAMBDA_RUNTIME_API when it is loaded, so it
is loaded after; what else looked at the environment looks again.
As a script (`/var/runtime/bootstrap.py`) it does what AWS's file of that name does.
"""

from __future__ import annotations

import importlib
import os
import site  # exit(), quit() and help(), which `python -S` leaves out
import sys
import time
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .snapshot import Snapshot

_PRELOADED_BY_AWS = frozenset(
    {"awslambdaric", "simplejson", "json", "logging", "decimal", "traceback", "importlib", "os", "sys"}
)
_preloaded: frozenset[str] = frozenset()
_shared_libraries: list[Any] = []


def preload(plan: dict[str, Any]) -> None:
    """Import what every function needs: `modules`, `libraries`, and the client, which is in `path`."""
    global _preloaded
    before = set(sys.modules)
    kept = list(sys.path)
    sys.path.extend(plan["path"])
    for name in plan["modules"]:
        try:
            importlib.import_module(name)
        except ImportError:
            continue  # Not in this version of Python; a function that needs it gets the error itself.
    import ctypes

    for name in plan["libraries"]:
        try:
            _shared_libraries.append(ctypes.CDLL(name))
        except OSError:
            continue  # The extension that needs it says so better.
    _preload_client(compiled=plan["compiled_client"])
    sys.path[:] = kept
    site.setquit()
    site.sethelper()
    sys.path_importer_cache.clear()
    _preloaded = frozenset(name.partition(".")[0] for name in set(sys.modules) - before)
    sys.stdout.reconfigure(errors="strict")  # type: ignore[union-attr]


def _preload_client(compiled: bool) -> None:
    # The client looks at the environment in three places while it is imported; `_client` looks again after the fork.
    if compiled:
        sys.modules["runtime_client"] = None  # type: ignore[assignment]
    importlib.import_module("awslambdaric.__main__")
    if compiled:
        del sys.modules["runtime_client"]


def _client() -> Any:
    """awslambdaric's entry point, imported as if just now."""
    if "awslambdaric.__main__" in sys.modules:
        runtime_client = importlib.import_module("runtime_client")
        from awslambdaric import lambda_runtime_client, lambda_runtime_marshaller

        runtime_client.initialize_client(lambda_runtime_client._user_agent())
        lambda_runtime_client.runtime_client = runtime_client
        lambda_runtime_client.BaseLambdaRuntimeClient.marshaller = lambda_runtime_marshaller.LambdaMarshaller()
        if "AWS_LAMBDA_LOG_FORMAT" in os.environ or "AWS_LAMBDA_LOG_LEVEL" in os.environ:
            del sys.modules["awslambdaric.bootstrap"]
            entry_point = importlib.import_module("awslambdaric.__main__")
            vars(entry_point)["bootstrap"] = importlib.import_module("awslambdaric.bootstrap")
    return importlib.import_module("awslambdaric.__main__").main


def run(variables: dict[str, str], snapshot: Snapshot | None = None) -> None:
    """Be the runtime: does not return before the process should end. With a `snapshot`, be that once initialised."""
    os.environ.clear()
    os.environ.update(variables)
    time.tzset()
    for name in [name for name in sys.modules if name.partition(".")[0] == "zygote"]:
        del sys.modules[name]
    sys.modules["__main__"] = types.ModuleType("__main__")
    sys.dont_write_bytecode = True  # The function's directory is read-only on AWS.
    main(snapshot)


def main(snapshot: Snapshot | None = None) -> None:
    """Set the search path as AWS does and hand over to awslambdaric."""
    _set_search_path()
    _forget_shadowed_modules(os.environ["LAMBDA_TASK_ROOT"])
    run_client = _client()
    if snapshot is not None:
        _wait_in(snapshot)
    sys.argv = ["/var/runtime/bootstrap.py", os.environ.get("_HANDLER", "")]
    run_client(sys.argv)


def _wait_in(snapshot: Snapshot) -> None:
    """Have the client wait in the snapshot, instead of in a request, for the moment in which it is restored."""
    from awslambdaric import lambda_runtime_client

    def restore_next(client: Any) -> None:
        snapshot.take()
        client.lambda_runtime_address = os.environ["AWS_LAMBDA_RUNTIME_API"]
        lambda_runtime_client.runtime_client.initialize_client(lambda_runtime_client._user_agent())

    base = getattr(lambda_runtime_client, "BaseLambdaRuntimeClient", lambda_runtime_client.LambdaRuntimeClient)
    request_restore = getattr(base, "restore_next", None)
    if request_restore is not None:  # Else the function has brought a client that is older than SnapStart.
        base.restore_next = restore_next


def _set_search_path() -> None:
    # The order of AWS's bootstrap.py: the function, then PYTHONPATH or the layers and the runtime's directory, then the library.
    layers = os.environ.get("LAMBDA_LAYERS_ROOT", "/opt")
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    first = [os.environ["LAMBDA_TASK_ROOT"]]
    own = os.environ.get("PYTHONPATH", "")
    runtime = os.environ["LAMBDA_RUNTIME_DIR"]
    if own in ("", runtime):
        first += [f"{layers}/python/lib/{version}/site-packages", f"{layers}/python"]
    first += [entry for entry in own.split(":") if entry]
    library = [entry for entry in sys.path if entry not in first and not entry.endswith("site-packages")]
    sys.path[:] = first + library
    if runtime not in sys.path:
        sys.path.append(runtime)


def _forget_shadowed_modules(task_root: str) -> None:
    # A function may bring a module with the name of one of the library's; it must not get ours because we imported it first.
    try:
        own = {name.partition(".")[0] for name in os.listdir(task_root)}
    except OSError:
        return
    shadowed = (own & _preloaded) - _PRELOADED_BY_AWS
    for name in shadowed and [name for name in sys.modules if name.partition(".")[0] in shadowed]:
        del sys.modules[name]


if __name__ == "__main__":
    main()
