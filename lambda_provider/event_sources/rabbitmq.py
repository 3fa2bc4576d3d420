"""A queue of RabbitMQ, consumed by AMQP 0-9-1.

The client is aiormq: it lives on the event loop as we do, so no thread hands messages over, and it gives properties as they
came, which pika's and aio-pika's conveniences would have changed.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import quote

from lambda_provider.event_sources.extras import library
from lambda_provider.event_sources.mq_brokers import SETTING, Broker
from lambda_provider.event_sources.mq_messages import Inbox, Message, encoded, frame_of
from lambda_provider.event_sources.source import (
    AUTHENTICATION_ERROR,
    AUTHORIZATION_ERROR,
    NOT_VALID,
    EventSource,
    SourceProblem,
)

logger = logging.getLogger(__name__)

MOST_UNACKNOWLEDGED = 65_535
"""What AMQP's prefetch count can say."""

_CONNECT_S = 10.0
_CLOSE_S = 2.0
_OPTIONS = ("cafile", "capath", "no_verify_ssl")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class RabbitMqConsumer:
    """A `Consumer`. The broker gives us a batch beyond the one that is with the function, and no more."""

    at_once: int = 1
    redeliveries: int | None = None

    def __init__(self, source: EventSource, broker: Broker, inbox: Inbox) -> None:
        self._source = source
        self._broker = broker
        self._inbox = inbox
        self._queue = (source.settings.queues or ("",))[0]
        queue = f"{self._queue}::{broker.virtual_host}"
        self.frame = frame_of(
            source.mapping.event_source_arn or "", "aws:rmq", f'"rmqMessagesByQueue":{{{json.dumps(queue)}:[', "]}}"
        )
        self._aiormq: Any = None
        self._connection: Any = None
        self._channel: Any = None
        self._tag = f"lambda-{source.mapping.name}"
        self._consuming = False
        self._held: dict[int, None] = {}
        """Delivery tags of what was not acknowledged, in order."""

    async def open(self) -> None:
        self._aiormq = await self._source.call(library, "aiormq", extra="mq")
        await self._do(self._connect(), _CONNECT_S)
        await self.resume()

    async def _connect(self) -> None:
        self._connection = await self._aiormq.connect(self._url())
        self._channel = await self._connection.channel(publisher_confirms=False)
        self._channel.on_consumer_cancel_callbacks.add(self._cancelled)
        for closing in (self._connection.closing, self._channel.closing):
            closing.add_done_callback(self._closed)
        prefetched = min(MOST_UNACKNOWLEDGED, 2 * self._source.settings.batch_size)
        await self._channel.basic_qos(prefetch_count=prefetched)

    async def acknowledge(self, messages: Sequence[Message]) -> None:
        done = {each.tag for each in messages}
        first = None
        for tag in self._held:
            if tag not in done:
                break
            first = tag
        if first is not None:
            # Everything up to here, with one frame.
            await self._tell(self._channel.basic_ack(first, multiple=True))
        for tag in done:
            if first is None or tag > first:
                await self._tell(self._channel.basic_ack(tag, wait=False))
            self._held.pop(tag, None)

    async def reject(self, messages: Sequence[Message]) -> None:
        for message in messages:
            self._held.pop(message.tag, None)
            await self._tell(self._channel.basic_nack(message.tag, requeue=False, wait=False))

    async def pause(self) -> None:
        self._consuming = False
        await self._tell(self._channel.basic_cancel(self._tag))
        self._held.clear()
        await self._tell(self._channel.basic_nack(0, multiple=True, requeue=True))

    async def resume(self) -> None:
        self._consuming = True
        await self._do(self._channel.basic_consume(self._queue, self._came, consumer_tag=self._tag))

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await self._tell(asyncio.wait_for(connection.close(), _CLOSE_S))

    # What the client tells us

    def _came(self, message: Any) -> None:
        if not self._consuming:
            return
        tag = message.delivery.delivery_tag
        self._held[tag] = None
        self._inbox.put(Message(tag, record_of(message), message.body))

    def _cancelled(self, frame: Any) -> None:
        self._inbox.lose(SourceProblem(f"the queue {self._queue} is gone"))

    def _closed(self, closing: asyncio.Future[Any]) -> None:
        if self._connection is not None:
            error = None if closing.cancelled() else closing.exception()
            self._inbox.lose(SourceProblem(f"the connection to {self._where()} is gone: {error!r}"))

    async def _tell(self, frame: Awaitable[Any]) -> None:
        """Send something; without a connection the broker has taken back what it is about."""
        try:
            await self._do(frame)
        except SourceProblem as problem:
            logger.info("mapping %s: %s", self._source.mapping.name, problem)

    async def _do(self, work: Awaitable[Any], limit_s: float | None = None) -> None:
        """Have the client do something. Raises SourceProblem."""
        try:
            await asyncio.wait_for(work, limit_s)
        except (self._aiormq.AMQPError, OSError, RuntimeError, TimeoutError) as error:
            raise self._problem(error) from error
        except asyncio.CancelledError as error:
            # The client cancels whoever waits for a connection that is lost; nobody has cancelled us then.
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
            raise self._problem(error) from None

    # Where

    def _where(self) -> str:
        return "{}:{}".format(*self._broker.address)

    def _url(self) -> str:
        broker = self._broker
        user, password = (quote(each, safe="") for each in (broker.credentials.username, broker.credentials.password))
        host, port = broker.address
        options = [f"{name}={quote(value)}" for name in _OPTIONS if (value := broker.option(name))]
        return (
            f"amqp{'s' if broker.tls else ''}://{user}:{password}@{f'[{host}]' if ':' in host else host}:{port}"
            f"/{quote(broker.virtual_host, safe='')}?{'&'.join([f'name={self._tag}', *options])}"
        )

    def _problem(self, error: BaseException) -> SourceProblem:
        exceptions = self._aiormq.exceptions
        reason = NOT_VALID
        if isinstance(error, exceptions.AuthenticationError | exceptions.ProbableAuthenticationError):
            reason = AUTHENTICATION_ERROR
        elif isinstance(error, exceptions.ChannelAccessRefused | exceptions.ConnectionNotAllowed):
            reason = AUTHORIZATION_ERROR
        return SourceProblem(
            f"RabbitMQ at {self._where()}, virtual host {self._broker.virtual_host}, queue {self._queue}: {error!r}; "
            f"{SETTING} says where a broker is",
            reason=reason,
        )


