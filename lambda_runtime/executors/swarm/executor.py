"""The executor that runs functions in a cluster."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Awaitable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lambda_runtime.config import RuntimeConfig
from lambda_runtime.executors.base import Capability, PreparedVersion, SandboxSpec
from lambda_runtime.executors.containers.addresses import LOOPBACK
from lambda_runtime.executors.containers.errors import EngineError, EngineUnavailable
from lambda_runtime.executors.containers.executor import ContainerExecutor, Found, PreparedContainers
from lambda_runtime.executors.containers.image import Contents, Image
from lambda_runtime.executors.containers.plan import ContainerPlan
from lambda_runtime.executors.containers.remote.gate import Gate
from lambda_runtime.executors.docker import leftovers as labelled
from lambda_runtime.executors.docker.client import EngineInfo
from lambda_runtime.executors.docker.contents import LookedInto
from lambda_runtime.executors.docker.engine import Engine
from lambda_runtime.executors.docker.images import Images
from lambda_runtime.executors.process.peers import Address
from lambda_runtime.executors.swarm import leftovers, place
from lambda_runtime.executors.swarm.capabilities import describe
from lambda_runtime.executors.swarm.cluster import Cluster, owner_filter
from lambda_runtime.executors.swarm.place import GatewayPlace
from lambda_runtime.executors.swarm.preparation import Filling, Preparation
from lambda_runtime.executors.swarm.sandbox import NotStarted, SwarmSandbox
from lambda_runtime.executors.swarm.settings import SwarmSettings
from lambda_runtime.executors.swarm.task import Plan
from lambda_runtime.types import FunctionVersion

_LOG = logging.getLogger(__name__)

_OTHER_NODES = 3
"""How often a start that a node could not do is tried on others."""


@dataclass(slots=True)
class PreparedSwarmVersion(PreparedContainers[Plan]):
    """What a prepared version's services are made of, and what it has on the nodes."""

    filling: Filling | None = None
    """None for an image without /bin/sh: nothing can be brought to nodes with it."""


@dataclass(frozen=True, slots=True)
class Connection:
    """A cluster that answered."""

    info: EngineInfo
    place: GatewayPlace
    engine: Engine
    cluster: Cluster
    preparation: Preparation
    looked_into: LookedInto
    gate_at: Address
    """Where nodes reach the gate."""


