"""What the poller of streams has to know of a kind of stream: the hooks that `kinesis` and `dynamodb` fill in."""

from __future__ import annotations

import asyncio
import zlib
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from botocore.exceptions import BotoCoreError, ClientError

from lambda_provider.event_sources.responses import REPORT_BATCH_ITEM_FAILURES
from lambda_provider.event_sources.shards import Shard
from lambda_provider.event_sources.source import EventSource, Surroundings
from lambda_provider.host import ServiceUnavailable
from lambda_provider.model.event_source_mapping import EventSourceMapping

FAILURES = (ClientError, BotoCoreError, ServiceUnavailable, OSError)
"""What calls of a stream's service raise."""

UNLIMITED = -1
"""The value of limits that are none."""


@dataclass(frozen=True, slots=True)
class StreamRecord:
    """A record that was read. `number` is its sequence number, `lane` where records of its key are processed in order.

    `arrival` is in seconds of the machine's time, `text` the JSON that the function gets; a record that the filters drop has
    none.
    """

    number: int
    lane: int
    arrival: float
    text: bytes | None


@dataclass(frozen=True, slots=True)
class Start:
    """Where a shard is begun: at its first record (`since` is None), or the first one that is not older."""

    since: float | None


@dataclass(frozen=True, slots=True)
class Read:
    """What a look at a shard gave. Without `next` the shard has ended, and there is nothing more.

    `full` tells that there is more now, or may be.
    """

    records: Sequence[StreamRecord]
    next: str | None
    full: bool


class Stream(EventSource):
    """A mapping of a stream. What is abstract here blocks, and is called in threads."""

    service: ClassVar[str]
    most_records: ClassVar[int]
    """What one GetRecords gives at most."""
    poll_s: ClassVar[float]
    """How often AWS looks at a shard that had nothing."""
    info_name: ClassVar[str]
    """The member of on-failure records that tells of the batch."""

    def __init__(self, mapping: EventSourceMapping, surroundings: Surroundings) -> None:
        self.arn = mapping.event_source_arn or ""  # `watched_arn` needs it.
        super().__init__(mapping, surroundings)
        self.region = self.arn.split(":")[3]
        self.window_s = self.settings.tumbling_window_s or 0
        # The state of a window belongs to the whole shard, so its batches are processed one after the other.
        self.factor = 1 if self.window_s else self.settings.parallelization_factor or 1
        self.partial = REPORT_BATCH_ITEM_FAILURES in (self.settings.response_types or ())
        self.max_retries = _limit(self.settings.max_retry_attempts)
        self.max_age_s = _limit(self.settings.max_record_age_s)
        self._stopped = asyncio.Event()

    @property
    def stream_arn(self) -> str:
        """The stream's own ARN."""
        return self.arn

    @property
    def watched_arn(self) -> str | None:
        return self.stream_arn

    def stop(self) -> None:
        super().stop()
        self._stopped.set()

    async def stopped(self) -> None:
        """Return when the source is to stop."""
        await self._stopped.wait()

    async def pause(self, seconds: float) -> None:
        """Let time pass, unless the source is to stop."""
        waits = {
            asyncio.ensure_future(self._stopped.wait()),
            asyncio.ensure_future(self.clock.sleep_until(self.clock.now() + seconds)),
        }
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def age_s(self, arrival: float) -> float:
        """How old a record is, on the clock."""
        return self.clock.now() - self.clock.moment_of(arrival)

    def lane_of(self, key: str) -> int:
        """The lane of a key; it is the same after a restart."""
        return zlib.crc32(key.encode(errors="surrogatepass")) % self.factor if self.factor > 1 else 0

    @abstractmethod
    def open(self, client: Any) -> None:
        """Look whether the stream can be used. Raises `FAILURES`."""

    @abstractmethod
    def list_shards(self, client: Any) -> list[Shard]:
        """Every shard that still has records, in the stream's order. Raises `FAILURES`."""

    @abstractmethod
    def iterator(self, client: Any, shard_id: str, after: int | None, start: Start) -> str:
        """A shard iterator behind a record, or at where the mapping starts. Raises `FAILURES`."""

    @abstractmethod
    def read(self, client: Any, shard_id: str, iterator: str, limit: int, start: Start) -> Read:
        """The next records. Raises `FAILURES`."""

    @abstractmethod
    def info_time(self, moment: float) -> str:
        """A moment as on-failure records of this kind have it."""

    def batch_info(self, shard_id: str, records: Sequence[StreamRecord]) -> tuple[str, dict[str, Any]]:
        """The member of on-failure records that tells of the batch, with its name."""
        return self.info_name, {
            "shardId": shard_id,
            "startSequenceNumber": str(records[0].number),
            "endSequenceNumber": str(records[-1].number),
            "approximateArrivalOfFirstRecord": self.info_time(records[0].arrival),
            "approximateArrivalOfLastRecord": self.info_time(records[-1].arrival),
            "batchSize": len(records),
            "streamArn": self.stream_arn,
        }


def error_code(error: BaseException) -> str:
    """The code of AWS's error, or nothing."""
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""


def nested(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A member that is a structure, or an empty one."""
    value = document.get(name)
    return value if isinstance(value, Mapping) else {}


def _limit(value: int | None) -> int | None:
    return None if value is None or value == UNLIMITED else value
