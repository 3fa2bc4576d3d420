"""What the managers of a Swarm say of nodes and tasks."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import docker
import requests.exceptions
import urllib3.exceptions

from lambda_runtime.executors.containers.errors import EngineError
from lambda_runtime.executors.containers.image import architecture_of
from lambda_runtime.executors.docker import leftovers
from lambda_runtime.executors.docker.engine import Engine

_LOG = logging.getLogger(__name__)

ENDED = frozenset({"complete", "shutdown", "failed", "rejected", "remove", "orphaned"})
"""States of tasks that do not run any more, and will not."""
_SOON_S = 0.1
_LATER_S = 1.0

Task = Mapping[str, Any]
TaskListener = Callable[[Task | None, str], None]
"""Called on the loop with a service's task as it is now, None if it has none any more; and why its node is lost, if it is."""


@dataclass(frozen=True, slots=True)
class Node:
    """A machine of the cluster."""

    id: str
    name: str
    address: str
    architecture: str
    """As in images: `amd64`, `arm64`."""
    ready: bool
    """It takes tasks."""
    down: bool
    manager: bool


class Cluster:
    """Services of ours, and what becomes of their tasks.

    Swarm's API has no events of tasks on other nodes, so the managers are asked: ten times a second while somebody waits for a
    task to start or end, and once a second while there are any. It costs two calls, however many tasks there are. On the loop
    only.
    """

    def __init__(self, engine: Engine, label: str) -> None:
        """`label` is on every service of this gateway, as `name=value`."""
        self._engine = engine
        self._label = label
        self._listeners: dict[str, TaskListener] = {}
        self._urgent: set[str] = set()
        self._creating = 0
        self._watching: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._down: frozenset[str] = frozenset()
        self._unwanted: set[asyncio.Future[None]] = set()
        self.known: set[str] = set()
        """Services that are to stay though nobody listens to their tasks."""

    async def create(self, spec: Mapping[str, Any], listener: TaskListener) -> str:
        """Make a service and listen to its task; its id. Raises EngineError. Cancelled, what was made is removed."""
        self._creating += 1
        making = asyncio.ensure_future(
            self._engine.call(lambda client: _request(client, "post", "/services/create", spec))
        )
        try:
            made = await asyncio.shield(making)
            self._listeners[made["ID"]] = listener
            self.hurry(made["ID"])
            return str(made["ID"])
        except asyncio.CancelledError:
            self._unwanted.add(asyncio.ensure_future(self._undo(making)))
            raise
        finally:
            self._creating -= 1

    async def _undo(self, making: asyncio.Future[dict[str, Any]]) -> None:
        with contextlib.suppress(EngineError):  # It was not made; or goes by its label, when the gateway stops.
            await self.remove(str((await making)["ID"]))

    async def scale_to_none(self, service: str) -> None:
        """Have the task end as its service says: its signal, then, when the time is over, SIGKILL. Raises EngineError."""

        def scale(client: docker.APIClient) -> None:
            found = client.inspect_service(service)
            spec = found["Spec"] | {"Mode": {"Replicated": {"Replicas": 0}}}
            version = found["Version"]["Index"]
            _request(client, "post", f"/services/{service}/update?version={version}", spec)

        await self._engine.call(scale)

    async def remove(self, service: str) -> None:
        """Remove a service; its task ends. Raises EngineError, but not for one that is gone."""
        try:
            await self._engine.call(lambda client: client.remove_service(service))
        except EngineError as error:
            if error.status != 404:
                raise

    def hurry(self, service: str) -> None:
        """Somebody waits for what becomes of its task."""
        self._urgent.add(service)
        self._wake.set()
        if self._watching is None or self._watching.done():
            self._watching = asyncio.ensure_future(self._watch())

    def calm(self, service: str) -> None:
        """Nobody waits any more; changes are still told, up to a second later."""
        self._urgent.discard(service)

    def forget(self, service: str) -> None:
        """Listen no more. May be called twice."""
        self._listeners.pop(service, None)
        self._urgent.discard(service)

    async def nodes(self) -> list[Node]:
        """All machines of the cluster. Raises EngineError."""
        return [read_node(each) for each in await self._engine.call(lambda client: client.nodes())]

    async def tasks(self, service: str) -> list[dict[str, Any]]:
        """Those of one service. Raises EngineError."""
        return list(await self._engine.call(lambda client: client.tasks(filters={"service": service})))

    async def close(self) -> None:
        """Ask no more. May be called twice."""
        await asyncio.gather(*self._unwanted, return_exceptions=True)
        self._unwanted.clear()
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
            self._watching = None
        self._listeners.clear()

    async def _watch(self) -> None:
        while self._listeners or self._creating:
            with contextlib.suppress(EngineError):  # No manager answers: asked again; who runs goes on without them.
                await self._look()
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), _SOON_S if self._urgent else _LATER_S)
            if self._urgent:
                await asyncio.sleep(
                    _SOON_S / 2
                )  # What was just asked for is not done yet; and the managers have other work.

    async def _look(self) -> None:
        listeners = dict(self._listeners)
        filters = {"label": self._label}
        found, nodes = await self._engine.call(lambda client: (client.tasks(filters=filters), client.nodes()))
        down = {node.id: node.name for node in map(read_node, nodes) if node.down}
        for node in down.keys() - self._down:
            _LOG.warning("the node %s of the cluster went down: what ran there has ended", down[node])
        self._down = frozenset(down)
        by_service: dict[str, list[Task]] = {}
        for task in found:
            by_service.setdefault(str(task.get("ServiceID")), []).append(task)
        for service, listener in listeners.items():
            tasks = by_service.pop(service, [])
            task = max(tasks, key=lambda each: each["Version"]["Index"], default=None)
            name = down.get(str(task.get("NodeID")), "") if task is not None else ""
            listener(task, f"the node {name} of the cluster went down" if name else "")
        if self._creating == 0:
            for service in by_service.keys() - self._listeners.keys() - self.known:
                if any(task["Status"]["State"] not in ENDED for task in by_service[service]):
                    await self.remove(service)  # Its end was asked for while no manager answered.


