"""Messages of SQS as records of an event, and as what filters look at.

https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html; recorded: test_message_body_and_attributes_passed_correctly,
test_report_batch_item_failures, test_sqs_event_filter.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lambda_provider.event_sources.filters import parse

Message = Mapping[str, Any]
"""A message as ReceiveMessage answers it."""

ATTRIBUTES = (
    "ApproximateReceiveCount",
    "AWSTraceHeader",
    "SentTimestamp",
    "SequenceNumber",
    "MessageGroupId",
    "SenderId",
    "MessageDeduplicationId",
    "ApproximateFirstReceiveTimestamp",
    "DeadLetterQueueSourceArn",
)
"""The system attributes that records have, in the order of AWS's events."""


@dataclass(frozen=True, slots=True)
class RecordWriter:
    """Writes the records of one mapping.

    With a batching window AWS writes `md5OfMessageAttributes` for messages without attributes, too, as null; without one it
    leaves the member out (recorded both ways).
    """

    queue_arn: str
    region: str
    batching: bool

    def record(self, message: Message) -> dict[str, Any]:
        """A member of `Records`."""
        attributes = message.get("Attributes") or {}
        record: dict[str, Any] = {
            "messageId": message["MessageId"],
            "receiptHandle": message["ReceiptHandle"],
            "body": message.get("Body", ""),
            "attributes": {name: attributes[name] for name in ATTRIBUTES if name in attributes},
            "messageAttributes": {
                name: _attribute(value) for name, value in (message.get("MessageAttributes") or {}).items()
            },
        }
        if (md5 := message.get("MD5OfMessageAttributes")) or self.batching:
            record["md5OfMessageAttributes"] = md5 or None
        return record | {
            "md5OfBody": message.get("MD5OfBody"),
            "eventSource": "aws:sqs",
            "eventSourceARN": self.queue_arn,
            "awsRegion": self.region,
        }


def record_text(record: Mapping[str, Any]) -> bytes:
    """The JSON of a record, as it goes to the function."""
    try:
        return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:  # Half of a surrogate pair: JSON can say it, UTF-8 cannot.
        return json.dumps(record, separators=(",", ":")).encode()


def matched(record: Mapping[str, Any], match: Callable[[Any], bool]) -> bool:
    """Whether a filter keeps the record: `body` is looked at as JSON where it is an object or a list, and as a text otherwise.

    A pattern for JSON finds nothing in a text, and one for a text nothing in JSON: such messages are dropped
    (lambda/latest/dg/with-sqs-filtering.html).
    """
    body = record["body"]
    if body.lstrip()[:1] in ("{", "["):
        try:
            body = parse(body)
        except ValueError:
            body = record["body"]
    return match({**record, "body": body})


def _attribute(value: Mapping[str, Any]) -> dict[str, Any]:
    attribute: dict[str, Any] = {}
    if "StringValue" in value:
        attribute["stringValue"] = value["StringValue"]
    if "BinaryValue" in value:
        attribute["binaryValue"] = _base64(value["BinaryValue"])
    return attribute | {
        "stringListValues": list(value.get("StringListValues") or ()),
        "binaryListValues": [_base64(each) for each in value.get("BinaryListValues") or ()],
        "dataType": value["DataType"],
    }


def _base64(value: bytes | str) -> str:
    return base64.b64encode(value.encode() if isinstance(value, str) else value).decode()
