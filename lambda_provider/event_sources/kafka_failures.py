"""What is sent of records that a function did not process.

https://docs.aws.amazon.com/lambda/latest/dg/kafka-on-failure.html for queues, topics of SNS and buckets: one record for a batch.
kafka-on-failure-destination.html for topics of the cluster itself: one for each record, with the record in it.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lambda_provider.delivery.records import Parcel
from lambda_provider.event_sources.discarded import RETRIES_EXHAUSTED, DiscardedBatch, milliseconds
from lambda_provider.event_sources.kafka_records import EventWriter, Partition, Record, name_of, record_text
from lambda_provider.model.event_source_mapping import EventSourceMapping
from lambda_provider.model.function import LATEST
from lambda_runtime.types import InvocationResult

PAYLOAD_TOO_LARGE = "MaximumPayloadSizeExceeded"
TOPIC = "kafka://"

_CONDITIONS_OF_TOPICS = {RETRIES_EXHAUSTED: "RetriesExhausted"}
"""A topic of the cluster gets another word for the same (kafka-on-failure-destination.html)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenUp:
    """Records of a partition that are not tried again. `texts` are their JSON, and `event` is all of them as one event.

    `invokes` counts how often the function got them; `result` is what it answered last, None where that is not told.
    """

    partition: Partition
    records: Sequence[Record]
    event: bytes
    texts: Sequence[bytes]
    condition: str
    invokes: int
    result: InvocationResult | None


def without_invoke(record: Record, condition: str, writer: EventWriter) -> GivenUp:
    """A record that no function has seen."""
    partition, text = (record.topic, record.partition), record_text(record)
    return GivenUp(
        partition=partition,
        records=[record],
        event=writer.event(partition, [text]),
        texts=[text],
        condition=condition,
        invokes=0,
        result=None,
    )


def parcel(given_up: GivenUp, mapping: EventSourceMapping, writer: EventWriter, moment: float) -> Parcel:
    """What a queue, a topic of SNS or a bucket gets."""
    records = given_up.records
    info = _batch_info(writer, len(records), len(given_up.event)) | {
        "recordsInfo": {
            name_of(given_up.partition): {
                "firstRecordOffset": str(records[0].offset),
                "lastRecordOffset": str(records[-1].offset),
                "firstRecordTimestamp": milliseconds(records[0].timestamp_ms / 1000),
                "lastRecordTimestamp": milliseconds(records[-1].timestamp_ms / 1000),
            }
        }
    }
    return DiscardedBatch(
        mapping=mapping.name,
        function_arn=mapping.function_arn,
        shard_id=name_of(given_up.partition),
        condition=given_up.condition,
        invokes=given_up.invokes,
        result=given_up.result,
        info=("KafkaBatchInfo", info),
        event=given_up.event,
    ).parcel(mapping.settings.on_failure or "", moment)


def messages(
    given_up: GivenUp, mapping: EventSourceMapping, writer: EventWriter, moment: float
) -> list[tuple[bytes | None, bytes]]:
    """Keys and values for a topic of the cluster; the keys are the records' own."""
    arn, result = mapping.function_arn, given_up.result
    head: dict[str, Any] = {
        "requestContext": {
            "requestId": (result.request_id if result else None) or str(uuid.uuid4()),
            "functionArn": arn if arn.count(":") > 6 else f"{arn}:{LATEST}",
            "condition": _CONDITIONS_OF_TOPICS.get(given_up.condition, given_up.condition),
            "approximateInvokeCount": given_up.invokes,
        },
        "responseContext": None
        if result is None
        else {
            "statusCode": 200,
            "executedVersion": result.executed_version,
            "functionError": result.function_error,
        },
        "version": "1.0",
        "timestamp": milliseconds(moment),
    }
    written = []
    for record, text in zip(given_up.records, given_up.texts, strict=True):
        event = writer.event(given_up.partition, [text])
        info = _batch_info(writer, 1, len(event)) | {
            "recordInfo": {"offset": str(record.offset), "timestamp": milliseconds(record.timestamp_ms / 1000)}
        }
        document = {**head, "KafkaBatchInfo": info, "payload": json.loads(event)}
        written.append((record.key, json.dumps(document, separators=(",", ":")).encode()))
    return written


def _batch_info(writer: EventWriter, records: int, payload_bytes: int) -> dict[str, Any]:
    head = writer.head()
    arn = {"eventSourceArn": head["eventSourceArn"]} if "eventSourceArn" in head else {}
    return {
        "batchSize": records,
        **arn,
        "bootstrapServers": head["bootstrapServers"],
        "payloadSize": payload_bytes,
    }
