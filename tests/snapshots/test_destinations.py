"""Where the records of asynchronous invokes go, and what is in them."""

from __future__ import annotations

import json
import uuid
from functools import partial
from typing import Any

import pytest

from .harness.fast_clock import target_with_clock
from .harness.functions import FUNCTIONS, zipped
from .harness.plugin import recorded
from .harness.transformers import masked_member, member, value

CLOCK_RATE = 60  # A minute passes in a second.
pytestmark = pytest.mark.scenario
destinations = partial(recorded, "lambda_destinations.json")
assess = "TestLambdaDestinationSqs::test_assess_lambda_destination_invocation"

ATTRIBUTES = (
    masked_member("SentTimestamp", "timestamp"),
    masked_member("ApproximateFirstReceiveTimestamp", "timestamp"),
    masked_member("MD5OfBody", "md5-body"),
    masked_member("timestamp", "date"),
    member("AWSTraceHeader", "a-w-s-trace-header"),
    member("SenderId", "sender-id"),
    member("ReceiptHandle", "receipt-handle"),
    member("message", "test-msg-id"),
)


@pytest.fixture(scope="module")
def aws(request):
    yield from target_with_clock(request, CLOCK_RATE)


@pytest.fixture
def queue(aws):
    """A queue that is a destination: its URL and its ARN."""
    sqs = aws.client("sqs")
    url = sqs.create_queue(QueueName=f"destination-{uuid.uuid4().hex[:10]}")["QueueUrl"]
    yield url, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sqs.delete_queue(QueueUrl=url)


def received(aws, url: str, **parameters: Any) -> dict[str, Any]:
    """The first answer of a queue that is not empty."""
    for _ in range(60 if aws.is_aws else 3):
        answer = aws.client("sqs").receive_message(QueueUrl=url, WaitTimeSeconds=20, **parameters)
        if answer.get("Messages"):
            return answer
    raise AssertionError("no message came")


def send_records_to(aws, name: str, arn: str, **settings: int) -> dict[str, Any]:
    sides = {side: {"Destination": arn} for side in ("OnSuccess", "OnFailure")}
    return aws.lambda_.put_function_event_invoke_config(FunctionName=name, DestinationConfig=sides, **settings)


def sent(aws, name: str, event: Any) -> None:
    aws.lambda_.invoke(FunctionName=name, Payload=json.dumps(event).encode(), InvocationType="Event")


@pytest.mark.parametrize(
    ("event", "settings"),
    [
        pytest.param({}, {}, marks=destinations(f"{assess}[Success-payload0]"), id="default-retries"),
        pytest.param({}, {"MaximumRetryAttempts": 0}, marks=destinations(f"{assess}[payload0]"), id="success"),
        pytest.param(
            {"raise_error": 1}, {"MaximumRetryAttempts": 0}, marks=destinations(f"{assess}[payload1]"), id="failure"
        ),
    ],
)
def test_record_in_a_queue(aws, snapshot, create, queue, event, settings):
    # The recorded function raises on line 55 of its file, this one on line 6.
    source = "\n" * 49 + (FUNCTIONS / "echo_or_raise.py").read_text()
    name = create(Code={"ZipFile": zipped({"handler.py": source})})["FunctionName"]
    url, arn = queue
    snapshot.transform(value(arn.rpartition(":")[2], "resource"), value(name, "resource"))
    snapshot.transform(member("MD5OfBody", "m-d5-of-body"), masked_member("timestamp", "date"))
    snapshot.transform(member("ReceiptHandle", "receipt-handle"))
    snapshot.match("put_function_event_invoke_config", send_records_to(aws, name, arn, **settings))
    sent(aws, name, event)
    snapshot.match("receive_message_result", received(aws, url))


@destinations("TestLambdaDestinationSqs::test_maxeventage")
def test_event_is_given_up_when_its_next_retry_would_come_too_late(aws, snapshot, create, queue):
    name = create("fails_on_purpose.py")["FunctionName"]
    url, arn = queue
    snapshot.transform(value(name, "resource"), *ATTRIBUTES)
    for step, age_s in (("no_retry_failure_message", 60), ("single_retry_failure_message", 120)):
        send_records_to(aws, name, arn, MaximumRetryAttempts=2, MaximumEventAgeInSeconds=age_s)
        sent(aws, name, {"message": "test-msg-id-of-the-scenario"})
        (message,) = received(aws, url, AttributeNames=["All"])["Messages"]
        aws.client("sqs").delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        snapshot.match(step, message)


@destinations("TestLambdaDestinationSqs::test_retries")
def test_event_is_given_up_after_two_retries(aws, snapshot, create, queue):
    name = create("fails_on_purpose.py")["FunctionName"]
    url, arn = queue
    snapshot.transform(value(name, "resource"), *ATTRIBUTES)
    send_records_to(aws, name, arn, MaximumRetryAttempts=2)
    sent(aws, name, {"message": "test-msg-id-of-the-scenario"})
    received(aws, url, VisibilityTimeout=0)
    snapshot.match("queue_destination_payload", received(aws, url, AttributeNames=["All"]))
