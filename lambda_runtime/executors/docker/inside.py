"""Processes that the engine starts in a container which is there already: extensions, the runtime beside them, signals."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import docker

from lambda_runtime.executors.base import SandboxSpec
from lambda_runtime.executors.containers.errors import EngineError
from lambda_runtime.executors.docker import container
from lambda_runtime.executors.docker.container import Plan
from lambda_runtime.executors.docker.engine import Engine
from lambda_runtime.executors.docker.output import Outputs, untimed

RUNTIME = ""
"""The runtime's name among extensions, none of which has an empty one."""


class Inside:
    """What was started in one container, by the engine's word for it. On the loop only."""

    def __init__(self, plan: Plan, spec: SandboxSpec, engine: Engine, outputs: Outputs) -> None:
        self._plan = plan
        self._spec = spec
        self._engine = engine
        self._outputs = outputs
        self._names: dict[str, str] = {}

    def ended(self, exec_id: str) -> str | None:
        """The engine says that this has ended; its name, None if it is none of ours or was told before."""
        return self._names.pop(exec_id, None)

    async def start_runtime(self, container_id: str, variables: Mapping[str, str]) -> int:
        """As `start_extension`."""
        command = container.runtime_command(self._plan, variables, self._outputs.directory is not None)
        return await self._start(container_id, RUNTIME, command, variables)

    async def start_extension(self, container_id: str, name: str) -> int:
        """Start one of /opt/extensions; the number of its process as the engine has it, 0 if it does not say.

        Raises EngineError.
        """
        variables = self._spec.extension_variables
        command = container.extension_command(self._plan, name, variables, self._outputs.directory is not None)
        return await self._start(container_id, name, command, variables)

    async def signal_runtime(self, container_id: str, name: str) -> None:
        """Send `TERM` or `KILL` to the runtime, if it is there."""

        def send(client: docker.APIClient) -> None:
            made = client.exec_create(container_id, container.signal_command(name), stdout=False, stderr=False)
            client.exec_start(made["Id"], detach=True)

        with contextlib.suppress(EngineError):  # It has ended, which is what the signal is for.
            await self._engine.call(send)

    async def _start(self, container_id: str, name: str, command: list[str], variables: Mapping[str, str]) -> int:
        attached = self._outputs.directory is None
        exec_id: str = await self._engine.call(
            lambda client: client.exec_create(
                container_id, command, stdout=attached, stderr=attached, environment=dict(variables)
            )["Id"]
        )
        self._names[exec_id] = name  # Before it starts, and so before its end can be told.

        def run(client: docker.APIClient) -> tuple[Any, int]:
            started = client.exec_start(exec_id, detach=not attached, socket=attached)
            return untimed(started) if attached else None, int(client.exec_inspect(exec_id).get("Pid") or 0)

        stream, pid = await self._engine.call(run)
        if stream is not None:
            self._outputs.attach(stream, self._spec.on_extension_output if name else self._outputs.of_runtime)
        return pid
