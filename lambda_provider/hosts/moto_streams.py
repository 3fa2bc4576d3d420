"""In moto's process: data streams of Kinesis as AWS's pollers find them.

- Reports (`moto_activity`): records that come, shards that are split or merged, and streams that are deleted.
- Resharding: moto moves records from a parent to its children, where they would be read again under other numbers, or leaves
  new ones with the parent. Here a parent keeps its records, ends, and gets no more.
- Sequence numbers have 56 digits and rise from parent to child; moto counts from 1 in each shard, so that records of two shards
  share a number, and functions that remember what they have seen would take one for the other.
- A shard that has ended has no iterator behind its last record.
- Consumers have the moment of their registration in their ARN.
- A request gives 10 MB at most, and says that there is more.
- Threads and speed: moto gives two records one number when they come at once, and goes through all records of a shard for each
  one that is put or read.
"""

from __future__ import annotations

import bisect
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from lambda_provider.hosts.services.patches import replace

_ANSWER_BYTES = 10 * 1024 * 1024
"""What GetRecords answers at most (kinesis/latest/APIReference/API_GetRecords.html)."""
_WRITING = threading.RLock()
"""Held while a record is put and while shards change."""


class Records(dict[int, Any]):
    """The records of a shard by their number, which rises; `numbers` finds the place of one."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers: list[int] = []

    def __setitem__(self, number: int, record: Any) -> None:
        super().__setitem__(number, record)
        self.numbers.append(number)

    def behind(self, number: int, limit: int | None) -> list[Any]:
        """The records that have a higher number, as many as an answer may have."""
        first = bisect.bisect_right(self.numbers, number)
        found: list[Any] = []
        left = _ANSWER_BYTES
        for each in self.numbers[first : None if limit is None else first + limit]:
            left -= len(self[each].data) * 3 // 4
            if found and left < 0:
                break
            found.append(self[each])
        return found


def install(report: Callable[..., None]) -> None:
    """Change the classes of moto's Kinesis. Raises MotoChanged, and ImportError."""
    from moto.kinesis.models import Consumer, KinesisBackend, Shard, Stream

    replace(Shard, "__init__", "self shard_id starting_hash ending_hash parent adjacent_parent", _numbered)
    replace(Shard, "put_record", "self partition_key data explicit_hash_key", lambda original: _put_into_shard)
    replace(Shard, "get_records", "self last_sequence_id limit", lambda original: _get_from_shard)
    replace(Shard, "get_min_sequence_number", "self", lambda original: lambda self: self.first_number)
    replace(Shard, "get_max_sequence_number", "self", lambda original: _last_number)
    replace(Shard, "get_sequence_number_at", "self at_timestamp", lambda original: _number_before)
    replace(Stream, "get_shard_for_key", "self partition_key explicit_hash_key", _open_shard_for_key)
    replace(Stream, "put_record", "self partition_key explicit_hash_key data", lambda put: _reporting(put, report))
    for name, parameters in (
        ("split_shard", "self shard_to_split new_starting_hash_key"),
        ("merge_shards", "self shard_to_merge adjacent_shard_to_merge"),
        ("update_shard_count", "self target_shard_count"),
    ):
        replace(Stream, name, parameters, lambda change: _reporting(_keeping_records(change), report))
    replace(KinesisBackend, "put_records", "self stream_arn stream_name records", _together)
    replace(KinesisBackend, "get_records", "self stream_arn shard_iterator limit", _ending)
    replace(KinesisBackend, "delete_stream", "self stream_arn stream_name", lambda delete: _deleting(delete, report))
    replace(Consumer, "__init__", "self consumer_name account_id region_name stream_arn", _dated)


def _numbered(init: Any) -> Any:
    def __init__(self: Any, shard_id: int, *arguments: Any, **more: Any) -> None:
        init(self, shard_id, *arguments, **more)
        self.records = Records()
        # 56 digits: 49, the moment in microseconds, the shard, and room for its records.
        self.first_number = int(f"49{time.time_ns() // 1000:018d}{shard_id:012d}{0:024d}")

    return __init__


def _put_into_shard(self: Any, partition_key: str, data: str, explicit_hash_key: str) -> str:
    from moto.kinesis.models import Record

    number = self.get_max_sequence_number() + 1
    self.records[number] = Record(partition_key, data, number, explicit_hash_key)
    return str(number)


