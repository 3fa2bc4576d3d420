"""One running container, as the gateway sees it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker

from lambda_runtime.executors.base import ExitStatus, SandboxSpec
from lambda_runtime.executors.containers.errors import EngineError, EngineUnavailable
from lambda_runtime.executors.docker import container
from lambda_runtime.executors.docker.container import Plan
from lambda_runtime.executors.docker.engine import Engine
from lambda_runtime.executors.docker.leftovers import remove_container
from lambda_runtime.executors.docker.local_view import LocalView
from lambda_runtime.executors.docker.output import AttachedOutput, NamedPipe
from lambda_runtime.executors.docker.reach import LOOPBACK, Reach
from lambda_runtime.executors.process.memory import MemoryWatch
from lambda_runtime.executors.process.peers import Address, holds, owner_of

_LOG = logging.getLogger(__name__)

_FIRST_SIGNAL_CODE = 128
_OOM_NEWS_S = 0.15
"""How long after a SIGKILL that nobody here sent the engine may take to say that memory was the reason."""
_LAST_OUTPUT_S = 1.0
_MEASURED_EVERY_S = 1.0
_KILL_LIMIT_S = 10.0
_NOT_EXECUTED = re.compile(
    r'exec: "(?P<program>[^"]+)":.*?(?P<reason>permission denied|no such file or directory|not found in \$PATH)'
)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What sandboxes of one executor share."""

    engine: Engine
    reach: Reach
    memory: MemoryWatch
    limit_processors: bool


