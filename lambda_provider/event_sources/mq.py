"""Brokers of Amazon MQ: RabbitMQ and ActiveMQ.

https://docs.aws.amazon.com/lambda/latest/dg/with-mq.html and the pages under it. One batch of RabbitMQ is with the function at a
time, and five of ActiveMQ. Messages are acknowledged when the function has processed their batch; "if your function returns an
error for any of the messages in a batch, Lambda retries the whole batch of messages until processing succeeds or the messages
expire". RabbitMQ's go back to their queue, where they may expire, and come again, longer after each failure; ActiveMQ's are
given again after a second, six times, and are then dead letters: the default values of its redelivery policy
(services-mq-errors.html).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Collection

from lambda_provider.api import LambdaError, TooManyRequestsException
from lambda_provider.event_sources import counts
from lambda_provider.event_sources.activemq import ActiveMqConsumer
from lambda_provider.event_sources.batching import Batch
from lambda_provider.event_sources.mq_brokers import RABBITMQ, Broker, find_broker
from lambda_provider.event_sources.mq_messages import Consumer, Inbox, Message, content
from lambda_provider.event_sources.rabbitmq import RabbitMqConsumer
from lambda_provider.event_sources.source import (
    FUNCTION_CALL_FAILED,
    FUNCTION_NOT_VALID,
    OK,
    SAFETY_S,
    EventSource,
    SourceProblem,
    Surroundings,
    retry_delay_s,
)
from lambda_provider.model.event_source_mapping import EventSourceMapping

logger = logging.getLogger(__name__)

DEFAULT_WINDOW_S = 0.5
"""The batching window of a mapping that sets none (services-mq-params.html)."""
REDELIVERY_DELAY_S = 1.0
"""initialRedeliveryDelay and redeliveryDelay of ActiveMQ's default policy."""
HELD_S = 600.0
"""So long a batch waits for a function that is throttled; then it goes back to its queue. RabbitMQ waits half an hour."""

_FIRST_THROTTLE_S = 0.1
_LONGEST_THROTTLE_S = 10.0

ConsumerFactory = Callable[[EventSource, Broker, Inbox], Consumer]


