"""In moto's process: the streams of DynamoDB tables as AWS's pollers find them.

- Reports (`moto_activity`): records that come, and streams that end.
- Records: `eventVersion` 1.1, the table's region, and the size that AWS counts. A write that changes nothing makes none, an
  update that makes an item makes one (moto: two), and a transaction that fails makes none.
- A stream that is disabled, or whose table is deleted, can be read to its end, while the table is written on and may get another
  stream; with moto writes fail then, and iterators of the old stream give records of the new one.
- Iterators say where they are, and need no memory.
"""

from __future__ import annotations

import base64
import copy
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from lambda_provider.hosts.services.patches import replace

_EVENT_VERSION = "1.1"
_ADDING = threading.Lock()


class _Change(threading.local):
    """What the request of this thread has written so far; None outside of an operation that is one change."""

    writes: list[tuple[Any, Any, Any]] | None = None


_change = _Change()


def install(report: Callable[..., None]) -> None:
    """Change the classes of moto's DynamoDB. Raises MotoChanged, and ImportError."""
    from moto.dynamodb.models import DynamoDBBackend
    from moto.dynamodb.models.table import StreamShard, Table

    def adding(add: Any) -> Any:
        def add_record(self: Any, old: Any, new: Any) -> None:
            if _change.writes is not None:
                _change.writes.append((self, old, new))
            elif old is None or new is None or _image(old) != _image(new):
                with _ADDING:
                    add(self, old, new)
                    _complete(self.items[-1].record, self.table)
                report(self.stream_arn)

        return add_record

    def specifying(specify: Any) -> Any:
        def set_stream_specification(self: Any, streams: dict[str, Any] | None) -> None:
            before = getattr(self, "stream_shard", None)
            if before is not None:
                self.past_streams = {**getattr(self, "past_streams", {}), before.stream_arn: before}
                before.ended = True
                self.stream_shard = None
            specify(self, streams)
            if self.stream_shard is not None:
                shard = self.stream_shard
                shard.ended = False
                shard.stream_arn = f"{self.table_arn}/stream/{self.latest_stream_label}"
                shard.view = self.stream_specification["StreamViewType"]
                shard.label = self.latest_stream_label
            if before is not None:
                report(before.stream_arn)

        return set_stream_specification

    def again(update: Any) -> Any:
        def update_table_streams(self: Any, table: Any, stream_specification: dict[str, Any]) -> Any:
            if table.stream_shard is None:
                table.set_stream_specification(stream_specification)
                return None
            return update(self, table, stream_specification)

        return update_table_streams

    def as_one(update: Any) -> Any:
        def update_item(self: Any, *arguments: Any, **more: Any) -> Any:
            with _gathered() as writes:
                result = update(self, *arguments, **more)
            if writes:
                shard, old, _ = writes[0]
                shard.add(old, writes[-1][2])
            return result

        return update_item

    def all_or_none(transact: Any) -> Any:
        def transact_write_items(self: Any, *arguments: Any, **more: Any) -> Any:
            with _gathered() as writes:
                result = transact(self, *arguments, **more)
            for shard, old, new in writes:
                shard.add(old, new)
            return result

        return transact_write_items

    replace(StreamShard, "add", "self old new", adding)
    replace(Table, "set_stream_specification", "self streams", specifying)
    replace(DynamoDBBackend, "update_table_streams", "self table stream_specification", again)
    replace(DynamoDBBackend, "update_item", "self table_name key", as_one)
    replace(DynamoDBBackend, "transact_write_items", "self transact_items", all_or_none)
    replace(DynamoDBBackend, "delete_table", "self name", lambda delete: _deleting(delete, report))


def install_readers(report: Callable[..., None]) -> None:
    """Change the classes of moto's DynamoDB Streams, after those of DynamoDB. Raises MotoChanged, and ImportError."""
    from moto.dynamodbstreams.models import DynamoDBStreamsBackend

    replace(DynamoDBStreamsBackend, "describe_stream", "self arn", lambda original: _describe_stream)
    iterating = "self arn shard_id shard_iterator_type sequence_number"
    replace(DynamoDBStreamsBackend, "get_shard_iterator", iterating, lambda original: _get_shard_iterator)
    replace(DynamoDBStreamsBackend, "get_records", "self iterator_arn limit", lambda original: _get_records)


@contextmanager
def _gathered() -> Iterator[list[tuple[Any, Any, Any]]]:
    """Gather the writes of what is one change. An operation that fails has written nothing."""
    before, gathered = _change.writes, []  # type: ignore[var-annotated]
    _change.writes = gathered
    try:
        yield gathered
    finally:
        _change.writes = before


