"""A topic as a queue (ConsumptionMode Queue): records of a share group, in no order, acknowledged one by one.

https://docs.aws.amazon.com/lambda/latest/dg/polling-kafka-queue.html, and the API reference of CreateEventSourceMapping: there
is no batching window; what fails is tried again `MaximumRetryAttempts` times, none if nothing is said, and then released, so that
the cluster gives it again, up to the group's `group.share.delivery.count.limit`. Where a group begins is a setting that it has in
the cluster (`share.auto.offset.reset`).

Ours, because no page says it: with an on-failure destination records go there instead of being released; a batch has records of
one partition; and as many batches are with the function as there may be pollers, five without provisioned mode.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Protocol

from lambda_provider.event_sources import counts
from lambda_provider.event_sources.batching import batches
from lambda_provider.event_sources.discarded import RETRIES_EXHAUSTED
from lambda_provider.event_sources.filters import Filters
from lambda_provider.event_sources.kafka_attempts import Attempts, BatchWorker, Stopped, Surroundings
from lambda_provider.event_sources.kafka_log import Item
from lambda_provider.event_sources.kafka_records import Partition, Record, matched, record_text
from lambda_provider.event_sources.kafka_share import Place, Receiver
from lambda_provider.event_sources.source import SourceProblem

logger = logging.getLogger(__name__)

POLLERS = 5
"""Batches at once without provisioned mode."""
MOST_MEMBERS = 5
"""Members of the group, each of which waits for its slowest batch; more batches than that are of one member."""


class QueueSource(Surroundings, Protocol):
    """What a queue finds in its source."""

    filters: Filters

    def troubled(self, problem: SourceProblem) -> None:
        """The cluster is out of reach, for now."""

    def failed(self, error: Exception) -> None:
        """Nothing comes any more."""

    async def decoded(self, records: Sequence[Record]) -> Sequence[Record | None]:
        """Records as the schema registry has them, in their order; None for one that was given up."""


class Member(Protocol):
    """Who takes records of the group and has them processed, one lot after the other."""

    async def open(self) -> None:
        """Join the group. Raises SourceProblem."""

    def stop(self) -> None:
        """Take no more. What was taken and is refused counts as given, and nobody gets it any more when that was too often."""

    async def close(self) -> None:
        """Leave it; what is not processed is released."""


MakeMember = Callable[[Receiver], Member]
"""Makes a member, which has not done anything yet. Raises SourceProblem."""


class SharedBatch(BatchWorker):
    """One batch. `done` are its records that nobody has to get again, once `run` is over."""

    def __init__(self, source: Surroundings, partition: Partition, items: Sequence[Item]) -> None:
        super().__init__(source, partition)
        self._items = items
        self.done: set[Place] = set()

    async def run(self) -> None:
        """Work until each record is done, or to be released."""
        try:
            await self._process(self._items, Attempts())
        except Stopped:
            return

    async def _give_up(self, items: Sequence[Item], condition: str, attempts: Attempts) -> None:
        if condition != RETRIES_EXHAUSTED or self._settings.on_failure:
            await super()._give_up(items, condition, attempts)

    def _done(self, records: Iterable[Record]) -> None:
        self.done.update((record.topic, record.partition, record.offset) for record in records)


class KafkaQueue:
    """The members of one mapping and what they have with the function. Touched only on the loop.

    A member is added when all that there are have records, up to as many as there may be pollers.
    """

    def __init__(self, source: QueueSource, make: MakeMember, least: int, most: int) -> None:
        self._source = source
        self._make = make
        self._least = min(least, MOST_MEMBERS)
        self._most = min(most, MOST_MEMBERS)
        self._members: list[Member] = []
        self._growing: asyncio.Task[None] | None = None
        self._batches: set[SharedBatch] = set()
        self._decoding: set[asyncio.Future[Sequence[Record | None]]] = set()
        self._busy = 0
        self._at_rest = asyncio.Event()
        self._at_rest.set()
        self._over = False

    async def run(self, over: asyncio.Event, joined: Callable[[], None]) -> None:
        """Join the group, say so, and work until `over`; what is with the function ends then. Raises SourceProblem."""
        try:
            await unless(over, self._join())
            if not over.is_set():
                joined()
                await over.wait()
            await self._let_go()
        finally:
            self._over = True
            if self._growing is not None:
                self._growing.cancel()
            await asyncio.gather(*(member.close() for member in self._members))

    async def _join(self) -> None:
        while len(self._members) < self._least:
            await self._add()

    async def _let_go(self) -> None:
        self._over = True
        if self._growing is not None:
            self._growing.cancel()
        for member in self._members:
            member.stop()
        for decoding in self._decoding:
            decoding.cancel()
        for batch in self._batches:
            batch.stop()
        await self._at_rest.wait()

    # What the members tell

    async def process(self, records: Sequence[Record]) -> frozenset[Place]:
        """Receiver: have records processed; which of them nobody has to get again."""
        if self._over:
            return frozenset()
        self._source.count(counts.POLLED, len(records))
        self._source.told.polled(records)
        self._busy += 1
        self._at_rest.clear()
        self._grow()
        mine: list[SharedBatch] = []
        try:
            done: set[Place] = set()
            for partition, items in (await self._wanted(records, done)).items():
                mine += self._batched(partition, items)
            if not self._over:
                self._batches.update(mine)
                await asyncio.gather(*(batch.run() for batch in mine))
            return frozenset(done.union(*(batch.done for batch in mine)))
        finally:
            self._batches.difference_update(mine)
            self._busy -= 1
            if not self._busy:
                self._at_rest.set()

    def acknowledged(self, done: int, released: int, failure: Exception | None) -> None:
        """Receiver: the cluster knows what became of records, or does not want to."""
        if failure is None:
            self._source.told.acknowledged(done, released)
            return
        self._source.count("CommitErrorCount")
        self._source.told.not_acknowledged(done, failure)
        logger.warning("records of a share group are not acknowledged, and come again: %s", failure)

    def troubled(self, problem: SourceProblem) -> None:
        """Receiver: the cluster is out of reach, for now."""
        self._source.troubled(problem)

    def failed(self, error: Exception) -> None:
        """Receiver: a member has ended."""
        self._source.failed(error)

    # What becomes of records

    async def _wanted(self, records: Sequence[Record], done: set[Place]) -> dict[Partition, list[Item]]:
        """What is for the function, by partitions; the others are added to `done`."""
        wanted: dict[Partition, list[Item]] = {}
        dropped = 0
        for came, record in zip(records, await self._decoded(records), strict=False):
            if record is not None and (not self._source.filters.filters or matched(record, self._source.filters.match)):
                wanted.setdefault((came.topic, came.partition), []).append((record, record_text(record)))
            else:
                done.add((came.topic, came.partition, came.offset))
                dropped += record is not None
        self._source.count(counts.FILTERED_OUT, dropped)
        self._source.told.filtered_out(dropped)
        return wanted

    async def _decoded(self, records: Sequence[Record]) -> Sequence[Record | None]:
        """What the schema registry makes of records; nothing if the end comes before it has answered."""
        decoding = asyncio.ensure_future(self._source.decoded(records))
        self._decoding.add(decoding)
        try:
            await asyncio.wait({decoding})
            return () if decoding.cancelled() else decoding.result()
        finally:
            decoding.cancel()
            self._decoding.discard(decoding)

    def _batched(self, partition: Partition, items: Iterable[Item]) -> list[SharedBatch]:
        source = self._source
        found = batches(
            items, source.settings.batch_size, source.payload_limit_bytes, source.writer.overhead_bytes(partition)
        )
        return [SharedBatch(source, partition, list(zip(batch.records, batch.texts, strict=True))) for batch in found]

    def _grow(self) -> None:
        if (
            not self._over
            and self._busy == len(self._members) < self._most
            and (self._growing is None or self._growing.done())
        ):
            self._growing = asyncio.get_running_loop().create_task(self._add_later())

    async def _add_later(self) -> None:
        try:
            await self._add()
        except Exception as error:  # noqa: BLE001  (those that there are go on)
            logger.warning("no further member joins the share group: %s", error)

    async def _add(self) -> None:
        member = self._make(self)
        self._members.append(member)
        try:
            await member.open()
        except BaseException:
            self._members.remove(member)
            await member.close()
            raise


async def unless(over: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Wait for something, or until an event happens, which cancels it."""
    task = asyncio.ensure_future(work)
    ending = asyncio.ensure_future(over.wait())
    try:
        await asyncio.wait({task, ending}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            await task
    finally:
        task.cancel()
        ending.cancel()
