"""Images and code on every node: brought once, by a task that each node runs once."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import replace as changed
from pathlib import Path

from lambda_runtime.errors import VersionFailed
from lambda_runtime.executors.containers.errors import EngineError
from lambda_runtime.executors.containers.remote import archive
from lambda_runtime.executors.containers.remote.gate import Gate, Pass
from lambda_runtime.executors.docker.engine import Engine
from lambda_runtime.executors.process.peers import Address
from lambda_runtime.executors.swarm import leftovers, task
from lambda_runtime.executors.swarm.cluster import ENDED, Cluster, eligible, problem
from lambda_runtime.executors.swarm.task import Plan

_LOG = logging.getLogger(__name__)

_LIMIT_S = 900.0
"""An image may have to come from far."""
_FIRST_TASKS_S = 10.0
_CLEAN_LIMIT_S = 20.0
_ASKED_EVERY_S = 0.15


@dataclass(slots=True)
class Filling:
    """What one version needs on the nodes, while it may be started."""

    service: str
    fetched_with: Pass
    avoided: tuple[str, ...]
    """Ids of nodes that could not get it."""


class Preparation:
    """Has every node of the cluster get a version's image and code before the version is started anywhere. On the loop only.

    A global service does it: one task on each node, nodes that join later among them. The code lies in a directory of the node,
    by its hash; a volume would stay there, because no manager can remove one. The service stays, ended, as the record of what
    lies on the nodes, and goes with it.
    """

    def __init__(
        self, engine: Engine, cluster: Cluster, gate: Gate, gate_at: Address, directory: str, owner: str, scratch: Path
    ) -> None:
        """`gate_at` is where nodes reach the gate, `directory` where they keep code, in a place below it that only `owner` has;
        `scratch` is this machine's, for archives.
        """
        self.place = f"lambda-provider-{hashlib.sha256(owner.encode()).hexdigest()[:20]}"
        self._engine = engine
        self._cluster = cluster
        self._gate = gate
        self._directory = directory
        self._scratch = scratch
        self._gate_at = gate_at
        self._users: Counter[str] = Counter()
        self._cleaning: dict[str, asyncio.Task[None]] = {}
        self._archives: dict[str, asyncio.Task[Mapping[str, Path]]] = {}
        self._numbers = itertools.count(1)
        self.image = ""
        """One that all nodes have."""

    def path(self, entry: str) -> str:
        """Where a node has an entry."""
        return f"{self._directory}/{self.place}/{_flat(entry)}"

    async def fill(self, plan: Plan, architecture: str, entries: Mapping[str, Path]) -> Filling:
        """Get image and entries to all nodes of an architecture. Raises VersionFailed when no node can have them, EngineError."""
        names = [_flat(entry) for entry in entries]
        fetched_with = self._gate.issue()
        for entry, path in entries.items():
            self._users[_flat(entry)] += 1
            if (cleaning := self._cleaning.get(_flat(entry))) is not None:
                await asyncio.wait([cleaning])
            fetched_with.files |= await self._archive(_flat(entry), path)
        plan = changed(plan, labels={**plan.labels, leftovers.PLACE: f"{self._directory} {self.place}"})
        gate = (self._gate_at[0], fetched_with.host, self._gate_at[1])
        name = f"{self.place}-code-{next(self._numbers)}"
        service = task.filling(plan, name, self._directory, self.place, names, gate)
        created = ""
        try:
            created = await self._cluster.create(service, lambda found, lost: None)
            self._cluster.known.add(created)
            self._cluster.forget(created)
            avoided = await self._outcome(created, architecture)
        except BaseException:
            fetched_with.close()
            await self._discard(created, plan, names)
            raise
        self.image = plan.image
        return Filling(created, fetched_with, avoided)

    async def release(self, filling: Filling, plan: Plan, entries: list[str]) -> None:
        """The version will not be started again: what no other one uses is removed from the nodes."""
        filling.fetched_with.close()
        await self._discard(filling.service, plan, [_flat(entry) for entry in entries])

    async def clean(self, places: Mapping[tuple[str, str], str], plan: Plan) -> None:
        """Remove directories from all nodes: (directory, place) -> image. Raises EngineError."""
        for (directory, place), image in places.items():
            await self._clean(changed(plan, image=image), directory, [place])

    async def clean_all(self, plan: Plan) -> None:
        """Remove what is left of ours from all nodes. Raises EngineError."""
        if self.image:
            await self._clean(changed(plan, image=self.image), self._directory, [self.place])

    async def _outcome(self, service: str, architecture: str) -> tuple[str, ...]:
        """Wait until every node has it; the ids of those that cannot."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        while True:
            nodes = {node.id: node for node in await self._cluster.nodes()}
            tasks = [each for each in await self._cluster.tasks(service) if each.get("NodeID") in nodes]
            tasks = [each for each in tasks if nodes[each["NodeID"]].ready]
            waiting = [each for each in tasks if each["Status"]["State"] not in ENDED]
            wanted = {node.id for node in eligible(list(nodes.values()), architecture)}
            if not wanted:
                raise VersionFailed(
                    "InvalidRuntime", f"No node of the cluster is ready and of the architecture {architecture}."
                )
            missing = wanted - {each["NodeID"] for each in tasks}
            late = loop.time() - began > _FIRST_TASKS_S
            if tasks and not waiting and (not missing or late):
                break
            if (late and not tasks) or loop.time() - began > _LIMIT_S:
                raise VersionFailed(
                    "InternalError", "No node of the cluster takes the function (LAMBDA_SWARM_CONSTRAINTS)."
                )
            await asyncio.sleep(_ASKED_EVERY_S)  # Swarm has no events of tasks.
        complete = {each["NodeID"] for each in tasks if each["Status"]["State"] == "complete"}
        for each in tasks:
            if each["NodeID"] not in complete:
                _LOG.warning("the node %s cannot run it: %s", nodes[each["NodeID"]].name, problem(each))
        if not complete:
            said = problem(tasks[0])
            hint = (
                ": it has to be on every node, or in a registry that they can pull from"
                if "No such image" in said
                else ""
            )
            raise VersionFailed("InvalidImage", f"No node of the cluster can run the function ({said}){hint}.")
        return tuple(sorted({each["NodeID"] for each in tasks} - complete))

    async def _archive(self, name: str, path: Path) -> Mapping[str, Path]:
        if name not in self._archives or _failed(self._archives[name]):
            self._archives[name] = asyncio.ensure_future(asyncio.to_thread(_write, name, path, self._scratch))
        try:
            return await asyncio.shield(self._archives[name])
        except ValueError as error:
            raise VersionFailed("InvalidZipFileException", str(error)) from error

    async def _discard(self, service: str, plan: Plan, names: list[str]) -> None:
        unused = []
        for name in names:
            self._users[name] -= 1
            if self._users[name] <= 0:
                del self._users[name]
                unused.append(name)
                if (made := self._archives.pop(name, None)) is not None and not _failed(made) and made.done():
                    for file in made.result().values():
                        file.unlink(missing_ok=True)
        if unused:
            paths = [f"{self.place}/{name}" for name in unused]
            cleaning = asyncio.ensure_future(self._clean_quietly(plan, paths))
            self._cleaning |= dict.fromkeys(unused, cleaning)
            await asyncio.wait([cleaning])
            for name in unused:
                self._cleaning.pop(name, None)
        if service:
            self._cluster.known.discard(service)
            await self._cluster.remove(service)

    async def _clean_quietly(self, plan: Plan, paths: list[str]) -> None:
        try:
            await self._clean(plan, self._directory, paths)
        except EngineError as error:
            _LOG.warning("code stays on the nodes until the gateway stops: %s", error)

    async def _clean(self, plan: Plan, directory: str, paths: list[str]) -> None:
        """Run a task on every node that removes these paths."""
        service = task.cleaning(plan, f"{self.place}-clean-{next(self._numbers)}", directory, paths)
        created = await self._cluster.create(service, lambda found, lost: None)
        self._cluster.known.add(created)
        self._cluster.forget(created)
        try:
            async with asyncio.timeout(_CLEAN_LIMIT_S):
                while True:
                    tasks = await self._cluster.tasks(created)
                    ready = {node.id for node in await self._cluster.nodes() if node.ready}
                    here = [each for each in tasks if each.get("NodeID") in ready]
                    if here and all(each["Status"]["State"] in ENDED for each in here):
                        return
                    await asyncio.sleep(_ASKED_EVERY_S)
        except TimeoutError:
            _LOG.warning(
                "some nodes of the cluster did not remove %s", ", ".join(f"{directory}/{path}" for path in paths)
            )
        finally:
            self._cluster.known.discard(created)
            await self._cluster.remove(created)


def _flat(entry: str) -> str:
    """The name of an entry of the code cache as that of one directory."""
    return entry.replace("/", "-")


def _failed(made: asyncio.Task[Mapping[str, Path]]) -> bool:
    return made.done() and (made.cancelled() or made.exception() is not None)


def _write(name: str, source: Path, scratch: Path) -> Mapping[str, Path]:
    tar, lines = scratch / f"{name}.tar", scratch / f"{name}.list"
    with tar.open("wb") as file:
        archive.write_tar(source, file)
    with lines.open("wb") as file:
        archive.write_list(source, file)
    return {f"/{name}.tar": tar, f"/{name}.list": lines}
