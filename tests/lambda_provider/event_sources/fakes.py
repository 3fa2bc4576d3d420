"""A queue of SQS on a manual clock, and what surrounds a source, with calls that need no threads."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, cast

from lambda_provider.event_sources.calls import Calls
from lambda_provider.event_sources.source import EventSource, Surroundings
from lambda_provider.host import Host, ServiceUnavailable
from lambda_provider.model.event_source_mapping import EventSourceMapping, MappingSettings
from lambda_provider.store.positions import Positions
from lambda_runtime.clock import ManualClock
from lambda_runtime.types import InvocationResult

from ..fakes import ACCOUNT, REGION, arn, client_error

S = TypeVar("S", bound=EventSource)

QUEUE_ARN = f"arn:aws:sqs:{REGION}:{ACCOUNT}:queue"


def mapping(source_arn: str = QUEUE_ARN, *, kind: str = "sqs", **settings: Any) -> EventSourceMapping:
    """An enabled mapping to the function `f`; what is not set has SQS's defaults."""
    defaults: dict[str, Any] = {"batch_size": 10, "batching_window_s": 0, "response_types": ()}
    return EventSourceMapping(
        name="00000000-0000-0000-0000-000000000001",
        account_id=ACCOUNT,
        region=REGION,
        sequence=0,
        kind=kind,
        function_arn=arn("f"),
        event_source_arn=source_arn,
        settings=MappingSettings(**{**defaults, **settings}),
        state="Enabled",
        state_reason="USER_INITIATED",
        last_modified=0.0,
    )


def disabled(value: EventSourceMapping) -> EventSourceMapping:
    return replace(value, state="Disabled")


class Feed:
    """An activity feed that tests ring."""

    def __init__(self) -> None:
        self.callbacks: dict[str, list[Callable[[float], None]]] = {}

    def subscribe(self, arn: str, callback: Callable[[float], None]) -> Callable[[], None]:
        self.callbacks.setdefault(arn, []).append(callback)
        return lambda: self.callbacks[arn].remove(callback)

    def ring(self, arn: str = QUEUE_ARN, delay_s: float = 0.0) -> None:
        for callback in list(self.callbacks.get(arn, ())):
            callback(delay_s)


@dataclass(eq=False)
class FakeMessage:
    id: str
    body: str
    group: str | None
    attributes: dict[str, str]
    visible_at: float
    receipt: str = ""
    receives: int = 0


@dataclass(eq=False)
class FakeSqs:
    """What a poller uses of a botocore client, for one queue. Of a group only what no message in flight is before is shown."""

    clock: ManualClock
    on_change: Callable[[], None] = lambda: None
    visibility_s: float = 30.0
    fifo: bool = False
    exists: bool = True
    messages: list[FakeMessage] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    failing_deletions: int = 0
    receives: int = 0
    numbers: Any = field(default_factory=itertools.count)

    def send(self, body: str = "{}", *, group: str | None = None, delay_s: float = 0, **attributes: str) -> str:
        id_ = f"m{next(self.numbers)}"
        self.messages.append(FakeMessage(id_, body, group, attributes, self.clock.now() + delay_s))
        self.on_change()
        return id_

    def next_moment(self) -> float | None:
        """When a message that is not visible will be."""
        return min((each.visible_at for each in self.messages if each.visible_at > self.clock.now()), default=None)

    def get_queue_url(self, QueueName: str) -> Any:
        self._require()
        return {"QueueUrl": f"http://sqs/{QueueName}"}

    def get_queue_attributes(self, **_: Any) -> Any:
        self._require()
        return {"Attributes": {"VisibilityTimeout": str(int(self.visibility_s))}}

    def receive_message(self, *, MaxNumberOfMessages: int, **_: Any) -> Any:
        self._require()
        assert 1 <= MaxNumberOfMessages <= 10
        self.receives += 1
        now = self.clock.now()
        flying = {each.group for each in self.messages if each.visible_at > now and each.group is not None}
        found = []
        for message in self.messages:
            if message.visible_at > now or (self.fifo and message.group in flying):
                continue
            found.append(message)
            if len(found) == MaxNumberOfMessages:
                break
        for message in found:
            message.receives += 1
            message.visible_at = now + self.visibility_s
            message.receipt = f"{message.id}/{message.receives}"
        return {"Messages": [self._shown(each) for each in found]} if found else {}

    def delete_message_batch(self, *, Entries: list[dict[str, str]], **_: Any) -> Any:
        self._require()
        assert 1 <= len(Entries) <= 10
        if self.failing_deletions:
            self.failing_deletions -= 1
            raise client_error("InternalError")
        receipts = {each["ReceiptHandle"] for each in Entries}
        self.deleted += [each.id for each in self.messages if each.receipt in receipts]
        self.messages = [each for each in self.messages if each.receipt not in receipts]
        self.on_change()
        return {"Successful": [{"Id": each["Id"]} for each in Entries]}

    def change_message_visibility_batch(self, *, Entries: list[dict[str, Any]], **_: Any) -> Any:
        self._require()
        changes = {each["ReceiptHandle"]: each["VisibilityTimeout"] for each in Entries}
        for message in self.messages:
            if message.receipt in changes:
                message.visible_at = self.clock.now() + changes[message.receipt]
        self.on_change()
        return {}

    def _require(self) -> None:
        if not self.exists:
            raise client_error("AWS.SimpleQueueService.NonExistentQueue", "The specified queue does not exist.")

    def _shown(self, message: FakeMessage) -> dict[str, Any]:
        attributes = {"ApproximateReceiveCount": str(message.receives), "SenderId": "me", **message.attributes}
        if message.group is not None:
            attributes["MessageGroupId"] = message.group
        return {
            "MessageId": message.id,
            "ReceiptHandle": message.receipt,
            "Body": message.body,
            "MD5OfBody": "0",
            "Attributes": attributes,
        }


