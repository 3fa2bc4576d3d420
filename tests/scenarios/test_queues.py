"""Queues as event sources of a real gateway: order, changes while messages come, loops, metrics, and what nobody disturbs."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ..conftest import client_for, short_name, start_gateway, stop_gateway
from .source_mappings import SourceMappings, until
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


class Queues(SourceMappings):
    """Queues, and mappings of them."""

    def __init__(self, client: Callable[..., Any], witness: Witness) -> None:
        super().__init__(client, witness)
        self.sqs = client("sqs")
        self.urls: list[str] = []

    def queue(self, suffix: str = "", **attributes: str) -> str:
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
        return self.make(function, EventSourceArn=self.arn(url), **parameters)

    def send(self, url: str, body: str, **parameters: Any) -> None:
        self.sqs.send_message(QueueUrl=url, MessageBody=body, **parameters)

    def messages(self, url: str) -> int:
        """How many are in the queue, shown or not."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)
        return sum(map(int, answer["Attributes"].values()))

    def holds(self, url: str, count: int) -> None:
        """Return when so many messages are in the queue."""
        until(lambda: self.messages(url), lambda messages: messages == count)

    def end(self) -> None:
        super().end()
        for url in self.urls:
            self.sqs.delete_queue(QueueUrl=url)


@pytest.fixture
def queues(aws_client: Any) -> Iterator[Queues]:
    with Witness() as witness:
        made = Queues(aws_client, witness)
        yield made
        made.end()


def test_groups_of_a_fifo_queue_keep_their_order_when_batches_fail(queues: Queues) -> None:
    # Long enough for what is under way not to be shown again, on a busy machine, too.
    url = queues.queue(".fifo", VisibilityTimeout="5")
    queues.connect(url, queues.function(FAILS_ONCE, timeout_s=5), BatchSize=1)
    groups = ("a", "b", "c")
    for number in range(6):
        for group in groups:
            queues.send(url, f"{group} {number}", MessageGroupId=group)
    queues.holds(url, 0)
    for group in groups:
        of_group = [line for line in queues.witness.heard if line.startswith(group)]
        assert of_group == [f"{group} {n}" for n in ("0 1", "1 1", "2 1", "3 1", "3 2", "4 1", "5 1")]


def test_a_delayed_message_comes_when_its_time_has_come(queues: Queues) -> None:
    url = queues.queue()
    queues.connect(url, queues.function(TELLS_BODIES))
    queues.send(url, "later", DelaySeconds=3)
    queues.send(url, "now")
    assert queues.heard(2) == ["now", "later"]


def test_a_disabled_mapping_leaves_messages_alone(queues: Queues) -> None:
    url = queues.queue()
    mapping = queues.connect(url, queues.function(TELLS_BODIES))
    queues.send(url, "first")
    assert queues.heard(1) == ["first"]
    queues.holds(url, 0)
    queues.update(mapping, Enabled=False)
    queues.send(url, "second")
    queues.holds(url, 1)
    queues.update(mapping, Enabled=True)
    assert queues.heard(2) == ["first", "second"]


def test_a_queue_that_was_made_anew_is_polled_again(queues: Queues) -> None:
    url = queues.queue()
    mapping = queues.connect(url, queues.function(TELLS_BODIES))
    queues.send(url, "first")
    assert queues.heard(1) == ["first"]
    queues.sqs.delete_queue(QueueUrl=url)
    queues.sqs.create_queue(QueueName=url.rpartition("/")[2])
    queues.send(url, "second")
    assert queues.heard(2) == ["first", "second"]
    assert queues.lambda_.get_event_source_mapping(UUID=mapping)["State"] == "Enabled"


def test_messages_wait_for_a_function_that_is_gone(queues: Queues, aws_client: Any) -> None:
    url, function = queues.queue(), queues.function(TELLS_BODIES)
    queues.connect(url, function)
    queues.send(url, "first")
    assert queues.heard(1) == ["first"]
    queues.holds(url, 0)
    aws_client("lambda").delete_function(FunctionName=function)
    queues.send(url, "second")
    queues.holds(url, 1)
    queues.function(TELLS_BODIES, name=function)
    assert queues.heard(2) == ["first", "second"]


def test_a_function_without_concurrency_gets_nothing_and_its_messages_stay(queues: Queues, aws_client: Any) -> None:
    url, function = queues.queue(VisibilityTimeout="60"), queues.function(TELLS_BODIES)
    aws_client("lambda").put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=0)
    queues.connect(url, function)
    queues.send(url, "now")
    queues.holds(url, 1)
    aws_client("lambda").delete_function_concurrency(FunctionName=function)
    assert queues.heard(1) == ["now"]
    queues.holds(url, 0)


def test_a_function_that_sends_to_its_own_queue_is_stopped(queues: Queues) -> None:
    failures = queues.queue()
    redrive = json.dumps({"deadLetterTargetArn": queues.arn(failures), "maxReceiveCount": 1})
    url = queues.queue(VisibilityTimeout="5", RedrivePolicy=redrive)
    function = queues.function(SENDS_ON, timeout_s=5)
    # A message is shown again if the first start takes too long.
    queues.lambda_.invoke(FunctionName=function, Payload=b'{"Records": []}')
    queues.connect(url, function, BatchSize=1)
    queues.send(url, url)
    queues.holds(failures, 1)
    assert len(queues.witness.heard) == 16
    assert queues.messages(url) == 0


def test_metrics_of_a_mapping(queues: Queues, aws_client: Any) -> None:
    url = queues.queue()
    mapping = queues.connect(
        url,
        queues.function(TELLS_BODIES),
        MetricsConfig={"Metrics": ["EventCount"]},
        FilterCriteria={"Filters": [{"Pattern": '{"body": ["kept"]}'}]},
    )
    queues.send(url, "dropped")
    queues.send(url, "kept")
    queues.holds(url, 0)
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
    # It counts what it has deleted when it knows that, which may be later than that it is so.
    until(lambda: {metric: total(metric) for metric in expected}, lambda found: found == expected)


def test_idle_mappings_cost_next_to_nothing(queues: Queues, gateway: Any) -> None:
    function = queues.function(TELLS_BODIES)
    for _ in range(100):
        queues.connect(queues.queue(), function)
    pause = threading.Event()
    pause.wait(1)
    before = _processor_s(gateway.process.pid)
    pause.wait(5)
    assert _processor_s(gateway.process.pid) - before < 0.25


def test_mappings_go_on_after_a_restart(tmp_path: Path) -> None:
    arguments = ("--state-dir", str(tmp_path / "state"))
    name = short_name("queue")
    with Witness() as witness:
        for number in range(2):
            running = start_gateway(*arguments)
            try:
                queues = Queues(partial(client_for, running.url), witness)
                url = queues.sqs.create_queue(QueueName=name)["QueueUrl"]
                if number == 0:
                    queues.connect(url, queues.function(TELLS_BODIES))
                queues.send(url, str(number))
                assert queues.heard(number + 1) == ["0", "1"][: number + 1]
            finally:
                stop_gateway(running)


def _processor_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
