"""An engine of a few lines: it answers what the test gave it, and tells what the test says happened."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from typing import Any

import docker.errors
import pytest
import requests

from lambda_runtime.executors.containers.errors import EngineUnavailable
from lambda_runtime.executors.containers.plan import ulimits
from lambda_runtime.executors.containers.settings import parse_flags
from lambda_runtime.executors.docker.client import EngineInfo, translated
from lambda_runtime.executors.docker.container import Plan
from lambda_runtime.executors.docker.engine import ContainerListener


def not_found(what: str) -> docker.errors.NotFound:
    response = requests.Response()
    response.status_code = 404
    return docker.errors.NotFound(f"No such {what}", response=response, explanation=f"No such {what}")


class FakeClient:
    """The SDK's low-level client, as far as it is used. Every call is in `calls`."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.images: dict[str, dict[str, Any]] = {}
        self.registry: dict[str, dict[str, Any]] = {}
        self.pull_error = ""
        self.running: list[dict[str, Any]] = []
        self.start_error: Exception | None = None
        self.pulling = threading.Event()
        self.updated = threading.Event()
        self.before_pull: Callable[[], None] = lambda: None

    def inspect_image(self, name: str) -> dict[str, Any]:
        if name not in self.images:
            raise not_found(f"image: {name}")
        return self.images[name]

    def pull(self, repository: str, tag: str, platform: str, **options: Any) -> list[dict[str, Any]]:
        name = f"{repository}{'@' if tag.startswith('sha256:') else ':'}{tag}"
        self.calls.append(("pull", (name, platform)))
        self.pulling.set()
        self.before_pull()
        if self.pull_error:
            return [{"status": "Pulling"}, {"error": self.pull_error}]
        self.images[name] = self.registry[name]
        return [{"status": "Downloading", "id": "a", "progressDetail": {"current": 1, "total": 2}}]

    def create_container_from_config(
        self, config: dict[str, Any], name: Any = None, platform: Any = None
    ) -> dict[str, Any]:
        self.calls.append(("create", config))
        return {"Id": "c1"}

    def start(self, container_id: str) -> None:
        self.calls.append(("start", container_id))
        if self.start_error is not None:
            raise self.start_error

    def inspect_container(self, container_id: str) -> dict[str, Any]:
        return {"State": {"Pid": 0}, "NetworkSettings": {"Networks": {"bridge": {"IPAddress": "172.17.0.9"}}}}

    def update_container(self, container_id: str, **limits: int) -> None:
        self.calls.append(("update", limits))
        self.updated.set()

    def kill(self, container_id: str) -> None:
        self.calls.append(("kill", container_id))

    def remove_container(self, container_id: str, **options: Any) -> None:
        self.calls.append(("remove", container_id))


class FakeEngine:
    """As `Engine`, with a client of the test's."""

    def __init__(self) -> None:
        self.client = FakeClient()
        self.listeners: dict[str, ContainerListener] = {}
        self.gone = False

    async def call(self, function: Callable[[Any], Any]) -> Any:
        await asyncio.sleep(0)
        if self.gone:
            raise EngineUnavailable("no Docker engine answers")
        return await asyncio.to_thread(translated, lambda: function(self.client))

    def listen(self, container_id: str, listener: ContainerListener) -> None:
        self.listeners[container_id] = listener

    def forget(self, container_id: str) -> None:
        self.listeners.pop(container_id, None)

    def tell(self, what: str, attributes: Mapping[str, str] | None = None) -> None:
        """Something happened to the container."""
        for listener in list(self.listeners.values()):
            listener(what, attributes or {})


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def info() -> EngineInfo:
    return EngineInfo(
        "unix:///x", "28", "amd64", "6.1", 2, rootless=False, podman=False, desktop=False, limits_swap=True
    )


@pytest.fixture
def plan() -> Callable[..., Plan]:
    """`plan(memory_mib=…)`: what containers of a version are made of."""
    return make_plan


def make_plan(**fields: Any) -> Plan:
    fine: dict[str, Any] = {
        "image_id": "sha256:1",
        "program": ("/lambda-entrypoint.sh", "index.handler"),
        "working_directory": "/var/task",
        "mounts": (),
        "memory_mib": 512,
        "storage_mib": 600,
        "memory_watched": True,
        "network": "bridge",
        "dns": (),
        "flags": parse_flags(""),
        "labels": {"a": "b"},
        "shell": True,
        "pipes": True,
        "podman": False,
        "limits": tuple(ulimits(parse_flags(""))),
        "extensions": (),
        "image_variables": (),
    }
    return Plan(**(fine | fields))
