"""Data streams of Kinesis, shared or with a consumer of enhanced fan-out.

https://docs.aws.amazon.com/lambda/latest/dg/with-kinesis.html; recorded: test_create_kinesis_event_source_mapping,
test_kinesis_event_source_trim_horizon, test_kinesis_event_filtering_json_pattern. A consumer's records are fetched like
everybody's, since emulators serve no SubscribeToShard; its own throughput is all that it would add.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from lambda_provider.event_sources.discarded import milliseconds
from lambda_provider.event_sources.filters import parse
from lambda_provider.event_sources.shards import Shard
from lambda_provider.event_sources.stream import Read, Start, StreamRecord
from lambda_provider.event_sources.streams import StreamSource


class KinesisSource(StreamSource):
    """A mapping of a data stream."""

    service = "kinesis"
    most_records = 10_000
    poll_s = 1.0
    info_name = "KinesisBatchInfo"

    @property
    def stream_arn(self) -> str:
        return self.arn.partition("/consumer/")[0]

    @property
    def _name(self) -> str:
        return self.stream_arn.rpartition("/")[2]

    def open(self, client: Any) -> None:
        if self.stream_arn != self.arn:
            client.describe_stream_consumer(ConsumerARN=self.arn)

    def list_shards(self, client: Any) -> list[Shard]:
        shards: list[Shard] = []
        page: dict[str, Any] = {"StreamName": self._name}
        while True:
            answer = client.list_shards(**page)
            for shard in answer["Shards"]:
                parents = (shard.get("ParentShardId"), shard.get("AdjacentParentShardId"))
                shards.append(Shard(shard["ShardId"], tuple(filter(None, parents))))
            if not answer.get("NextToken"):
                return shards
            page = {"NextToken": answer["NextToken"]}

    def iterator(self, client: Any, shard_id: str, after: int | None, start: Start) -> str:
        where: dict[str, Any] = {"ShardIteratorType": "TRIM_HORIZON"}
        if after is not None:
            where = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": str(after)}
        elif start.since is not None:
            where = {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": start.since}
        return str(client.get_shard_iterator(StreamName=self._name, ShardId=shard_id, **where)["ShardIterator"])

    def read(self, client: Any, shard_id: str, iterator: str, limit: int, start: Start) -> Read:
        answer = client.get_records(ShardIterator=iterator, Limit=limit)
        records = [self._record(record, shard_id) for record in answer["Records"]]
        behind = len(records) >= limit or answer.get("MillisBehindLatest", 0) > 0
        return Read(records, answer.get("NextShardIterator"), behind)

    def info_time(self, moment: float) -> str:
        return milliseconds(moment)

    def _record(self, record: Mapping[str, Any], shard_id: str) -> StreamRecord:
        arrival = record["ApproximateArrivalTimestamp"].timestamp()
        data: bytes = record["Data"]
        kinesis = {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": record["PartitionKey"],
            "sequenceNumber": record["SequenceNumber"],
            "data": base64.b64encode(data).decode(),
            "approximateArrivalTimestamp": round(arrival, 3),
        }
        document = {
            "kinesis": kinesis,
            "eventSource": "aws:kinesis",
            "eventVersion": "1.0",
            "eventID": f"{shard_id}:{record['SequenceNumber']}",
            "eventName": "aws:kinesis:record",
            "invokeIdentityArn": self.role_arn(),
            "awsRegion": self.region,
            "eventSourceARN": self.arn,
        }
        kept = not self.filters.filters or self.filters.match({**document, **kinesis, "data": _as_json(data)})
        return StreamRecord(
            int(record["SequenceNumber"]),
            self.lane_of(record["PartitionKey"]),
            arrival,
            json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode() if kept else None,
        )


def _as_json(data: bytes) -> Any:
    """What filters see of a record's data. What is not JSON satisfies no pattern for JSON
    (lambda/latest/dg/with-kinesis-filtering.html)."""
    try:
        return parse(data)
    except ValueError:
        return data.decode("utf-8", "replace")
