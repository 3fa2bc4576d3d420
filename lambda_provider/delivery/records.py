"""The record of an asynchronous invoke, and what a dead-letter queue gets.

https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html; recorded: TestLambdaDestinationSqs.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from lambda_provider.model.function import LATEST
from lambda_runtime.event_queue import Outcome, QueuedEvent

_MAX_ERROR_MESSAGE_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Parcel:
    """What is sent: a text, and what some services want to know beside it.

    `source` is the function's ARN with the qualifier. `attributes` are the message attributes of SQS and SNS, name -> (type,
    value). `detail_type` is EventBridge's, `object_key` S3's.
    """

    body: str
    source: str
    trace_header: str | None
    attributes: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    detail_type: str = ""
    object_key: str = ""


def invocation_record(event: QueuedEvent, outcome: Outcome, moment: float) -> Parcel:
    """The record for a destination. An event that never ran has no response; `moment` is in seconds since the epoch."""
    call, result = event.invocation, event.last_result
    now = datetime.fromtimestamp(moment, UTC)
    source = _qualified(call.invoked_arn)
    context = {
        "requestId": call.request_id,
        "functionArn": source,
        "condition": outcome.value,
        "approximateInvokeCount": event.attempts,
    }
    # Payloads are JSON texts already: they go in as the function saw and wrote them.
    members = [
        '"version":"1.0"',
        f'"timestamp":"{now:%Y-%m-%dT%H:%M:%S}.{now.microsecond // 1000:03}Z"',
        f'"requestContext":{json.dumps(context, separators=(",", ":"))}',
        f'"requestPayload":{_json_text(call.payload)}',
    ]
    if result is not None:
        response = {"statusCode": 200, "executedVersion": result.executed_version}
        if result.function_error is not None:
            response["functionError"] = result.function_error
        members.append(f'"responseContext":{json.dumps(response, separators=(",", ":"))}')
        members.append(f'"responsePayload":{_json_text(result.payload)}')
    return Parcel(
        "{" + ",".join(members) + "}",
        source,
        call.trace_header,
        detail_type=f"Lambda Function Invocation Result - {'Success' if outcome is Outcome.SUCCESS else 'Failure'}",
        object_key=f"aws/lambda/async/{_name(source)}/{now:%Y/%m/%d/%Y-%m-%dT%H.%M.%S}-{uuid.uuid4()}",
    )


def dead_letter(event: QueuedEvent) -> Parcel:
    """The event as it is, with what went wrong in attributes."""
    call = event.invocation
    code, message = _error(event)
    attributes = {
        "RequestID": ("String", call.request_id),
        "ErrorCode": ("Number", str(code)),
        "ErrorMessage": ("String", _first_kilobyte(message)),
    }
    return Parcel(call.payload.decode("utf-8", "replace"), _qualified(call.invoked_arn), call.trace_header, attributes)


def _error(event: QueuedEvent) -> tuple[int, str]:
    """The HTTP status and message that the last attempt would have had as a synchronous invoke."""
    if event.last_result is None:
        return event.last_error or (500, "The event was not processed.")
    payload = event.last_result.payload
    try:
        message = json.loads(payload)["errorMessage"]
    except (ValueError, KeyError, TypeError):
        message = None
    return 200, message if isinstance(message, str) else payload.decode("utf-8", "replace")


def _first_kilobyte(message: str) -> str:
    # SQS and SNS refuse empty attribute values.
    return message.encode()[:_MAX_ERROR_MESSAGE_BYTES].decode("utf-8", "ignore") or "Unknown"


def _json_text(payload: bytes) -> str:
    """A payload as a JSON value. A function may answer with anything; what is not JSON becomes a string."""
    text = payload.decode("utf-8", "replace")
    try:
        json.loads(text)
    except ValueError:
        return json.dumps(text, ensure_ascii=False) if text else "null"
    return text


def _qualified(arn: str) -> str:
    """Records name `$LATEST` for an invoke without a qualifier (recorded)."""
    return arn if arn.count(":") > 6 else f"{arn}:{LATEST}"


def _name(arn: str) -> str:
    return arn.split(":")[6]
