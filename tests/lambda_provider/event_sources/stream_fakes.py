"""A stream of Kinesis on a manual clock: shards that are split, iterators that expire, and a function with drawn outcomes."""

from __future__ import annotations

import json
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

from lambda_provider.delivery.records import Parcel
from lambda_provider.event_sources.kinesis import KinesisSource
from lambda_provider.host import Host
from lambda_provider.model.event_source_mapping import EventSourceMapping
from lambda_provider.operations.mapping_kinds import KINESIS
from lambda_provider.store.positions import Positions
from lambda_runtime.clock import ManualClock
from lambda_runtime.types import InvocationResult

from ..fakes import ACCOUNT, REGION, client_error
from .fakes import Answer, World, mapping

STREAM_ARN = f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/stream"
SUCCESS = InvocationResult(b"null", "$LATEST")
FAILURE = InvocationResult(b'{"errorMessage": "no"}', "$LATEST", function_error="Unhandled", request_id="r1")
DEFAULTS: dict[str, Any] = {**KINESIS.defaults, "starting_position": "TRIM_HORIZON"}


def answer(document: object) -> InvocationResult:
    return InvocationResult(json.dumps(document).encode(), "$LATEST")


def stream_mapping(**settings: Any) -> EventSourceMapping:
    return mapping(STREAM_ARN, kind="kinesis", **{**DEFAULTS, **settings})


@dataclass(eq=False)
class FakeShard:
    id: str
    parents: tuple[str, ...] = ()
    records: list[dict[str, Any]] = field(default_factory=list)
    open: bool = True


@dataclass(eq=False)
class FakeKinesis:
    """What a poller uses of a botocore client, for one stream."""

    clock: ManualClock
    exists: bool = True
    shards: dict[str, FakeShard] = field(default_factory=dict)
    reads: int = 0
    most: int = 10_000
    failures: list[str] = field(default_factory=list)
    number: int = 0

    def __post_init__(self) -> None:
        self.add_shard()

    def add_shard(self, *parents: str) -> FakeShard:
        shard = FakeShard(f"shardId-{len(self.shards):012d}", parents)
        self.shards[shard.id] = shard
        return shard

    @property
    def open_shards(self) -> list[FakeShard]:
        return [shard for shard in self.shards.values() if shard.open]

    def put(self, key: str, data: str = "") -> str:
        """Put a record; its sequence number."""
        shards = self.open_shards
        shard = shards[zlib.crc32(key.encode()) % len(shards)]
        self.number += 1
        shard.records.append(
            {
                "SequenceNumber": str(self.number),
                "PartitionKey": key,
                "Data": data.encode() or str(self.number).encode(),
                "ApproximateArrivalTimestamp": datetime.fromtimestamp(self.clock.now(), UTC),
            }
        )
        return str(self.number)

    def split(self) -> None:
        """Every open shard becomes two: keys may go to any of them."""
        before = self.open_shards
        for shard in before:
            shard.open = False
        for _ in range(len(before) + 1):
            self.add_shard(*(shard.id for shard in before))

    def list_shards(self, **_: Any) -> Any:
        self._require()
        shards = []
        for shard in self.shards.values():
            shown = {"ShardId": shard.id}
            shown |= dict(zip(("ParentShardId", "AdjacentParentShardId"), shard.parents, strict=False))
            shards.append(shown)
        return {"Shards": shards}

    def get_shard_iterator(self, *, ShardId: str, ShardIteratorType: str, **where: Any) -> Any:
        self._require()
        records = self.shards[ShardId].records
        place = 0
        if ShardIteratorType == "AFTER_SEQUENCE_NUMBER":
            place = sum(int(each["SequenceNumber"]) <= int(where["StartingSequenceNumber"]) for each in records)
        elif ShardIteratorType == "AT_TIMESTAMP":
            place = sum(each["ApproximateArrivalTimestamp"].timestamp() < where["Timestamp"] for each in records)
        return {"ShardIterator": f"{ShardId}|{place}"}

    def get_records(self, *, ShardIterator: str, Limit: int) -> Any:
        self._require()
        self.reads += 1
        if self.failures:
            raise client_error(self.failures.pop(0))
        id_, _, place = ShardIterator.partition("|")
        shard = self.shards[id_]
        found = shard.records[int(place) : int(place) + min(Limit, self.most)]
        after = int(place) + len(found)
        answer: dict[str, Any] = {"Records": found, "MillisBehindLatest": int(after < len(shard.records))}
        if shard.open or after < len(shard.records):
            answer["NextShardIterator"] = f"{id_}|{after}"
        return answer

    def _require(self) -> None:
        if not self.exists:
            raise client_error("ResourceNotFoundException", "Stream stream under account not found.")


class StreamHost:
    def __init__(self, kinesis: FakeKinesis) -> None:
        self.kinesis = kinesis

    def connect_to(self, service: str, *, account_id: str, region: str) -> Any:
        return self.kinesis


class StreamWorld(World):
    """Everything around a mapping of a stream."""

    def __init__(self, function: Answer, *, fed: bool = True) -> None:
        super().__init__(function, fed=fed)
        self.kinesis = FakeKinesis(self.clock)
        self.positions_ = Positions()
        self.parcels: list[tuple[str, Parcel]] = []

    def put(self, key: str, data: str = "") -> str:
        number = self.kinesis.put(key, data)
        self.feed.ring(STREAM_ARN)
        return number

    def split(self) -> None:
        self.kinesis.split()
        self.feed.ring(STREAM_ARN)

    def source(self, asked: EventSourceMapping, **changes: Any) -> KinesisSource:
        async def deliver(destination: str, parcel: Parcel) -> Exception | None:
            self.parcels.append((destination, parcel))
            return None

        parts: dict[str, Any] = {
            "host": cast(Host, StreamHost(self.kinesis)),
            "positions": self.positions_,
            "deliver": deliver,
            "role": lambda: f"arn:aws:iam::{ACCOUNT}:role/r",
        }
        return KinesisSource(asked, self.surroundings(**{**parts, **changes}))

    @asynccontextmanager
    async def polled(self, **settings: Any) -> AsyncIterator[KinesisSource]:
        async with self.running(self.source(stream_mapping(**settings))) as source:
            yield source

    async def rest(self) -> None:
        """Reads are a few steps of the loop longer than those of a queue."""
        for _ in range(3):
            await super().rest()

    @property
    def discarded(self) -> list[dict[str, Any]]:
        """The bodies of what was sent to on-failure destinations."""
        return [json.loads(parcel.body) for _, parcel in self.parcels]