class DockerSandbox:
    """A `lambda_runtime.executors.base.Sandbox` that is a container.

        created -> started -> ended   (its first process died, it was killed, or the engine lost it)

    Without extensions the container is the runtime. With extensions it waits, and they and the runtime are started in it; where
    the image has no shell for that, the runtime starts with the container and the extensions beside it. `on_end` is called once,
    when nothing of it is left. On the loop only.
    """

    def __init__(
        self, plan: Plan, spec: SandboxSpec, around: Surroundings, directory: Path | None, on_end: Callable[[], None]
    ) -> None:
        """`directory` is the sandbox's own, for its pipes; None has its output come over the engine's connection."""
        self.exited: asyncio.Future[ExitStatus] = asyncio.get_running_loop().create_future()
        self.address = LOOPBACK
        self.container_id = ""
        self._plan = plan
        self._spec = spec
        self._around = around
        self._directory = directory
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._outputs: list[NamedPipe | AttachedOutput] = []
        self._control = -1
        self._local: LocalView | None = None
        self._execs: dict[str, str | None] = {}
        """What was started in the container: extensions by name, and None for the runtime."""
        self._running_extensions = set(plan.extensions)
        self._runtime_asked = False
        self._runtime_wrote = False
        self._out_of_memory = False
        self._killed = False
        self._ended = False
        self._peak_mib: int | None = None
        self._measured_at = 0.0
        self._limited = not around.limit_processors
        self._tasks: set[asyncio.Task[None]] = set()

    # --- start

    async def start(self) -> None:
        """Create and start the container. Raises EngineError; nothing is left then. Not to be cancelled: see the executor."""
        try:
            self._open_pipes()
            await self._create()
            await self._run()
        except EngineError as error:
            problem = _NOT_EXECUTED.search(str(error)) if self.container_id else None
            await self._discard()
            if problem is None:
                self._finish(ExitStatus(signal=signal.SIGKILL))
                raise
            missing = problem["reason"] != "permission denied"
            self._finish(
                _not_executed(problem["program"], container.NOT_FOUND if missing else container.NOT_EXECUTABLE)
            )
        except BaseException:
            await self._discard()
            self._finish(ExitStatus(signal=signal.SIGKILL))
            raise

    def _open_pipes(self) -> None:
        if self._directory is None:
            return
        self._directory.mkdir(parents=True)
        self._directory.chmod(0o755)
        self._outputs.append(NamedPipe(self._directory / "output", self._spec.on_output))
        if self._plan.extensions:
            self._outputs.append(NamedPipe(self._directory / "extensions", self._spec.on_extension_output))
        if self._plan.held:
            os.mkfifo(self._directory / "control")
            (self._directory / "control").chmod(0o644)
            self._control = os.open(self._directory / "control", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    async def _create(self) -> None:
        pipes = str(self._directory) if self._directory is not None else None
        config = container.config(self._plan, self._variables(), pipes)
        platform = self._plan.platform
        made = await self._around.engine.call(
            lambda client: client.create_container_from_config(config, platform=platform)
        )
        self.container_id = str(made["Id"])
        self._around.engine.listen(self.container_id, self._happened)

    async def _run(self) -> None:
        engine, container_id = self._around.engine, self.container_id
        if self._directory is None:
            # Before it starts, and before anything can be told of its end: then all of its output comes.
            params = {"stdout": 1, "stderr": 1, "stream": 1, "stdin": int(self._plan.held)}
            stream = await engine.call(lambda client: _untimed(client.attach_socket(container_id, params)))
            self._outputs.append(AttachedOutput(stream, self._output))

        def run(client: docker.APIClient) -> Mapping[str, Any]:
            client.start(container_id)
            found: Mapping[str, Any] = client.inspect_container(container_id)
            return found

        found = await engine.call(run)
        addresses = [each.get("IPAddress") for each in (found["NetworkSettings"].get("Networks") or {}).values()]
        self.address = next((str(each) for each in addresses if each), LOOPBACK)
        self._local = LocalView.of(int(found["State"].get("Pid") or 0), container_id, self._plan.memory_mib)
        if self._ended:
            self._close_local()
            return
        self.work_begins()
        for name in self._plan.extensions:
            self._track(self._start_extension(name))

    def _output(self, data: bytes) -> None:
        self._runtime_wrote = True
        self._spec.on_output(data)

    def _variables(self) -> dict[str, str]:
        # Frames in the pipe keep a message of many lines together; over the engine's connection there is none for them.
        return {**self._spec.variables, **({"_LAMBDA_TELEMETRY_LOG_FD": "3"} if self._directory is not None else {})}

    # --- processes in a container that waits

    async def _start_extension(self, name: str) -> None:
        variables = self._spec.extension_variables
        pipes = self._directory is not None
        command = container.extension_command(self._plan, name, variables, pipes)
        await self._start_inside(name, command, variables, self._spec.on_extension_output)

    async def _start_held_runtime(self) -> None:
        variables = self._variables()
        command = container.runtime_command(self._plan, variables, self._directory is not None)
        await self._start_inside(None, command, variables, self._output)

    async def _start_inside(
        self, name: str | None, command: Sequence[str], variables: Mapping[str, str], on_output: Callable[[bytes], None]
    ) -> None:
        engine, attached = self._around.engine, self._directory is None
        try:
            exec_id = await engine.call(
                lambda client: client.exec_create(
                    self.container_id, list(command), stdout=attached, stderr=attached, environment=dict(variables)
                )["Id"]
            )
            self._execs[exec_id] = name

            def run(client: docker.APIClient) -> tuple[Any, int]:
                started = client.exec_start(exec_id, detach=not attached, socket=attached)
                return _untimed(started) if attached else None, int(client.exec_inspect(exec_id).get("Pid") or 0)

            stream, pid = await engine.call(run)
        except EngineError as error:
            if not self._ended:
                _LOG.warning("cannot start %s in a container: %s", name or "the runtime", error)
                self.kill()
            return
        if stream is not None and not self._ended:
            self._outputs.append(AttachedOutput(stream, on_output))
        if self._local is not None and pid:
            self._local.add(pid, runtime=name is None)

    # --- what the engine tells

    def _happened(self, what: str, attributes: Mapping[str, str]) -> None:
        if what == "oom":
            self._out_of_memory = True
        elif what == "exec_die":
            code = int(attributes.get("exitCode") or attributes.get("containerExitCode") or 0)
            self._inside_ended(str(attributes.get("execID", "")), code)
        elif what == "die":
            code = int(attributes.get("exitCode") or attributes.get("containerExitCode") or 0)
            self._track(self._died(code))
        elif what == "lost":
            self._finish(ExitStatus(signal=signal.SIGKILL))

    def _inside_ended(self, exec_id: str, code: int) -> None:
        if exec_id not in self._execs:
            return
        self.drain_output()
        name = self._execs.pop(exec_id)
        if name is None:
            if not self.exited.done():
                self.exited.set_result(self._status(code, self._plan.program[0]))
        elif name in self._running_extensions:
            self._running_extensions.discard(name)
            self._spec.on_extension_exit(name, self._status(code, f"/opt/extensions/{name}"))

    async def _died(self, code: int) -> None:
        ends = [each.ended for each in self._outputs if isinstance(each, AttachedOutput)]
        if ends:
            await asyncio.wait(ends, timeout=_LAST_OUTPUT_S)
        if code == _FIRST_SIGNAL_CODE + signal.SIGKILL and not (self._killed or self._out_of_memory):
            await asyncio.sleep(
                _OOM_NEWS_S
            )  # The engine tells in no certain order; nothing else says that it is through.
        self.drain_output()
        self._finish(self._status(code, self._plan.program[0]))

    def _status(self, code: int, program: str) -> ExitStatus:
        if code in container.PROBLEMS and self._plan.shell and not self._wrote:
            return _not_executed(program, code)
        out_of_memory = self._out_of_memory
        number = code - _FIRST_SIGNAL_CODE
        if number > 0 and number in signal.valid_signals():
            return ExitStatus(signal=number, out_of_memory=out_of_memory)
        return ExitStatus(code=code, out_of_memory=out_of_memory)

    @property
    def _wrote(self) -> bool:
        return self._runtime_wrote or any(isinstance(each, NamedPipe) and each.used for each in self._outputs[:1])

    def _finish(self, status: ExitStatus) -> None:
        """Any state -> ended."""
        if self._ended:
            return
        self._ended = True
        self._around.engine.forget(self.container_id)
        self._around.memory.end(self)
        for output in self._outputs:
            output.drain()
            output.close()
        if self._control >= 0:
            os.close(self._control)
            self._control = -1
        for name in sorted(self._running_extensions if self._local is not None else ()):
            self._spec.on_extension_exit(name, ExitStatus(signal=signal.SIGKILL))
        self._running_extensions.clear()
        self._close_local()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)  # Three names: no work for a thread.
        self._on_end()
        if not self.exited.done():
            self.exited.set_result(status)

    def _close_local(self) -> None:
        if self._local is not None:
            self._local.close()

    async def _discard(self) -> None:
        """Remove a container that could not be started."""
        if self.container_id:
            with contextlib.suppress(EngineError):
                await self._around.engine.call(lambda client: remove_container(client, self.container_id))

    # --- what the environment asks for (Sandbox)

    def admits(self, peer: Address, local: Address) -> bool:
        """Whether the connection comes from inside: by the container's address, or whose socket it is in a shared network.

        Where the engine hides addresses, nobody can be told from others, and all are let in (see `doctor`).
        """
        if self._around.reach.sees_containers:
            return peer[0] == self.address
        if self._around.reach.shares_network and self._local is not None:
            owner = owner_of(peer, local)
            return owner is not None and holds(self._local.processes(), owner.inode)
        return True

    def start_runtime(self) -> None:
        """Start the runtime in a container that waits."""
        if self._plan.held and not self._runtime_asked and not self._ended:
            self._runtime_asked = True
            self._track(self._start_held_runtime())

    def drain_output(self) -> None:
        """Hand everything written so far to `on_output`, now."""
        for output in self._outputs:
            output.drain()

    def max_memory_mib(self) -> int | None:
        """The most memory seen: of the runtime's process where it can be seen, else what the engine said last."""
        if self._out_of_memory:
            return self._plan.memory_mib
        if self._local is not None and self._local.visible:
            return self._local.max_memory_mib()
        return min(self._peak_mib, self._plan.memory_mib) if self._peak_mib is not None else None

    def work_begins(self) -> None:
        """The function runs: look at what it uses, where that can be seen."""
        if self._local is not None and self._local.visible and not self._ended:
            self._around.memory.begin(self)

    def work_ends(self) -> None:
        """The function waits."""
        if self._local is not None and self._local.visible:
            self._around.memory.end(self)
        elif not self._ended and (now := time.monotonic()) - self._measured_at > _MEASURED_EVERY_S:
            self._measured_at = now
            self._track(self._measure())
        if not self._limited and not self._ended:
            self._limited = True  # The first time is the end of the init phase, for which AWS gives more.
            self._track(self._limit_processors())

    def rests(self) -> None:
        """A container is not stopped between invocations: to pause and unpause takes the engine longer than most of them."""

    def check_memory(self) -> None:
        """End the runtime if the processes inside together use more than the function has."""
        if self._local is not None and self._local.used_mib() > self._plan.memory_mib:
            self._out_of_memory = True
            self._around.memory.end(self)
            self.kill_runtime()

    def terminate(self) -> None:
        """SIGTERM to the runtime."""
        self._signal_runtime("TERM")

    def kill_runtime(self) -> None:
        """SIGKILL to the runtime; where it is all that there is, to the container."""
        if not self._plan.held:
            self.kill()
        elif not (self._local is not None and self._local.kill_runtime()):
            self._signal_runtime("KILL")

    def kill(self) -> None:
        """End the container; `exited` follows."""
        if self._ended or self._killed:
            return
        self._killed = True
        if self._local is not None and self._local.kill():
            self._track(self._see_to_the_end())
        else:
            self._track(self._kill())

    # --- inside

    async def _kill(self) -> None:
        try:
            await self._around.engine.call(lambda client: client.kill(self.container_id))
        except EngineUnavailable:
            self._finish(ExitStatus(signal=signal.SIGKILL))
            return
        except EngineError as error:
            if error.status not in (404, 409):  # Gone, or not running any more: its end has been told, or will be.
                _LOG.warning("cannot end a container: %s", error)
        await self._see_to_the_end()

    async def _see_to_the_end(self) -> None:
        await asyncio.wait([self.exited], timeout=_KILL_LIMIT_S)
        if not self._ended:
            await self._discard()
            self._finish(ExitStatus(signal=signal.SIGKILL))

    def _signal_runtime(self, name: str) -> None:
        if not self._ended and self._plan.shell:
            self._track(self._send_signal(name))

    async def _send_signal(self, name: str) -> None:
        def send(client: docker.APIClient) -> None:
            made = client.exec_create(self.container_id, container.signal_command(name), stdout=False, stderr=False)
            client.exec_start(made["Id"], detach=True)

        with contextlib.suppress(EngineError):  # It has ended, which is what the signal is for.
            await self._around.engine.call(send)

    async def _measure(self) -> None:
        with contextlib.suppress(EngineError):  # Asked again after the next invocation.
            found = await self._around.engine.call(
                lambda client: client.stats(self.container_id, stream=False, one_shot=True)
            )
            memory = found.get("memory_stats") or {}
            inactive = (memory.get("stats") or {}).get("inactive_file", 0)
            used = int(memory.get("usage") or 0) - int(inactive)
            if used > 0:
                self._peak_mib = max(self._peak_mib or 0, -(-used >> 20))

    async def _limit_processors(self) -> None:
        with contextlib.suppress(EngineError):  # It has ended.
            limit = container.processor_limit(self._plan.memory_mib)
            await self._around.engine.call(lambda client: client.update_container(self.container_id, **limit))

    def _track(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _not_executed(program: str, code: int) -> ExitStatus:
    return ExitStatus(code=code, entry_point_error=f"fork/exec {program}: {container.PROBLEMS[code]}")


def _untimed(stream: Any) -> Any:
    """A stream of the SDK that may be silent for as long as it likes."""
    for each in (stream, getattr(stream, "_sock", None)):
        if each is not None and hasattr(each, "settimeout"):
            each.settimeout(None)
    return stream
