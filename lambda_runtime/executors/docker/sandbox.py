"""One running container, as the gateway sees it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker

from lambda_runtime.executors.base import ExitStatus, SandboxSpec
from lambda_runtime.executors.containers.addresses import LOOPBACK
from lambda_runtime.executors.containers.ends import (
    KILLED,
    NOT_EXECUTABLE,
    NOT_FOUND,
    PROBLEMS,
    SIGKILL_CODE,
    not_executed,
    status_of,
)
from lambda_runtime.executors.containers.errors import EngineError, EngineUnavailable
from lambda_runtime.executors.containers.plan import EXTENSIONS
from lambda_runtime.executors.containers.sandbox import ContainerSandbox
from lambda_runtime.executors.docker import container
from lambda_runtime.executors.docker.container import Plan
from lambda_runtime.executors.docker.engine import Engine
from lambda_runtime.executors.docker.inside import RUNTIME, Inside
from lambda_runtime.executors.docker.leftovers import remove_container
from lambda_runtime.executors.docker.local_view import LocalView
from lambda_runtime.executors.docker.meter import Meter
from lambda_runtime.executors.docker.output import Outputs, untimed
from lambda_runtime.executors.docker.reach import NOWHERE, Reach
from lambda_runtime.executors.process.memory import MemoryWatch
from lambda_runtime.executors.process.peers import Address, holds, owner_of

_LOG = logging.getLogger(__name__)

_OOM_NEWS_S = 0.15
"""How long after a SIGKILL that nobody here sent the engine may take to say that memory was the reason."""
_LAST_OUTPUT_S = 1.0
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


class DockerSandbox(ContainerSandbox):
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
        super().__init__(spec, plan.extensions, on_end)
        self.container_id = ""
        self._plan = plan
        self._around = around
        self._outputs = Outputs(directory, spec)
        self._inside = Inside(plan, spec, around.engine, self._outputs)
        self._meter = Meter(around.engine, plan.memory_mib, plan.storage_mib)
        self._local: LocalView | None = None
        self._runtime_asked = False
        self._out_of_memory = False
        self._ended = False
        self._limited = not around.limit_processors

    # --- start

    async def start(self) -> None:
        """Create and start the container. Raises EngineError; nothing is left then. Not to be cancelled: see the executor."""
        try:
            self._outputs.open_pipes(extensions=bool(self._plan.extensions), held=self._plan.held)
            await self._create()
            await self._run()
        except EngineError as error:
            problem = _NOT_EXECUTED.search(str(error)) if self.container_id else None
            await self._discard()
            if problem is None:
                self._finish(KILLED)
                raise
            denied = problem["reason"] == "permission denied"
            self._finish(not_executed(problem["program"], NOT_EXECUTABLE if denied else NOT_FOUND))
        except BaseException:
            await self._discard()
            self._finish(KILLED)
            raise

    async def _create(self) -> None:
        pipes = str(self._outputs.directory) if self._outputs.directory is not None else None
        config = container.config(self._plan, self._variables(), pipes)
        platform = self._plan.platform
        made = await self._around.engine.call(
            lambda client: client.create_container_from_config(config, platform=platform)
        )
        self.container_id = str(made["Id"])
        self._around.engine.listen(self.container_id, self._happened)

    async def _run(self) -> None:
        engine, container_id = self._around.engine, self.container_id
        if self._outputs.directory is None:
            # Before it starts, and before anything can be told of its end: then all of its output comes.
            params = {"stdout": 1, "stderr": 1, "stream": 1, "stdin": int(self._plan.held)}
            stream = await engine.call(lambda client: untimed(client.attach_socket(container_id, params)))
            self._outputs.attach(stream, self._outputs.of_runtime)

        def run(client: docker.APIClient) -> Mapping[str, Any]:
            client.start(container_id)
            found: Mapping[str, Any] = client.inspect_container(container_id)
            return found

        found = await engine.call(run)
        addresses = [each.get("IPAddress") for each in (found["NetworkSettings"].get("Networks") or {}).values()]
        self.address = next((str(each) for each in addresses if each), LOOPBACK)
        if self._around.reach.from_this_machine:
            self.address = NOWHERE  # Its own address is one of another network; somebody else may have it in ours.
        self._local = LocalView.of(int(found["State"].get("Pid") or 0), container_id, self._plan.memory_mib)
        if self._ended:
            self._local.close()
            return
        if self._plan.memory_watched and not self._local.visible:
            self._track(self._meter.limit_memory(self.container_id))
        self.work_begins()
        for name in self._plan.extensions:
            self._track(self._start_inside(name))

    def _variables(self) -> Mapping[str, str]:
        if self._outputs.directory is None:
            return self._spec.variables
        # Frames in the pipe keep a message of many lines together; over the engine's connection there is none for them.
        return {**self._spec.variables, "_LAMBDA_TELEMETRY_LOG_FD": "3"}

    async def _start_inside(self, name: str) -> None:
        try:
            if name == RUNTIME:
                pid = await self._inside.start_runtime(self.container_id, self._variables())
            else:
                pid = await self._inside.start_extension(self.container_id, name)
        except EngineError as error:
            if not self._ended:
                _LOG.warning("cannot start %s in a container: %s", name or "the runtime", error)
                self.kill()
            return
        if self._local is not None and pid:
            self._local.add(pid, runtime=name == RUNTIME)

    # --- what the engine tells

    def _happened(self, what: str, attributes: Mapping[str, str]) -> None:
        if what == "oom":
            self._out_of_memory = True
        elif what == "exec_die":
            self._inside_ended(str(attributes.get("execID", "")), _exit_code(attributes))
        elif what == "die":
            self._track(self._died(_exit_code(attributes)))
        elif what == "lost":
            self._finish(KILLED)

    def _inside_ended(self, exec_id: str, code: int) -> None:
        name = self._inside.ended(exec_id)
        if name is None:
            return
        self.drain_output()
        if name == RUNTIME:
            self._exit(self._status(code, self._plan.program[0]))
        else:
            self._extension_ended(name, self._status(code, f"{EXTENSIONS}/{name}"))

    async def _died(self, code: int) -> None:
        await self._outputs.last_arrived(_LAST_OUTPUT_S)
        if code == SIGKILL_CODE and not (self._killed or self._out_of_memory):
            # The engine tells in no certain order; nothing else says that it is through.
            await asyncio.sleep(_OOM_NEWS_S)
        self.drain_output()
        self._finish(self._status(code, self._plan.program[0]))

    def _status(self, code: int, program: str) -> ExitStatus:
        if code in PROBLEMS and self._plan.shell and not self._outputs.runtime_wrote:
            return not_executed(program, code)
        return status_of(code, out_of_memory=self._out_of_memory)

    def _finish(self, status: ExitStatus) -> None:
        """Any state -> ended."""
        if self._ended:
            return
        self._ended = True
        self._around.engine.forget(self.container_id)
        self._around.memory.end(self)
        self._outputs.close()
        if self._local is not None:
            self._extensions_killed()
            self._local.close()
        self._on_end()
        self._exit(status)

    async def _discard(self) -> None:
        """Remove a container that could not be started."""
        if self.container_id:
            with contextlib.suppress(EngineError):
                await self._around.engine.call(lambda client: remove_container(client, self.container_id))

    # --- what the environment asks for (Sandbox)

    def admits(self, peer: Address, local: Address) -> bool:
        """Whether the connection comes from inside: by the container's address, or whose socket it is in a shared network.

        Where the engine hides addresses, containers cannot be told from each other (see `doctor`); if what makes connections for
        them runs here, at least other machines are kept out.
        """
        reach = self._around.reach
        if reach.sees_containers:
            return peer[0] == self.address
        if reach.from_this_machine:
            return peer[0] == local[0]
        if reach.shares_network and self._local is not None and self._local.visible:
            owner = owner_of(peer, local)
            return owner is not None and holds(self._local.processes(), owner.inode)
        return True

    def start_runtime(self) -> None:
        """Start the runtime in a container that waits."""
        if self._plan.held and not self._runtime_asked and not self._ended:
            self._runtime_asked = True
            self._track(self._start_inside(RUNTIME))

    def drain_output(self) -> None:
        """Hand everything written so far to `on_output`, now."""
        self._outputs.drain()

    def max_memory_mib(self) -> int | None:
        """The most memory seen: of the runtime's process where it can be seen, else what the engine said last."""
        if self._out_of_memory:
            return self._plan.memory_mib
        if self._local is not None and self._local.visible:
            return self._local.max_memory_mib()
        return self._meter.peak_mib

    def work_begins(self) -> None:
        """The function runs: look at what it uses, where that can be seen."""
        if self._local is not None and self._local.visible and not self._ended:
            self._around.memory.begin(self)

    def work_ends(self) -> None:
        """The function waits."""
        if self._local is not None and self._local.visible:
            self._around.memory.end(self)
        elif not self._ended and self._meter.due():
            self._track(self._meter.measure(self.container_id))
        if not self._limited and not self._ended:
            self._limited = True  # The first time is the end of the init phase, for which AWS gives more.
            self._track(self._meter.limit_processors(self.container_id))

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
            self._finish(KILLED)
            return
        except EngineError as error:
            if error.status not in (404, 409):  # Gone, or not running any more: its end has been told, or will be.
                _LOG.warning("cannot end a container: %s", error)
        await self._see_to_the_end()

    async def _see_to_the_end(self) -> None:
        await asyncio.wait([self.exited], timeout=_KILL_LIMIT_S)
        if not self._ended:
            await self._discard()
            self._finish(KILLED)

    def _signal_runtime(self, name: str) -> None:
        if not self._ended and self._plan.shell:
            self._track(self._inside.signal_runtime(self.container_id, name))


def _exit_code(attributes: Mapping[str, str]) -> int:
    """As Docker, or Podman, calls it."""
    return int(attributes.get("exitCode") or attributes.get("containerExitCode") or 0)
