"""Queues of SQS, standard and FIFO.

https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html and the pages under it. Messages that a function did not process are
left alone: the queue shows them again when their visibility timeout is over, counts how often, and moves them to its dead-letter
queue. Only messages that were received and then not given to the function, because the mapping changed, are shown again at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from lambda_provider.api import (
    LambdaError,
    RecursiveInvocationException,
    TooManyRequestsException,
)
from lambda_provider.event_sources import counts
from lambda_provider.event_sources.batching import Batch
from lambda_provider.event_sources.responses import REPORT_BATCH_ITEM_FAILURES, failed_items
from lambda_provider.event_sources.source import (
    FUNCTION_CALL_FAILED,
    OK,
    SAFETY_S,
    EventSource,
    SourceProblem,
    Surroundings,
    retry_delay_s,
)
from lambda_provider.event_sources.sqs_events import Message, RecordWriter, matched, record_text
from lambda_provider.event_sources.sqs_queue import AT_ONCE, PolledQueue
from lambda_provider.event_sources.sqs_scaling import Concurrency
from lambda_provider.model.event_source_mapping import EventSourceMapping
from lambda_provider.operations import lineage

logger = logging.getLogger(__name__)

LONG_POLL_S = 20
"""How long AWS's pollers let the queue wait for messages."""

_FIRST_THROTTLE_S = 0.1
_LONGEST_THROTTLE_S = 10.0
_AGAIN_S = 2.0
"""How long after a request that failed the next one is made while batches are with the function."""


@dataclass(frozen=True, slots=True)
class Received:
    """A message that we have since `at` on the clock, for the queue's visibility timeout. `text` is its record's JSON."""

    message: Message
    at: float
    text: bytes

    @property
    def id(self) -> str:
        return str(self.message["MessageId"])

    @property
    def group(self) -> str | None:
        """The message group of a FIFO queue."""
        return (self.message.get("Attributes") or {}).get("MessageGroupId")

    @property
    def trace_header(self) -> str | None:
        """What the sender's request was part of."""
        return (self.message.get("Attributes") or {}).get("AWSTraceHeader")