def _deleting(delete: Any, report: Callable[..., None]) -> Any:
    def delete_table(self: Any, name: str) -> Any:
        table = delete(self, name)
        past = dict(getattr(table, "past_streams", {}))
        if (shard := table.stream_shard) is not None:
            shard.ended = True
            past[shard.stream_arn] = shard
        self.past_streams = {**getattr(self, "past_streams", {}), **past}
        for arn in past:
            report(arn)
        return table

    return delete_table


def _image(item: Any) -> Any:
    return item.to_json()["Attributes"]


def _complete(record: dict[str, Any], table: Any) -> None:
    change = record["dynamodb"] = copy.deepcopy(record["dynamodb"])  # Later updates change what is in the item.
    record["eventVersion"] = _EVENT_VERSION
    record["awsRegion"] = table.region_name
    images = [change[name] for name in ("Keys", "NewImage", "OldImage") if name in change]
    change["SizeBytes"] = sum(len(name.encode()) + _size(value) for image in images for name, value in image.items())


def _size(attribute: Mapping[str, Any]) -> int:
    """What an attribute's value counts (amazondynamodb/latest/developerguide/CapacityUnitCalculations.html)."""
    ((kind, value),) = attribute.items()
    if kind == "S":
        return len(value.encode())
    if kind == "N":
        digits = str(value).lstrip("-").replace(".", "").strip("0") or "0"
        return (len(digits) + 1) // 2 + 1 + str(value).startswith("-")
    if kind == "B":
        return len(value if isinstance(value, bytes) else base64.b64decode(value))
    if kind in ("SS", "NS", "BS"):
        return sum(_size({kind[0]: each}) for each in value)
    if kind == "L":
        return 3 + sum(1 + _size(each) for each in value)
    if kind == "M":
        return 3 + sum(1 + len(name.encode()) + _size(each) for name, each in value.items())
    return 1


# Reading


def _shard(self: Any, arn: str) -> Any:
    """The one shard of a stream. Raises AWS's error for a stream that is not there."""
    from moto.dynamodb.exceptions import ResourceNotFoundException

    table = self.dynamodb.tables.get(arn.split(":", 6)[5].split("/")[1])
    streams = {**getattr(self.dynamodb, "past_streams", {}), **getattr(table, "past_streams", {})}
    if table is not None and table.stream_shard is not None:
        streams[table.stream_shard.stream_arn] = table.stream_shard
    if arn not in streams:
        raise ResourceNotFoundException(f"Requested resource not found: Stream: {arn} not found")
    return streams[arn]


def _describe_stream(self: Any, arn: str) -> dict[str, Any]:
    shard = _shard(self, arn)
    described = shard.to_json()
    if shard.ended:
        described["SequenceNumberRange"]["EndingSequenceNumber"] = str(
            shard.starting_sequence_number + max(0, len(shard.items) - 1)
        )
    return {
        "StreamArn": arn,
        "StreamLabel": shard.label,
        "StreamStatus": "DISABLED" if shard.ended else "ENABLED",
        "StreamViewType": shard.view,
        "CreationRequestDateTime": shard.created_on,
        "TableName": shard.table.name,
        "KeySchema": shard.table.schema,
        "Shards": [described],
    }


class _Iterator:
    """What an answer needs of an iterator."""

    def __init__(self, arn: str) -> None:
        self.arn = arn


def _get_shard_iterator(
    self: Any, arn: str, shard_id: str, shard_iterator_type: str, sequence_number: int | str | None = None
) -> _Iterator:
    from moto.dynamodb.exceptions import ResourceNotFoundException

    shard = _shard(self, arn)
    if shard.id != shard_id:
        raise ResourceNotFoundException(f"Requested resource not found: Shard: {shard_id} not found")
    first = shard.starting_sequence_number
    number = int(sequence_number or 0)
    place = {
        "LATEST": len(shard.items),
        "AT_SEQUENCE_NUMBER": number - first,
        "AFTER_SEQUENCE_NUMBER": number - first + 1,
    }.get(shard_iterator_type, 0)
    return _Iterator(_iterator(arn, max(0, place)))


def _get_records(self: Any, iterator_arn: str, limit: int) -> dict[str, Any]:
    arn, _, rest = iterator_arn.partition("|")
    shard = _shard(self, arn)
    place = int(rest.split("|")[1])
    with _ADDING:
        found = [item.to_json() for item in shard.items[place : place + limit]]
        ended = shard.ended and place + len(found) >= len(shard.items)
    answer: dict[str, Any] = {"Records": found}
    return answer if ended else answer | {"NextShardIterator": _iterator(arn, place + len(found))}


def _iterator(arn: str, place: int) -> str:
    return f"{arn}|1|{place}|{uuid.uuid4()}"
