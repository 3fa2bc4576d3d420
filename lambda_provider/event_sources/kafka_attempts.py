"""Batches of one partition with the function: attempt after attempt, each until it is processed or given up.

https://docs.aws.amazon.com/lambda/latest/dg/kafka-retry-configurations.html: without limits a batch is retried until it works,
with an on-failure destination ten times; a split does not use up attempts; of a partial response only the records that are
reported as failed are tried again.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from lambda_provider.api import LambdaError, TooManyRequestsException
from lambda_provider.event_sources import counts
from lambda_provider.event_sources.discarded import AGE_EXCEEDED, RETRIES_EXHAUSTED
from lambda_provider.event_sources.kafka_failures import PAYLOAD_TOO_LARGE, GivenUp
from lambda_provider.event_sources.kafka_log import Item, KafkaLog
from lambda_provider.event_sources.kafka_records import EventWriter, Partition, Record, name_of
from lambda_provider.event_sources.responses import failed_records
from lambda_provider.event_sources.source import FUNCTION_CALL_FAILED, OK, retry_delay_s
from lambda_provider.model.event_source_mapping import MappingSettings
from lambda_runtime.clock import Clock
from lambda_runtime.types import InvocationResult

logger = logging.getLogger(__name__)

RETRIES_BEFORE_DESTINATION = 10

_FIRST_THROTTLE_S = 0.1
_LONGEST_THROTTLE_S = 10.0


class Surroundings(Protocol):
    """What a batch finds in its source."""

    settings: MappingSettings
    clock: Clock
    writer: EventWriter
    told: KafkaLog
    invocations: asyncio.Semaphore
    """As many batches of the mapping are with the function at once."""
    partial_responses: bool

    @property
    def payload_limit_bytes(self) -> int: ...

    async def invoke(self, event: bytes, trace_header: str | None = None) -> InvocationResult: ...

    async def give_up(self, given_up: GivenUp) -> None:
        """Have records that are not tried again delivered, or counted."""

    def report(self, result: str) -> None: ...

    def count(self, metric: str, value: float = 1) -> None: ...


class Stopped(Exception):
    """The source stops: what is not processed stays where it is."""


@dataclass(slots=True)
class Attempts:
    """What has become of some records so far. `failures` count against the limit, `invokes` are all."""

    failures: int = 0
    invokes: int = 0
    last: InvocationResult | None = None


class BatchWorker(ABC):
    """Takes batches of one partition to the function. Touched only on the loop."""

    def __init__(self, source: Surroundings, partition: Partition) -> None:
        self._source = source
        self._settings = source.settings
        self._clock = source.clock
        self._partition = partition
        self._stopping = asyncio.Event()
        retries = self._settings.max_retry_attempts
        self._retries: float = float("inf") if retries is None or retries < 0 else retries
        if self._settings.on_failure and self._retries == float("inf"):
            self._retries = RETRIES_BEFORE_DESTINATION

    def stop(self) -> None:
        """Begin with nothing more; the invoke that is under way ends."""
        self._stopping.set()

    @abstractmethod
    def _done(self, records: Sequence[Record]) -> None:
        """Records are processed, or given up."""

    async def _process(self, items: Sequence[Item], attempts: Attempts) -> None:
        """Have records processed, or give them up. Raises Stopped."""
        while items := await self._without_old(items, attempts):
            if len(event := self._event(items)) > self._source.payload_limit_bytes:
                # A record that is too large alone: a batch takes no second one then.
                await self._give_up(items, PAYLOAD_TOO_LARGE, Attempts())
                return
            failed = await self._try(items, event, attempts)
            if not failed:
                return
            if self._settings.bisect_on_error and len(failed) == len(items) > 1:
                middle = len(items) // 2
                for half in (items[:middle], items[middle:]):
                    await self._process(half, Attempts(attempts.failures, attempts.invokes, attempts.last))
                return
            attempts.failures += 1
            if attempts.failures > self._retries:
                await self._give_up(failed, RETRIES_EXHAUSTED, attempts)
                return
            items = failed
            await self._pause(retry_delay_s(attempts.failures))

    async def _try(self, items: Sequence[Item], event: bytes, attempts: Attempts) -> Sequence[Item]:
        """Run the function once; the records that failed."""
        self._source.told.invoking(self._partition, items, event)
        result = await self._invoke(event, len(items))
        attempts.invokes += 1
        attempts.last = result
        failed: set[tuple[str, int]] | None = None
        if result.function_error is None:
            failed = set()
            if self._source.partial_responses:
                failed = failed_records(result.payload, {_identifier(record) for record, _ in items}, _read_identifier)
        if failed is None:
            self._source.count("InvokeErrorCount")
        left = items if failed is None else [item for item in items if _identifier(item[0]) in failed]
        self._source.count(counts.FAILED_INVOKE, len(left))
        self._source.report(FUNCTION_CALL_FAILED if failed is None else OK)
        if failed is not None:
            self._done([record for record, _ in items if _identifier(record) not in failed])
        if left:
            self._source.told.failed(self._partition, left, attempts.invokes, result)
        else:
            self._source.told.processed(self._partition, items, result)
        return left

    async def _invoke(self, event: bytes, records: int) -> InvocationResult:
        """What the function answered. Throttles, and functions that cannot run, are waited out."""
        throttles = 0
        while True:
            try:
                async with self._source.invocations:
                    if self._stopping.is_set():
                        raise Stopped
                    self._source.count(counts.INVOKED, records)
                    return await self._source.invoke(event)
            except TooManyRequestsException as error:
                reason: LambdaError = error
                first_s, most_s = _FIRST_THROTTLE_S, _LONGEST_THROTTLE_S
            except LambdaError as error:
                logger.info("%s: the function did not run: %s", name_of(self._partition), error)
                self._source.report(FUNCTION_CALL_FAILED)
                reason = error
                first_s, most_s = 1.0, 60.0
            throttles += 1
            delay_s = retry_delay_s(throttles, first_s=first_s, most_s=most_s)
            self._source.count("InvokeErrorCount")
            self._source.count(counts.FAILED_INVOKE, records)
            self._source.told.not_invoked(self._partition, records, reason, delay_s)
            await self._pause(delay_s)

    async def _without_old(self, items: Sequence[Item], attempts: Attempts) -> Sequence[Item]:
        """The records that are not too old; the others are given up."""
        most_s = self._settings.max_record_age_s
        if most_s is None or most_s < 0:
            return items
        oldest_ms = (self._clock.now() - most_s) * 1000
        old = [item for item in items if item[0].timestamp_ms < oldest_ms]
        if old:
            await self._give_up(old, AGE_EXCEEDED, attempts)
        return [item for item in items if item[0].timestamp_ms >= oldest_ms]

    async def _give_up(self, items: Sequence[Item], condition: str, attempts: Attempts) -> None:
        records = [record for record, _ in items]
        await self._source.give_up(
            GivenUp(
                partition=self._partition,
                records=records,
                event=self._event(items),
                texts=[text for _, text in items],
                condition=condition,
                invokes=attempts.invokes,
                result=attempts.last if condition == RETRIES_EXHAUSTED else None,
            )
        )
        self._done(records)

    def _event(self, items: Sequence[Item]) -> bytes:
        return self._source.writer.event(self._partition, [text for _, text in items])

    async def _pause(self, seconds: float) -> None:
        """Let time pass. Raises Stopped when the source is to stop."""
        over = asyncio.ensure_future(self._clock.sleep_until(self._clock.now() + seconds))
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({over, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            over.cancel()
            stopping.cancel()
        if self._stopping.is_set():
            raise Stopped


def _identifier(record: Record) -> tuple[str, int]:
    return name_of((record.topic, record.partition)), record.offset


def _read_identifier(item: Any) -> tuple[str, int] | None:
    """`{"partition": "topic-0", "offset": 7}`, as AWS's Powertools for Lambda report a failed record."""
    if not isinstance(item, dict):
        return None
    partition, offset = item.get("partition"), item.get("offset")
    if not isinstance(partition, str) or not isinstance(offset, int):
        return None
    return partition, offset
