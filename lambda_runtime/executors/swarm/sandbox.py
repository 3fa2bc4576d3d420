"""One running task, as the gateway sees it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from lambda_runtime.executors.base import ExitStatus, SandboxSpec
from lambda_runtime.executors.containers.ends import (
    KILLED,
    status_of,
)
from lambda_runtime.executors.containers.errors import EngineError
from lambda_runtime.executors.containers.remote.gate import Gate, Pass
from lambda_runtime.executors.containers.remote.shell import Reader
from lambda_runtime.executors.containers.sandbox import ContainerSandbox
from lambda_runtime.executors.docker.engine import Engine
from lambda_runtime.executors.process.peers import Address
from lambda_runtime.executors.swarm import task as swarm_task
from lambda_runtime.executors.swarm.cluster import ENDED, Cluster, Task, TaskOutput, problem
from lambda_runtime.executors.swarm.task import Plan

_LOG = logging.getLogger(__name__)

_KILL_LIMIT_S = 20.0
_PENDING_LIMIT_S = 5.0
"""Less than an init phase may take, so that it is told why no node takes the task."""
_START_LIMIT_S = 30.0


class NotStarted(OSError):
    """A node could not start the task; `node` is its id, empty when no node takes it."""

    def __init__(self, text: str, node: str = "") -> None:
        super().__init__(text)
        self.node = node


class SwarmSandbox(ContainerSandbox):
    """A `lambda_runtime.executors.base.Sandbox` that is a service of one task.

        created -> under way (its runtime has called, or Swarm says that it runs) -> ended

    `on_end` is called once, when nothing of it is left in the cluster. On the loop only.
    """

    def __init__(
        self, plan: Plan, spec: SandboxSpec, engine: Engine, cluster: Cluster, gate: Gate, on_end: Callable[[], None]
    ) -> None:
        super().__init__(spec, plan.extensions if plan.shell else (), on_end)
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when Swarm has nothing of it any more."""
        self.node = ""
        self._plan = plan
        self._engine = engine
        self._cluster = cluster
        self._gate = gate
        host, _, port = spec.runtime_api.rpartition(":")
        self._pass: Pass = gate.issue((host, int(port)))
        self._reader = Reader(self._pass.token, spec.on_output, self._exit, self._extension_ended)
        self._service = ""
        self._output: TaskOutput | None = None
        self._runs: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    # --- start

    async def start(self, name: str, gate: tuple[str, int], variables: Mapping[str, str], avoided: list[str]) -> None:
        """Have Swarm run it; done when it is under way. Raises NotStarted, EngineError; nothing is left then, or soon.

        `gate` is the address and port at which the cluster reaches the gateway, `avoided` are nodes that it is not placed on.
        """
        runtime_api = f"{self._pass.host}:{gate[1]}"
        variables = {**variables, "AWS_LAMBDA_RUNTIME_API": runtime_api}
        inner = {key: variables[key] for key in self._spec.extension_variables if key in variables}
        service = swarm_task.environment(
            self._plan, name, variables, inner, self._pass.token, (gate[0], self._pass.host), avoided
        )
        try:
            self._service = await self._cluster.create(service, self._changed)
            used: asyncio.Future[Any] = asyncio.ensure_future(self._pass.used.wait())
            try:
                await self._under_way(used)
            finally:
                used.cancel()
        except BaseException:
            self.kill()
            raise
        finally:
            self._cluster.calm(self._service)
            if self._runs.done() and not self._runs.cancelled():
                self._runs.exception()

    async def _under_way(self, used: asyncio.Future[Any]) -> None:
        for limit_s in (_PENDING_LIMIT_S, _START_LIMIT_S):
            done, _ = await asyncio.wait([used, self._runs], timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
            if self._runs.done():
                await self._runs
            if done or self.node:
                return
            found = await self._cluster.tasks(self._service)
            said = problem(found[0]) if found else "no node of the cluster takes it"
            if "no suitable node" in said or limit_s == _START_LIMIT_S:
                raise NotStarted(said)

    def _changed(self, task: Task | None, lost: str) -> None:
        """What the managers say of it now."""
        if task is None:
            if self._killed or self.exited.done():
                self._end(KILLED)
            return
        state = str(task["Status"]["State"])
        self.node = str(task.get("NodeID") or "")
        if self.node and self._output is None and not self._killed:
            self._output = TaskOutput(self._engine, str(task["ID"]), self._reader.feed)
        if lost or state == "orphaned":
            _LOG.warning(
                "%s: an execution environment is lost: %s", self._plan.labels.get("lambda-provider.function"), lost
            )
            self._end(KILLED)
        elif state == "running":
            self._learn_address(task)
            if not self._runs.done():
                self._runs.set_result(None)
        elif state in ENDED:
            self._ended(task, state)

    def _ended(self, task: Task, state: str) -> None:
        status = (task["Status"].get("ContainerStatus") or {}) if state != "rejected" else {}
        if not self._runs.done():
            if state == "rejected" or (
                state == "failed" and not status.get("PID") and "non-zero exit" not in problem(task)
            ):
                self._runs.set_exception(NotStarted(problem(task), self.node))
            else:
                self._runs.set_result(None)
        code = int(status.get("ExitCode") or 0)
        self._end(KILLED if self._killed or state == "rejected" else status_of(code))

    def _learn_address(self, task: Task) -> None:
        for attachment in task.get("NetworksAttachments") or ():
            for address in attachment.get("Addresses") or ():
                self.address = str(address).partition("/")[0]

    # --- its end

    def _end(self, status: ExitStatus) -> None:
        """Any state -> ended."""
        if self.gone.done():
            return
        self.gone.set_result(None)
        self._pass.close()
        self._cluster.forget(self._service)
        if self._output is not None:
            self._output.close()
        self._reader.end()
        self._extensions_killed()
        if not self._runs.done():
            self._runs.set_result(None)
        self._exit(status)
        self._track(self._remove())

    async def _remove(self) -> None:
        if self._service:
            try:
                await self._cluster.remove(self._service)
            except EngineError as error:
                _LOG.debug("a service is removed when a manager answers: %s", error)
        self._on_end()

    # --- what the environment asks for (Sandbox)

    def admits(self, peer: Address, local: Address) -> bool:
        """Whether the connection is one that came with this environment's secret: only those reach its listener by the gate."""
        return self._gate.made(peer)

    def start_runtime(self) -> None:
        """Nothing can be started in a task: the runtime starts beside the extensions, and waits for them at its first event."""

    def drain_output(self) -> None:
        """Nothing that has arrived is held back; a line takes some milliseconds from its node."""

    def max_memory_mib(self) -> int | None:
        """Only the node knows, and Swarm does not ask it."""
        return None

    def work_begins(self) -> None:
        """Nothing is watched."""

    def work_ends(self) -> None:
        """Nothing is watched."""

    def rests(self) -> None:
        """Swarm cannot pause a task."""

    def terminate(self) -> None:
        """SIGTERM to the runtime of an environment with extensions; they and it have two seconds from then on."""
        if self._plan.extensions and not self._killed and self._service and not self.gone.done():
            self._track(self._scale())

    async def _scale(self) -> None:
        try:
            await self._cluster.scale_to_none(self._service)
        except EngineError as error:
            _LOG.debug("an environment cannot be asked to end: %s", error)

    def kill_runtime(self) -> None:
        """Without extensions the end of all; with them it comes two seconds after `terminate`."""
        if not self._plan.extensions:
            self.kill()

    def kill(self) -> None:
        """Cut it off from the Runtime API now, and have Swarm end it; `exited` follows."""
        if self._killed or self.gone.done():
            return
        self._killed = True
        self._pass.close()
        self._track(self._kill())

    async def _kill(self) -> None:
        try:
            if self._service:
                await self._cluster.remove(self._service)
                self._cluster.hurry(self._service)
                await asyncio.wait([self.gone], timeout=_KILL_LIMIT_S)
        except EngineError as error:
            _LOG.warning("cannot end an environment in the cluster: %s", error)
        self._end(KILLED)
