"""Logs and metrics of functions on their way to CloudWatch in moto.

Nothing starts moto just to hold log lines: they wait here, bounded, until moto runs for another reason or somebody asks for
logs. From then on they are delivered soon after they were written. All requests are made by hand on the gateway's loop; a
botocore client would block it.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlencode

from lambda_provider.host import LogEvent, ServiceUnavailable
from lambda_provider.hosts.upstream import Upstream, UpstreamError

logger = logging.getLogger(__name__)

DELIVERY_DELAY_S = 0.2
"""How long lines are collected before they are sent, when nobody asks for them earlier."""

# Limits of PutLogEvents (AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html): events, and bytes with 26 an event.
_MAX_BATCH_EVENTS = 10_000
_MAX_BATCH_BYTES = 1_048_576
_EVENT_OVERHEAD_BYTES = 26
_MAX_MESSAGE_BYTES = 256 * 1024 - _EVENT_OVERHEAD_BYTES
# PutMetricData takes 1,000 metrics in a request.
_MAX_METRICS = 1_000


@dataclass(frozen=True, slots=True)
class _Stream:
    account_id: str
    region: str
    group: str
    name: str


@dataclass(slots=True)
class _Pending:
    timestamp_ms: int
    message: str
    size: int


class Receiver(Protocol):
    """Who has CloudWatch: `lambda_provider.hosts.moto_process.MotoProcess`."""

    on_ready: list[Callable[[], None]]
    """Called each time it was started; what an earlier one knew is gone then."""

    @property
    def running(self) -> bool:
        """Whether it takes requests now."""
        ...

    async def ready(self) -> None:
        """Return when it takes requests. Raises `ServiceUnavailable`."""
        ...


class AlwaysThere:
    """A CloudWatch that lives as long as we do."""

    running = True

    def __init__(self) -> None:
        self.on_ready: list[Callable[[], None]] = []

    async def ready(self) -> None:
        """At once."""


class DeliveryError(Exception):
    """Moto refused what we sent: `code` is AWS's error code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class Telemetry:
    """Buffers for log events, one a stream, and for metrics; and their delivery.

    Touched only on the gateway's loop. Order is kept in a stream. When more than `max_bytes` wait, the oldest go, and
    `dropped_events` counts them. Deliveries run one at a time.
    """

    SERVICES = frozenset(("logs", "monitoring"))
    """Signing names of the services whose readers have to see what waits here."""

    def __init__(self, moto: Receiver, upstream: Upstream, *, max_bytes: int = 32 * 1024 * 1024) -> None:
        self.dropped_events = 0
        self.on_read: list[Callable[[], None]] = []
        """Called before a reader is answered: whoever still collects hands over what there is."""
        self._moto = moto
        self._upstream = upstream
        self._max_bytes = max_bytes
        self._bytes = 0
        self._streams: dict[_Stream, deque[_Pending]] = {}
        self._metrics: dict[tuple[str, str, str], deque[Mapping[str, Any]]] = {}
        self._known: set[_Stream] = set()
        self._delivery = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._ended = False
        moto.on_ready.append(self._moto_is_ready)

    def add_logs(self, account_id: str, region: str, group: str, name: str, events: Sequence[LogEvent]) -> None:
        """Append to a stream. Returns at once."""
        stream = _Stream(account_id, region, group, name)
        queue = self._streams.get(stream)
        if queue is None:
            queue = self._streams[stream] = deque()
        for event in events:
            for message in _pieces(event.message):
                size = len(message) + _EVENT_OVERHEAD_BYTES
                queue.append(_Pending(event.timestamp_ms, message, size))
                self._bytes += size
        while self._bytes > self._max_bytes:
            self._drop_oldest()
        self._deliver_soon()

    def add_metrics(self, account_id: str, region: str, namespace: str, metrics: Sequence[Mapping[str, Any]]) -> None:
        """Record metrics in the shape of PutMetricData. Returns at once."""
        key = (account_id, region, namespace)
        if key not in self._metrics:
            self._metrics[key] = deque(maxlen=100_000)
        self._metrics[key].extend(metrics)
        self._deliver_soon()

    async def flush_for_reader(self) -> None:
        """Deliver all that was written or counted until now; moto has to run."""
        for hand_over in self.on_read:
            hand_over()
        await self.flush()

    async def flush(self) -> None:
        """Deliver all that waits now, in order; moto has to run. What cannot be delivered now is kept."""
        async with self._delivery:
            try:
                for stream in list(self._streams):
                    if not self._ended:
                        await self._deliver_stream(stream)
                for key in list(self._metrics):
                    if not self._ended:
                        await self._deliver_metrics(key)
            except (UpstreamError, OSError, ServiceUnavailable) as error:
                logger.warning("logs and metrics are kept until moto is back: %s", error)

    async def forget(self) -> None:
        """Drop what waits, and what is known of moto's streams; a delivery that is under way ends first."""
        async with self._delivery:
            self._streams.clear()
            self._metrics.clear()
            self._known.clear()
            self._bytes = 0

    async def end(self) -> None:
        """Deliver nothing more, and return when the request that is under way is answered: its receiver is about to end."""
        self._ended = True
        async with self._delivery:
            pass

    async def stop(self) -> None:
        """Give up on what waits: the logs end with moto."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _moto_is_ready(self) -> None:
        self._known.clear()
        self._deliver_soon()

    def _deliver_soon(self) -> None:
        if self._moto.running and not self._ended and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._deliver_later(), name="deliver logs")

    async def _deliver_later(self) -> None:
        while (self._streams or self._metrics) and self._moto.running and not self._ended:
            await asyncio.sleep(DELIVERY_DELAY_S)
            await self.flush()

    async def _deliver_stream(self, stream: _Stream) -> None:
        queue = self._streams.get(stream)
        if queue is None:
            return  # All of it was dropped to make room, while others were delivered.
        while queue:
            batch = _next_batch(queue)
            body = {
                "logGroupName": stream.group,
                "logStreamName": stream.name,
                # PutLogEvents wants its events in the order of time; lines of one stream may be stamped by two clocks.
                "logEvents": [
                    {"timestamp": event.timestamp_ms, "message": event.message}
                    for event in sorted(batch, key=lambda event: event.timestamp_ms)
                ],
            }
            try:
                await self._put_log_events(stream, body)
            except DeliveryError as error:
                logger.warning("moto refused %d log events of %s: %s", len(batch), stream.group, error)
            for event in batch:
                # While we waited, the oldest may have been dropped to make room.
                if queue and queue[0] is event:
                    queue.popleft()
                    self._bytes -= event.size
        if self._streams.get(stream) is queue:
            del self._streams[stream]

    async def _put_log_events(self, stream: _Stream, body: dict[str, Any]) -> None:
        if stream not in self._known:
            await self._create(stream)
        try:
            await self._logs(stream, "PutLogEvents", body)
        except DeliveryError as error:
            if error.code != "ResourceNotFoundException":
                raise
            # Somebody deleted the group or the stream; like Lambda's, ours come back with the next line.
            await self._create(stream)
            await self._logs(stream, "PutLogEvents", body)

    async def _create(self, stream: _Stream) -> None:
        names = {"logGroupName": stream.group, "logStreamName": stream.name}
        for operation, body in (("CreateLogGroup", {"logGroupName": stream.group}), ("CreateLogStream", names)):
            try:
                await self._logs(stream, operation, body)
            except DeliveryError as error:
                if error.code != "ResourceAlreadyExistsException":
                    raise
        self._known.add(stream)

    async def _logs(self, stream: _Stream, operation: str, body: Mapping[str, Any]) -> None:
        content_type, target = b"application/x-amz-json-1.1", b"Logs_20140328." + operation.encode()
        await self._post("logs", stream.account_id, stream.region, content_type, json.dumps(body).encode(), target)

    async def _deliver_metrics(self, key: tuple[str, str, str]) -> None:
        account_id, region, namespace = key
        queue = self._metrics.pop(key)
        while queue:
            batch = [queue.popleft() for _ in range(min(len(queue), _MAX_METRICS))]
            form = {"Action": "PutMetricData", "Version": "2010-08-01", "Namespace": namespace}
            form.update(_flattened("MetricData", batch))
            body = urlencode(form).encode()
            try:
                await self._post("monitoring", account_id, region, b"application/x-www-form-urlencoded", body)
            except DeliveryError as error:
                logger.warning("moto refused %d metrics of %s: %s", len(batch), namespace, error)
            except (UpstreamError, OSError, ServiceUnavailable):
                newer = self._metrics.get(key, ())
                self._metrics[key] = deque([*batch, *queue, *newer], maxlen=queue.maxlen)
                raise

    async def _post(
        self, service: str, account_id: str, region: str, content_type: bytes, body: bytes, target: bytes | None = None
    ) -> None:
        await self._moto.ready()
        scope = f"AWS4-HMAC-SHA256 Credential={account_id}/20240101/{region}/{service}/aws4_request, "
        headers = [
            (b"host", f"{service}.{region}.amazonaws.com".encode()),
            (b"authorization", (scope + "SignedHeaders=host, Signature=0").encode()),
            (b"content-type", content_type),
            (b"content-length", b"%d" % len(body)),
        ]
        if target:
            headers.append((b"x-amz-target", target))
        response = await self._upstream.request(b"POST", b"/", headers, body)
        try:
            answer = await response.read()
        finally:
            response.close()
        if response.status >= 300:
            raise DeliveryError(*_error_of(answer))

    def _drop_oldest(self) -> None:
        stream = next(iter(self._streams))
        queue = self._streams[stream]
        self._bytes -= queue.popleft().size
        if not queue:
            del self._streams[stream]
        self.dropped_events += 1
        if self.dropped_events == 1:
            logger.warning("more than %d bytes of logs wait for moto; the oldest lines are dropped", self._max_bytes)


def _next_batch(queue: deque[_Pending]) -> list[_Pending]:
    batch: list[_Pending] = []
    size = 0
    for event in queue:
        size += len(event.message.encode()) + _EVENT_OVERHEAD_BYTES
        if batch and (size > _MAX_BATCH_BYTES or len(batch) == _MAX_BATCH_EVENTS):
            break
        batch.append(event)
    return batch


def _pieces(message: str) -> Iterator[str]:
    """The message, or its parts that CloudWatch Logs takes as one event each. A part has at most 256 KiB in UTF-8."""
    if len(message) * 4 <= _MAX_MESSAGE_BYTES or len(data := message.encode("utf-8", "replace")) <= _MAX_MESSAGE_BYTES:
        yield message
        return
    while data:
        end = min(len(data), _MAX_MESSAGE_BYTES)
        while end < len(data) and data[end] & 0xC0 == 0x80:
            end -= 1
        yield data[:end].decode()
        data = data[end:]


def _flattened(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """`name.member.1.Key=value` pairs of the AWS query protocol."""
    if isinstance(value, Mapping):
        for key, member in value.items():
            yield from _flattened(f"{name}.{key}", member)
    elif isinstance(value, list | tuple):
        for index, member in enumerate(value, 1):
            yield from _flattened(f"{name}.member.{index}", member)
    elif hasattr(value, "isoformat"):
        yield name, value.isoformat()
    else:
        yield name, str(value)


def _error_of(answer: bytes) -> tuple[str, str]:
    try:
        body = json.loads(answer)
        return str(body["__type"]).rpartition("#")[2], str(body.get("message", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        return "Unknown", answer[:200].decode("utf-8", "replace")
