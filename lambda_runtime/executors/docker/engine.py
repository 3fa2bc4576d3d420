"""The one way to a Docker engine: the SDK's calls in threads, and what the engine tells of containers."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, TypeVar

import docker
import docker.errors
import requests.exceptions
import urllib3.exceptions

from lambda_runtime.executors.containers.errors import EngineUnavailable
from lambda_runtime.executors.docker.client import CALLS_AT_ONCE, EngineInfo, open_client, translated

_LOG = logging.getLogger(__name__)

T = TypeVar("T")

_RECONNECT_PAUSES_S = (0.0, 0.2, 0.5)

ContainerListener = Callable[[str, Mapping[str, str]], None]
"""Called on the loop with what happened to a container (`die`, `oom`, `exec_die`, `lost`) and the event's attributes."""


class Engine:
    """Calls an engine, and tells who listens what happens to its containers.

    On the loop only, but for what is handed to `call`. Connected when first used; when the engine goes away every listener is
    told `lost` of containers that do not run any more, and the next call connects again.
    """

    def __init__(self, settings: Mapping[str, str], label: str) -> None:
        """`label` is on every container that is listened to, as `name=value`; a name alone has no value."""
        self._settings = settings
        # Podman's events have to be asked for with a value, even if that is empty.
        self._label = label if "=" in label else f"{label}="
        self._threads = ThreadPoolExecutor(CALLS_AT_ONCE, thread_name_prefix="docker")
        self._client: docker.APIClient | None = None
        self._connecting: asyncio.Task[EngineInfo] | None = None
        self._listeners: dict[str, ContainerListener] = {}
        self._events: Any = None
        self._closed = False
        self.on_reconnect: Callable[[], None] = lambda: None
        """Called on the loop when the engine answers again: containers of which nobody knows may be there."""

    async def connect(self) -> EngineInfo:
        """Who the engine is; asked once, and again after it went away. Raises EngineUnavailable."""
        task = self._connecting
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = self._connecting = asyncio.ensure_future(self._connect())
            task.add_done_callback(_consume)
        return await asyncio.shield(task)

    async def call(self, function: Callable[[docker.APIClient], T]) -> T:
        """Run a function with the SDK's low-level client in a thread. Raises EngineError, EngineUnavailable."""
        await self.connect()
        client = self._client
        if client is None or self._closed:
            raise EngineUnavailable("the connection to the Docker engine is closed")
        return await self._in_thread(functools.partial(function, client))

    def listen(self, container_id: str, listener: ContainerListener) -> None:
        """Tell what happens to a container from now on."""
        self._listeners[container_id] = listener

    def forget(self, container_id: str) -> None:
        """Listen no more. May be called twice."""
        self._listeners.pop(container_id, None)

    async def close(self) -> None:
        """End the connection. May be called twice."""
        self._closed = True
        self._listeners.clear()
        self._close_events()
        if self._connecting is not None:
            self._connecting.cancel()
        client, self._client = self._client, None
        if client is not None:
            await asyncio.to_thread(client.close)
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _connect(self) -> EngineInfo:
        loop = asyncio.get_running_loop()
        client, info = await self._in_thread(functools.partial(open_client, self._settings))
        self._client = client
        # From the engine's own time on, so that nothing is missed between here and the thread's first look.
        since = await self._in_thread(lambda: client.info().get("SystemTime"))
        self._events = await self._in_thread(
            lambda: client.events(
                since=_seconds(since), decode=True, filters={"label": self._label, "type": "container"}
            )
        )
        threading.Thread(target=self._watch, args=(loop, self._events), name="docker-events", daemon=True).start()
        return info

    def _watch(self, loop: asyncio.AbstractEventLoop, events: Any) -> None:
        try:
            for event in events:
                loop.call_soon_threadsafe(self._dispatch, event)
        except (OSError, ValueError, requests.exceptions.RequestException, urllib3.exceptions.HTTPError) as error:
            _LOG.debug("events of the engine: %s", error)
        except AttributeError:
            _LOG.debug(
                "the stream of events was closed"
            )  # So the SDK's stream ends when it is closed while it is read.
        with contextlib.suppress(RuntimeError):  # The loop is closed.
            loop.call_soon_threadsafe(self._went_away, events)

    def _dispatch(self, event: Mapping[str, Any]) -> None:
        actor = event.get("Actor") or {}
        container_id = str(event.get("id") or actor.get("ID") or "")
        action = str(event.get("Action") or event.get("status") or "")
        listener = self._listeners.get(container_id)
        if listener is not None:
            # Of an exec, Docker appends the command; Podman calls some events otherwise.
            name = {"died": "die", "exec_died": "exec_die"}.get(action.partition(":")[0], action.partition(":")[0])
            listener(name, actor.get("Attributes") or {})

    def _went_away(self, events: Any) -> None:
        if events is not self._events or self._closed:
            return
        self._events = None
        _LOG.warning("the Docker engine went away")
        task = asyncio.ensure_future(self._come_back())
        self._connecting = task
        task.add_done_callback(_consume)

    async def _come_back(self) -> EngineInfo:
        """Connect again, if the engine is there in a moment; tell of what has ended meanwhile."""
        try:
            info, client = await self._connect_again()
        except EngineUnavailable:
            for container_id in list(self._listeners):
                self._tell_lost(container_id)
            raise
        filters = {"label": self._label, "status": "running"}
        running = {each["Id"] for each in await self._in_thread(lambda: client.containers(filters=filters))}
        for container_id in set(self._listeners) - running:
            self._tell_lost(container_id)
        self.on_reconnect()
        return info

    async def _connect_again(self) -> tuple[EngineInfo, docker.APIClient]:
        self._client = None
        for pause_s in _RECONNECT_PAUSES_S:
            await asyncio.sleep(pause_s)
            with contextlib.suppress(EngineUnavailable):
                return await self._connect(), self._client
        return await self._connect(), self._client

    def _tell_lost(self, container_id: str) -> None:
        if (listener := self._listeners.get(container_id)) is not None:
            listener("lost", {})

    def _close_events(self) -> None:
        events, self._events = self._events, None
        if events is not None:
            with contextlib.suppress(docker.errors.DockerException, OSError, AttributeError):
                events.close()

    async def _in_thread(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, functools.partial(translated, function))


def _consume(task: asyncio.Task[EngineInfo]) -> None:
    if not task.cancelled():
        task.exception()  # Whoever waited has it; nobody may have.


def _seconds(moment: str | None) -> int | None:
    """The engine's time (RFC 3339) in whole seconds."""
    if not moment:
        return None
    head, _, rest = moment.partition(".")
    zone = rest.lstrip("0123456789") if rest else ""
    return int(datetime.fromisoformat(f"{head}{zone}".replace("Z", "+00:00")).timestamp())