# Records


def record_of(message: Any) -> dict[str, Any]:
    """A member of the queue's list (with-mq.html, "Example Amazon MQ record events"), of a message as aiormq has it.

    AWS writes what Java's client has: a text in `headers` as its bytes, and times as a text.
    """
    properties = message.header.properties
    return {
        "basicProperties": {
            "contentType": properties.content_type or None,
            "contentEncoding": properties.content_encoding or None,
            "headers": _header(properties.headers) if properties.headers else None,
            "deliveryMode": properties.delivery_mode,
            "priority": properties.priority,
            "correlationId": properties.correlation_id or None,
            "replyTo": properties.reply_to or None,
            "expiration": properties.expiration or None,
            "messageId": properties.message_id or None,
            "timestamp": None if properties.timestamp is None else _time(properties.timestamp),
            "type": properties.message_type or None,
            "userId": properties.user_id or None,
            "appId": properties.app_id or None,
            "clusterId": properties.cluster_id or None,
            "bodySize": message.header.body_size,
        },
        "redelivered": bool(message.delivery.redelivered),
        "data": encoded(message.body),
    }


def _header(value: Any) -> Any:
    match value:
        case str():
            return {"bytes": _signed(value.encode())}
        case bytes() | bytearray():
            return _signed(bytes(value))
        case Mapping():
            return {str(name): _header(each) for name, each in value.items()}
        case list() | tuple():
            return [_header(each) for each in value]
        case datetime():
            return _time(value)
        case Decimal():
            return float(value)
        case _:
            return value


def _signed(data: bytes) -> list[int]:
    """Bytes as Java has them."""
    return [each - 256 if each > 127 else each for each in data]


def _time(moment: datetime) -> str:
    """`Jan 1, 1970, 12:33:41 AM`, in UTC."""
    utc = moment.astimezone(UTC) if moment.tzinfo is not None else moment
    half = "AM" if utc.hour < 12 else "PM"
    return f"{_MONTHS[utc.month - 1]} {utc.day}, {utc.year}, {utc.hour % 12 or 12}:{utc:%M:%S} {half}"
