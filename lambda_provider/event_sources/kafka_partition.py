"""One partition at work: batches in order, one at a time; `kafka_attempts` has what becomes of each."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Protocol

from lambda_provider.event_sources.alarm import Alarm
from lambda_provider.event_sources.batching import Batch
from lambda_provider.event_sources.kafka_attempts import Attempts, BatchWorker, Stopped
from lambda_provider.event_sources.kafka_attempts import Surroundings as SurroundingsOfBatches
from lambda_provider.event_sources.kafka_progress import Progress
from lambda_provider.event_sources.kafka_records import Partition, Record

DEFAULT_WINDOW_S = 0.5

_HELD_RECORDS = 1000
_HELD_BYTES = 12 * 1024 * 1024
"""So much is held of a partition at least before nothing more is fetched."""


class Surroundings(SurroundingsOfBatches, Protocol):
    """What a partition finds in its source."""

    def moved(self, partition: Partition, position: int) -> None:
        """The position up to which everything is done has changed."""

    def flow(self, partition: Partition, wanted: bool) -> None:
        """Whether more is to be fetched."""


class PartitionWorker(BatchWorker):
    """Takes what arrives of one partition, in order, to the function. Touched only on the loop.

    COLLECTING (a batch, until it is full or its window is over) -> PROCESSING (until each record is done) -> COLLECTING …
    After `stop` it ends when the invoke that is under way has answered; records that wait for another attempt are left.
    """

    def __init__(self, source: Surroundings, partition: Partition, begin: int) -> None:
        super().__init__(source, partition)
        self._partitions = source
        self._progress = Progress(begin)
        self._held: deque[tuple[Record, bytes]] = deque()
        self._held_bytes = 0
        self._flowing = True
        self._news = Alarm(source.clock, None, None)
        window_s = self._settings.batching_window_s
        self._window_s = DEFAULT_WINDOW_S if window_s is None else float(window_s)

    @property
    def position(self) -> int:
        """Where the group would go on."""
        return self._progress.position

    def take(self, record: Record, text: bytes | None) -> None:
        """A record arrived; `text` is its JSON, None if it is not for the function."""
        if text is None:
            self._progress.skipped(record.offset)
        elif self._progress.taken(record.offset):
            self._held.append((record, text))
            self._held_bytes += len(text)

    def taken(self) -> None:
        """Some records were taken: what waits for them goes on, and what was skipped is told."""
        self._partitions.moved(self._partition, self.position)
        self._news.ring()
        if self._flowing and (
            len(self._held) >= max(_HELD_RECORDS, 2 * self._settings.batch_size) or self._held_bytes >= _HELD_BYTES
        ):
            self._flowing = False
            self._partitions.flow(self._partition, False)

    def stop(self) -> None:
        super().stop()
        self._news.ring()

    async def run(self) -> None:
        """Work until `stop`."""
        try:
            while not self._stopping.is_set():
                batch = await self._collect()
                if self._stopping.is_set():
                    return
                await self._process(list(zip(batch.records, batch.texts, strict=True)), Attempts())
        except Stopped:
            return

    async def _collect(self) -> Batch[Record]:
        """The next batch. Whoever calls looks whether the source stops."""
        overhead = self._source.writer.overhead_bytes(self._partition)
        batch: Batch[Record] = Batch(self._settings.batch_size, self._source.payload_limit_bytes, overhead)
        over = 0.0
        while not (batch.full or self._stopping.is_set()):
            if not self._held:
                left_s = over - self._clock.now() if batch else None
                self._news.clear()
                if not await self._news.wait(left_s):
                    break
                continue
            if not batch:
                over = self._clock.now() + self._window_s
            self._fill(batch)
        return batch

    def _fill(self, batch: Batch[Record]) -> None:
        while self._held and batch.offer(*self._held[0]):
            self._held_bytes -= len(self._held.popleft()[1])
            if batch.full:
                break
        if not self._flowing and len(self._held) <= self._settings.batch_size and self._held_bytes < _HELD_BYTES // 2:
            self._flowing = True
            self._partitions.flow(self._partition, True)

    def _done(self, records: Sequence[Record]) -> None:
        self._progress.done(record.offset for record in records)
        self._partitions.moved(self._partition, self.position)
