"""The part of an executor that is the same for every container engine."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from lambda_runtime.config import RuntimeConfig
from lambda_runtime.errors import VersionFailed
from lambda_runtime.executors.base import Capability, PreparedVersion, Sandbox, SandboxSpec
from lambda_runtime.executors.code import TASK, Code
from lambda_runtime.executors.containers.addresses import Addresses
from lambda_runtime.executors.containers.errors import EngineError, EngineUnavailable
from lambda_runtime.executors.containers.image import Contents, Image
from lambda_runtime.executors.containers.plan import ContainerPlan
from lambda_runtime.executors.containers.program import program
from lambda_runtime.executors.containers.settings import ContainerSettings
from lambda_runtime.executors.process.programs import runtime_version
from lambda_runtime.executors.workspace import Workspace
from lambda_runtime.types import FunctionVersion

_LOG = logging.getLogger(__name__)


class ContainerEngine(Protocol):
    """Whatever calls go to an engine with."""

    async def close(self) -> None:
        """End the connection. May be called twice."""
        ...


EngineT = TypeVar("EngineT", bound=ContainerEngine)
ConnectionT = TypeVar("ConnectionT")
SandboxT = TypeVar("SandboxT", bound=Sandbox)
PlanT = TypeVar("PlanT", bound=ContainerPlan)


@dataclass(slots=True)
class PreparedContainers(PreparedVersion, Generic[PlanT]):
    """A version that an engine can run: how its containers are made, and what it uses of this machine's code cache."""

    plan: PlanT = field(kw_only=True)
    code: Code = field(default_factory=Code)


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of a version before its engine has made anything of it."""

    image: Image
    contents: Contents
    code: Code
    plan: ContainerPlan


class ContainerExecutor(ABC, Generic[EngineT, ConnectionT, SandboxT]):
    """A `RuntimeExecutor` whose environments are containers of an engine.

    Here is the life of the executor: it makes its directories, looks for the engine when the first version is prepared, removes
    what killed gateways left as soon as one answers, has code unpacked once a version, and leaves nothing behind when it stops.
    An engine's executor supplies what is abstract here: its client (`_open_engine`), what it has to know of the engine that
    answered (`_connect`), where images are (`_look_at_image`), how a version's code gets to where its containers run
    (`_make_ready`), the start of one environment (`_start`), and the ends of all (`_remove_leftovers`, `_leave`).

    On the loop only. No method that an engine's executor supplies is called before `start` or after `stop`, and none but
    `_open_engine` and `_connect` before the engine has answered.
    """

    name: str
    who_answers = "an engine"
    """For the log: who has to answer before anything can be removed."""
    stop_limit_s: float = 20
    """How long `stop` waits for environments to end, and then for what is under way."""

    def __init__(self, config: RuntimeConfig) -> None:
        self._config = config
        self._settings = ContainerSettings.read(config.settings)
        self._engine: EngineT | None = None
        self._connection: ConnectionT | None = None
        self._connecting: asyncio.Task[ConnectionT] | None = None
        self._workspace = Workspace(config.cache_dir)
        self._addresses = Addresses(config.current_endpoint_url)
        self._starts = asyncio.Semaphore(self._settings.concurrent_starts)
        self._sandboxes: set[SandboxT] = set()
        self._stopped = False

    # --- what an engine's executor supplies

    @abstractmethod
    def capabilities(self) -> list[Capability]:
        """What it enforces, and which engine there is. Asks the engine: for `doctor`, not for the invoke path."""

    @abstractmethod
    def runtime_api_host(self, prepared: PreparedVersion) -> str:
        """The address at which Runtime API listeners of a version's environments are bound."""

    @abstractmethod
    def _open_engine(self) -> EngineT:
        """A client for the engine. Quick; nobody is asked anything yet."""

    @abstractmethod
    async def _connect(self, engine: EngineT) -> ConnectionT:
        """Find out who the engine is, and where the gateway is for its containers. Raises EngineError."""

    async def _is_current(self, engine: EngineT, connection: ConnectionT) -> bool:
        """Whether what was found out still holds; asked before each use. Raises EngineUnavailable if no engine answers."""
        return True

    @abstractmethod
    async def _look_at_image(self, connection: ConnectionT, version: FunctionVersion) -> tuple[Image, Contents]:
        """The image of a version, brought here if it has to be, and what is in it. Raises VersionFailed, EngineError."""

    @abstractmethod
    async def _make_ready(
        self, connection: ConnectionT, version: FunctionVersion, found: Found
    ) -> PreparedContainers[Any]:
        """Bring the code to where containers run, and plan these (`found.plan.extended`). Raises VersionFailed, EngineError.

        Variables, code, content and the runtime's version are filled in for it. After an error nothing is left of it.
        """

    async def _give_up(self, prepared: PreparedContainers[Any]) -> None:
        """The version will not be started again: remove what `_make_ready` made, if it is not here. Raises no EngineError."""

    @abstractmethod
    async def _start(self, connection: ConnectionT, prepared: PreparedContainers[Any], spec: SandboxSpec) -> SandboxT:
        """Start an environment, no more than `_starts` at once. It is in `_sandboxes` until nothing of it is left.

        Raises OSError with the engine's words. Cancelled, what was started is removed.
        """

    def _end_of(self, sandbox: SandboxT) -> asyncio.Future[Any]:
        """Done when the executor need not wait for it any more."""
        return sandbox.exited

    @abstractmethod
    async def _remove_leftovers(self, connection: ConnectionT) -> None:
        """Remove what gateways left that do not live any more. Raises EngineError."""

    @abstractmethod
    async def _leave(self, engine: EngineT, connection: ConnectionT) -> None:
        """The last thing asked of the engine: that nothing of ours is left there. Raises EngineError."""

    # --- its life

    async def start(self) -> None:
        """Make the directories, and remove in the background what killed gateways left."""
        if self._workspace.is_open:
            return
        self._stopped = False
        self._workspace.open()
        self._engine = self._open_engine()
        self._workspace.track(asyncio.ensure_future(self._clean_up()))

    async def stop(self) -> None:
        """End every environment, and remove what the engine and this machine have of ours. May be called twice."""
        self._stopped = True
        for sandbox in list(self._sandboxes):
            sandbox.kill()
        if ends := [self._end_of(sandbox) for sandbox in self._sandboxes]:
            await asyncio.wait(ends, timeout=self.stop_limit_s)
        engine, self._engine = self._engine, None
        await self._workspace.settle(self.stop_limit_s)
        connection, self._connection = self._connection, None
        if engine is not None:
            if connection is not None:
                with contextlib.suppress(EngineError):  # No engine: what is left goes at the next start.
                    await self._leave(engine, connection)
            await engine.close()
        self._addresses.close()
        await self._workspace.close()

    async def _clean_up(self) -> None:
        try:
            await self._remove_leftovers(await self._connected())
        except EngineError as error:
            _LOG.debug("leftovers are looked for when %s answers: %s", self.who_answers, error)

    # --- preparation

    async def prepare(self, version: FunctionVersion) -> PreparedVersion:
        """Find the image, unpack code and layers, and bring all to where containers run. Raises VersionFailed."""
        try:
            return await self._prepare(version)
        except EngineError as error:
            gone = isinstance(error, EngineUnavailable)
            raise VersionFailed(
                "InvalidRuntime" if gone else "InternalError",
                f"{version.image_uri or version.runtime} cannot run here: {error}",
                passing=gone,
            ) from error

    async def _prepare(self, version: FunctionVersion) -> PreparedContainers[Any]:
        connection = await self._connected()
        image, contents = await self._look_at_image(connection, version)
        cache = self._workspace.cache
        code = await Code.unpacked(version, cache)
        try:
            plan = self._plan(version, image, contents, code)
            prepared = await self._make_ready(connection, version, Found(image, contents, code, plan))
        except BaseException:
            await asyncio.to_thread(code.release, cache)
            raise
        prepared.code, prepared.content = code, code.content
        prepared.variables = {**image.variables, **self._settings.flags.environment}
        # An image's functions have no version in AWS's INIT_START line; here they have the image's name.
        prepared.runtime_version = image.name if version.runtime is None else runtime_version(version.runtime)
        prepared.extensions = prepared.plan.extensions
        return prepared

    def _plan(self, version: FunctionVersion, image: Image, contents: Contents, code: Code) -> ContainerPlan:
        cache = self._workspace.cache
        return ContainerPlan(
            program=program(version, image, cache.path(code.package), cache.path(code.layers)),
            working_directory=version.image_working_directory or image.working_directory or TASK,
            memory_mib=version.memory_mib,
            storage_mib=version.ephemeral_storage_mib,
            dns=self._settings.dns,
            flags=self._settings.flags,
            shell=contents.shell,
            extensions=contents.extensions if code.layers is None else cache.files(code.layers, "extensions"),
            image_variables=tuple(image.variables),
        )

    async def release(self, prepared: PreparedVersion) -> None:
        """Give up the code; environments that still run keep it until they end."""
        assert isinstance(prepared, PreparedContainers)
        await self._give_up(prepared)
        await self._workspace.release(prepared.code)

    # --- environments

    async def start_sandbox(self, prepared: PreparedVersion, spec: SandboxSpec) -> Sandbox:
        """Start an environment. Raises OSError with the engine's words, or when none answers.

        Cancelled, what was started is removed.
        """
        assert isinstance(prepared, PreparedContainers)
        sandbox = await self._start(await self._connected(), prepared, spec)
        if self._stopped:
            sandbox.kill()
        return sandbox

    # --- the engine

    async def _connected(self) -> ConnectionT:
        """What is known of the engine that answers now. Raises EngineError."""
        engine, connection = self._running_engine(), self._connection
        if connection is not None and await self._is_current(engine, connection):
            return connection
        if self._connecting is None or self._connecting.done():
            self._connecting = asyncio.ensure_future(self._look_around(engine))
        return await asyncio.shield(self._connecting)

    async def _look_around(self, engine: EngineT) -> ConnectionT:
        self._connection = await self._connect(engine)
        return self._connection

    def _running_engine(self) -> EngineT:
        if self._engine is None:
            raise EngineUnavailable(f"the {self.name} executor is not running")
        return self._engine