def _get_from_shard(self: Any, last_sequence_id: str, limit: int | None) -> tuple[list[Any], int, int]:
    last = int(last_sequence_id)
    with _WRITING:
        found = self.records.behind(last, limit)
        newest = self.records[self.records.numbers[-1]] if self.records else None
    if not found or newest is None:
        return [], last, 0
    behind_ms = max(1, int((newest.created_at - found[-1].created_at) * 1000)) if found[-1] is not newest else 0
    return found, found[-1].sequence_number, behind_ms


def _last_number(self: Any) -> int:
    return int(self.records.numbers[-1] if self.records else self.first_number)


def _number_before(self: Any, at_timestamp: float) -> int:
    """The number of the last record that came before a moment, or 0."""
    with _WRITING:
        numbers = self.records.numbers
        place = bisect.bisect_left(numbers, float(at_timestamp), key=lambda number: self.records[number].created_at)
        return int(numbers[place - 1]) if place else 0


def _open_shard_for_key(find: Any) -> Any:
    def get_shard_for_key(self: Any, partition_key: str, explicit_hash_key: str) -> Any:
        seen = self.shards
        try:
            # It takes the first one whose range holds the key, and leaves out the end of a range.
            self.shards = {id_: _Widened(shard) for id_, shard in seen.items() if shard.is_open}
            found = find(self, partition_key, explicit_hash_key)
        finally:
            self.shards = seen
        return None if found is None else found.shard

    return get_shard_for_key


class _Widened:
    """A shard whose range ends where AWS's does."""

    def __init__(self, shard: Any) -> None:
        self.shard = shard
        self.starting_hash = shard.starting_hash
        self.ending_hash = shard.ending_hash + 1


def _reporting(change: Any, report: Callable[..., None]) -> Any:
    def changing(self: Any, *arguments: Any, **more: Any) -> Any:
        with _WRITING:
            result = change(self, *arguments, **more)
        report(self.arn)
        return result

    changing.__signature__ = _signature(change)  # type: ignore[attr-defined]
    return changing


def _signature(function: Any) -> Any:
    import inspect

    return inspect.signature(function)


def _keeping_records(change: Any) -> Any:
    def resharding(self: Any, *arguments: Any, **more: Any) -> Any:
        kept: list[tuple[Any, Any]] = [(shard, shard.records) for shard in self.shards.values()]
        _empty(shard for shard, _ in kept)
        try:
            return change(self, *arguments, **more)
        finally:
            for shard, records in kept:
                shard.records = records

    resharding.__signature__ = _signature(change)  # type: ignore[attr-defined]
    return resharding


def _empty(shards: Iterable[Any]) -> None:
    for shard in shards:
        shard.records = Records()


def _ending(get: Any) -> Any:
    def get_records(self: Any, stream_arn: str | None, shard_iterator: str, limit: int | None) -> Any:
        from moto.kinesis.utils import decompose_shard_iterator

        following, records, behind_ms = get(self, stream_arn, shard_iterator, limit)
        stream_name, shard_id, _ = decompose_shard_iterator(shard_iterator)
        shard = self.describe_stream(stream_arn=stream_arn, stream_name=stream_name).get_shard(shard_id)
        last = int(decompose_shard_iterator(following)[2])
        if not shard.is_open and last >= (shard.records.numbers[-1] if shard.records else 0):
            following = None
        return following, records, behind_ms

    return get_records


def _together(put: Any) -> Any:
    def put_records(self: Any, stream_arn: str, stream_name: str, records: Any) -> Any:
        with _WRITING:  # Whoever reads meanwhile sees all of them.
            return put(self, stream_arn, stream_name, records)

    return put_records


def _deleting(delete: Any, report: Callable[..., None]) -> Any:
    def delete_stream(self: Any, stream_arn: str | None, stream_name: str | None) -> Any:
        stream = delete(self, stream_arn, stream_name)
        report(stream.arn)
        return stream

    return delete_stream


def _dated(init: Any) -> Any:
    def __init__(self: Any, *arguments: Any, **more: Any) -> None:
        init(self, *arguments, **more)
        self.consumer_arn = f"{self.consumer_arn}:{int(time.time())}"

    return __init__
