"""How fast streams are as event sources; rows of `bench.py`.

m   records of a Kinesis stream a second, end to end: from a mapping that is enabled to the last record's handler
n   from putting a record into a stream at rest to its handler, the producer's own request included
o   what 100 idle mappings of streams cost: the share of one processor, of the gateway and of the process with the other services
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

from bench_event_sources import listening, processor_s

TELLS = """
import base64, json, os, socket, time

channel = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
address = ("127.0.0.1", int(os.environ["PORT"]))


def handler(event, context):
    now, records = time.time(), event["Records"]
    channel.sendto(json.dumps([len(records), now, float(base64.b64decode(records[0]["kinesis"]["data"]))]).encode(), address)
"""


class Stream:
    """A stream of one shard with a mapping to a function."""

    def __init__(self, clients: Callable[[str], Any], name: str, function: str, **mapping: Any) -> None:
        self.kinesis, self.lambda_, self.name = clients("kinesis"), clients("lambda"), name
        self.kinesis.create_stream(StreamName=name, ShardCount=1)
        arn = self.kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]["StreamARN"]
        made = self.lambda_.create_event_source_mapping(
            FunctionName=function, EventSourceArn=arn, StartingPosition="TRIM_HORIZON", **mapping
        )
        self.uuid = made["UUID"]
        self.lambda_.get_event_source_mapping(UUID=self.uuid)

    def fill(self, count: int) -> None:
        """Put records, 500 at a time."""
        for start in range(0, count, 500):
            records = [
                {"Data": b"0", "PartitionKey": f"key-{number}"} for number in range(start, min(count, start + 500))
            ]
            self.kinesis.put_records(StreamName=self.name, Records=records)

    def enable(self, enabled: bool) -> None:
        """Begin or end to poll."""
        self.lambda_.update_event_source_mapping(UUID=self.uuid, Enabled=enabled)
        self.lambda_.get_event_source_mapping(UUID=self.uuid)


def records_a_second(
    clients: Callable[[str], Any], deploy: Callable[[int], str], count: int, batch_size: int, factor: int
) -> float:
    """From the moment in which a mapping is enabled to that in which the last batch is with its handler."""
    with listening() as channel:
        function = deploy(channel.getsockname()[1])
        stream = Stream(
            clients,
            f"full-{batch_size}-{factor}",
            function,
            BatchSize=batch_size,
            ParallelizationFactor=factor,
            Enabled=False,
        )
        stream.fill(count)
        left, began = count, time.perf_counter()
        stream.enable(True)
        while left > 0:
            left -= json.loads(channel.recv(1000))[0]
        took = time.perf_counter() - began
        stream.enable(False)
    return count / took


def delays(clients: Callable[[str], Any], deploy: Callable[[int], str], count: int) -> list[float]:
    """Seconds from putting to the handler, one record at a time."""
    with listening() as channel:
        stream = Stream(clients, "at-rest", deploy(channel.getsockname()[1]), BatchSize=1)
        times = []
        for number in range(count + 5):
            stream.kinesis.put_record(StreamName=stream.name, PartitionKey="a", Data=repr(time.time()))
            _, began, sent = json.loads(channel.recv(1000))
            if number >= 5:  # The first ones start the environment and open connections.
                times.append(began - sent)
        stream.enable(False)
    return times


def idle_share(
    clients: Callable[[str], Any], function: str, pids: list[int], mappings: int, seconds: float
) -> list[float]:
    """The share of a processor that each process takes while nothing comes."""
    for number in range(mappings):
        Stream(clients, f"idle-{number}", function)
    pause = threading.Event()
    pause.wait(2)
    before = [processor_s(pid) for pid in pids]
    pause.wait(seconds)
    return [(processor_s(pid) - start) / seconds for pid, start in zip(pids, before, strict=True)]
