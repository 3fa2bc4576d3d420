"""A broker with one queue on a manual clock, as `MqSource` sees it through its consumer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lambda_provider.event_sources import mq
from lambda_provider.event_sources.batching import Frame
from lambda_provider.event_sources.mq_brokers import Broker
from lambda_provider.event_sources.mq_messages import Inbox, Message, encoded, frame_of
from lambda_provider.event_sources.source import EventSource, SourceProblem

from .fakes import mapping

BROKER_ARN = "arn:aws:mq:eu-west-1:111111111111:broker:orders:b-1234"


@dataclass(eq=False)
class FakeQueue:
    """What has the messages that nobody acknowledged. `redeliveries` and `at_once` are those of the engine that it plays."""

    redeliveries: int | None = None
    at_once: int = 1
    prefetch: int = 1000
    waiting: list[tuple[str, bool]] = field(default_factory=list)
    """Bodies that nobody has, and whether somebody had them."""
    acknowledged: list[str] = field(default_factory=list)
    rejected: list[str] = field(default_factory=list)
    refusals: list[SourceProblem] = field(default_factory=list)
    consumers: list[FakeConsumer] = field(default_factory=list)

    def send(self, *bodies: str) -> None:
        self.waiting += [(body, False) for body in bodies]
        for consumer in self.consumers:
            consumer.take()

    def everything(self) -> list[str]:
        """What is not done, wherever it is."""
        return [body for body, _ in self.waiting] + [body for each in self.consumers for body, _ in each.held.values()]

    def lose_connections(self) -> None:
        for consumer in list(self.consumers):
            consumer.connected = False
            consumer.return_all()
            consumer.inbox.lose(SourceProblem("the connection is gone"))
            self.consumers.remove(consumer)

    def __call__(self, source: EventSource, broker: Broker, inbox: Inbox) -> FakeConsumer:
        return FakeConsumer(self, inbox)


class FakeConsumer:
    """A `Consumer` of a fake queue."""

    def __init__(self, queue: FakeQueue, inbox: Inbox) -> None:
        self.frame: Frame = frame_of(BROKER_ARN, "aws:rmq", '"rmqMessagesByQueue":{"q::/":[', "]}}")
        self.at_once = queue.at_once
        self.redeliveries = queue.redeliveries
        self.queue, self.inbox = queue, inbox
        self.held: dict[int, tuple[str, bool]] = {}
        self.consuming = False
        self.connected = True
        self.tag = 0

    async def open(self) -> None:
        if self.queue.refusals:
            raise self.queue.refusals.pop(0)
        self.queue.consumers.append(self)
        await self.resume()

    async def acknowledge(self, messages: Sequence[Message]) -> None:
        self._settle(messages, self.queue.acknowledged)

    async def reject(self, messages: Sequence[Message]) -> None:
        self._settle(messages, self.queue.rejected)

    async def pause(self) -> None:
        self.consuming = False
        self.return_all()

    async def resume(self) -> None:
        self.consuming = True
        self.take()

    async def close(self) -> None:
        self.consuming = False
        self.return_all()
        if self in self.queue.consumers:
            self.queue.consumers.remove(self)

    def take(self) -> None:
        while self.connected and self.consuming and self.queue.waiting and len(self.held) < self.queue.prefetch:
            body, redelivered = self.queue.waiting.pop(0)
            self.tag += 1
            self.held[self.tag] = (body, redelivered)
            record = {"redelivered": redelivered, "data": encoded(body.encode())}
            self.inbox.put(Message(self.tag, record, body.encode()))

    def return_all(self) -> None:
        self.queue.waiting[:0] = [(body, True) for body, _ in self.held.values()]
        self.held.clear()

    def _settle(self, messages: Sequence[Message], into: list[str]) -> None:
        for message in messages:
            if message.tag in self.held:
                into.append(self.held.pop(message.tag)[0])
        self.take()


def mq_mapping(**settings: Any) -> Any:
    return mapping(
        BROKER_ARN, kind="mq", **{"batch_size": 100, "batching_window_s": None, "queues": ("q",), **settings}
    )


def use(queue: FakeQueue, monkeypatch: Any) -> None:
    """Have sources consume the fake queue."""

    async def find(source: EventSource) -> Broker:
        return Broker("amqp://localhost", None)  # type: ignore[arg-type]

    monkeypatch.setattr(mq, "find_broker", find)
    monkeypatch.setattr(mq, "RabbitMqConsumer", queue)


def bodies(event: bytes) -> list[tuple[str, bool]]:
    """The bodies of an event, and whether each is redelivered."""
    import base64

    records = json.loads(event)["rmqMessagesByQueue"]["q::/"]
    return [(base64.b64decode(each["data"]).decode(), each["redelivered"]) for each in records]
