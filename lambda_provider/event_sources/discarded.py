"""The record of a batch that was given up, for an on-failure destination.

https://docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html and services-dynamodb-errors.html; recorded:
test_kinesis_event_source_mapping_with_sns_on_failure_destination_config, test_kinesis_maximum_record_age_exceeded,
test_kinesis_report_batch_item_failure_scenarios.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from lambda_provider.delivery.records import Parcel
from lambda_runtime.types import InvocationResult

RETRIES_EXHAUSTED = "RetryAttemptsExhausted"
AGE_EXCEEDED = "RecordAgeExceeded"


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscardedBatch:
    """Records that the function did not process.

    `invokes` counts the attempts; for records that became too old it is one more, as recorded. `result` is what the function
    answered last, or None where the record says nothing of it: that is so for each that became too old (recorded). `info` is
    the member of the stream's kind, `event` what the function got, or would have got.
    """

    mapping: str
    function_arn: str
    shard_id: str
    condition: str
    invokes: int
    result: InvocationResult | None
    info: tuple[str, dict[str, Any]]
    event: bytes

    def parcel(self, destination: str, moment: float) -> Parcel:
        """What is sent; a bucket gets the event, too, as a text, under a key of the mapping, the shard and the date."""
        now = datetime.fromtimestamp(moment, UTC)
        document: dict[str, Any] = {
            "requestContext": {
                "requestId": (self.result.request_id if self.result else None) or str(uuid.uuid4()),
                "functionArn": self.function_arn,
                "condition": self.condition,
                "approximateInvokeCount": self.invokes,
            }
        }
        if self.result is not None:
            document["responseContext"] = {
                "statusCode": 200,
                "executedVersion": self.result.executed_version,
                "functionError": self.result.function_error,
            }
        name, info = self.info
        document |= {"version": "1.0", "timestamp": milliseconds(moment), name: info}
        if destination.split(":")[2:3] == ["s3"]:
            document["payload"] = self.event.decode("utf-8", "replace")
        return Parcel(
            json.dumps(document, separators=(",", ":")),
            self.function_arn,
            None,
            object_key=(f"aws/lambda/{self.mapping}/{self.shard_id}/{now:%Y/%m/%d/%Y-%m-%dT%H.%M.%S}-{uuid.uuid4()}"),
        )


def milliseconds(moment: float) -> str:
    """`2019-11-14T00:38:06.021Z`"""
    text = datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def seconds(moment: float) -> str:
    """`2019-11-14T00:38:06Z`"""
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%dT%H:%M:%SZ}"
