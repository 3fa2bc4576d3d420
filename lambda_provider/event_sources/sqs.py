"""Queues of SQS, standard and FIFO.

https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html and the pages under it. Messages that a function did not process are
left alone: the queue shows them again when their visibility timeout is over, counts how often, and moves them to its dead-letter
queue. Only messages that were received and then not given to the function, because the mapping changed, are shown again at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar

from botocore.exceptions import BotoCoreError, ClientError

from lambda_provider.api import (
    LambdaError,
    RecursiveInvocationException,
    TooManyRequestsException,
)
from lambda_provider.event_sources import counts
from lambda_provider.event_sources.batching import Batch
from lambda_provider.event_sources.responses import REPORT_BATCH_ITEM_FAILURES, failed_items
from lambda_provider.event_sources.source import (
    AUTHORIZATION_ERROR,
    FUNCTION_CALL_FAILED,
    OK,
    SAFETY_S,
    EventSource,
    SourceProblem,
    Surroundings,
    retry_delay_s,
)
from lambda_provider.event_sources.sqs_events import Message, RecordWriter, matched, record_text
from lambda_provider.event_sources.sqs_scaling import Concurrency
from lambda_provider.host import ServiceUnavailable
from lambda_provider.model.event_source_mapping import EventSourceMapping
from lambda_provider.operations import lineage

logger = logging.getLogger(__name__)

AT_ONCE = 10
"""What one request of SQS receives or deletes at most."""
LONG_POLL_S = 20
"""How long AWS's pollers let the queue wait for messages."""
DELETE_ATTEMPTS = 3

