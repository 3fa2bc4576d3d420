"""Queues as event sources of a real gateway: order, changes while messages come, loops, metrics, and what nobody disturbs."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ..conftest import client_for, short_name, start_gateway, stop_gateway, zip_of
from .witness import TELLS, Witness

pytestmark = pytest.mark.scenario

TELLS_BODIES = (
    TELLS
    + """
import os
def handler(event, context):
    for record in event["Records"]:
        tell(int(os.environ["PORT"]), record["body"])
"""
)
FAILS_ONCE = (
    TELLS
    + """
import os
def handler(event, context):
    for record in event["Records"]:
        attempt = record["attributes"]["ApproximateReceiveCount"]
        tell(int(os.environ["PORT"]), f"{record['body']} {attempt}")
        if record["body"].endswith("3") and attempt == "1":
            raise ValueError("on purpose")
"""
)
SENDS_ON = (
    TELLS
    + """
import os, boto3
sqs = boto3.client("sqs")
def handler(event, context):
    for record in event["Records"]:
        tell(int(os.environ["PORT"]), record["body"])
        sqs.send_message(QueueUrl=record["body"], MessageBody=record["body"])
"""
)


class Queues:
    """Queues and mappings of a gateway; what was made goes when the test ends."""

    def __init__(self, client: Callable[..., Any]) -> None:
        self.sqs, self.lambda_ = client("sqs"), client("lambda")
        self.urls: list[str] = []
        self.mappings: list[str] = []

    def make(self, suffix: str = "", **attributes: str) -> str:
        """A queue's URL."""
        if suffix == ".fifo":
            attributes |= {"FifoQueue": "true", "ContentBasedDeduplication": "true"}
        name = short_name("queue") + suffix
        self.urls.append(self.sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"])
        return self.urls[-1]

    def arn(self, url: str) -> str:
        answer = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return str(answer["Attributes"]["QueueArn"])

    def connect(self, url: str, function: str, **parameters: Any) -> str:
        """A mapping's UUID, once it is enabled."""
        answer = self.lambda_.create_event_source_mapping(
            FunctionName=function, EventSourceArn=self.arn(url), **parameters
        )
        self.mappings.append(answer["UUID"])
        self.lambda_.get_event_source_mapping(UUID=answer["UUID"])
        return self.mappings[-1]

    def enable(self, mapping: str, enabled: bool) -> None:
        """Begin or end to poll; returns when that is done."""
        self.lambda_.update_event_source_mapping(UUID=mapping, Enabled=enabled)
        self.lambda_.get_event_source_mapping(UUID=mapping)

    def send(self, url: str, body: str, **parameters: Any) -> None:
        self.sqs.send_message(QueueUrl=url, MessageBody=body, **parameters)

    def messages(self, url: str) -> int:
        """How many are in the queue, shown or not."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)
        return sum(map(int, answer["Attributes"].values()))

    def until(self, url: str, count: int) -> None:
        """Return when so many messages are in the queue."""
        pause = threading.Event()
        for _ in range(600):
            if self.messages(url) == count:
                return
            pause.wait(0.05)
        raise AssertionError(f"{self.messages(url)} messages are in the queue")

    def clean(self) -> None:
        for mapping in self.mappings:
            self.lambda_.get_event_source_mapping(UUID=mapping)
            self.lambda_.delete_event_source_mapping(UUID=mapping)
        for url in self.urls:
            self.sqs.delete_queue(QueueUrl=url)


@pytest.fixture
def queues(aws_client: Any) -> Iterator[Queues]:
    made = Queues(aws_client)
    yield made
    made.clean()


@pytest.fixture
def witness() -> Iterator[Witness]:
    with Witness() as opened:
        yield opened


def told(witness: Witness, deploy: Any, source: str = TELLS_BODIES, **parameters: Any) -> str:
    """A function that tells the witness."""
    return str(deploy(source, Environment={"Variables": {"PORT": str(witness.port)}}, **parameters))


def heard(witness: Witness, count: int) -> list[str]:
    """What the function told, once it told so much."""
    return witness.until(lambda lines: len(lines) >= count)


def test_groups_of_a_fifo_queue_keep_their_order_when_batches_fail(
    deploy: Any, queues: Queues, witness: Witness
) -> None:
    url = queues.make(".fifo", VisibilityTimeout="2")
    queues.connect(url, told(witness, deploy, FAILS_ONCE, Timeout=2), BatchSize=1)
    groups = ("a", "b", "c")
    for number in range(6):
        for group in groups:
            queues.send(url, f"{group} {number}", MessageGroupId=group)
    queues.until(url, 0)
    for group in groups:
        of_group = [line for line in witness.heard if line.startswith(group)]
        assert of_group == [f"{group} {n}" for n in ("0 1", "1 1", "2 1", "3 1", "3 2", "4 1", "5 1")]


def test_a_delayed_message_comes_when_its_time_has_come(deploy: Any, queues: Queues, witness: Witness) -> None:
    url = queues.make()
    queues.connect(url, told(witness, deploy))
    queues.send(url, "later", DelaySeconds=1)
    queues.send(url, "now")
    assert heard(witness, 2) == ["now", "later"]


def test_a_disabled_mapping_leaves_messages_alone(deploy: Any, queues: Queues, witness: Witness) -> None:
    url = queues.make()
    mapping = queues.connect(url, told(witness, deploy))
    queues.send(url, "first")
    assert heard(witness, 1) == ["first"]
    queues.until(url, 0)
    queues.enable(mapping, False)
    queues.send(url, "second")
    queues.until(url, 1)
    queues.enable(mapping, True)
    assert heard(witness, 2) == ["first", "second"]


def test_a_queue_that_was_made_anew_is_polled_again(deploy: Any, queues: Queues, witness: Witness) -> None:
    url = queues.make()
    mapping = queues.connect(url, told(witness, deploy))
    queues.send(url, "first")
    assert heard(witness, 1) == ["first"]
    queues.sqs.delete_queue(QueueUrl=url)
    queues.sqs.create_queue(QueueName=url.rpartition("/")[2])
    queues.send(url, "second")
    assert heard(witness, 2) == ["first", "second"]
    assert queues.lambda_.get_event_source_mapping(UUID=mapping)["State"] == "Enabled"


def test_messages_wait_for_a_function_that_is_gone(
    deploy: Any, queues: Queues, witness: Witness, aws_client: Any
) -> None:
    url, function = queues.make(), told(witness, deploy)
    queues.connect(url, function)
    queues.send(url, "first")
    assert heard(witness, 1) == ["first"]
    queues.until(url, 0)
    aws_client("lambda").delete_function(FunctionName=function)
    queues.send(url, "second")
    queues.until(url, 1)
    told(witness, deploy, name=function)
    assert heard(witness, 2) == ["first", "second"]


def test_a_function_without_concurrency_gets_nothing_and_its_messages_stay(
    deploy: Any, queues: Queues, witness: Witness, aws_client: Any
) -> None:
    url, function = queues.make(VisibilityTimeout="60"), told(witness, deploy)
    aws_client("lambda").put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=0)
    queues.connect(url, function)
    queues.send(url, "now")
    queues.until(url, 1)
    aws_client("lambda").delete_function_concurrency(FunctionName=function)
    assert heard(witness, 1) == ["now"]
    queues.until(url, 0)


def test_a_function_that_sends_to_its_own_queue_is_stopped(deploy: Any, queues: Queues, witness: Witness) -> None:
    failures = queues.make()
    redrive = json.dumps({"deadLetterTargetArn": queues.arn(failures), "maxReceiveCount": 1})
    url = queues.make(VisibilityTimeout="3", RedrivePolicy=redrive)
    queues.connect(url, told(witness, deploy, SENDS_ON, Timeout=3), BatchSize=1)
    queues.send(url, url)
    queues.until(failures, 1)
    assert len(witness.heard) == 16
    assert queues.messages(url) == 0


def test_metrics_of_a_mapping(deploy: Any, queues: Queues, witness: Witness, aws_client: Any) -> None:
    url = queues.make()
    mapping = queues.connect(
        url,
        told(witness, deploy),
        MetricsConfig={"Metrics": ["EventCount"]},
        FilterCriteria={"Filters": [{"Pattern": '{"body": ["kept"]}'}]},
    )
    queues.send(url, "dropped")
    queues.send(url, "kept")
    queues.until(url, 0)
    now = datetime.now(UTC)

    def total(metric: str) -> float:
        answer = aws_client("cloudwatch").get_metric_statistics(
            Namespace="AWS/Lambda",
            MetricName=metric,
            Dimensions=[{"Name": "EventSourceMappingUUID", "Value": mapping}],
            StartTime=now - timedelta(minutes=5),
            EndTime=now + timedelta(minutes=5),
            Period=600,
            Statistics=["Sum"],
        )
        return float(sum(point["Sum"] for point in answer["Datapoints"]))

    expected = {"PolledEventCount": 2, "FilteredOutEventCount": 1, "InvokedEventCount": 1, "DeletedEventCount": 2}
    assert {metric: total(metric) for metric in expected} == expected


def test_idle_mappings_cost_next_to_nothing(deploy: Any, queues: Queues, witness: Witness, gateway: Any) -> None:
    function = told(witness, deploy)
    for _ in range(100):
        queues.connect(queues.make(), function)
    pause = threading.Event()
    pause.wait(1)
    before = _processor_s(gateway.process.pid)
    pause.wait(5)
    assert _processor_s(gateway.process.pid) - before < 0.25


def test_mappings_go_on_after_a_restart(tmp_path: Path, witness: Witness) -> None:
    arguments = ("--state-dir", str(tmp_path / "state"))
    name = short_name("queue")
    for number in range(2):
        running = start_gateway(*arguments)
        try:
            client, sqs = client_for(running.url, "lambda"), client_for(running.url, "sqs")
            url = sqs.create_queue(QueueName=name)["QueueUrl"]
            if number == 0:
                arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
                client.create_function(
                    FunctionName="f",
                    Runtime="python3.12",
                    Handler="index.handler",
                    Role="arn:aws:iam::000000000000:role/r",
                    Code={"ZipFile": zip_of({"index.py": TELLS_BODIES})},
                    Environment={"Variables": {"PORT": str(witness.port)}},
                )
                client.get_waiter("function_active_v2").wait(FunctionName="f")
                client.create_event_source_mapping(FunctionName="f", EventSourceArn=arn)
            sqs.send_message(QueueUrl=url, MessageBody=str(number))
            assert heard(witness, number + 1) == ["0", "1"][: number + 1]
        finally:
            stop_gateway(running)


def _processor_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
