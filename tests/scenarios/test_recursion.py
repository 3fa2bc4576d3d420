"""Loops through queues and topics are followed by the trace that their messages carry.

https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from .conftest import Functions
from .witness import TELLS, Witness

pytestmark = pytest.mark.scenario

LIMIT = 16
SENDS_ON = (
    TELLS
    + """
import json, os, boto3
client = boto3.client(os.environ["SERVICE"])
def handler(event, context):
    record = event["Records"][0]
    state = json.loads(record["body"] if "body" in record else record["Sns"]["Message"])
    tell(state["port"], str(state["n"]))
    if state["n"] == state["last"]:
        return
    message = json.dumps(state | {"n": state["n"] + 1})
    if os.environ["SERVICE"] == "sqs":
        client.send_message(QueueUrl=os.environ["TO"], MessageBody=message)
    else:
        client.publish(TopicArn=os.environ["TO"], Message=message)
"""
)
"""Tells which run it is and sends itself the next message, with nothing but an AWS SDK."""


class Looping:
    """A function with a queue, and one with a topic, that it sends to and that invokes it."""

    def __init__(self, url: str, client_for: Callable[..., Any], zip_of: Callable[..., bytes]) -> None:
        self.client = lambda service: client_for(url, service)
        self.functions = Functions(self.client("lambda"), zip_of)

    def create(self, service: str, to: str, **parameters: Any) -> str:
        variables = {"SERVICE": service, "TO": to}
        parameters = {"Timeout": 20, **parameters}
        return self.functions.create("loop", SENDS_ON, Environment={"Variables": variables}, **parameters)

    def queue(self, name: str, **attributes: str) -> tuple[str, str]:
        sqs = self.client("sqs")
        url = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        return url, arn

    def message_of(self, url: str) -> dict[str, Any]:
        """The body of the first message that comes."""
        (message,) = self.client("sqs").receive_message(QueueUrl=url, WaitTimeSeconds=20)["Messages"]
        return dict(json.loads(message["Body"]))

    def dropped(self) -> float:
        now = datetime.now(UTC)
        points = self.client("cloudwatch").get_metric_statistics(
            Namespace="AWS/Lambda",
            MetricName="RecursiveInvocationsDropped",
            Dimensions=[{"Name": "FunctionName", "Value": "loop"}],
            StartTime=now - timedelta(minutes=10),
            EndTime=now + timedelta(minutes=1),
            Period=3600,
            Statistics=["Sum"],
        )["Datapoints"]
        return float(sum(point["Sum"] for point in points))


@pytest.fixture
def looping(own_gateway: Callable[..., Any], client_for: Callable[..., Any], zip_of: Callable[..., bytes]) -> Looping:
    return Looping(own_gateway().url, client_for, zip_of)


def test_a_loop_through_a_queue_is_stopped_and_its_message_goes_to_the_dead_letters(looping: Looping) -> None:
    letters, letters_arn = looping.queue("letters")
    redrive = json.dumps({"deadLetterTargetArn": letters_arn, "maxReceiveCount": 1})
    url, arn = looping.queue("q", VisibilityTimeout="6", RedrivePolicy=redrive)
    looping.create("sqs", url, Timeout=6)
    looping.client("lambda").create_event_source_mapping(FunctionName="loop", EventSourceArn=arn)
    with Witness() as witness:
        first = {"port": witness.port, "n": 1, "last": 100}
        looping.client("sqs").send_message(QueueUrl=url, MessageBody=json.dumps(first))
        witness.until(lambda heard: str(LIMIT) in heard)
        assert looping.message_of(letters)["n"] == LIMIT + 1
        assert witness.heard == [str(number) for number in range(1, LIMIT + 1)]
    assert looping.dropped() >= 1


def test_a_loop_through_a_topic_is_stopped_and_its_event_goes_to_the_dead_letters(looping: Looping) -> None:
    letters, letters_arn = looping.queue("letters")
    topic = looping.client("sns").create_topic(Name="t")["TopicArn"]
    looping.create("sns", topic, DeadLetterConfig={"TargetArn": letters_arn})
    arn = looping.client("lambda").get_function(FunctionName="loop")["Configuration"]["FunctionArn"]
    looping.client("sns").subscribe(TopicArn=topic, Protocol="lambda", Endpoint=arn)
    with Witness() as witness:
        looping.client("sns").publish(TopicArn=topic, Message=json.dumps({"port": witness.port, "n": 1, "last": 100}))
        event = looping.message_of(letters)
        assert json.loads(event["Records"][0]["Sns"]["Message"])["n"] == LIMIT + 1
        assert witness.heard == [str(number) for number in range(1, LIMIT + 1)]
    assert looping.dropped() == 1


def test_a_loop_that_is_allowed_goes_on(looping: Looping) -> None:
    url, arn = looping.queue("q", VisibilityTimeout="20")
    looping.create("sqs", url)
    client = looping.client("lambda")
    client.put_function_recursion_config(FunctionName="loop", RecursiveLoop="Allow")
    client.create_event_source_mapping(FunctionName="loop", EventSourceArn=arn)
    with Witness() as witness:
        first = {"port": witness.port, "n": 1, "last": LIMIT + 4}
        looping.client("sqs").send_message(QueueUrl=url, MessageBody=json.dumps(first))
        witness.until(lambda heard: str(LIMIT + 4) in heard)