class SwarmExecutor(ContainerExecutor[Engine, Connection, SwarmSandbox]):
    """A `RuntimeExecutor` of services of one task each, which Swarm places on nodes.

    On the loop only. The engine is a manager of the cluster. Environments go on without managers; only starts and ends need them.
    """

    name = "swarm"
    who_answers = "a manager"
    stop_limit_s = 30

    def __init__(self, config: RuntimeConfig) -> None:
        super().__init__(config)
        self._nodes = SwarmSettings.read(config.settings)
        self._images: Images | None = None
        self._gate = Gate()
        self._numbers = itertools.count(1)

    def capabilities(self) -> list[Capability]:
        """What the cluster enforces, and which one there is. Asks its managers: for `doctor`, not for the invoke path."""
        return describe(self._config.settings, self._settings)

    def runtime_api_host(self, prepared: PreparedVersion) -> str:
        """Runtime APIs are reached through the gate, which is on this machine."""
        return LOOPBACK

    # --- the cluster

    def _open_engine(self) -> Engine:
        engine = Engine(self._config.settings, labelled.KIND)
        self._images = Images(engine, self._settings)
        return engine

    async def _connect(self, engine: Engine) -> Connection:
        info = await engine.connect()
        if reason := await engine.call(lambda client: place.why_not(client, info)):
            raise EngineUnavailable(reason)
        try:
            here = await engine.call(lambda client: place.find(client, info, self._settings))
            port = await self._gate.open(here.listen, self._nodes.port)
        except EngineError:
            raise
        except OSError as error:
            raise EngineError(f"the cluster cannot reach the gateway: {error}") from error
        labels = self._labels(here)
        cluster = Cluster(engine, owner_filter(labels))
        owner = f"{labels[labelled.MACHINE]} {labels[labelled.OWNER]}"
        archives = self._workspace.scratch.directory("archives")
        gate_at = (here.address, port)
        preparation = Preparation(engine, cluster, self._gate, gate_at, self._nodes.directory, owner, archives)
        _LOG.info(
            "Swarm at %s; its nodes reach the gateway at %s:%d (%s)", info.address, here.address, port, here.detail
        )
        return Connection(info, here, engine, cluster, preparation, LookedInto(engine, labels), gate_at)

    async def stop(self) -> None:
        """End every environment, and remove what the nodes have of ours. May be called twice."""
        await super().stop()
        self._gate.close()

    # --- preparation

    async def _look_at_image(self, connection: Connection, version: FunctionVersion) -> tuple[Image, Contents]:
        assert self._images is not None
        image = await self._images.find(version, connection.info)
        return image, await connection.looked_into.contents(image.id)

    async def _make_ready(self, connection: Connection, version: FunctionVersion, found: Found) -> PreparedSwarmVersion:
        """Have every node get the image and the code."""
        shell = found.contents.shell
        common = found.plan if shell else replace(found.plan, extensions=())
        plan = replace(
            self._service_plan(connection, await self._reference(connection, found.image), common),
            mounts={target: connection.preparation.path(name) for target, name in found.code.entries.items()},
            labels={**self._labels(connection.place), labelled.FUNCTION: version.arn},
        )
        filling = None
        if shell:
            architecture = found.image.architecture or connection.info.architecture
            cache = self._workspace.cache
            entries = {name: Path(cache.root / name) for name in found.code.entries.values()}
            filling = await connection.preparation.fill(plan, architecture, entries)
        warnings = []
        if found.contents.extensions and not shell:
            warnings.append("The image has no /bin/sh: its extensions are not started.")
        return PreparedSwarmVersion(
            version,
            warnings=tuple(warnings),
            snapshot_obstacle="tasks of a cluster cannot be restored from a snapshot",
            plan=plan,
            filling=filling,
        )

    async def _reference(self, connection: Connection, image: Image) -> str:
        """What names the image on all nodes: its digest in a registry, or what it is, where it was loaded by hand.

        With either of them no node asks a registry about an image that it has.
        """
        found = await connection.engine.call(lambda client: client.inspect_image(image.id))
        return next(iter(found.get("RepoDigests") or ()), image.id)

    def _service_plan(self, connection: Connection, image: str, common: ContainerPlan | None = None) -> Plan:
        """What all services have in common; `common` is what the environments of a version have besides."""
        return (common or ContainerPlan()).extended(
            Plan,
            image=image,
            limit_processors=self._settings.processors == "limit",
            network=connection.place.network,
            constraints=self._nodes.constraints,
            labels=self._labels(connection.place),
        )

    async def _give_up(self, prepared: PreparedContainers[Any]) -> None:
        """On the nodes in the background; tasks that still run keep what they have open."""
        assert isinstance(prepared, PreparedSwarmVersion)
        if self._connection is not None and prepared.filling is not None and not self._stopped:
            entries = list(prepared.code.entries.values())
            release = self._connection.preparation.release(prepared.filling, prepared.plan, entries)
            self._workspace.track(asyncio.ensure_future(_quietly(release)))

    # --- environments

    async def _start(
        self, connection: Connection, prepared: PreparedContainers[Any], spec: SandboxSpec
    ) -> SwarmSandbox:
        """Have Swarm run an environment, on another node if one cannot."""
        assert isinstance(prepared, PreparedSwarmVersion)
        avoided = list(prepared.filling.avoided) if prepared.filling is not None else []
        variables = await self._addresses.as_seen(
            spec.variables, listeners=LOOPBACK, gateway=connection.place.address, relays=connection.place.listen
        )
        for tries in itertools.count(1):
            sandbox = self._make(prepared.plan, spec, connection)
            try:
                async with self._starts:
                    name = f"{connection.preparation.place}-{next(self._numbers)}"
                    await sandbox.start(name, connection.gate_at, variables, avoided)
            except NotStarted as error:
                if not error.node or tries > _OTHER_NODES:
                    raise
                _LOG.warning("an environment is started on another node: %s", error)
                avoided.append(error.node)
            else:
                break
        return sandbox

    def _make(self, plan: Plan, spec: SandboxSpec, connection: Connection) -> SwarmSandbox:
        sandbox = SwarmSandbox(
            plan, spec, connection.engine, connection.cluster, self._gate, lambda: self._sandboxes.discard(sandbox)
        )
        self._sandboxes.add(sandbox)
        return sandbox

    def _end_of(self, sandbox: SwarmSandbox) -> asyncio.Future[Any]:
        return sandbox.gone

    # --- what is left

    async def _remove_leftovers(self, connection: Connection) -> None:
        own = self._labels(connection.place)
        found = await connection.engine.call(lambda client: leftovers.find(client, own))
        await connection.preparation.clean(found.places, self._service_plan(connection, ""))
        for service in found.services:
            await connection.cluster.remove(service)
        if found.services:
            _LOG.info("removed %d services of gateways that do not live any more", len(found.services))

    async def _leave(self, engine: Engine, connection: Connection) -> None:
        if self._images is not None:
            await self._images.close()
        try:
            await connection.preparation.clean_all(self._service_plan(connection, ""))
            own = {"label": owner_filter(self._labels(connection.place))}
            for service in await engine.call(lambda client: client.services(filters=own)):
                await connection.cluster.remove(str(service["ID"]))
        finally:
            await connection.cluster.close()

    def _labels(self, here: GatewayPlace) -> dict[str, str]:
        return labelled.owner_labels(self._workspace.scratch.path, here.own_container)


async def _quietly(work: Awaitable[None]) -> None:
    with contextlib.suppress(EngineError):  # It goes when the gateway stops.
        await work
