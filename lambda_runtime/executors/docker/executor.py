"""The executor that runs functions in containers."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from lambda_runtime.config import RuntimeConfig
from lambda_runtime.errors import VersionFailed
from lambda_runtime.executors.base import Capability, PreparedVersion, Sandbox, SandboxSpec
from lambda_runtime.executors.containers.errors import EngineError, EngineUnavailable
from lambda_runtime.executors.containers.image import Contents, Image
from lambda_runtime.executors.containers.relay import Relay
from lambda_runtime.executors.containers.settings import ContainerSettings
from lambda_runtime.executors.docker import leftovers, reach
from lambda_runtime.executors.docker.capabilities import describe
from lambda_runtime.executors.docker.code_store import CodeStore
from lambda_runtime.executors.docker.container import Plan
from lambda_runtime.executors.docker.contents import Sharing, look_into, sharing
from lambda_runtime.executors.docker.engine import Engine, EngineInfo
from lambda_runtime.executors.docker.images import Images
from lambda_runtime.executors.docker.reach import Reach
from lambda_runtime.executors.docker.sandbox import DockerSandbox, Surroundings
from lambda_runtime.executors.process.code_cache import CodeCache
from lambda_runtime.executors.process.languages import OS_ONLY
from lambda_runtime.executors.process.languages.base import RuntimeFiles
from lambda_runtime.executors.process.layout import Places
from lambda_runtime.executors.process.memory import MemoryWatch
from lambda_runtime.executors.process.programs import program_of, runtime_version
from lambda_runtime.scratch import Scratch, remove_abandoned
from lambda_runtime.types import FunctionVersion

_LOG = logging.getLogger(__name__)

_ADDRESSES = ("AWS_LAMBDA_RUNTIME_API", "AWS_XRAY_DAEMON_ADDRESS", "_AWS_XRAY_DAEMON_ADDRESS")
"""Variables that begin with the address of the listener, where containers may know it by another one."""
_STOP_LIMIT_S = 20


@dataclass(slots=True)
class PreparedDockerVersion(PreparedVersion):
    """Where a prepared version's code lies, and what its containers are made of."""

    code: str | None = None
    layers: str | None = None
    plan: Plan | None = None
    copied: bool = False
    """The engine has a copy of the code."""


@dataclass(slots=True)
class _Connection:
    """What is known of an engine that answered."""

    info: EngineInfo
    reach: Reach
    sharing: Sharing | None = None
    contents: dict[str, Contents] = field(default_factory=dict)