class InlineCalls(Calls):
    """Calls on the loop; a long poll of SQS looks again whenever the clock or the queue has something new."""

    def __init__(self, clock: ManualClock, sqs: FakeSqs) -> None:
        super().__init__()
        self.clock = clock
        self.sqs = sqs
        self.changed = asyncio.Event()

    async def run(self, share: asyncio.Semaphore, function: Any, *args: Any, **kwargs: Any) -> Any:
        async with share:
            await asyncio.sleep(0)
            return function(*args, **kwargs)

    async def wait(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        end = self.clock.now() + kwargs["WaitTimeSeconds"]
        while True:
            self.changed.clear()
            answer = function(*args, **kwargs)
            if answer.get("Messages") or self.clock.now() >= end:
                return answer
            moments = [end, *filter(None, [self.sqs.next_moment()])]
            waits = {
                asyncio.ensure_future(self.clock.sleep_until(min(moments))),
                asyncio.ensure_future(self.changed.wait()),
            }
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for each in waits:
                    each.cancel()


class SqsHost:
    """A host that has SQS, or not."""

    def __init__(self, sqs: FakeSqs | None) -> None:
        self.sqs = sqs

    def connect_to(self, service: str, *, account_id: str, region: str) -> Any:
        if self.sqs is None:
            raise ServiceUnavailable(f"no {service} here")
        return self.sqs


Answer = Callable[[bytes, str | None], Awaitable[InvocationResult]]


class World:
    """Everything around a source of SQS: the queue, the clock, the function, and what was reported and counted."""

    def __init__(self, function: Answer, *, fed: bool = True, fifo: bool = False, visibility_s: float = 30.0) -> None:
        self.clock = ManualClock()
        self.feed = Feed()
        self.sqs = FakeSqs(self.clock, fifo=fifo, visibility_s=visibility_s)
        self.calls = InlineCalls(self.clock, self.sqs)
        self.sqs.on_change = self._changed
        self.reports: list[str] = []
        self.counts: dict[str, float] = {}
        self.function = function
        self.fed = fed

    def surroundings(self, mapping: EventSourceMapping | None = None, **changes: Any) -> Surroundings:
        async def deliver(destination: str, parcel: Any) -> Exception | None:
            return None

        async def invoke(function_arn: str, event: bytes, trace_header: str | None) -> InvocationResult:
            return await self.function(event, trace_header)

        parts: dict[str, Any] = {
            "host": cast(Host, SqsHost(self.sqs)),
            "clock": self.clock,
            "calls": self.calls,
            "positions": Positions(),
            "activity": self.feed if self.fed else None,
            "invoke": invoke,
            "deliver": deliver,
            "report": self.reports.append,
            "count": self._count,
            "count_for_function": self._count,
            "payload_limit_bytes": 6 * 1024 * 1024,
        }
        return Surroundings(**{**parts, **changes})

    @asynccontextmanager
    async def running(self, source: S) -> AsyncIterator[S]:
        """A source at work. It is stopped in the end, and what it has in flight is done then."""
        run = asyncio.ensure_future(source.run())
        await self.rest()
        try:
            yield source
        finally:
            source.stop()
            await self.until(run.done)
            source.close()
            await run

    async def rest(self) -> None:
        """Let everything happen that needs no time to pass."""
        for _ in range(30):
            await asyncio.sleep(0)

    async def step(self, longest_s: float = 1000.0) -> None:
        """Let time pass until something is due, and let it happen."""
        await self.rest()
        moments = [each for each in (self.clock.next_moment(), self.sqs.next_moment()) if each is not None]
        self.clock.advance(max(0.0, min([self.clock.now() + longest_s, *moments]) - self.clock.now()))
        self._changed()
        await self.rest()

    async def until(self, true: Callable[[], bool], steps: int = 500) -> None:
        """Let time pass until something is true; fails when that takes too many steps."""
        for _ in range(steps):
            await self.rest()
            if true():
                return
            await self.step()
        raise AssertionError("it did not become true")

    def _changed(self) -> None:
        self.calls.changed.set()
        self.feed.ring()

    def _count(self, metric: str, value: float) -> None:
        if value:
            self.counts[metric] = self.counts.get(metric, 0) + value