class MqSource(EventSource):
    """One mapping of a queue. Touched only on the loop; it is the inbox of its consumer."""

    def __init__(self, mapping: EventSourceMapping, surroundings: Surroundings) -> None:
        super().__init__(mapping, surroundings)
        window_s = self.settings.batching_window_s
        self._window_s = DEFAULT_WINDOW_S if window_s is None else window_s
        self._consumer: Consumer
        self._arrived: deque[tuple[Message, bytes]] = deque()
        """What has come and is in no batch, in order, with the JSON that the function gets of it."""
        self._aside: list[tuple[Message, bytes]] = []
        """What came before that, of groups whose order would suffer if it went to the function now."""
        self._unwanted: list[Message] = []
        self._too_large: list[Message] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._groups: set[str] = set()
        """Groups of which messages are with the function."""
        self._failures = 0
        """Batches that failed in a row."""
        self._problem: SourceProblem | None = None
        self._over = asyncio.Event()
        """Set when nothing that was received is ours to try again."""

    @property
    def watched_arn(self) -> str | None:
        """Hosts know nothing of what is in a broker, which tells us itself."""
        return None

    async def run(self) -> None:
        broker = await find_broker(self)
        make: ConsumerFactory = RabbitMqConsumer if broker.engine == RABBITMQ else ActiveMqConsumer
        self._consumer = make(self, broker, self)
        try:
            await self._consumer.open()
            self.report(OK)
            try:
                while not self.stopping:
                    await self._next()
            except SourceProblem:
                self._over.set()
                await self._processed()
                raise
            await self._processed()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._consumer.close()

    async def _processed(self) -> None:
        """Return when nothing is with the function any more."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    # From the broker

    def put(self, message: Message) -> None:
        """A message has come: it waits for its batch, or goes the way of what the function does not get."""
        self.count(counts.POLLED)
        text = message.text()
        if self.filters.filters and not self.filters.match({"data": content(message.body)}):
            self._unwanted.append(message)
        elif len(text) > self.payload_limit_bytes - self._consumer.frame.size:
            self._too_large.append(message)
        else:
            self._arrived.append((message, text))
        self.alarm.ring()

    def lose(self, problem: SourceProblem) -> None:
        """The connection is gone."""
        self._problem = self._problem or problem
        self._over.set()
        self.alarm.ring()

    def stop(self) -> None:
        """Take no more messages; what failed is not tried again by us."""
        super().stop()
        self._over.set()

    # To the function

    async def _next(self) -> None:
        """Begin with the next batch. Raises SourceProblem when the broker or the function cannot be used."""
        batch = await self._collect()
        if not batch:
            return
        groups = {each.group for each in batch.records if each.group is not None}
        self._groups |= groups
        task = asyncio.get_running_loop().create_task(self._process(batch))
        self._tasks.add(task)
        task.add_done_callback(lambda task: self._ended(task, groups))
        if self._consumer.redeliveries is None:
            await asyncio.wait({task})
            if self._failures and self._problem is None and not self.stopping:
                await self._rest()

    async def _collect(self) -> Batch[Message]:
        """The next batch, once it is full or its window is over; empty if the source is to stop."""
        batch: Batch[Message] = Batch(self.settings.batch_size, self.payload_limit_bytes, self._consumer.frame.size)
        over = 0.0
        while True:
            self.alarm.clear()
            if self._problem is not None:
                raise self._problem
            await self._settle()
            if self.stopping:
                # What was collected is the queue's again when the connection is closed.
                return Batch(1)
            if len(self._tasks) < self._consumer.at_once:
                if self._fill(batch):
                    over = self.clock.now() + self._window_s
                if batch.full or (batch and self.clock.now() >= over):
                    return batch
            await self.alarm.wait(over - self.clock.now() if batch else SAFETY_S)

    def _fill(self, batch: Batch[Message]) -> bool:
        """Put into the batch what there is room for; whether it has its first message now."""
        first = not batch
        while self._arrived and not batch.full:
            message, text = self._arrived.popleft()
            if message.group is not None and message.group in self._groups:
                self._aside.append((message, text))
            elif not batch.offer(message, text):
                self._arrived.appendleft((message, text))
        return first and bool(batch)

    async def _settle(self) -> None:
        """Tell the broker what became of messages that the function does not get."""
        unwanted, self._unwanted = self._unwanted, []
        if unwanted:
            self.count(counts.FILTERED_OUT, len(unwanted))
            await self._consumer.acknowledge(unwanted)
        too_large, self._too_large = self._too_large, []
        if too_large:
            logger.warning("mapping %s: %d messages are too large for an event", self.mapping.name, len(too_large))
            self.count(counts.DROPPED, len(too_large))
            await self._consumer.reject(too_large)

    def _ended(self, task: asyncio.Task[None], groups: Collection[str]) -> None:
        self._tasks.discard(task)
        self._groups -= set(groups)
        self._arrived.extendleft(reversed(self._aside))
        self._aside.clear()
        if not task.cancelled() and (error := task.exception()) is not None:
            self._problem = error if isinstance(error, SourceProblem) else SourceProblem(repr(error))
        self.alarm.ring()

    async def _process(self, batch: Batch[Message]) -> None:
        """Give a batch to the function until it is done, or is no more ours to give. Raises SourceProblem."""
        redelivered = 0
        while not await self._invoke(batch, redelivered):
            self._failures += 1
            self.count(counts.FAILED_INVOKE, len(batch))
            self.report(FUNCTION_CALL_FAILED)
            if self._consumer.redeliveries is None:
                return
            if redelivered == self._consumer.redeliveries:
                self.count(counts.DROPPED, len(batch))
                await self._consumer.reject(batch.records)
                return
            redelivered += 1
            if not await self._pause(REDELIVERY_DELAY_S):
                return
        self._failures = 0
        await self._consumer.acknowledge(batch.records)
        self.report(OK)

    async def _invoke(self, batch: Batch[Message], redelivered: int) -> bool:
        """Whether the function processed the batch. Raises SourceProblem for a function that cannot run."""
        texts = [each.text(redelivered=True) for each in batch.records] if redelivered else batch.texts
        event = self._consumer.frame.event(texts)
        self.count(counts.INVOKED, len(batch))
        begun, throttles = self.clock.now(), 0
        while True:
            try:
                result = await self.invoke(event)
            except TooManyRequestsException:
                throttles += 1
                delay_s = retry_delay_s(throttles, first_s=_FIRST_THROTTLE_S, most_s=_LONGEST_THROTTLE_S)
                if self.clock.now() + delay_s > begun + HELD_S or not await self._pause(delay_s):
                    return False
            except LambdaError as error:
                raise SourceProblem(
                    f"the function cannot run: {error}", reason=FUNCTION_NOT_VALID, result=FUNCTION_CALL_FAILED
                ) from error
            else:
                return result.function_error is None

    async def _pause(self, seconds: float) -> bool:
        """Let time pass; False as soon as the source is to stop, or has no connection any more."""
        over = asyncio.ensure_future(self._over.wait())
        slept = asyncio.ensure_future(self.clock.sleep_until(self.clock.now() + seconds))
        try:
            await asyncio.wait({over, slept}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            over.cancel()
            slept.cancel()
        return not self._over.is_set()

    async def _rest(self) -> None:
        """After a failure: everything is the queue's again, for a while. Raises SourceProblem."""
        await self._consumer.pause()
        for held in (self._arrived, self._aside, self._unwanted, self._too_large):
            held.clear()
        if await self._pause(retry_delay_s(self._failures)):
            await self._consumer.resume()
