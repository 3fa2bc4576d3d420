"""What every environment in a container keeps track of, whichever engine runs it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from lambda_runtime.executors.base import ExitStatus, SandboxSpec
from lambda_runtime.executors.containers.addresses import LOOPBACK
from lambda_runtime.executors.containers.ends import KILLED


class ContainerSandbox:
    """Base of a `lambda_runtime.executors.base.Sandbox` that an engine runs: its end, told once, and that of its extensions.

    What the environment asks for (`admits`, `kill` and the other methods of `Sandbox`) is each engine's own. On the loop only.
    """

    def __init__(self, spec: SandboxSpec, extensions: Iterable[str], on_end: Callable[[], None]) -> None:
        """`on_end` is called once, when nothing of it is left at the engine."""
        self.exited: asyncio.Future[ExitStatus] = asyncio.get_running_loop().create_future()
        self.address = LOOPBACK
        self._spec = spec
        self._on_end = on_end
        self._running_extensions = set(extensions)
        self._killed = False
        self._tasks: set[asyncio.Task[None]] = set()

    def _exit(self, status: ExitStatus) -> None:
        """The runtime ended; what it wrote has been handed over. The first word counts."""
        if not self.exited.done():
            self.exited.set_result(status)

    def _extension_ended(self, name: str, status: ExitStatus) -> None:
        if name in self._running_extensions:
            self._running_extensions.discard(name)
            self._spec.on_extension_exit(name, status)

    def _extensions_killed(self) -> None:
        """They went with what they ran in."""
        for name in sorted(self._running_extensions):
            self._extension_ended(name, KILLED)

    def _track(self, work: Coroutine[Any, Any, None]) -> None:
        """Go on with it in the background; the loop alone would not keep it."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
