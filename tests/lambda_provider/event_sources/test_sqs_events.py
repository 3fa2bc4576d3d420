"""Messages as records, and as what filters look at."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lambda_provider.event_sources.filters import Filters
from lambda_provider.event_sources.sqs_events import RecordWriter, matched, record_text

WRITER = RecordWriter("arn:aws:sqs:eu-west-1:111111111111:q", "eu-west-1", False)
MESSAGE: dict[str, Any] = {"MessageId": "m", "ReceiptHandle": "r", "Body": "b", "MD5OfBody": "5"}


def test_record_has_aws_members_in_their_order() -> None:
    record = WRITER.record(MESSAGE | {"Attributes": {"SenderId": "me", "ApproximateReceiveCount": "1", "Other": "x"}})
    assert list(record) == [
        *("messageId", "receiptHandle", "body", "attributes", "messageAttributes"),
        *("md5OfBody", "eventSource", "eventSourceARN", "awsRegion"),
    ]
    assert record["attributes"] == {"ApproximateReceiveCount": "1", "SenderId": "me"}
    assert record["eventSource"] == "aws:sqs"


def test_message_attributes_have_lists_and_base64() -> None:
    attributes = {
        "text": {"DataType": "String", "StringValue": "t"},
        "bytes": {"DataType": "Binary", "BinaryValue": b"\x00\x01"},
    }
    record = WRITER.record(MESSAGE | {"MessageAttributes": attributes, "MD5OfMessageAttributes": "7"})
    empty = {"stringListValues": [], "binaryListValues": []}
    assert record["messageAttributes"] == {
        "text": {"stringValue": "t", **empty, "dataType": "String"},
        "bytes": {"binaryValue": "AAE=", **empty, "dataType": "Binary"},
    }
    assert record["md5OfMessageAttributes"] == "7"


def test_with_a_batching_window_there_is_a_null_for_messages_without_attributes() -> None:
    assert "md5OfMessageAttributes" not in WRITER.record(MESSAGE)
    assert RecordWriter("a:b:c:d", "r", True).record(MESSAGE)["md5OfMessageAttributes"] is None


@pytest.mark.parametrize("body", ["é\u2028", "\ud800", '{"a": 1}', ""])
def test_any_body_is_json_in_utf_8(body: str) -> None:
    assert json.loads(record_text(WRITER.record(MESSAGE | {"Body": body})))["body"] == body


@pytest.mark.parametrize(
    ("pattern", "body", "kept"),
    [
        ({"body": {"a": [1]}}, '{"a": 1}', True),
        ({"body": {"a": [1]}}, ' {"a": 1}', True),
        ({"body": {"a": [1]}}, '[{"a": 1}]', True),
        ({"body": {"a": [1]}}, "a", False),
        ({"body": {"a": [1]}}, "{a: 1}", False),
        ({"body": ["text"]}, "text", True),
        ({"body": ["text"]}, '{"text": "text"}', False),
        ({"body": ["12"]}, "12", True),
        ({"messageId": ["m"]}, "whatever", True),
    ],
)
def test_a_body_is_matched_as_json_where_it_is_an_object(pattern: Any, body: str, kept: bool) -> None:
    filters = Filters([json.dumps(pattern)])
    assert matched(WRITER.record(MESSAGE | {"Body": body}), filters.match) is kept
