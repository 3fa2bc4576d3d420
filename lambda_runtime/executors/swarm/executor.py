"""The executor that runs functions in a cluster."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from dataclasses import dataclass
from dataclasses import replace as changed
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from lambda_runtime.config import RuntimeConfig
from lambda_runtime.errors import VersionFailed
from lambda_runtime.executors.base import Capability, PreparedVersion, Sandbox, SandboxSpec
from lambda_runtime.executors.containers.errors import EngineError, EngineUnavailable
from lambda_runtime.executors.containers.image import Image
from lambda_runtime.executors.containers.relay import Relay
from lambda_runtime.executors.containers.settings import ContainerSettings
from lambda_runtime.executors.docker import leftovers as labelled
from lambda_runtime.executors.docker import reach
from lambda_runtime.executors.docker.contents import look_into
from lambda_runtime.executors.docker.engine import Engine, EngineInfo
from lambda_runtime.executors.docker.images import Images
from lambda_runtime.executors.process.code_cache import CodeCache
from lambda_runtime.executors.process.languages import OS_ONLY
from lambda_runtime.executors.process.languages.base import RuntimeFiles
from lambda_runtime.executors.process.layout import Places
from lambda_runtime.executors.process.programs import program_of, runtime_version
from lambda_runtime.executors.swarm import leftovers, place
from lambda_runtime.executors.swarm.capabilities import describe
from lambda_runtime.executors.swarm.cluster import Cluster, owner_filter
from lambda_runtime.executors.swarm.gate import Gate
from lambda_runtime.executors.swarm.place import GatewayPlace
from lambda_runtime.executors.swarm.preparation import Filling, Preparation
from lambda_runtime.executors.swarm.sandbox import NotStarted, SwarmSandbox
from lambda_runtime.executors.swarm.settings import SwarmSettings
from lambda_runtime.executors.swarm.task import Plan
from lambda_runtime.scratch import Scratch, remove_abandoned
from lambda_runtime.types import FunctionVersion

_LOG = logging.getLogger(__name__)

_ADDRESSES = ("AWS_XRAY_DAEMON_ADDRESS", "_AWS_XRAY_DAEMON_ADDRESS")
_STOP_LIMIT_S = 30
_OTHER_NODES = 3
"""How often a start that a node could not do is tried on others."""


@dataclass(slots=True)
class PreparedSwarmVersion(PreparedVersion):
    """What a prepared version's services are made of, and what it has on the nodes."""

    entries: tuple[str, ...] = ()
    plan: Plan | None = None
    filling: Filling | None = None


@dataclass(frozen=True, slots=True)
class _Connection:
    """A cluster that answered."""

    info: EngineInfo
    place: GatewayPlace
    cluster: Cluster
    preparation: Preparation
    port: int


