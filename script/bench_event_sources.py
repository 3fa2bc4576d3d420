"""How fast event sources are; rows of `bench.py`.

j   messages of SQS a second, end to end: from a full queue to an empty one, with an echo function
k   from sending a message to a queue at rest to its handler, the sender's own request included
l   what 100 idle mappings cost: the share of one processor, of the gateway and of the process with the other services
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

TELLS_WHEN = """
import json, os, socket, time

channel = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
address = ("127.0.0.1", int(os.environ["PORT"]))


def handler(event, context):
    now = time.time()
    for record in event["Records"]:
        channel.sendto(json.dumps([float(record["body"]), now]).encode(), address)
"""


class Queue:
    """A queue with a mapping to a function."""

    def __init__(self, clients: Callable[[str], Any], name: str, function: str, **mapping: Any) -> None:
        self.sqs, self.lambda_ = clients("sqs"), clients("lambda")
        self.url = self.sqs.create_queue(QueueName=name)["QueueUrl"]
        answer = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["QueueArn"])
        arn = answer["Attributes"]["QueueArn"]
        self.uuid = self.lambda_.create_event_source_mapping(FunctionName=function, EventSourceArn=arn, **mapping)[
            "UUID"
        ]
        self.lambda_.get_event_source_mapping(UUID=self.uuid)

    def fill(self, count: int) -> None:
        """Send messages, ten at a time."""
        for start in range(0, count, 10):
            entries = [
                {"Id": str(number), "MessageBody": str(number)} for number in range(start, min(count, start + 10))
            ]
            self.sqs.send_message_batch(QueueUrl=self.url, Entries=entries)

    def left(self) -> int:
        """Messages in the queue, visible or not."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        return sum(
            map(int, self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)["Attributes"].values())
        )

    def enable(self, enabled: bool) -> None:
        """Begin or end to poll."""
        self.lambda_.update_event_source_mapping(UUID=self.uuid, Enabled=enabled)
        self.lambda_.get_event_source_mapping(UUID=self.uuid)


def messages_a_second(clients: Callable[[str], Any], function: str, count: int, batch_size: int) -> float:
    """From the moment in which a mapping is enabled to that in which its queue is empty."""
    queue = Queue(clients, f"full-{batch_size}", function, BatchSize=batch_size, Enabled=False)
    queue.fill(count)
    pause, began = threading.Event(), time.perf_counter()
    queue.enable(True)
    while queue.left():
        pause.wait(0.02)
    took = time.perf_counter() - began
    queue.enable(False)
    return count / took


@contextmanager
def listening() -> Iterator[socket.socket]:
    """A socket on which functions tell something."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        channel.bind(("127.0.0.1", 0))
        channel.settimeout(10)
        yield channel


def delays(clients: Callable[[str], Any], deploy: Callable[[int], str], count: int) -> list[float]:
    """Seconds from sending to the handler, one message at a time."""
    with listening() as channel:
        queue = Queue(clients, "at-rest", deploy(channel.getsockname()[1]), BatchSize=1)
        times = []
        for number in range(count + 5):
            queue.sqs.send_message(QueueUrl=queue.url, MessageBody=repr(time.time()))
            sent, began = json.loads(channel.recv(1000))
            if number >= 5:  # The first ones start the environment and open connections.
                times.append(began - sent)
        queue.enable(False)
    return times


def idle_share(
    clients: Callable[[str], Any], function: str, pids: list[int], mappings: int, seconds: float
) -> list[float]:
    """The share of a processor that each process takes while nothing comes."""
    for number in range(mappings):
        Queue(clients, f"idle-{number}", function)
    pause = threading.Event()
    pause.wait(2)
    before = [processor_s(pid) for pid in pids]
    pause.wait(seconds)
    return [(processor_s(pid) - start) / seconds for pid, start in zip(pids, before, strict=True)]


def processor_s(pid: int) -> float:
    """What a process has used of a processor so far."""
    with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
