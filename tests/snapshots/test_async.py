"""Asynchronous invokes: the queue, and what is tried again."""

from __future__ import annotations

import json
import time
from functools import partial

import pytest

from .harness.fast_clock import target_with_clock
from .harness.plugin import recorded
from .harness.steps import updated, wait_for_log
from .harness.transformers import LOG_LINES, masked_member

CLOCK_RATE = 300  # A minute passes in a fifth of a second.
pytestmark = pytest.mark.scenario
functions = partial(recorded, "lambda.json")

WITH_ENVIRONMENT = {"Environment": {"Variables": {}}, "Timeout": 30}


@pytest.fixture(scope="module")
def aws(request):
    yield from target_with_clock(request, CLOCK_RATE)


@functions("TestLambdaVersions::test_async_invoke_queue_upon_function_update")
def test_queued_events_run_with_the_updated_function(aws, snapshot, create):
    client = aws.lambda_

    def send(number, word, sleep=0):
        event = json.dumps({"request_prefix": f"{number:02}-{word}", "sleep": sleep}).encode()
        client.invoke(FunctionName=name, Payload=event, InvocationType="Event")

    for sleep_s in (3, 10, 25):
        variables = {"Variables": {"FUNCTION_VARIANT": "variant-1"}}
        name = create("variant.py", Environment=variables, Timeout=30)["FunctionName"]
        client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
        began = time.monotonic()
        send(1, "sleep", sleep=sleep_s)
        wait_for_log(aws, name, "01-sleep--")
        for number in range(2, 11):
            send(number, "before")
        variables = {"Variables": {"FUNCTION_VARIANT": "variant-2"}}
        client.update_function_configuration(FunctionName=name, Environment=variables)
        updated(aws, name)
        if time.monotonic() - began < sleep_s:
            break  # Nothing but the first event can have run before. On a busy machine that needs more time.
    for number in range(11, 16):
        send(number, "after")
    messages = [event["message"].strip() for event in wait_for_log(aws, name, "--variant", count=15, timeout_s=60)]
    snapshot.match("async_invoke_history_sorted", sorted(message for message in messages if "--variant" in message))


@functions("TestRequestIdHandling::test_request_id_async_invoke_with_retry")
def test_a_retry_keeps_the_request_id(aws, snapshot, create):
    name = create("custom_error.py")["FunctionName"]
    answer = aws.lambda_.invoke(FunctionName=name, Payload=b"{}", InvocationType="Event")
    snapshot.match("invoke_result", answer)
    request_id = answer["ResponseMetadata"]["HTTPHeaders"]["x-amzn-requestid"]
    events = wait_for_log(aws, name, "END RequestId", count=2, timeout_s=90)
    ends = [event["message"].strip() for event in events if event["message"].startswith("END RequestId")][:2]
    assert ends == [f"END RequestId: {request_id}"] * 2
    snapshot.match("end_messages", ends)


@functions("TestLambdaFeatures::test_invocation_type_event_error")
def test_an_event_whose_function_fails(aws, snapshot, create):
    created = create("custom_error.py", Runtime="python3.10", **WITH_ENVIRONMENT)
    name = created["FunctionName"]
    snapshot.transform(masked_member("timestamp", "timestamp"), masked_member("ingestionTime", "timestamp"), *LOG_LINES)
    snapshot.match("creation_response", created)
    answer = aws.lambda_.invoke(FunctionName=name, Payload=b"{}", InvocationType="Event")
    snapshot.match("invocation_response", answer)
    events = wait_for_log(aws, name, "REPORT RequestId", count=2, timeout_s=90)
    kept = ("timestamp", "message", "ingestionTime")
    snapshot.match("log_events", [{member: event[member] for member in kept} for event in events[:9]])