class SwarmExecutor:
    """A `RuntimeExecutor` of services of one task each, which Swarm places on nodes.

    On the loop only. A manager is looked for when the first version is prepared; what killed gateways left is removed when the
    gateway starts, if one answers. Environments go on without managers; only starts and ends need them.
    """

    name = "swarm"

    def __init__(self, config: RuntimeConfig) -> None:
        self._config = config
        self._docker = ContainerSettings.read(config.settings)
        self._settings = SwarmSettings.read(config.settings)
        self._engine: Engine | None = None
        self._images: Images | None = None
        self._cache: CodeCache | None = None
        self._scratch: Scratch | None = None
        self._gate = Gate()
        self._connecting: asyncio.Task[_Connection] | None = None
        self._connection: _Connection | None = None
        self._starts = asyncio.Semaphore(self._docker.concurrent_starts)
        self._sandboxes: set[SwarmSandbox] = set()
        self._relays: dict[str, asyncio.Task[str]] = {}
        self._open_relays: list[Relay] = []
        self._numbers = itertools.count(1)
        self._tasks: set[asyncio.Future[Any]] = set()
        self._stopped = False

    async def start(self) -> None:
        """Make the directories, and remove in the background what killed gateways left."""
        if self._scratch is not None:
            return
        self._stopped = False
        self._scratch = Scratch()
        self._cache = CodeCache(self._config.cache_dir or self._scratch.directory("cache"))
        self._engine = Engine(self._config.settings, labelled.KIND)
        self._images = Images(self._engine, self._docker)
        self._track(asyncio.get_running_loop().run_in_executor(None, remove_abandoned))
        self._track(asyncio.ensure_future(self._clean_up()))

    async def stop(self) -> None:
        """End every environment, and remove what the nodes have of ours. May be called twice."""
        self._stopped = True
        for sandbox in list(self._sandboxes):
            sandbox.kill()
        if ends := [sandbox.gone for sandbox in self._sandboxes]:
            await asyncio.wait(ends, timeout=_STOP_LIMIT_S)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_STOP_LIMIT_S)
        connection, self._connection = self._connection, None
        engine, self._engine = self._engine, None
        if self._images is not None:
            await self._images.close()
        if connection is not None and engine is not None:
            with contextlib.suppress(EngineError):  # No manager: what is left goes at the next start.
                await self._leave(connection, engine)
            await connection.cluster.close()
        self._gate.close()
        for relay in self._open_relays:
            relay.close()
        if engine is not None:
            await engine.close()
        scratch, self._scratch, self._cache = self._scratch, None, None
        if scratch is not None:
            await asyncio.to_thread(scratch.remove)

    async def _leave(self, connection: _Connection, engine: Engine) -> None:
        await connection.preparation.clean_all(self._bare_plan(connection, ""))
        own = {"label": owner_filter(self._labels(connection.place))}
        for service in await engine.call(lambda client: client.services(filters=own)):
            await connection.cluster.remove(str(service["ID"]))

    def capabilities(self) -> list[Capability]:
        """What the cluster enforces, and which one there is. Asks its managers: for `doctor`, not for the invoke path."""
        return describe(self._config.settings, self._docker)

    def runtime_api_host(self, prepared: PreparedVersion) -> str:
        """Runtime APIs are reached through the gate, which is on this machine."""
        return reach.LOOPBACK

    # --- preparation

    async def prepare(self, version: FunctionVersion) -> PreparedSwarmVersion:
        """Find the image, and have every node get it and the code. Raises VersionFailed."""
        try:
            return await self._prepare(version)
        except EngineError as error:
            raise VersionFailed(
                "InvalidRuntime" if isinstance(error, EngineUnavailable) else "InternalError",
                f"{version.image_uri or version.runtime} cannot run here: {error}",
            ) from error

    async def _prepare(self, version: FunctionVersion) -> PreparedSwarmVersion:
        connection = await self._connected()
        assert self._images is not None
        image = await self._images.find(version, connection.info)
        labels = self._labels(connection.place)
        contents = await self._running_engine().call(lambda client: look_into(client, image.id, labels))
        cache = self._running_cache()
        code, layers, content = None, None, None
        try:
            if version.code_folder is not None:
                code, content = await asyncio.to_thread(cache.use_folder, version.code_folder)
            elif version.code is not None:
                code = await asyncio.to_thread(cache.use, [version.code], "code")
            layers = await asyncio.to_thread(cache.use, version.layers, "layers")
            extensions = contents.extensions if layers is None else cache.files(layers, "extensions")
            plan = changed(
                self._bare_plan(connection, await self._reference(image)),
                program=self._program(version, image, code, layers),
                working_directory=version.image_working_directory or image.working_directory or "/var/task",
                mounts={
                    target: connection.preparation.path(name)
                    for name, target in ((code, "/var/task"), (layers, "/opt"))
                    if name is not None
                },
                memory_mib=version.memory_mib,
                shell=contents.shell,
                extensions=extensions if contents.shell else (),
                image_variables=tuple(image.variables),
                labels={**labels, labelled.FUNCTION: version.arn},
            )
            entries = {name: Path(cache.root / name) for name in (code, layers) if name is not None}
            architecture = image.architecture or connection.info.architecture
            filling = None
            if contents.shell:
                filling = await connection.preparation.fill(plan, architecture, entries)
        except BaseException:
            for name in (code, layers):
                await asyncio.to_thread(cache.release, name)
            raise
        warnings = []
        if contents.extensions and not contents.shell:
            warnings.append("The image has no /bin/sh: its extensions are not started.")
        return PreparedSwarmVersion(
            version,
            variables={**image.variables, **self._docker.flags.environment},
            warnings=tuple(warnings),
            content=content,
            snapshot_obstacle="tasks of a cluster cannot be restored from a snapshot",
            runtime_version=image.name if version.runtime is None else runtime_version(version.runtime),
            extensions=plan.extensions,
            entries=tuple(entries),
            plan=plan,
            filling=filling,
        )

    async def _reference(self, image: Image) -> str:
        """What names the image on all nodes: its digest in a registry, or what it is, where it was loaded by hand.

        With either of them no node asks a registry about an image that it has.
        """
        found = await self._running_engine().call(lambda client: client.inspect_image(image.id))
        return next(iter(found.get("RepoDigests") or ()), image.id)

    def _program(self, version: FunctionVersion, image: Image, code: str | None, layers: str | None) -> tuple[str, ...]:
        if version.image_uri is not None:
            # An entry point in ImageConfig takes the image's command along only if it names none, as `docker run` does.
            entry_point = image.entry_point if version.image_entry_point is None else version.image_entry_point
            command = image.command if version.image_entry_point is None else ()
            return (*entry_point, *(command if version.image_command is None else version.image_command))
        if version.runtime in OS_ONLY:
            cache = self._running_cache()
            folders = {"code": cache.path(code), "layers": cache.path(layers)}
            return tuple(program_of(version, None, RuntimeFiles({}), Places(), **folders, isolated=True))
        return (*image.entry_point, version.handler or "")

    def _bare_plan(self, connection: _Connection, image: str) -> Plan:
        """What all services have in common."""
        return Plan(
            image=image,
            program=(),
            working_directory="",
            mounts={},
            memory_mib=0,
            limit_processors=self._docker.processors == "limit",
            network=connection.place.network,
            dns=self._docker.dns,
            flags=self._docker.flags,
            constraints=self._settings.constraints,
            labels=self._labels(connection.place),
            shell=True,
            extensions=(),
        )

    async def release(self, prepared: PreparedVersion) -> None:
        """Give up the code, here at once and on the nodes in the background; tasks that still run keep what they have open."""
        assert isinstance(prepared, PreparedSwarmVersion) and prepared.plan is not None
        if self._connection is not None and prepared.filling is not None and not self._stopped:
            self._track(
                asyncio.ensure_future(self._release(self._connection, prepared, prepared.filling, prepared.plan))
            )
        if self._cache is not None:
            for name in prepared.entries:
                await asyncio.to_thread(self._cache.release, name)

    async def _release(
        self, connection: _Connection, prepared: PreparedSwarmVersion, filling: Filling, plan: Plan
    ) -> None:
        with contextlib.suppress(EngineError):  # It goes when the gateway stops.
            await connection.preparation.release(filling, plan, list(prepared.entries))

    # --- environments

    async def start_sandbox(self, prepared: PreparedVersion, spec: SandboxSpec) -> Sandbox:
        """Have Swarm run an environment, on another node if one cannot. Raises OSError with Swarm's words.

        Cancelled, what was started is removed.
        """
        assert isinstance(prepared, PreparedSwarmVersion) and prepared.plan is not None
        connection = await self._connected()
        avoided = list(prepared.filling.avoided) if prepared.filling is not None else []
        variables = await self._as_nodes_see(spec, connection)
        for tries in itertools.count(1):
            sandbox = self._make(prepared.plan, spec, connection)
            try:
                async with self._starts:
                    name = f"{connection.preparation.place}-{next(self._numbers)}"
                    await sandbox.start(name, (connection.place.address, connection.port), variables, avoided)
            except NotStarted as error:
                if not error.node or tries > _OTHER_NODES:
                    raise
                _LOG.warning("an environment is started on another node: %s", error)
                avoided.append(error.node)
            else:
                break
        if self._stopped:
            sandbox.kill()
        return sandbox

    def _make(self, plan: Plan, spec: SandboxSpec, connection: _Connection) -> SwarmSandbox:
        sandbox = SwarmSandbox(
            plan, spec, self._running_engine(), connection.cluster, self._gate, lambda: self._sandboxes.discard(sandbox)
        )
        self._sandboxes.add(sandbox)
        return sandbox

    async def _as_nodes_see(self, spec: SandboxSpec, connection: _Connection) -> dict[str, str]:
        """Addresses of this machine's loopback as the cluster reaches them."""
        found = dict(spec.variables)
        for name in _ADDRESSES:
            if found.get(name, "").startswith(reach.LOOPBACK):
                found[name] = connection.place.address + found[name].removeprefix(reach.LOOPBACK)
        url = self._config.current_endpoint_url()
        if url and found.get("AWS_ENDPOINT_URL") == url and reach.is_loopback(urlsplit(url).hostname):
            if url not in self._relays:
                self._relays[url] = asyncio.ensure_future(self._relay(url, connection.place))
            found["AWS_ENDPOINT_URL"] = await asyncio.shield(self._relays[url])
        return found

    async def _relay(self, url: str, here: GatewayPlace) -> str:
        parts = urlsplit(url)
        relay = Relay(parts.hostname or reach.LOOPBACK, parts.port or (443 if parts.scheme == "https" else 80))
        self._open_relays.append(relay)
        port = await relay.open(here.listen)
        return urlunsplit(parts._replace(netloc=f"{here.address}:{port}"))

    # --- the cluster

    async def _connected(self) -> _Connection:
        """The cluster. Raises EngineError."""
        if self._connection is not None:
            return self._connection
        if self._connecting is None or self._connecting.done():
            self._connecting = asyncio.ensure_future(self._connect())
        return await asyncio.shield(self._connecting)

    async def _connect(self) -> _Connection:
        engine = self._running_engine()
        info = await engine.connect()
        if reason := await engine.call(lambda client: place.why_not(client, info)):
            raise EngineUnavailable(reason)
        try:
            here = await engine.call(lambda client: place.find(client, info, self._docker))
            port = await self._gate.open(here.listen, self._settings.port)
        except EngineError:
            raise
        except OSError as error:
            raise EngineError(f"the cluster cannot reach the gateway: {error}") from error
        assert self._scratch is not None
        labels = self._labels(here)
        cluster = Cluster(engine, owner_filter(labels))
        owner = f"{labels[labelled.MACHINE]} {labels[labelled.OWNER]}"
        archives = self._scratch.directory("archives")
        preparation = Preparation(engine, cluster, self._gate, self._settings.directory, owner, archives, here.address)
        preparation.port = port
        _LOG.info(
            "Swarm at %s; its nodes reach the gateway at %s:%d (%s)", info.address, here.address, port, here.detail
        )
        self._connection = _Connection(info, here, cluster, preparation, port)
        return self._connection

    async def _clean_up(self) -> None:
        try:
            connection = await self._connected()
            engine, own = self._running_engine(), self._labels(connection.place)
            found = await engine.call(lambda client: leftovers.find(client, own))
            await connection.preparation.clean(found.places, self._bare_plan(connection, ""))
            for service in found.services:
                await connection.cluster.remove(service)
            if found.services:
                _LOG.info("removed %d services of gateways that do not live any more", len(found.services))
        except EngineError as error:
            _LOG.debug("leftovers are looked for when a manager answers: %s", error)

    def _labels(self, here: GatewayPlace) -> dict[str, str]:
        assert self._scratch is not None, "the executor is not started"
        return labelled.owner_labels(self._scratch.path, here.own_container)

    # --- inside

    def _running_engine(self) -> Engine:
        if self._engine is None:
            raise EngineUnavailable("the swarm executor is not running")
        return self._engine

    def _running_cache(self) -> CodeCache:
        assert self._cache is not None, "the executor is not started"
        return self._cache

    def _track(self, future: asyncio.Future[Any]) -> None:
        self._tasks.add(future)
        future.add_done_callback(self._tasks.discard)
