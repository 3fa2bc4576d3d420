"""Records of asynchronous invokes and dead letters, member by member."""

from __future__ import annotations

import json
import re

import pytest

from lambda_provider.delivery.records import dead_letter, invocation_record
from lambda_runtime.event_queue import Outcome, QueuedEvent
from lambda_runtime.types import Invocation, InvocationResult

ARN = "arn:aws:lambda:eu-west-1:111111111111:function:f"
MOMENT = 1_700_000_000.0459


def event(result: InvocationResult | None = None, invoked_arn: str = ARN, **changes: object) -> QueuedEvent:
    call = Invocation(f"{ARN}:$LATEST", invoked_arn, b'{"b": 1, "a": [1.50]}', "r-1", trace_header="Root=1")
    return QueuedEvent(call, 0, attempts=1, last_result=result, **changes)  # type: ignore[arg-type]


def failed(payload: bytes) -> QueuedEvent:
    return event(InvocationResult(payload, "$LATEST", function_error="Unhandled"))


def test_record_of_a_success_as_recorded() -> None:
    record = invocation_record(event(InvocationResult(b'"fine"', "$LATEST")), Outcome.SUCCESS, MOMENT)
    assert record.body == (
        '{"version":"1.0","timestamp":"2023-11-14T22:13:20.045Z","requestContext":{"requestId":"r-1",'
        f'"functionArn":"{ARN}:$LATEST","condition":"Success","approximateInvokeCount":1}},'
        '"requestPayload":{"b": 1, "a": [1.50]},"responseContext":{"statusCode":200,"executedVersion":"$LATEST"},'
        '"responsePayload":"fine"}'
    )
    assert record.detail_type == "Lambda Function Invocation Result - Success"
    assert record.trace_header == "Root=1"


def test_record_of_a_failure_as_recorded() -> None:
    record = invocation_record(failed(b'{"errorMessage":"no"}'), Outcome.RETRIES_EXHAUSTED, MOMENT)
    document = json.loads(record.body)
    assert document["requestContext"]["condition"] == "RetriesExhausted"
    assert document["responseContext"] == {
        "statusCode": 200,
        "executedVersion": "$LATEST",
        "functionError": "Unhandled",
    }
    assert document["responsePayload"] == {"errorMessage": "no"}
    assert record.detail_type == "Lambda Function Invocation Result - Failure"


def test_event_that_never_ran_has_no_response() -> None:
    record = invocation_record(event(), Outcome.ZERO_RESERVED_CONCURRENCY, MOMENT)
    assert list(json.loads(record.body)) == ["version", "timestamp", "requestContext", "requestPayload"]


def test_record_names_the_alias_that_was_invoked_and_the_version_that_ran() -> None:
    record = invocation_record(event(InvocationResult(b"1", "3"), f"{ARN}:live"), Outcome.SUCCESS, MOMENT)
    document = json.loads(record.body)
    assert document["requestContext"]["functionArn"] == f"{ARN}:live"
    assert document["responseContext"]["executedVersion"] == "3"


@pytest.mark.parametrize(("payload", "expected"), [(b"<html>", "<html>"), (b"", None), (b"\xff", "\ufffd")])
def test_response_that_is_not_json_becomes_a_string(payload: bytes, expected: str | None) -> None:
    record = invocation_record(event(InvocationResult(payload, "1")), Outcome.SUCCESS, MOMENT)
    assert json.loads(record.body)["responsePayload"] == expected


def test_object_is_named_by_function_and_time() -> None:
    key = invocation_record(event(), Outcome.EVENT_AGE_EXCEEDED, MOMENT).object_key
    assert re.fullmatch(r"aws/lambda/async/f/2023/11/14/2023-11-14T22\.13\.20-[0-9a-f-]{36}", key)


def test_dead_letter_is_the_event_as_it_was_sent() -> None:
    letter = dead_letter(failed(b'{"errorMessage":"no","errorType":"E"}'))
    assert letter.body == '{"b": 1, "a": [1.50]}'
    assert letter.attributes == {
        "RequestID": ("String", "r-1"),
        "ErrorCode": ("Number", "200"),
        "ErrorMessage": ("String", "no"),
    }


def test_dead_letter_has_a_kilobyte_of_the_error_message_at_most() -> None:
    letter = dead_letter(failed(json.dumps({"errorMessage": "é" * 600}).encode()))
    assert letter.attributes["ErrorMessage"][1] == "é" * 512


@pytest.mark.parametrize(("payload", "expected"), [(b"boom", "boom"), (b'{"errorMessage":""}', "Unknown")])
def test_dead_letter_of_a_failure_without_a_message(payload: bytes, expected: str) -> None:
    assert dead_letter(failed(payload)).attributes["ErrorMessage"][1] == expected


def test_dead_letter_of_an_event_that_never_ran_says_why() -> None:
    letter = dead_letter(event(last_error=(429, "Rate Exceeded.")))
    assert letter.attributes["ErrorCode"] == ("Number", "429")
    assert letter.attributes["ErrorMessage"] == ("String", "Rate Exceeded.")
