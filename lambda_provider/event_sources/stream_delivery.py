"""Records of a shard on their way through the function: retries, halves, partial answers, and records that are given up.

https://docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html, services-kinesis-batchfailurereporting.html and
services-kinesis-windows.html, and the same pages on DynamoDB. Recorded: test_kinesis_report_batch_item_failure_scenarios,
test_kinesis_maximum_record_age_exceeded, test_dynamodb_report_batch_item_failures_with_on_failure_destination_config.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lambda_provider.api import LambdaError
from lambda_provider.event_sources import counts
from lambda_provider.event_sources.discarded import AGE_EXCEEDED, RETRIES_EXHAUSTED, DiscardedBatch
from lambda_provider.event_sources.responses import failed_items
from lambda_provider.event_sources.source import FUNCTION_CALL_FAILED, OK, retry_delay_s
from lambda_provider.event_sources.stream import Stream, StreamRecord
from lambda_provider.event_sources.tumbling import TumblingWindow
from lambda_runtime.types import InvocationResult

logger = logging.getLogger(__name__)

ITERATOR_AGE = "IteratorAge"
FIRST_RETRY_S = 0.5
LONGEST_RETRY_S = 60.0
"""AWS backs off exponentially and does not say how fast; so eight attempts fit into a minute, as recorded
(test_kinesis_maximum_record_age_exceeded[expire-while-retrying])."""

_EARLY_S = 0.1


@dataclass(slots=True)
class Part:
    """Records that go to the function together, `attempts` of which failed."""

    records: Sequence[StreamRecord]
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """`processed` records from the first on are done. Without a result the function did not run."""

    processed: int
    result: InvocationResult | None


class Delivery:
    """What gives the records of one lane to the function. Touched only on the loop, one call at a time.

    `done` is called with records that nobody has to look at again, in their order: processed, or given up.
    """

    def __init__(
        self,
        stream: Stream,
        shard_id: str,
        window: TumblingWindow | None,
        done: Callable[[Sequence[StreamRecord]], None],
    ) -> None:
        self._stream = stream
        self._shard_id = shard_id
        self._window = window
        self._done = done
        self._failures = 0
        """Attempts in a row after which nothing went on."""

    async def deliver(self, records: Sequence[StreamRecord]) -> bool:
        """Return True when all records are done; False when the source stops before.

        A batch that fails is tried again until it succeeds, its retries are used up, or it is too old; with bisecting it is
        halved instead, which uses up no retry, and the second half waits for the first one. Of a partial answer the records
        before the first failed one are done; with bisecting this is a split, too.
        """
        parts = deque([Part(records)])
        while parts:
            if self._stream.stopping:
                return False
            part = await self._without_the_old(parts.popleft())
            if not part.records:
                continue
            outcome = await self._invoke(part.records)
            if outcome.processed:
                self._finish(part.records[: outcome.processed])
            if self._window is not None and self._window.too_large and not await self.close_window(early=True):
                return False
            rest = Part(part.records[outcome.processed :], part.attempts)
            if not rest.records:
                self._failures = 0
            elif outcome.result is None:
                parts.appendleft(rest)
                await self._back_off(rest)
            elif self._stream.settings.bisect_on_error and (outcome.processed or len(rest.records) > 1):
                middle = 0 if outcome.processed else len(rest.records) // 2
                halves = [rest.records[:middle], rest.records[middle:]]
                parts.extendleft(Part(half, rest.attempts) for half in reversed(halves) if half)
            else:
                await self._failed(rest, outcome.result, parts)
        return True

    async def close_window(self, *, early: bool = False) -> bool:
        """Invoke the function for the end of the window until it succeeds or its retries are used up; False if stopped.

        "If the invocation fails, your function suspends further processing until the invocation is successful": that holds
        for mappings without a limit of retries.
        """
        window, attempts = self._window, 0
        assert window is not None
        while not self._stream.stopping:
            result = await self._call(window.event([], final=True, early=early))
            if result is not None:
                attempts += 1
                exhausted = self._stream.max_retries is not None and attempts > self._stream.max_retries
                failed = result.function_error is not None
                if not failed or exhausted:
                    self._stream.report(FUNCTION_CALL_FAILED if failed else OK)
                    window.close(early=early)
                    self._done(())
                    self._failures = 0
                    return True
                self._stream.report(FUNCTION_CALL_FAILED)
            await self._back_off(Part(()))
        return False

    async def _failed(self, part: Part, result: InvocationResult, parts: deque[Part]) -> None:
        """A batch failed that is not split: once more, or no more."""
        part.attempts += 1
        if self._stream.max_retries is not None and part.attempts > self._stream.max_retries:
            await self._discard(part.records, RETRIES_EXHAUSTED, part.attempts, result)
            self._failures = 0
            return
        parts.appendleft(part)
        await self._back_off(part)

    async def _without_the_old(self, part: Part) -> Part:
        """The part without its first records that are older than they may be."""
        limit_s = self._stream.max_age_s
        if limit_s is None:
            return part
        old = 0
        # Timers may be a little early.
        while old < len(part.records) and self._stream.age_s(part.records[old].arrival) >= limit_s - _EARLY_S:
            old += 1
        if old:
            await self._discard(part.records[:old], AGE_EXCEEDED, part.attempts + 1, None)
            part = Part(part.records[old:], part.attempts)
        return part

    async def _back_off(self, part: Part) -> None:
        """Wait before the next attempt, but not longer than until the first record is too old."""
        self._failures += 1
        delay_s = retry_delay_s(self._failures, first_s=FIRST_RETRY_S, most_s=LONGEST_RETRY_S)
        if self._stream.max_age_s is not None and part.records:
            left_s = self._stream.max_age_s - self._stream.age_s(part.records[0].arrival)
            delay_s = max(0.0, min(delay_s, left_s))
        await self._stream.pause(delay_s)

    # The function

    async def _invoke(self, records: Sequence[StreamRecord]) -> Outcome:
        texts = [record.text or b"" for record in records]
        self._stream.count(counts.INVOKED, len(records))
        self._stream.count_for_function(ITERATOR_AGE, max(0.0, self._stream.age_s(records[-1].arrival)) * 1000)
        result = await self._call(self._event(texts))
        if result is None:
            self._stream.count(counts.FAILED_INVOKE, len(records))
            self._stream.report(FUNCTION_CALL_FAILED)
            return Outcome(0, None)
        processed = self._processed(records, result)
        self._stream.count(counts.FAILED_INVOKE, len(records) - processed)
        self._stream.report(OK if processed else FUNCTION_CALL_FAILED)
        return Outcome(processed, result)

    async def _call(self, event: bytes) -> InvocationResult | None:
        """Invoke; None if the function did not run, because of a throttle or for another reason that may pass."""
        try:
            return await self._stream.invoke(event)
        except LambdaError as error:
            logger.info("mapping %s: the function did not run: %s", self._stream.mapping.name, error)
            return None

    def _event(self, texts: Sequence[bytes]) -> bytes:
        if self._window is not None:
            return self._window.event(texts)
        return b'{"Records":[' + b",".join(texts) + b"]}"

    def _processed(self, records: Sequence[StreamRecord], result: InvocationResult) -> int:
        """How many records from the first on the function processed."""
        if result.function_error is not None:
            return 0
        processed = len(records)
        if self._stream.partial:
            places = {str(record.number): place for place, record in enumerate(records)}
            failed = failed_items(result.payload, places.keys())
            if failed is None:
                return 0
            processed = min((places[number] for number in failed), default=processed)
        if self._window is not None and processed and not self._window.take(result.payload):
            return 0
        return processed

    # Records that are done

    def _finish(self, records: Sequence[StreamRecord]) -> None:
        self._done(records)

    async def _discard(
        self, records: Sequence[StreamRecord], condition: str, invokes: int, result: InvocationResult | None
    ) -> None:
        """Give records up, and tell the on-failure destination."""
        stream = self._stream
        stream.count(counts.DROPPED, len(records))
        if destination := stream.settings.on_failure:
            batch = DiscardedBatch(
                mapping=stream.mapping.name,
                function_arn=stream.mapping.function_arn,
                shard_id=self._shard_id,
                condition=condition,
                invokes=invokes,
                result=result,
                info=stream.batch_info(self._shard_id, records),
                event=self._event([record.text or b"" for record in records]),
            )
            problem = await stream.deliver(destination, batch.parcel(destination, stream.clock.now()))
            if problem is None:
                stream.count(counts.DELIVERED_ON_FAILURE, len(records))
            else:
                logger.warning(
                    "mapping %s: %d records were given up (%s), and %s could not be told: %s",
                    stream.mapping.name,
                    len(records),
                    condition,
                    destination,
                    problem,
                )
        self._finish(records)