class DockerExecutor:
    """A `RuntimeExecutor` of containers, one for each environment.

    On the loop only. The engine is looked for when the first version is prepared; what killed gateways left there is removed as
    soon as the gateway starts, if an engine answers. An engine that goes away takes its environments with it, and is looked for
    again at the next start of one.
    """

    name = "docker"

    def __init__(self, config: RuntimeConfig) -> None:
        self._config = config
        self._settings = ContainerSettings.read(config.settings)
        self._engine: Engine | None = None
        self._images: Images | None = None
        self._cache: CodeCache | None = None
        self._store: CodeStore | None = None
        self._scratch: Scratch | None = None
        self._connecting: asyncio.Task[_Connection] | None = None
        self._connection: _Connection | None = None
        self._looking: dict[str, asyncio.Task[Contents]] = {}
        self._starts = asyncio.Semaphore(self._settings.concurrent_starts)
        self._sandboxes: set[DockerSandbox] = set()
        self._memory = MemoryWatch()
        self._relays: dict[tuple[str, str, int], asyncio.Task[int]] = {}
        self._open_relays: list[Relay] = []
        self._numbers = itertools.count()
        self._tasks: set[asyncio.Future[None]] = set()
        self._stopped = False

    async def start(self) -> None:
        """Make the directories, and remove in the background what killed gateways left."""
        if self._scratch is not None:
            return
        self._stopped = False
        self._scratch = Scratch()
        self._cache = CodeCache(self._config.cache_dir or self._scratch.directory("cache"))
        self._engine = Engine(self._config.settings, leftovers.KIND)
        self._engine.on_reconnect = self._engine_is_back
        self._images = Images(self._engine, self._settings)
        self._track(asyncio.get_running_loop().run_in_executor(None, remove_abandoned))
        self._track(asyncio.ensure_future(self._clean_up()))

    async def stop(self) -> None:
        """Kill every container, remove volumes and what was unpacked. May be called twice."""
        self._stopped = True
        self._memory.stop()
        for sandbox in list(self._sandboxes):
            sandbox.kill()
        ends = [sandbox.exited for sandbox in self._sandboxes]
        if ends:
            await asyncio.wait(ends, timeout=_STOP_LIMIT_S)
        for relay in self._open_relays:
            relay.close()
        engine, self._engine = self._engine, None
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_STOP_LIMIT_S)
        if self._images is not None:
            await self._images.close()
        if engine is not None:
            with contextlib.suppress(
                EngineError
            ):  # No engine: nothing of ours can be there, or it goes at the next start.
                await self._leave(engine)
            await engine.close()
        scratch, self._scratch, self._cache = self._scratch, None, None
        if scratch is not None:
            await asyncio.to_thread(scratch.remove)

    async def _leave(self, engine: Engine) -> None:
        """Wait until nothing of ours is at the engine: it removes containers a moment after they have ended."""
        if self._connection is None:
            return
        own = [f"{name}={value}" for name, value in self._labels().items()]
        await engine.call(lambda client: leftovers.remove_all(client, own))
        if self._store is not None:
            await self._store.close()

    def capabilities(self) -> list[Capability]:
        """What containers enforce, and which engine there is. Asks the engine: for `doctor`, not for the invoke path."""
        return describe(self._config.settings, self._settings)

    def runtime_api_host(self, prepared: PreparedVersion) -> str:
        """The gateway's place in the network of its containers; known once a version has been prepared."""
        return self._connection.reach.listen if self._connection is not None else reach.LOOPBACK

    # --- preparation

    async def prepare(self, version: FunctionVersion) -> PreparedDockerVersion:
        """Find or pull the image, unpack code and layers. Raises VersionFailed."""
        try:
            return await self._prepare(version)
        except EngineError as error:
            gone = isinstance(error, EngineUnavailable)
            raise VersionFailed(
                "InvalidRuntime" if gone else "InternalError",
                f"{version.image_uri or version.runtime} cannot run here: {error}",
                passing=gone,
            ) from error

    async def _prepare(self, version: FunctionVersion) -> PreparedDockerVersion:
        connection = await self._connected()
        assert self._images is not None
        image = await self._images.find(version, connection.info)
        contents = await self._contents(connection, image)
        shared = await self._sharing(connection, image)
        cache, store = self._running_cache(), self._running_store()
        content, code, layers = None, None, None
        mounts = []
        try:
            if version.code_folder is not None:
                code, content = await asyncio.to_thread(cache.use_folder, version.code_folder)
            elif version.code is not None:
                code = await asyncio.to_thread(cache.use, [version.code], "code")
            layers = await asyncio.to_thread(cache.use, version.layers, "layers")
            for name, target in ((code, "/var/task"), (layers, "/opt")):
                if name is not None:
                    mounts.append(await store.mount(name, target, image.id, shared=shared.directories))
        except BaseException:
            for name in (code, layers):
                await asyncio.to_thread(cache.release, name)
            raise
        extensions = contents.extensions if layers is None else cache.files(layers, "extensions")
        foreign = image.architecture not in ("", connection.info.architecture)
        plan = Plan(
            image_id=image.id,
            program=self._program(version, image, code, layers),
            working_directory=version.image_working_directory or image.working_directory or "/var/task",
            mounts=tuple(mounts),
            memory_mib=version.memory_mib,
            storage_mib=version.ephemeral_storage_mib,
            memory_watched=shared.pipes,
            network=connection.reach.network,
            dns=self._settings.dns,
            flags=self._settings.flags,
            labels={**self._labels(), leftovers.FUNCTION: version.arn},
            shell=contents.shell,
            pipes=shared.pipes and contents.shell,
            podman=connection.info.podman,
            extensions=extensions,
            image_variables=tuple(image.variables),
            platform=self._settings.flags.platform or (f"linux/{image.architecture}" if foreign else None),
        )
        warnings = []
        if foreign:
            warnings.append(
                f"The function's architecture is {version.architecture}, which the engine's machine has to emulate."
            )
        if extensions and not contents.shell:
            warnings.append(
                "The image has no /bin/sh: the runtime does not wait for the extensions, and they end with it."
            )
        return PreparedDockerVersion(
            version,
            variables={**image.variables, **self._settings.flags.environment},
            warnings=tuple(warnings),
            content=content,
            snapshot_obstacle="containers cannot be restored from a snapshot",
            runtime_version=_runtime_version(version, image),
            extensions=extensions,
            code=code,
            layers=layers,
            plan=plan,
            copied=not shared.directories,
        )

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

    async def release(self, prepared: PreparedVersion) -> None:
        """Give up the code; environments that still run keep it until they end."""
        assert isinstance(prepared, PreparedDockerVersion)
        await self._leave_code(prepared)

    async def _leave_code(self, prepared: PreparedDockerVersion) -> None:
        for name in (prepared.code, prepared.layers):
            if prepared.copied and self._store is not None:
                await self._store.release(name)
            if self._cache is not None:
                await asyncio.to_thread(self._cache.release, name)

    # --- environments

    async def start_sandbox(self, prepared: PreparedVersion, spec: SandboxSpec) -> Sandbox:
        """Create and start a container. Raises OSError when the engine cannot, or none answers.

        Cancelled, the start goes on by itself and what it started is removed.
        """
        assert isinstance(prepared, PreparedDockerVersion) and prepared.plan is not None
        connection = await self._connected()
        engine = self._running_engine()
        around = Surroundings(engine, connection.reach, self._memory, self._settings.processors == "limit")
        for name in (prepared.code, prepared.layers):
            self._running_cache().add_user(name)
        directory: Path | None = None
        if prepared.plan.pipes:
            directory = self._running_scratch().directory("pipes") / f"{next(self._numbers)}"
        sandbox = DockerSandbox(prepared.plan, spec, around, directory, lambda: self._ended(sandbox, prepared))
        self._sandboxes.add(sandbox)
        starting = asyncio.ensure_future(self._start(sandbox, prepared, spec, connection))
        try:
            await asyncio.shield(starting)
        except asyncio.CancelledError:
            starting.add_done_callback(lambda task: _kill_if_started(task, sandbox))
            raise
        return sandbox

    async def _start(
        self, sandbox: DockerSandbox, prepared: PreparedDockerVersion, spec: SandboxSpec, connection: _Connection
    ) -> None:
        async with self._starts:
            spec.variables = await self._as_containers_see(spec.variables, connection.reach)
            spec.extension_variables = await self._as_containers_see(spec.extension_variables, connection.reach)
            await sandbox.start()
        if self._stopped:
            sandbox.kill()

    def _ended(self, sandbox: DockerSandbox, prepared: PreparedDockerVersion) -> None:
        self._sandboxes.discard(sandbox)
        cache = self._cache
        if cache is not None:

            def release() -> None:
                for name in (prepared.code, prepared.layers):
                    cache.release(name)

            self._track(asyncio.get_running_loop().run_in_executor(None, release))

    async def _as_containers_see(self, variables: Mapping[str, str], place: Reach) -> dict[str, str]:
        """Addresses of this machine's loopback, and of our listeners, as containers reach them."""
        found = dict(variables)
        if place.address != place.listen:
            for name in _ADDRESSES:
                if found.get(name, "").startswith(place.listen):
                    found[name] = place.address + found[name].removeprefix(place.listen)
        url = self._config.current_endpoint_url()
        if url and found.get("AWS_ENDPOINT_URL") == url and not place.shares_network:
            found["AWS_ENDPOINT_URL"] = await self._relayed(url, place)
        return found

    async def _relayed(self, url: str, place: Reach) -> str:
        parts = urlsplit(url)
        if not reach.is_loopback(parts.hostname):
            return url
        port = parts.port or (443 if parts.scheme == "https" else 80)
        host = parts.hostname or reach.LOOPBACK
        key = (place.listen, host, port)
        if key not in self._relays:
            relay = Relay(host, port)
            self._open_relays.append(relay)
            self._relays[key] = asyncio.ensure_future(relay.open(place.listen))
        own_port = await asyncio.shield(self._relays[key])
        return urlunsplit(parts._replace(netloc=f"{place.address}:{own_port}"))

    # --- the engine

    async def _connected(self) -> _Connection:
        """The engine that answers now. Raises EngineError."""
        engine = self._running_engine()
        info = await engine.connect()
        connection = self._connection
        if connection is not None and connection.info == info:
            return connection
        task = self._connecting
        if task is None or task.done():
            task = self._connecting = asyncio.ensure_future(self._look_around(engine, info))
        return await asyncio.shield(task)

    async def _look_around(self, engine: Engine, info: EngineInfo) -> _Connection:
        try:
            place = await engine.call(lambda client: reach.find(client, info, self._settings))
        except EngineError as error:
            if isinstance(error, EngineUnavailable):
                raise
            raise EngineError(f"the network of containers cannot be used (LAMBDA_DOCKER_NETWORK): {error}") from error
        connection = self._connection = _Connection(info, place)
        if self._store is None:
            labels = leftovers.owner_labels(self._running_scratch().path, place.own_container)
            self._store = CodeStore(engine, self._running_cache().root, labels, str(self._running_scratch().path))
        _LOG.info(
            "%s at %s; containers reach the gateway at %s (%s)", info.name, info.address, place.address, place.detail
        )
        return connection

    async def _contents(self, connection: _Connection, image: Image) -> Contents:
        if (found := connection.contents.get(image.id)) is not None:
            return found
        task = self._looking.get(image.id)
        if task is None:
            labels = self._labels()
            engine = self._running_engine()
            task = asyncio.ensure_future(engine.call(lambda client: look_into(client, image.id, labels)))
            self._looking[image.id] = task
            task.add_done_callback(lambda task: self._looking.pop(image.id, None))
        connection.contents[image.id] = await asyncio.shield(task)
        return connection.contents[image.id]

    async def _sharing(self, connection: _Connection, image: Image) -> Sharing:
        if connection.sharing is None:
            directory, labels = self._running_scratch().path, self._labels()
            engine = self._running_engine()
            connection.sharing = await engine.call(
                lambda client: sharing(client, connection.info, image.id, directory, labels)
            )
            if not connection.sharing.directories:
                _LOG.info("code is copied to the engine once a version: %s", connection.sharing.detail)
        return connection.sharing

    def _labels(self) -> dict[str, str]:
        own = self._connection.reach.own_container if self._connection is not None else ""
        return leftovers.owner_labels(self._running_scratch().path, own)

    async def _clean_up(self) -> None:
        try:
            await self._connected()
            own = self._labels()
            await self._running_engine().call(lambda client: leftovers.remove_leftovers(client, own))
        except EngineError as error:
            _LOG.debug("leftovers are looked for when an engine answers: %s", error)

    def _engine_is_back(self) -> None:
        """Remove our containers of which nobody knows any more: their ends were asked for while no engine answered."""
        if not self._stopped and self._scratch is not None:
            self._track(asyncio.ensure_future(self._remove_unknown()))

    async def _remove_unknown(self) -> None:
        own = [f"{name}={value}" for name, value in self._labels().items()]
        engine = self._running_engine()
        with contextlib.suppress(EngineError):  # Gone again.
            found = await engine.call(lambda client: client.containers(all=True, filters={"label": own}))
            known = {sandbox.container_id for sandbox in self._sandboxes}
            starting = any(not sandbox.container_id for sandbox in self._sandboxes)
            for container in found:
                if container["Id"] not in known and not (starting and container.get("State") == "created"):
                    container_id = container["Id"]
                    await engine.call(lambda client, name=container_id: leftovers.remove_container(client, name))  # type: ignore[misc]

    # --- inside

    def _running_engine(self) -> Engine:
        if self._engine is None:
            raise EngineUnavailable("the docker executor is not running")
        return self._engine

    def _running_scratch(self) -> Scratch:
        assert self._scratch is not None, "the executor is not started"
        return self._scratch

    def _running_cache(self) -> CodeCache:
        assert self._cache is not None, "the executor is not started"
        return self._cache

    def _running_store(self) -> CodeStore:
        assert self._store is not None, "no engine was connected"
        return self._store

    def _track(self, future: asyncio.Future[None]) -> None:
        self._tasks.add(future)
        future.add_done_callback(self._tasks.discard)


def _kill_if_started(starting: asyncio.Future[None], sandbox: DockerSandbox) -> None:
    if not starting.cancelled() and starting.exception() is None:
        sandbox.kill()


def _runtime_version(version: FunctionVersion, image: Image) -> str:
    """For the INIT_START line, as in AWS's; an image's functions have none there, here the image's name."""
    return image.name if version.runtime is None else runtime_version(version.runtime)
