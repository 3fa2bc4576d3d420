"""Streams of DynamoDB tables.

https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html; recorded: test_dynamodb_event_source_mapping,
test_dynamodb_event_filter.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from typing import Any

from lambda_provider.event_sources.discarded import seconds
from lambda_provider.event_sources.shards import Shard
from lambda_provider.event_sources.stream import Read, Start, StreamRecord, nested
from lambda_provider.event_sources.streams import StreamSource

_IMAGES = ("Keys", "NewImage", "OldImage")


class DynamoDbSource(StreamSource):
    """A mapping of a table's stream. Its records say when they came in whole seconds."""

    service = "dynamodbstreams"
    most_records = 1_000
    poll_s = 0.25
    info_name = "DDBStreamBatchInfo"

    def open(self, client: Any) -> None:
        client.describe_stream(StreamArn=self.arn, Limit=1)

    def list_shards(self, client: Any) -> list[Shard]:
        shards: list[Shard] = []
        page: dict[str, Any] = {"StreamArn": self.arn}
        while True:
            stream = client.describe_stream(**page)["StreamDescription"]
            for shard in stream.get("Shards") or ():
                shards.append(Shard(shard["ShardId"], tuple(filter(None, [shard.get("ParentShardId")]))))
            if not (last := stream.get("LastEvaluatedShardId")):
                return shards
            page = {"StreamArn": self.arn, "ExclusiveStartShardId": last}

    def iterator(self, client: Any, shard_id: str, after: int | None, start: Start) -> str:
        where: dict[str, Any] = {
            "ShardIteratorType": "TRIM_HORIZON"
        }  # Others are not there by time; `read` drops what is old.
        if after is not None:
            where = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": str(after)}
        return str(client.get_shard_iterator(StreamArn=self.arn, ShardId=shard_id, **where)["ShardIterator"])

    def read(self, client: Any, shard_id: str, iterator: str, limit: int, start: Start) -> Read:
        answer = client.get_records(ShardIterator=iterator, Limit=limit)
        found = answer["Records"]
        records = [self._record(record) for record in found if _is_since(record, start)]
        # What it gives is bounded in bytes, too, and it does not say whether there is more.
        return Read(records, answer.get("NextShardIterator"), bool(found))

    def info_time(self, moment: float) -> str:
        return seconds(moment)

    def _record(self, record: Mapping[str, Any]) -> StreamRecord:
        change = record["dynamodb"]
        arrival = _arrival(record)
        keys = _written(change["Keys"])
        document: dict[str, Any] = {
            "eventID": record["eventID"],
            "eventName": record["eventName"],
            "eventVersion": record.get("eventVersion", "1.1"),
            "eventSource": "aws:dynamodb",
            "awsRegion": self.region,
            "dynamodb": {
                "ApproximateCreationDateTime": int(arrival),
                **{name: _written(change[name]) for name in _IMAGES if name in change},
                "SequenceNumber": change["SequenceNumber"],
                "SizeBytes": change["SizeBytes"],
                "StreamViewType": change["StreamViewType"],
            },
        }
        if identity := nested(record, "userIdentity"):
            # What a record says of deletions by time to live is in lower case in events.
            document["userIdentity"] = {"principalId": identity["PrincipalId"], "type": identity["Type"]}
        document["eventSourceARN"] = self.arn
        kept = self.filters.match(document)
        return StreamRecord(
            int(change["SequenceNumber"]),
            self.lane_of(json.dumps(keys, sort_keys=True)),
            arrival,
            json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode() if kept else None,
        )


def _arrival(record: Mapping[str, Any]) -> float:
    return float(record["dynamodb"]["ApproximateCreationDateTime"].timestamp())


def _is_since(record: Mapping[str, Any], start: Start) -> bool:
    if start.since is None:
        return True
    arrival = _arrival(record)
    # A service that counts in whole seconds does not say which part of the first one is meant.
    return arrival >= (math.floor(start.since) if arrival.is_integer() else start.since)


def _written(value: Any) -> Any:
    """An attribute, or a map of attributes, as JSON: binary values in base64."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Mapping):
        return {name: _written(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [_written(member) for member in value]
    return value
