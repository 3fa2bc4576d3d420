"""The zygotes of an executor: one an interpreter, started when it is first needed."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path

from lambda_runtime.config import RuntimeConfig
from lambda_runtime.executors.code import Code
from lambda_runtime.executors.process import layout
from lambda_runtime.executors.process.capabilities import why_not_isolated
from lambda_runtime.executors.process.fork_server import ForkServer, IsolationUnavailable
from lambda_runtime.executors.process.host import HostIds
from lambda_runtime.executors.process.interpreters import Interpreter
from lambda_runtime.executors.process.languages.base import RuntimeFiles
from lambda_runtime.executors.process.sandbox import Watchers
from lambda_runtime.scratch import Scratch


class ForkServers:
    """A `ForkServer` for each interpreter, and for programs that need none (None); one that died is followed by another.

    What the machine allows is found out when the first one starts: where it has no namespaces, all of them fork plain processes.
    On the loop only.
    """

    def __init__(self, config: RuntimeConfig, watchers: Watchers) -> None:
        self.why_not_isolated = "the setting LAMBDA_ISOLATION is `none`" if config.isolation == "none" else ""
        """Why what they fork is not isolated; empty if it is, as far as is known."""
        self.prefer_compiled = config.settings.get("LAMBDA_PYTHON_CLIENT") == "compiled"
        self._settings = config.settings
        self._watchers = watchers
        self._host_ids = HostIds()
        self._launches: dict[Interpreter | None, asyncio.Task[ForkServer]] = {}
        self._files: dict[Interpreter | None, RuntimeFiles] = {}
        self._code: Path | None = None
        self._scratch: Scratch | None = None

    def start(self, code: Path, scratch: Scratch) -> None:
        """Say where unpacked code lies, and where temporary directories belong. Nothing is launched."""
        self._code, self._scratch = code, scratch

    async def stop(self) -> None:
        """End every zygote with all that it forked."""
        launches, self._launches = self._launches, {}
        for launch in launches.values():
            launch.cancel()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await (await launch).stop()
        self._code = self._scratch = None

    def look(self) -> None:
        """Find out what the machine allows, if no zygote has shown it yet. Blocking, for half a second."""
        if not self.why_not_isolated and not self._launches:
            self.why_not_isolated = why_not_isolated()

    async def of(self, interpreter: Interpreter | None) -> ForkServer:
        """The zygote of an interpreter, started if there is none; concurrent callers share one start."""
        launch = self._launches.get(interpreter)
        if launch is None or (
            launch.done() and (launch.cancelled() or launch.exception() or not launch.result().alive)
        ):
            launch = self._launches[interpreter] = asyncio.create_task(self._launch(interpreter))
        return await asyncio.shield(launch)

    def launched(self, interpreter: Interpreter | None) -> ForkServer | None:
        """The zygote of an interpreter, if it has started."""
        launch = self._launches.get(interpreter)
        if launch is None or not launch.done() or launch.cancelled() or launch.exception() is not None:
            return None
        return launch.result()

    def files(self, interpreter: Interpreter | None) -> RuntimeFiles:
        """What `/var/runtime` holds in a zygote that was started."""
        return self._files[interpreter]

    def plain_places(self, interpreter: Interpreter | None, code: Code) -> layout.Places:
        """Where a function that is not isolated finds its parts."""
        assert self._code is not None, "the executor is not started"
        runtime = self._runtime_directory(interpreter)
        return layout.Places(
            str(self._code / (code.package or "")), str(self._code / (code.layers or ".none")), str(runtime)
        )

    async def _launch(self, interpreter: Interpreter | None) -> ForkServer:
        assert self._code is not None and self._scratch is not None, "the executor is not started"
        files = await asyncio.to_thread(
            layout.runtime_files, interpreter, prefer_compiled=self.prefer_compiled, settings=self._settings
        )
        self._files[interpreter] = files
        python = interpreter.executable if interpreter and interpreter.family == "python" else Path(sys.executable)
        if not self.why_not_isolated:
            root = self._scratch.directory("root")
            plan = layout.isolated_plan(interpreter, files, self._code.resolve(), root, self._host_ids.take_block())
            try:
                return await ForkServer.launch(python, plan, self._watchers)
            except IsolationUnavailable as error:
                self.why_not_isolated = str(error)
        runtime_directory = self._runtime_directory(interpreter)
        runtime_directory.mkdir(parents=True, exist_ok=True)
        for name, path in files.entries.items():
            if not (runtime_directory / name).is_symlink():
                (runtime_directory / name).symlink_to(path)
        plan = layout.plain_plan(interpreter, files, runtime_directory)
        return await ForkServer.launch(python, plan, self._watchers)

    def _runtime_directory(self, interpreter: Interpreter | None) -> Path:
        assert self._scratch is not None, "the executor is not started"
        name = interpreter.executable.name if interpreter else "provided"
        return self._scratch.directory("runtime") / name
