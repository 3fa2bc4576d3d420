"""One subscriber of telemetry: a buffer, and the way to its listener inside the environment.

https://docs.aws.amazon.com/lambda/latest/dg/telemetry-api.html, "Specifying a destination protocol" and "Configuring memory usage
and buffering".
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lambda_runtime.platform_events import timestamp

_RETRY_S = (0.05, 0.1, 0.2, 0.5, 1.0)
_ANSWER_TIMEOUT_S = 5.0
_MAX_WAITING_BATCHES = 8
_FALLBACK = "127.0.0.1"
_DROPPED = "Consumer seems to have fallen behind as it has not acknowledged receipt of logs."


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened: the type and record that each of the two APIs has for it, or None where it has none."""

    stream: str
    """`platform`, `function` or `extension`."""
    moment: float
    telemetry: tuple[str, Any] | None
    logs: tuple[str, Any] | None
    logs_since: str = ""


@dataclass(frozen=True, slots=True)
class SubscriptionRequest:
    """What an extension asked for. `api` is `telemetry` or `logs`; `path` is that of HTTP, None for TCP."""

    api: str
    schema_version: str
    types: tuple[str, ...]
    port: int
    path: str | None
    method: str = "POST"
    max_items: int = 10_000
    max_bytes: int = 262_144
    timeout_ms: int = 1_000


class Subscription:
    """Collects events, and delivers a batch when enough have come or the first has waited long enough.

    A batch is tried again, with growing pauses, until the listener takes it. What comes meanwhile waits; beyond some batches
    events are dropped, and platform.logsDropped tells how many. The order is kept. Delivery is a task on the loop: nothing waits
    for it but `flush`.
    """

    def __init__(
        self,
        request: SubscriptionRequest,
        render: Callable[[Event, SubscriptionRequest], bytes | None],
        address: Callable[[], str],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.request = request
        self._render = render
        self._address = address
        self._loop = loop
        self._items: deque[bytes] = deque()
        self._bytes = 0
        self._dropped_items = 0
        self._dropped_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._delivery: asyncio.Task[None] | None = None
        self._reached: str | None = None
        """The address at which the listener was found: it stays with one."""
        self._stream: asyncio.StreamWriter | None = None
        self._closed = False

    def change(self, request: SubscriptionRequest) -> None:
        """Subscribed again: what comes from now on is of the new types and goes to the new listener."""
        self.request = request
        self._close_stream()

    def add(self, event: Event) -> None:
        """Take note of an event."""
        item = self._render(event, self.request)
        if item is None or self._closed:
            return
        if self._bytes + len(item) > _MAX_WAITING_BATCHES * self.request.max_bytes:
            self._dropped_items += 1
            self._dropped_bytes += len(item)
            return
        self._items.append(item)
        self._bytes += len(item)
        if len(self._items) >= self.request.max_items or self._bytes >= self.request.max_bytes:
            self._deliver()
        elif self._timer is None and self._delivery is None:
            self._timer = self._loop.call_later(self.request.timeout_ms / 1000, self._deliver)

    def flush(self) -> asyncio.Future[None]:
        """Deliver what is there; done when that has been taken."""
        self._deliver()
        if self._delivery is not None:
            return self._delivery
        nothing: asyncio.Future[None] = self._loop.create_future()
        nothing.set_result(None)
        return nothing

    def close(self) -> None:
        """Deliver nothing more. May be called twice."""
        self._closed = True
        self._cancel_timer()
        self._items.clear()
        if self._delivery is not None:
            self._delivery.cancel()
        self._close_stream()

    def _deliver(self) -> None:
        self._cancel_timer()
        if self._items and self._delivery is None and not self._closed:
            self._delivery = self._loop.create_task(self._run())
            self._delivery.add_done_callback(self._delivered)

    def _delivered(self, delivery: asyncio.Task[None]) -> None:
        self._delivery = None
        if self._items:  # Came when the delivery had just looked for the last time.
            self._deliver()

    async def _run(self) -> None:
        """Deliver until nothing is due."""
        while self._items:
            batch = self._take_batch()
            for attempt in itertools.count():
                try:
                    await self._send(batch)
                    break
                except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError):
                    self._close_stream()
                    await asyncio.sleep(_RETRY_S[min(attempt, len(_RETRY_S) - 1)])
            if self._dropped_items:
                self._items.appendleft(self._dropped())

    def _take_batch(self) -> list[bytes]:
        batch: list[bytes] = []
        size = 0
        while self._items and len(batch) < self.request.max_items and size < self.request.max_bytes:
            batch.append(self._items.popleft())
            size += len(batch[-1])
        self._bytes = max(0, self._bytes - size)
        return batch

    def _dropped(self) -> bytes:
        record = {"reason": _DROPPED, "droppedRecords": self._dropped_items, "droppedBytes": self._dropped_bytes}
        self._dropped_items = self._dropped_bytes = 0
        return json.dumps({"time": timestamp(time.time()), "type": "platform.logsDropped", "record": record}).encode()

    async def _send(self, batch: list[bytes]) -> None:
        async with asyncio.timeout(_ANSWER_TIMEOUT_S):
            if self.request.path is None:
                await self._send_lines(batch)
            else:
                await self._send_request(self.request.path, b"[" + b",".join(batch) + b"]")

    async def _send_lines(self, batch: list[bytes]) -> None:
        if self._stream is None or self._stream.is_closing():
            _, self._stream = await self._connect()
        self._stream.write(b"".join(item + b"\n" for item in batch))
        await self._stream.drain()

    async def _send_request(self, path: str, body: bytes) -> None:
        reader, writer = await self._connect()
        try:
            head = f"{self.request.method} {path} HTTP/1.1\r\nHost: sandbox.localdomain:{self.request.port}\r\n"
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            writer.write(head.encode() + body)
            status = (await reader.readline()).split()
            length = 0
            while (line := await reader.readline()) not in (b"\r\n", b"\n", b""):
                name, _, value = line.partition(b":")
                if name.strip().lower() == b"content-length":
                    length = int(value)
            await reader.readexactly(length)  # A listener must not find the connection closed before it has answered.
            if len(status) < 2 or not status[1].startswith(b"2"):
                raise ValueError("the listener did not take the batch")
        finally:
            writer.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._reached is not None:
            return await asyncio.open_connection(self._reached, self.request.port)
        # The environment's own address first; a listener that does not use the name `sandbox` is at the usual one.
        own = self._address()
        for address in dict.fromkeys((own, _FALLBACK)):
            try:
                connection = await asyncio.open_connection(address, self.request.port)
            except OSError:
                if address == _FALLBACK:
                    raise
                continue
            self._reached = address
            return connection
        raise AssertionError("the loop ends with a return or an error")

    def _close_stream(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
