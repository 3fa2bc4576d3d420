"""The executor that runs functions in containers of a Docker engine."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lambda_runtime.config import RuntimeConfig
from lambda_runtime.executors.base import Capability, PreparedVersion, SandboxSpec
from lambda_runtime.executors.containers.addresses import LOOPBACK
from lambda_runtime.executors.containers.errors import EngineError, EngineUnavailable
from lambda_runtime.executors.containers.executor import ContainerExecutor, Found, PreparedContainers
from lambda_runtime.executors.containers.image import Contents, Image
from lambda_runtime.executors.containers.plan import ulimits
from lambda_runtime.executors.docker import leftovers, limits, reach
from lambda_runtime.executors.docker.capabilities import describe
from lambda_runtime.executors.docker.client import EngineInfo
from lambda_runtime.executors.docker.code_store import CodeStore
from lambda_runtime.executors.docker.container import Plan
from lambda_runtime.executors.docker.contents import LookedInto, Sharing, sharing
from lambda_runtime.executors.docker.engine import Engine
from lambda_runtime.executors.docker.images import Images
from lambda_runtime.executors.docker.limits import Limit
from lambda_runtime.executors.docker.reach import Reach
from lambda_runtime.executors.docker.sandbox import DockerSandbox, Surroundings
from lambda_runtime.executors.process.memory import MemoryWatch
from lambda_runtime.types import FunctionVersion

_LOG = logging.getLogger(__name__)


@dataclass(slots=True)
class PreparedDockerVersion(PreparedContainers[Plan]):
    """What a prepared version's containers are made of."""

    copied: bool = False
    """The engine has a copy of the code."""


@dataclass(slots=True)
class Connection:
    """What is known of an engine that answered."""

    info: EngineInfo
    reach: Reach
    looked_into: LookedInto
    sharing: Sharing | None = None
    limits: tuple[Limit, ...] | None = None


