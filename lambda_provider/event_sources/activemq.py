"""A queue of ActiveMQ, consumed by STOMP.

AWS consumes by OpenWire, for which Python has no client; every broker of Amazon MQ speaks STOMP, too. What a message has is the
same but for three things: properties are texts, `brokerInTime` is the time that the sender gave, and `brokerOutTime` the
time at which the message came here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

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

AT_ONCE = 5
"""Execution environments that AWS uses for a mapping (with-mq.html)."""
REDELIVERIES = 6
"""maximumRedeliveries of the policy that AWS uses (services-mq-errors.html)."""

_CONNECT_S = 10.0
_CLOSE_S = 5.0
_OF_STOMP = frozenset(
    {"ack", "content-length", "content-type", "correlation-id", "destination", "expires", "message-id", "persistent"}
    | {"priority", "receipt", "redelivered", "reply-to", "subscription", "timestamp", "transformation", "type"}
)
"""Headers of a message's frame that are not properties of the message."""


class ActiveMqConsumer:
    """A `Consumer`. A thread of the client listens; everything that it hears is handed to the loop."""

    at_once: int = AT_ONCE
    redeliveries: int | None = REDELIVERIES

    def __init__(self, source: EventSource, broker: Broker, inbox: Inbox) -> None:
        self._source = source
        self._broker = broker
        self._inbox = inbox
        self._queue = (source.settings.queues or ("",))[0]
        self.frame = frame_of(source.mapping.event_source_arn or "", "aws:mq", '"messages":[', "]}")
        self._loop = asyncio.get_running_loop()
        self._connection: Any = None
        self._refusal: str | None = None

    async def open(self) -> None:
        stomp = await self._source.call(library, "stomp", extra="mq")
        failures = (stomp.exception.StompException, OSError, ssl.SSLError)
        try:
            await self._source.call(self._connect, stomp)
        except failures as error:
            connection, self._connection = self._connection, None
            if connection is not None:
                await self._end(connection)
            reason = NOT_VALID if self._refusal is None else _reason(self._refusal, AUTHENTICATION_ERROR)
            raise SourceProblem(
                f"ActiveMQ at {self._where()}, queue {self._queue}: {self._refusal or repr(error)}; "
                f"{SETTING} says where a broker is",
                reason=reason,
            ) from error

    async def acknowledge(self, messages: Sequence[Message]) -> None:
        await self._tell(lambda connection, tag: connection.ack(tag), messages)

    async def reject(self, messages: Sequence[Message]) -> None:
        # ActiveMQ takes what is refused for poison: it is a dead letter at once.
        await self._tell(lambda connection, tag: connection.nack(tag), messages)

    async def pause(self) -> None:
        """Nothing: batches that failed stay with us until they are given again."""

    async def resume(self) -> None:
        """Nothing."""

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await self._end(connection)

    async def _end(self, connection: Any) -> None:
        """Disconnect; a broker that does not answer is left alone, with its thread."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._source.wait_for(self._disconnect, connection), _CLOSE_S)

    # In threads

    def _connect(self, stomp: Any) -> None:
        # Text messages and those of bytes differ in that only the latter say how long they are; bodies stay bytes.
        connection = stomp.StompConnection12(
            [self._broker.address], reconnect_attempts_max=1, timeout=_CONNECT_S, keepalive=True, auto_decode=False
        )
        if self._broker.tls:
            authority = self._broker.option("cafile") or ssl.get_default_verify_paths().cafile
            verified = (self._broker.option("no_verify_ssl") or "0") == "0"
            connection.set_ssl([self._broker.address], ca_certs=authority if verified else None, verify=verified)
        connection.set_listener("", self._listener(stomp))
        self._connection = connection
        credentials = self._broker.credentials
        connection.connect(credentials.username, credentials.password, wait=True, with_connect_command=True)
        if not self._broker.tls:
            # The socket's time limit was for connecting; a queue may be silent for as long as it likes. Sockets with TLS are
            # asked before they are read, and have none.
            connection.transport.socket.settimeout(None)
        # A consumer for each batch at once, of which the first gets what it has room for before the next one gets any: few
        # messages make one batch, and the broker keeps the messages of a group to one consumer, whose order we keep.
        for number in range(AT_ONCE):
            connection.subscribe(
                f"/queue/{self._queue}",
                str(number),
                ack="client-individual",
                headers={
                    "activemq.prefetchSize": str(self._source.settings.batch_size),
                    "activemq.priority": str(AT_ONCE - number),
                },
            )

    def _listener(self, stomp: Any) -> Any:
        consumer = self

        class Listener(stomp.ConnectionListener):  # type: ignore[misc]
            def on_message(self, frame: Any) -> None:
                consumer._on_loop(consumer._came, dict(frame.headers), bytes(frame.body))

            def on_error(self, frame: Any) -> None:
                text = str(frame.headers.get("message") or frame.body)
                consumer._refusal = text
                consumer._on_loop(consumer._failed, text)

            def on_disconnected(self) -> None:
                consumer._on_loop(consumer._failed, "disconnected")

        return Listener()

    def _disconnect(self, connection: Any) -> None:
        try:
            if connection.is_connected():
                connection.disconnect(receipt=str(uuid.uuid4()))
            connection.transport.stop()
        except Exception as error:  # noqa: BLE001  (the connection ends, whatever its client thinks of it)
            logger.debug("%s: %r", self._source.mapping.name, error)

    def _on_loop(self, function: Callable[..., None], *arguments: Any) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *arguments)

    # On the loop

    def _came(self, headers: Mapping[str, str], body: bytes) -> None:
        record = record_of(headers, body, int(self._source.clock.now() * 1000))
        self._inbox.put(Message(headers["ack"], record, body, headers.get("subscription")))

    def _failed(self, text: str) -> None:
        if self._connection is not None:
            reason = _reason(text, NOT_VALID)
            self._inbox.lose(SourceProblem(f"the connection to {self._where()} is gone: {text}", reason=reason))

    async def _tell(self, send: Callable[[Any, str], None], messages: Sequence[Message]) -> None:
        """Send a frame for each; without a connection the broker has taken the messages back."""
        connection = self._connection

        def send_all() -> None:
            for message in messages:
                send(connection, message.tag)

        try:
            if connection is not None:
                await self._source.call(send_all)
        except Exception as error:  # noqa: BLE001  (of several kinds; the listener tells that the connection is gone)
            logger.info("mapping %s: %r", self._source.mapping.name, error)

    def _where(self) -> str:
        return "{}:{}".format(*self._broker.address)


def _reason(text: str, otherwise: str) -> str:
    """What an error of the broker means; it says who "is not authorized to read from" a queue."""
    return AUTHORIZATION_ERROR if "not authorized" in text else otherwise


def record_of(headers: Mapping[str, str], body: bytes, now_ms: int) -> dict[str, Any]:
    """A member of `messages` (with-mq-filtering.html has one), of the frame of a message."""
    timestamp = int(headers.get("timestamp") or now_ms)
    return {
        "messageID": headers.get("message-id"),
        "messageType": "jms/bytes-message" if "content-length" in headers else "jms/text-message",
        "deliveryMode": 2 if headers.get("persistent") == "true" else 1,
        "replyTo": headers.get("reply-to"),
        "type": headers.get("type"),
        "expiration": int(headers.get("expires") or 0),
        "priority": int(headers.get("priority") or 4),
        "correlationId": headers.get("correlation-id"),
        "redelivered": headers.get("redelivered") == "true",
        "destination": {"physicalName": headers.get("destination", "").removeprefix("/queue/")},
        "data": encoded(body),
        "timestamp": timestamp,
        "brokerInTime": timestamp,
        "brokerOutTime": now_ms,
        "properties": {name: value for name, value in headers.items() if name not in _OF_STOMP},
    }