class SqsSource(EventSource):
    """One mapping of a queue.

    One collector fills a batch at a time, so that a batching window gathers all that comes; as many batches as `Concurrency`
    allows are with the function. Order in a message group is kept by the queue, which shows nothing of a group while messages
    of it are in flight; within a batch we keep it ourselves.
    """

    exclusive: ClassVar[bool] = False

    def __init__(self, mapping: EventSourceMapping, surroundings: Surroundings) -> None:
        super().__init__(mapping, surroundings)
        self._arn = mapping.event_source_arn or ""
        self._fifo = self._arn.endswith(".fifo")
        self._window_s = self.settings.batching_window_s or 0
        self._writer = RecordWriter(self._arn, self._arn.split(":")[3], self._window_s > 0)
        self._partial = REPORT_BATCH_ITEM_FAILURES in (self.settings.response_types or ())
        self._function_arn = ":".join(mapping.function_arn.split(":")[:7])
        self._slots = Concurrency(self.settings, self.clock)
        self._tasks: set[asyncio.Task[None]] = set()
        self._held: list[Received] = []
        """Received, kept by the filters, and too large for the batch that was being filled."""
        self._drained = False
        self._queue = PolledQueue(self, self._arn)

    async def run(self) -> None:
        await self._queue.open()
        self.report(OK)
        try:
            while not self.stopping:
                await self._slots.free()
                await self._next()
            if self._held:
                await self._queue.give_back([each.message for each in self._held])
            while self._tasks:
                await asyncio.wait(self._tasks)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _next(self) -> None:
        """Begin with the next batch. Raises SourceProblem if there is nothing in flight that would suffer from it."""
        try:
            batch = await self._collect()
        except SourceProblem as problem:
            if not self._tasks:
                raise
            logger.info("mapping %s: %s", self.mapping.name, problem)
            await self.alarm.wait(_AGAIN_S)
            return
        if batch is not None:
            batches = [batch]
            while self._fifo and self._held:
                batches.append(self._from_held())
            self._slots.take()
            self._start(self._process(batches)).add_done_callback(lambda task: self._slots.give())

    # From the queue

    async def _collect(self) -> Batch[Received] | None:
        """The next batch, once it is full or its window is over; None if the source is to stop, with nothing collected."""
        batch = self._from_held()
        over = self.clock.now() + self._window_s
        while not (batch.full or self.stopping):
            left_s = over - self.clock.now() if batch else None
            if left_s is not None and left_s <= 0:
                break
            found = self._kept(await self._receive(min(AT_ONCE, self._room(batch)), left_s))
            if found and not batch:
                over = self.clock.now() + self._window_s
            for received in found:
                if not batch.offer(received, received.text):
                    self._held.append(received)
        if self.stopping:
            self._held = [*batch.records, *self._held]
            return None
        return batch

    def _room(self, batch: Batch[Received]) -> int:
        """How many messages are asked for: what fits into the batch, and into further ones that the function can get now.

        Of a FIFO queue only the former, since a group has one batch in flight.
        """
        if self._fifo or self._window_s:
            return batch.room
        others = max(0, self._slots.allowed - self._slots.in_use - 1)
        return batch.room + others * self.settings.batch_size

    def _from_held(self) -> Batch[Received]:
        """A batch that begins with what did not fit into the one before."""
        batch: Batch[Received] = Batch(self.settings.batch_size, self.payload_limit_bytes)
        held, self._held = self._held, []
        for received in held:
            if not batch.offer(received, received.text):
                self._held.append(received)
        return batch

    async def _receive(self, wanted: int, left_s: float | None) -> list[Message]:
        """Messages, or none if none came in so many seconds (None: in as many as AWS's pollers wait)."""
        if not self.alarm.fed:
            messages = await self._queue.receive(
                wanted, LONG_POLL_S if left_s is None else max(1, min(LONG_POLL_S, int(left_s)))
            )
        else:
            # When the last look found less than it asked for, the host says when there is more.
            if (
                self._drained
                and not await self.alarm.wait(SAFETY_S if left_s is None else left_s)
                and left_s is not None
            ):
                return []
            if self.stopping:
                return []
            self.alarm.clear()
            messages = await self._queue.receive(wanted, 0)
            self._drained = len(messages) < wanted
        self.count(counts.POLLED, len(messages))
        return messages

    def _kept(self, messages: Sequence[Message]) -> list[Received]:
        """What the filters keep; the rest is deleted (lambda/latest/dg/with-sqs-filtering.html)."""
        now = self.clock.now()
        kept: list[Received] = []
        dropped: list[Message] = []
        for message in messages:
            record = self._writer.record(message)
            if not self.filters.filters or matched(record, self.filters.match):
                kept.append(Received(message, now, record_text(record)))
            else:
                dropped.append(message)
        if dropped:
            self.count(counts.FILTERED_OUT, len(dropped))
            self._start(self._delete(dropped))
        return kept

    # To the function

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a batch of mapping %s was left to its queue", self.mapping.name, exc_info=error)

    async def _process(self, batches: Sequence[Batch[Received]]) -> None:
        """Give batches to the function, one after the other, and delete what it processed.

        Several are what was received together of a FIFO queue, and too large for one event: what comes after a message that
        failed has to wait with it.
        """
        failed: set[str | None] = set()
        waiting = [list(batch.records) for batch in batches]
        while waiting:
            records = waiting.pop(0)
            done = await self._invoke(records) if records else []
            if len(done) < len(records):
                processed = {each.id for each in done}
                failed |= {each.group for each in records if each.id not in processed}
            deleting = self._start(self._delete([each.message for each in done]))
            if waiting:
                await deleting
                waiting = await self._kept_waiting(waiting, failed)

    async def _kept_waiting(self, waiting: list[list[Received]], failed: set[str | None]) -> list[list[Received]]:
        """What is to follow, without what has to wait in its queue; the rest is hidden there for as long again.

        What was received together has one visibility timeout, and the function may need all of that for each batch. What is shown
        again already is the queue's (SQSDeveloperGuide/sqs-visibility-timeout.html).
        """
        now = self.clock.now()
        shown = now - self._queue.visibility_s
        ours = [[each for each in records if each.group not in failed and each.at > shown] for records in waiting]
        await self._queue.keep([each.message for records in ours for each in records])
        return [[replace(each, at=now) for each in records] for records in ours]

    async def _invoke(self, records: Sequence[Received]) -> list[Received]:
        """Give messages to the function; those that it processed. The others are left to their queue."""
        trace_header = lineage.furthest((each.trace_header for each in records), self._function_arn)
        event = b'{"Records":[' + b",".join(each.text for each in records) + b"]}"
        self.count(counts.INVOKED, len(records))
        throttles = 0
        while True:
            try:
                result = await self.invoke(event, trace_header)
            except TooManyRequestsException:
                throttles += 1
                if not await self._back_off(throttles, records):
                    self._failed(len(records))
                    return []
                continue
            except RecursiveInvocationException:
                # Only the messages of the loop are stopped, not those that came with them.
                self.count(counts.FAILED_INVOKE, sum(each.trace_header == trace_header for each in records))
                others = [each for each in records if each.trace_header != trace_header]
                if self._fifo:
                    stopped = {each.group for each in records if each.trace_header == trace_header}
                    others = [each for each in others if each.group not in stopped]
                return await self._invoke(others) if others else []
            except LambdaError as error:
                logger.info("mapping %s: the function did not run: %s", self.mapping.name, error)
                self._failed(len(records))
                return []
            return self._processed(records, result.function_error, result.payload)

    async def _back_off(self, throttles: int, records: Sequence[Received]) -> bool:
        """Wait after a throttle; False if there is no time left: the queue is about to show the messages again."""
        self._slots.throttled()
        if throttles == 1:
            await self._queue.learn_visibility()
        again = self.clock.now() + retry_delay_s(throttles, first_s=_FIRST_THROTTLE_S, most_s=_LONGEST_THROTTLE_S)
        if again >= min(each.at for each in records) + self._queue.visibility_s:
            return False
        await self.clock.sleep_until(again)
        return True

    def _processed(self, records: Sequence[Received], error: str | None, response: bytes) -> list[Received]:
        failed: set[str] | None = set()
        if error is not None:
            failed = None
        elif self._partial:
            failed = failed_items(response, {each.id for each in records})
        if failed is None:
            self._failed(len(records))
            return []
        self.count(counts.FAILED_INVOKE, len(failed))
        self._slots.succeeded()
        self.report(OK)
        return [each for each in records if each.id not in failed]

    def _failed(self, records: int) -> None:
        self.count(counts.FAILED_INVOKE, records)
        self._slots.failed()
        self.report(FUNCTION_CALL_FAILED)

    async def _delete(self, messages: Sequence[Message]) -> None:
        if messages:
            self.count(counts.DELETED, await self._queue.delete(messages))
