"""Records of tables: events, what filters see, keys, and where a mapping begins."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from lambda_provider.event_sources.dynamodb import DynamoDbSource
from lambda_provider.event_sources.shards import Shard
from lambda_provider.event_sources.stream import Start
from lambda_provider.host import Host

from ..fakes import ACCOUNT, REGION
from .fakes import World, mapping
from .stream_fakes import DEFAULTS

ARN = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/t/stream/2026-01-02T03:04:05.678"


def record(number: int, *, at: float = 1_750_000_000.0, key: str = "x", **more: Any) -> dict[str, Any]:
    return {
        "eventID": f"e{number}",
        "eventName": "INSERT",
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "elsewhere",
        "dynamodb": {
            "ApproximateCreationDateTime": datetime.fromtimestamp(at, UTC),
            "Keys": {"id": {"S": key}},
            "NewImage": {"id": {"S": key}, "b": {"B": b"foobar"}, "l": {"L": [{"B": b"z"}, {"BS": [b"a", b"b"]}]}},
            "SequenceNumber": str(number),
            "SizeBytes": 9,
            "StreamViewType": "NEW_IMAGE",
        },
        **more,
    }


class FakeStreams:
    """The answers of a client of DynamoDB Streams, and what it was asked."""

    def __init__(self, *records: dict[str, Any]) -> None:
        self.records = list(records)
        self.asked: list[dict[str, Any]] = []

    def get_records(self, **asked: Any) -> dict[str, Any]:
        self.asked.append(asked)
        return {"Records": self.records, "NextShardIterator": "next"}

    def get_shard_iterator(self, **asked: Any) -> dict[str, Any]:
        self.asked.append(asked)
        return {"ShardIterator": "iterator"}

    def describe_stream(self, **asked: Any) -> dict[str, Any]:
        if "ExclusiveStartShardId" not in asked:
            description: dict[str, Any] = {"Shards": [{"ShardId": "p"}], "LastEvaluatedShardId": "p"}
        else:
            assert asked["ExclusiveStartShardId"] == "p"
            description = {"Shards": [{"ShardId": "c", "ParentShardId": "p"}]}
        return {"StreamDescription": description}


def source(**settings: Any) -> DynamoDbSource:
    async def nothing(event: bytes, trace_header: str | None) -> Any:
        raise AssertionError("nobody is invoked")

    world = World(nothing)
    asked = mapping(ARN, kind="dynamodb", **{**DEFAULTS, **settings})
    return DynamoDbSource(asked, world.surroundings(host=cast(Host, None)))


HORIZON = Start(None)


def read(client: FakeStreams, start: Start = HORIZON, **settings: Any) -> list[dict[str, Any] | None]:
    found = source(**settings).read(client, "shard", "iterator", 10, start)
    assert found.next == "next"
    return [json.loads(each.text) if each.text is not None else None for each in found.records]


def test_record_is_that_of_aws() -> None:
    (found,) = read(FakeStreams(record(7, at=1_750_000_000.9)))
    assert found == {
        "eventID": "e7",
        "eventName": "INSERT",
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": REGION,
        "dynamodb": {
            "ApproximateCreationDateTime": 1_750_000_000,
            "Keys": {"id": {"S": "x"}},
            "NewImage": {
                "id": {"S": "x"},
                "b": {"B": "Zm9vYmFy"},
                "l": {"L": [{"B": "eg=="}, {"BS": ["YQ==", "Yg=="]}]},
            },
            "SequenceNumber": "7",
            "SizeBytes": 9,
            "StreamViewType": "NEW_IMAGE",
        },
        "eventSourceARN": ARN,
    }
    assert list(found)[-1] == "eventSourceARN"


def test_deletion_by_time_to_live_says_who_it_was() -> None:
    service = {"Type": "Service", "PrincipalId": "dynamodb.amazonaws.com"}
    (found,) = read(FakeStreams(record(1, userIdentity=service)))
    assert found is not None
    assert found["userIdentity"] == {"principalId": "dynamodb.amazonaws.com", "type": "Service"}


def test_filters_look_at_the_record() -> None:
    pattern = json.dumps({"dynamodb": {"Keys": {"id": {"S": ["y"]}}, "ApproximateCreationDateTime": [1_750_000_000]}})
    found = read(FakeStreams(record(1), record(2, key="y"), record(3, key="y", at=1_750_000_001)), filters=(pattern,))
    assert [each is not None for each in found] == [False, True, False]


@pytest.mark.parametrize(
    ("at", "since", "expected"),
    [(99.9, 100.25, 0), (100.3, 100.25, 1), (100.2, 100.25, 0), (100.0, 100.25, 1), (99.0, 100.25, 0)],
    ids=[
        "before",
        "after",
        "shortly before",
        "in the same second, of a service that counts seconds",
        "a second before",
    ],
)
def test_mapping_begins_at_a_moment(at: float, since: float, expected: int) -> None:
    assert len(read(FakeStreams(record(1, at=at)), Start(since))) == expected


def test_iterators_are_by_number_or_from_the_first_record_on() -> None:
    client, stream = FakeStreams(), source()
    stream.iterator(client, "s", None, Start(5.0))
    stream.iterator(client, "s", 17, Start(5.0))
    where = {"StreamArn": ARN, "ShardId": "s"}
    assert client.asked == [
        where | {"ShardIteratorType": "TRIM_HORIZON"},
        where | {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": "17"},
    ]


def test_what_gave_records_may_have_more() -> None:
    stream = source()
    assert stream.read(FakeStreams(record(1)), "shard", "iterator", 10, HORIZON).full
    assert not stream.read(FakeStreams(), "shard", "iterator", 10, HORIZON).full


def test_shards_are_listed_over_pages_with_their_parents() -> None:
    assert source().list_shards(FakeStreams()) == [Shard("p"), Shard("c", ("p",))]


def test_item_has_one_lane() -> None:
    stream = source(parallelization_factor=10)
    records = [record(number, key=key) for number, key in enumerate("abcdefghij" * 2)]
    found = stream.read(FakeStreams(*records), "shard", "iterator", 10, Start(None))
    lanes = [each.lane for each in found.records]
    assert lanes[:10] == lanes[10:]
    assert len(set(lanes)) > 3