_FIRST_THROTTLE_S = 0.1
_LONGEST_THROTTLE_S = 10.0
_GONE = frozenset(
    {"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist", "AWS.SimpleQueueService.QueueDeletedRecently"}
)
_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "AWS.SimpleQueueService.AccessDenied"})


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
        self._sqs: Any = None
        self._url = ""
        self._visibility_s = 30.0

    async def run(self) -> None:
        await self._open()
        try:
            while not self.stopping:
                await self._slots.free()
                if (batch := await self._collect()) is not None:
                    batches = [batch]
                    while self._fifo and self._held:
                        batches.append(self._from_held())
                    self._start(self._process(batches))
            if self._held:
                await self._show_again(self._held)
            if self._tasks:
                await asyncio.wait(self._tasks)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    # From the queue

    async def _open(self) -> None:
        try:
            self._sqs = await self.call(self.client, "sqs")
            answer = await self.call(self._sqs.get_queue_url, QueueName=self._arn.rpartition(":")[2])
            self._url = answer["QueueUrl"]
            await self._learn_visibility()
        except (ClientError, BotoCoreError, ServiceUnavailable, OSError) as error:
            raise _problem(error) from error
        self.report(OK)

    async def _learn_visibility(self) -> None:
        answer = await self.call(
            self._sqs.get_queue_attributes, QueueUrl=self._url, AttributeNames=["VisibilityTimeout"]
        )
        self._visibility_s = float(answer["Attributes"]["VisibilityTimeout"])

    async def _collect(self) -> Batch[Received] | None:
        """The next batch, once it is full or its window is over; None if the source is to stop, with nothing collected."""
        batch = self._from_held()
        over = self.clock.now() + self._window_s
        while not (batch.full or self.stopping):
            left_s = over - self.clock.now() if batch else None
            if left_s is not None and left_s <= 0:
                break
            found = self._kept(await self._receive(min(AT_ONCE, batch.room), left_s))
            if found and not batch:
                over = self.clock.now() + self._window_s
            for received in found:
                if self._held or not batch.offer(received, received.text):
                    self._held.append(received)
        if self.stopping:
            self._held = [*batch.records, *self._held]
            return None
        return batch

    def _from_held(self) -> Batch[Received]:
        """A batch that begins with what did not fit into the one before."""
        batch: Batch[Received] = Batch(self.settings.batch_size, self.payload_limit_bytes)
        held, self._held = self._held, []
        for received in held:
            if self._held or not batch.offer(received, received.text):
                self._held.append(received)
        return batch

    async def _receive(self, wanted: int, left_s: float | None) -> list[Message]:
        """Messages, or none if none came in so many seconds (None: in as many as AWS's pollers wait)."""
        if not self.alarm.fed:
            messages = await self._ask(wanted, LONG_POLL_S if left_s is None else max(1, min(LONG_POLL_S, int(left_s))))
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
            messages = await self._ask(wanted, 0)
            self._drained = len(messages) < wanted
        self.count(counts.POLLED, len(messages))
        return messages

    async def _ask(self, wanted: int, wait_s: int) -> list[Message]:
        parameters = {
            "QueueUrl": self._url,
            "MaxNumberOfMessages": wanted,
            "WaitTimeSeconds": wait_s,
            "AttributeNames": ["All"],
            "MessageAttributeNames": ["All"],
        }
        try:
            call = self.wait_for if wait_s else self.call
            answer = await call(self._sqs.receive_message, **parameters)
        except (ClientError, BotoCoreError, ServiceUnavailable, OSError) as error:
            raise _problem(error) from error
        return list(answer.get("Messages") or ())

    def _kept(self, messages: Sequence[Message]) -> list[Received]:
        """What the filters keep; the rest is deleted (lambda/latest/dg/with-sqs-filtering.html)."""
        now = self.clock.now()
        kept, dropped = [], []
        for message in messages:
            record = self._writer.record(message)
            if not self.filters.filters or matched(record, self.filters.match):
                kept.append(Received(message, now, record_text(record)))
            else:
                dropped.append(Received(message, now, b""))
        if dropped:
            self.count(counts.FILTERED_OUT, len(dropped))
            self._start(self._delete(dropped))
        return kept

    # To the function

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

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
        with self._slots.slot():
            for batch in batches:
                records = [each for each in batch.records if not failed or each.group not in failed]
                done = await self._invoke(records) if records else []
                if len(done) < len(records):
                    processed = {each.id for each in done}
                    failed |= {each.group for each in records if each.id not in processed}
                if done and batch is not batches[-1]:
                    await self._delete(done)
        if done:
            await self._delete(done)

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
            with suppress(ClientError, BotoCoreError, ServiceUnavailable, OSError):
                await self._learn_visibility()
        again = self.clock.now() + retry_delay_s(throttles, first_s=_FIRST_THROTTLE_S, most_s=_LONGEST_THROTTLE_S)
        if again >= min(each.at for each in records) + self._visibility_s:
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

    # Back to the queue

    async def _delete(self, records: Sequence[Received]) -> None:
        """Delete messages, ten at a time. What cannot be deleted comes again: at least once, as on AWS."""
        parts = [records[start : start + AT_ONCE] for start in range(0, len(records), AT_ONCE)]
        await asyncio.gather(*(self._delete_part(part) for part in parts))

    async def _delete_part(self, records: Sequence[Received]) -> None:
        left = {str(index): received for index, received in enumerate(records)}
        for attempt in range(1, DELETE_ATTEMPTS + 1):
            entries = [{"Id": id_, "ReceiptHandle": each.message["ReceiptHandle"]} for id_, each in left.items()]
            try:
                answer = await self.call(self._sqs.delete_message_batch, QueueUrl=self._url, Entries=entries)
            except (ClientError, BotoCoreError, ServiceUnavailable, OSError) as error:
                if _is_gone(error):
                    return
                logger.warning("mapping %s could not delete messages: %s", self.mapping.name, error)
            else:
                failed = {each["Id"] for each in answer.get("Failed") or () if not each.get("SenderFault")}
                self.count(counts.DELETED, len(left) - len(answer.get("Failed") or ()))
                left = {id_: each for id_, each in left.items() if id_ in failed}
                if not left:
                    return
            if attempt < DELETE_ATTEMPTS:
                await self.clock.sleep_until(self.clock.now() + retry_delay_s(attempt))

    async def _show_again(self, records: Sequence[Received]) -> None:
        """Give messages back that nobody has seen: they are visible at once."""
        for start in range(0, len(records), AT_ONCE):
            entries = [
                {"Id": str(index), "ReceiptHandle": each.message["ReceiptHandle"], "VisibilityTimeout": 0}
                for index, each in enumerate(records[start : start + AT_ONCE])
            ]
            try:
                await self.call(self._sqs.change_message_visibility_batch, QueueUrl=self._url, Entries=entries)
            except (ClientError, BotoCoreError, ServiceUnavailable, OSError) as error:
                logger.info("mapping %s could not give messages back: %s", self.mapping.name, error)


def _code(error: Exception) -> str:
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""


def _is_gone(error: Exception) -> bool:
    return _code(error) in _GONE


def _problem(error: Exception) -> SourceProblem:
    """Why a queue cannot be polled. It is tried again, so a queue that is made anew is polled again."""
    reason = {"reason": AUTHORIZATION_ERROR} if _code(error) in _DENIED else {}
    return SourceProblem(str(error), **reason)
