"""One shard: a reader that fetches its records, and the lanes that process them side by side."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from lambda_provider.event_sources import counts
from lambda_provider.event_sources.alarm import Alarm
from lambda_provider.event_sources.batching import Batch
from lambda_provider.event_sources.checkpoints import Checkpoint
from lambda_provider.event_sources.source import SAFETY_S, SourceProblem, retry_delay_s
from lambda_provider.event_sources.stream import FAILURES, Read, Start, Stream, StreamRecord, error_code
from lambda_provider.event_sources.stream_delivery import Delivery
from lambda_provider.event_sources.tumbling import TumblingWindow
from lambda_provider.host import Activity

logger = logging.getLogger(__name__)

_READ_AHEAD = 500
"""Records that are asked for at least, when there is room for some."""
_PLAIN_OVERHEAD_BYTES = len('{"Records":[]}')


class Lane:
    """Processes the records of some keys of a shard, in their order: a batch at a time, after that before it. On the loop.

    `waiting_bytes` is what the records in `queue` have. `looked` is the moment at which the reader last began a look that found
    nothing: a window that has ended is closed when nothing that belongs to it can come any more.
    """

    def __init__(
        self,
        stream: Stream,
        shard_id: str,
        window: TumblingWindow | None,
        done: Callable[[Sequence[StreamRecord]], None],
        taken: Callable[[], None],
    ) -> None:
        self.queue: deque[StreamRecord] = deque()
        self.waiting_bytes = 0
        self.changed = Alarm(stream.clock, None, None)
        self.ending = False
        self.looked = 0.0
        self._stream = stream
        self._window = window
        self._taken = taken
        self._delivery = Delivery(stream, shard_id, window, done)

    def add(self, record: StreamRecord) -> None:
        """A record for this lane; `changed` is rung when there is no more of them for now."""
        self.queue.append(record)
        self.waiting_bytes += len(record.text or b"")

    async def run(self) -> None:
        """Process what comes, until the source stops, or all of a shard that has ended is processed."""
        while not self._stream.stopping:
            if not self.queue:
                if self.ending and not (self._window and self._window.is_open):
                    return
                if not self._window_is_over():
                    await self._wait()
                    continue
            if self._window is not None and self._window.is_open and self._is_behind_window():
                if not await self._delivery.close_window():
                    return
                continue
            batch = await self._collect()
            if self._stream.stopping or not await self._delivery.deliver(batch):
                return

    async def _wait(self) -> None:
        """Until records come, or the window is over."""
        self.changed.clear()
        left_s = None
        if self._window is not None and self._window.is_open:
            left_s = self._stream.clock.moment_of(self._window.end) - self._stream.clock.now()
            if left_s <= 0:
                self._taken()  # Nothing may have come since the last look; the reader has to know.
                left_s = None
        await self.changed.wait(left_s)

    def _window_is_over(self) -> bool:
        """Whether nothing can come any more that belongs to the open window."""
        if self._window is None or not self._window.is_open:
            return False
        return self.ending or self.looked >= self._stream.clock.moment_of(self._window.end)

    def _is_behind_window(self) -> bool:
        assert self._window is not None
        return not self._window.covers(self.queue[0].arrival) if self.queue else self._window_is_over()

    async def _collect(self) -> list[StreamRecord]:
        """The next batch, once it is full or its window is over."""
        stream, window = self._stream, self._window
        if window is not None:
            window.open(self.queue[0].arrival)
        overhead = window.overhead_bytes if window is not None else _PLAIN_OVERHEAD_BYTES
        batch: Batch[StreamRecord] = Batch(stream.settings.batch_size, stream.payload_limit_bytes, overhead)
        over = stream.clock.now() + (stream.settings.batching_window_s or 0)
        while True:
            self.changed.clear()
            while self.queue and not batch.full:
                record = self.queue[0]
                if window is not None and not window.covers(record.arrival):
                    return batch.records
                text = record.text or b""
                if batch.offer(record, text):
                    self.queue.popleft()
                    self.waiting_bytes -= len(text)
            self._taken()
            left_s = over - stream.clock.now()
            if batch.full or self.ending or stream.stopping or left_s <= 0:
                return batch.records
            await self.changed.wait(left_s)


class ShardReader:
    """Reads a shard ahead of its lanes, no further than they can use. Touched only on the loop.

    A shard whose service refuses to answer is tried again after 1, 2, 4 … 60 seconds; other shards notice nothing of it.
    """

    def __init__(
        self,
        stream: Stream,
        client: Any,
        shard_id: str,
        start: Start,
        checkpoint: Checkpoint,
        activity: Activity | None,
    ) -> None:
        self.shard_id = shard_id
        self._stream = stream
        self._client = client
        self._start = start
        self._checkpoint = checkpoint
        self._after = checkpoint.after
        self._from_horizon = False
        self._alarm = Alarm(stream.clock, activity, stream.watched_arn)
        length_s = stream.window_s
        self._window = TumblingWindow(length_s, shard_id, stream.arn, checkpoint.window) if length_s else None
        self._lanes = [
            Lane(stream, shard_id, self._window, self._done_by(index), self._alarm.ring)
            for index in range(stream.factor)
        ]

    async def run(self) -> None:
        """Return when the shard has ended and is processed, or the source stops. Raises SourceProblem if it is gone."""
        loop = asyncio.get_running_loop()
        lanes = [loop.create_task(lane.run()) for lane in self._lanes]
        reading = loop.create_task(self._read())
        stopped = loop.create_task(self._stream.stopped())
        stopped.add_done_callback(lambda task: self._wake())
        try:
            for finished in asyncio.as_completed([reading, *lanes]):
                await finished  # Whichever fails ends the others.
            if not self._stream.stopping:
                self._checkpoint.finish()
        finally:
            self._alarm.close()
            tasks = (reading, stopped, *lanes)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _wake(self) -> None:
        self._alarm.ring()
        for lane in self._lanes:
            lane.changed.ring()

    def _done_by(self, index: int) -> Callable[[Sequence[StreamRecord]], None]:
        def done(records: Sequence[StreamRecord]) -> None:
            self._checkpoint.done(index, (record.number for record in records))
            if self._window is not None:
                self._checkpoint.window = self._window.stored()
            self._checkpoint.save()

        return done

    async def _read(self) -> None:
        iterator: str | None = None
        failures = 0
        while not self._stream.stopping:
            self._alarm.clear()
            if not (limit := self._room()):
                await self._alarm.wait(None)
                continue
            began = self._stream.clock.now()
            try:
                iterator = iterator or await self._iterator()
                read = await self._stream.call(
                    self._stream.read, self._client, self.shard_id, iterator, limit, self._start
                )
            except FAILURES as error:
                iterator = None
                if not self._recovers(error):
                    failures += 1
                    await self._stream.pause(retry_delay_s(failures))
                continue
            failures = 0
            iterator = read.next
            self._take(read, began)
            if iterator is None:
                break
            if not read.full:
                await self._alarm.wait(SAFETY_S if self._alarm.fed else self._stream.poll_s)
        for lane in self._lanes:
            lane.ending = True
            lane.changed.ring()

    async def _iterator(self) -> str:
        start = Start(None) if self._from_horizon else self._start
        after = None if self._from_horizon else self._after
        return await self._stream.call(self._stream.iterator, self._client, self.shard_id, after, start)

    def _recovers(self, error: Exception) -> bool:
        """Whether another iterator helps at once. Raises SourceProblem if there is no such shard."""
        code = error_code(error)
        if code == "ExpiredIteratorException":
            return True
        if code in ("TrimmedDataAccessException", "InvalidArgumentException") and not self._from_horizon:
            # What comes next is gone, or the position is that of a stream that was there before.
            logger.warning(
                "mapping %s, %s: from its first record on: %s", self._stream.mapping.name, self.shard_id, error
            )
            self._from_horizon = True
            return True
        if code == "ResourceNotFoundException":
            raise SourceProblem(str(error)) from error
        logger.warning("mapping %s cannot read %s: %s", self._stream.mapping.name, self.shard_id, error)
        return False

    def _room(self) -> int:
        """How many records may be asked for; 0 while the lanes have enough to do."""
        stream = self._stream
        wanted = stream.settings.batch_size * stream.factor
        if all(lane.queue for lane in self._lanes) and sum(len(lane.queue) for lane in self._lanes) >= wanted:
            return 0
        if sum(lane.waiting_bytes for lane in self._lanes) >= stream.payload_limit_bytes * stream.factor:
            return 0
        if self._checkpoint.outstanding >= _READ_AHEAD + 2 * wanted:
            return 0  # A lane is far behind the others, and the position with it.
        return min(stream.most_records, max(wanted, _READ_AHEAD))

    def _take(self, read: Read, began: float) -> None:
        """Spread records over the lanes, but for those that filters drop, or that were processed before a restart."""
        dropped = 0
        for record in read.records:
            self._after, self._from_horizon = record.number, False
            if record.text is None:
                dropped += 1
                self._checkpoint.skip(record.number)
            elif self._checkpoint.read(record.number, record.lane):
                self._lanes[record.lane].add(record)
        self._stream.count(counts.POLLED, len(read.records))
        self._stream.count(counts.FILTERED_OUT, dropped)
        if read.records:
            self._checkpoint.save()
        for lane in self._lanes:
            if not read.records:
                lane.looked = began
            if lane.queue or self._window is not None:
                lane.changed.ring()