class TaskOutput:
    """What a task writes, from a manager, read by a thread of its own: whatever carries it can be waited for."""

    def __init__(self, engine: Engine, task: str, on_output: Callable[[bytes], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._engine = engine
        self._on_output = on_output
        self._answer: Any = None
        self._closed = False
        self._opening = asyncio.ensure_future(self._open(task))

    def close(self) -> None:
        """Read no more. May be called twice."""
        self._closed = True
        if self._answer is not None:
            answer, self._answer = self._answer, None
            # The socket is shut down under the thread that reads it; to close the answer would wait for that thread.
            threading.Thread(target=_shut, args=(answer,), name="swarm-output-end", daemon=True).start()

    async def _open(self, task: str) -> None:
        def get(client: docker.APIClient) -> Any:
            url = f"{client.base_url}/v{client.api_version}/tasks/{task}/logs?stdout=1&stderr=1&follow=1"
            answer = client.get(url, stream=True, timeout=(client.timeout, None))
            answer.raise_for_status()
            return answer

        try:
            self._answer = await self._engine.call(get)
        except (EngineError, requests.exceptions.RequestException) as error:
            _LOG.warning("cannot read what an environment writes: %s", error)
            return
        if self._closed:
            self.close()
        else:
            threading.Thread(target=self._read, args=(self._answer.raw,), name="swarm-output", daemon=True).start()

    def _read(self, stream: Any) -> None:
        with contextlib.suppress(OSError, ValueError, AttributeError, urllib3.exceptions.HTTPError, RuntimeError):
            # The manager, or we, closed the connection, or the loop is closed: what came before has been handed over.
            while len(head := stream.read(8)) == 8:
                if data := stream.read(int.from_bytes(head[4:], "big")):
                    self._loop.call_soon_threadsafe(self._on_output, data)


def read_node(found: Mapping[str, Any]) -> Node:
    """From the engine's words."""
    description, status = found.get("Description") or {}, found.get("Status") or {}
    machine = str((description.get("Platform") or {}).get("Architecture"))
    state = status.get("State")
    return Node(
        id=str(found["ID"]),
        name=str(description.get("Hostname") or found["ID"]),
        address=str(status.get("Addr") or ""),
        architecture=architecture_of(machine),
        ready=state == "ready" and (found.get("Spec") or {}).get("Availability") == "active",
        down=state == "down",
        manager="ManagerStatus" in found,
    )


def problem(task: Task) -> str:
    """Why a task did not run, in Swarm's words."""
    status = task.get("Status") or {}
    return str(status.get("Err") or status.get("Message") or status.get("State"))


def owner_filter(labels: Mapping[str, str]) -> str:
    """The label by which a gateway's services are found."""
    return f"{leftovers.OWNER}={labels[leftovers.OWNER]}"


def _request(client: docker.APIClient, method: str, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """A call with a body that the SDK's own types cannot say (capabilities, limits of processes). Raises APIError."""
    url = f"{client.base_url}/v{client.api_version}{path}"
    answer = client.request(
        method, url, data=json.dumps(body), headers={"Content-Type": "application/json"}, timeout=60
    )
    try:
        answer.raise_for_status()
    except requests.exceptions.HTTPError as error:
        raise docker.errors.create_api_error_from_http_exception(error) from error
    return dict(answer.json())


def _shut(answer: Any) -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        connection = answer.raw._connection
        if connection is not None and connection.sock is not None:
            connection.sock.shutdown(2)
    with contextlib.suppress(OSError, ValueError, AttributeError, urllib3.exceptions.HTTPError):
        answer.close()


def eligible(nodes: Sequence[Node], architecture: str) -> list[Node]:
    """The machines that can run what is for this architecture."""
    return [node for node in nodes if node.ready and node.architecture == architecture]
