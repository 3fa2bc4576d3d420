"""Records of Kafka in events, and under filters."""

from __future__ import annotations

import json

import pytest

from lambda_provider.event_sources.filters import Filters
from lambda_provider.event_sources.kafka_records import LOG_APPEND_TIME, EventWriter, Record, matched, record_text

CLUSTER = "arn:aws:kafka:us-east-1:123456789012:cluster/c/6d1e0b4c-1"


def test_an_event_has_the_members_of_the_page_in_their_order() -> None:
    record = Record("mytopic", 0, 15, 1545084650987, key=b"k", value=b"Hello", headers=(("h", b"\x00\x7f\x80\xff"),))
    writer = EventWriter(CLUSTER, "b-2:9092,b-1:9092")

    assert writer.event(("mytopic", 0), [record_text(record)]).decode() == (
        f'{{"eventSource":"aws:kafka","eventSourceArn":"{CLUSTER}","bootstrapServers":"b-2:9092,b-1:9092",'
        '"records":{"mytopic-0":[{"topic":"mytopic","partition":0,"offset":15,"timestamp":1545084650987,'
        '"timestampType":"CREATE_TIME","key":"aw==","value":"SGVsbG8=","headers":[{"h":[0,127,-128,-1]}]}]}}'
    )


def test_a_self_managed_cluster_has_no_arn_and_what_is_missing_is_left_out() -> None:
    writer = EventWriter(None, "b:9092")
    record = Record("t", 1, 0, 5, LOG_APPEND_TIME, headers=(("a", None), ("a", b"")))

    event = json.loads(writer.event(("t", 1), [record_text(record)]))

    assert event["eventSource"] == "SelfManagedKafka"
    assert "eventSourceArn" not in event
    assert event["records"]["t-1"] == [
        {
            "topic": "t",
            "partition": 1,
            "offset": 0,
            "timestamp": 5,
            "timestampType": "LOG_APPEND_TIME",
            "headers": [{"a": None}, {"a": []}],
        }
    ]
    assert writer.overhead_bytes(("t", 1)) == len(writer.event(("t", 1), []))


@pytest.mark.parametrize(
    ("value", "pattern", "kept"),
    [
        (b'{"device":"AB1"}', {"value": {"device": [{"prefix": "AB"}]}}, True),
        (b'{"device":"CD1"}', {"value": {"device": [{"prefix": "AB"}]}}, False),
        (b"plain", {"value": {"device": ["AB"]}}, False),
        (b"plain", {"value": ["plain"]}, True),
        (b"other", {"value": [{"anything-but": ["plain"]}]}, True),
        (b'{"device":"AB1"}', {"value": ['{"device":"AB1"}']}, False),
        (b"\xff\xfe", {"value": [{"exists": True}]}, False),
        (None, {"value": [{"exists": False}]}, True),
        (b"x", {"key": ["k"]}, True),
        (b"x", {"partition": [3]}, True),
    ],
)
def test_filters_look_at_json_and_at_texts(value: bytes | None, pattern: dict, kept: bool) -> None:
    record = Record("t", 3, 0, 0, key=b"k", value=value)
    assert matched(record, Filters([json.dumps(pattern)]).match) is kept