class DockerExecutor(ContainerExecutor[Engine, Connection, DockerSandbox]):
    """A `RuntimeExecutor` of containers, one for each environment.

    On the loop only. An engine that goes away takes its environments with it, and is looked for again at the next start of one.
    """

    name = "docker"

    def __init__(self, config: RuntimeConfig) -> None:
        super().__init__(config)
        self._images: Images | None = None
        self._store: CodeStore | None = None
        self._memory = MemoryWatch()
        self._numbers = itertools.count()

    def capabilities(self) -> list[Capability]:
        """What containers enforce, and which engine there is. Asks the engine: for `doctor`, not for the invoke path."""
        return describe(self._config.settings, self._settings)

    def runtime_api_host(self, prepared: PreparedVersion) -> str:
        """The gateway's place in the network of its containers; known once a version has been prepared."""
        return self._connection.reach.listen if self._connection is not None else LOOPBACK

    # --- the engine

    def _open_engine(self) -> Engine:
        engine = Engine(self._config.settings, leftovers.KIND)
        engine.on_reconnect = self._engine_is_back
        self._images = Images(engine, self._settings)
        return engine

    async def _is_current(self, engine: Engine, connection: Connection) -> bool:
        return connection.info == await engine.connect()

    async def _connect(self, engine: Engine) -> Connection:
        info = await engine.connect()
        try:
            place = await engine.call(lambda client: reach.find(client, info, self._settings, join=True))
        except EngineError as error:
            if isinstance(error, EngineUnavailable):
                raise
            raise EngineError(f"the network of containers cannot be used (LAMBDA_DOCKER_NETWORK): {error}") from error
        labels = self._labels(place)
        if self._store is None:
            self._store = CodeStore(engine, self._workspace.cache.root, labels, str(self._workspace.scratch.path))
        _LOG.info(
            "%s at %s; containers reach the gateway at %s (%s)", info.name, info.address, place.address, place.detail
        )
        return Connection(info, place, LookedInto(engine, labels))

    async def stop(self) -> None:
        """Kill every container, remove volumes and what was unpacked. May be called twice."""
        self._memory.stop()
        await super().stop()
        self._store = None

    # --- preparation

    async def _look_at_image(self, connection: Connection, version: FunctionVersion) -> tuple[Image, Contents]:
        assert self._images is not None
        image = await self._images.find(version, connection.info)
        return image, await connection.looked_into.contents(image.id)

    async def _make_ready(
        self, connection: Connection, version: FunctionVersion, found: Found
    ) -> PreparedDockerVersion:
        image, shell = found.image, found.contents.shell
        shared = await self._sharing(connection, image)
        allowed = await self._limits(connection, image)
        foreign = image.architecture not in ("", connection.info.architecture)
        # The last thing that may fail: what was copied has a user from then on.
        mounts = await self._mounts(found, shared)
        plan = found.plan.extended(
            Plan,
            image_id=image.id,
            mounts=mounts,
            memory_watched=shared.pipes and connection.reach.sees_processes,
            network=connection.reach.network,
            labels={**self._labels(connection.reach), leftovers.FUNCTION: version.arn},
            pipes=shared.pipes and shell,
            podman=connection.info.podman,
            rootless=connection.info.rootless,
            limits=allowed,
            platform=self._settings.flags.platform or (f"linux/{image.architecture}" if foreign else None),
        )
        warnings = []
        if foreign:
            warnings.append(
                f"The function's architecture is {version.architecture}, which the engine's machine has to emulate."
            )
        if plan.extensions and not shell:
            warnings.append(
                "The image has no /bin/sh: the runtime does not wait for the extensions, and they end with it."
            )
        return PreparedDockerVersion(
            version,
            warnings=tuple(warnings),
            snapshot_obstacle="containers cannot be restored from a snapshot",
            plan=plan,
            copied=not shared.directories,
        )

    async def _mounts(self, found: Found, shared: Sharing) -> tuple[dict[str, Any], ...]:
        store, mounts = self._running_store(), {}
        try:
            for target, name in found.code.entries.items():
                mounts[name] = await store.mount(name, target, found.image.id, shared=shared.directories)
        except BaseException:
            for name in mounts:
                await store.release(name)
            raise
        return tuple(mounts.values())

    async def _sharing(self, connection: Connection, image: Image) -> Sharing:
        if connection.sharing is None:
            directory, labels = self._workspace.scratch.path, self._labels(connection.reach)
            connection.sharing = await self._running_engine().call(
                lambda client: sharing(client, connection.info, image.id, directory, labels)
            )
            if not connection.sharing.directories:
                _LOG.info("code is copied to the engine once a version: %s", connection.sharing.detail)
        return connection.sharing

    async def _limits(self, connection: Connection, image: Image) -> tuple[Limit, ...]:
        wanted = tuple(ulimits(self._settings.flags))
        if not (connection.info.rootless or connection.info.podman):
            return wanted
        if connection.limits is None:
            labels = self._labels(connection.reach)
            connection.limits = await self._running_engine().call(
                lambda client: limits.accepted(client, image.id, labels, wanted)
            )
        return connection.limits

    async def _give_up(self, prepared: PreparedContainers[Any]) -> None:
        assert isinstance(prepared, PreparedDockerVersion)
        if prepared.copied and self._store is not None:
            for name in prepared.code.entries.values():
                await self._store.release(name)

    # --- environments

    async def _start(
        self, connection: Connection, prepared: PreparedContainers[Any], spec: SandboxSpec
    ) -> DockerSandbox:
        """Create and start a container. Cancelled, the start goes on by itself, and what it started is removed."""
        assert isinstance(prepared, PreparedDockerVersion)
        bounded = self._settings.processors == "limit"
        around = Surroundings(self._running_engine(), connection.reach, self._memory, bounded)
        prepared.code.add_user(self._workspace.cache)
        directory: Path | None = None
        if prepared.plan.pipes:
            directory = self._workspace.scratch.directory("pipes") / f"{next(self._numbers)}"
        sandbox = DockerSandbox(prepared.plan, spec, around, directory, lambda: self._ended(sandbox, prepared))
        self._sandboxes.add(sandbox)
        starting = asyncio.ensure_future(self._start_container(sandbox, spec, connection.reach))
        try:
            await asyncio.shield(starting)
        except asyncio.CancelledError:
            starting.add_done_callback(lambda task: _kill_if_started(task, sandbox))
            raise
        return sandbox

    async def _start_container(self, sandbox: DockerSandbox, spec: SandboxSpec, place: Reach) -> None:
        as_seen = functools.partial(
            self._addresses.as_seen,
            listeners=place.listen,
            gateway=place.address,
            relays=None if place.shares_network else place.listen,
            from_this_machine=place.from_this_machine,
        )
        async with self._starts:
            spec.variables = await as_seen(spec.variables)
            spec.extension_variables = await as_seen(spec.extension_variables)
            await sandbox.start()

    def _ended(self, sandbox: DockerSandbox, prepared: PreparedDockerVersion) -> None:
        self._sandboxes.discard(sandbox)
        if self._workspace.is_open:
            self._workspace.in_thread(prepared.code.release, self._workspace.cache)

    # --- what is left

    async def _remove_leftovers(self, connection: Connection) -> None:
        own = self._labels(connection.reach)
        await self._running_engine().call(lambda client: leftovers.remove_leftovers(client, own))

    async def _leave(self, engine: Engine, connection: Connection) -> None:
        if self._images is not None:
            await self._images.close()
        # The engine removes containers a moment after they have ended.
        own = _filter(self._labels(connection.reach))
        await engine.call(lambda client: leftovers.remove_all(client, own))
        if self._store is not None:
            await self._store.close()

    def _engine_is_back(self) -> None:
        """Remove our containers of which nobody knows any more: their ends were asked for while no engine answered."""
        if not self._stopped and self._workspace.is_open and self._connection is not None:
            removing = self._remove_unknown(_filter(self._labels(self._connection.reach)))
            self._workspace.track(asyncio.ensure_future(removing))

    async def _remove_unknown(self, own: list[str]) -> None:
        engine = self._running_engine()
        with contextlib.suppress(EngineError):  # Gone again.
            found = await engine.call(lambda client: client.containers(all=True, filters={"label": own}))
            known = {sandbox.container_id for sandbox in self._sandboxes}
            starting = any(not sandbox.container_id for sandbox in self._sandboxes)
            for container in found:
                if container["Id"] not in known and not (starting and container.get("State") == "created"):
                    remove = functools.partial(leftovers.remove_container, container_id=container["Id"])
                    await engine.call(remove)

    def _labels(self, place: Reach) -> dict[str, str]:
        return leftovers.owner_labels(self._workspace.scratch.path, place.own_container)

    def _running_store(self) -> CodeStore:
        assert self._store is not None, "no engine was connected"
        return self._store


def _filter(labels: dict[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in labels.items()]


def _kill_if_started(starting: asyncio.Future[None], sandbox: DockerSandbox) -> None:
    if not starting.cancelled() and starting.exception() is None:
        sandbox.kill()
