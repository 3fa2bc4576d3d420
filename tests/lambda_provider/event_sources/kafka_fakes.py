"""A topic of Kafka on a manual clock: its log, the positions of a group, and a client that serves from them."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lambda_provider.event_sources.kafka import KafkaTopicSource
from lambda_provider.event_sources.kafka_client import NotCommitted, Start
from lambda_provider.event_sources.kafka_cluster import Cluster
from lambda_provider.event_sources.kafka_records import Partition, Record
from lambda_provider.event_sources.source import SourceProblem, Surroundings
from lambda_provider.model.event_source_mapping import EventSourceMapping, KafkaSource
from lambda_runtime.clock import ManualClock
from lambda_runtime.types import InvocationResult

from .fakes import World, mapping

SERVERS = "b-1:9092,b-2:9092"
AT_ONCE = 7
"""Records that arrive together."""


def kafka_mapping(source_arn: str | None = None, **settings: Any) -> EventSourceMapping:
    """An enabled mapping of the topic `t`; what is not set is as for a new one."""
    return mapping(
        source_arn,  # type: ignore[arg-type]
        kind="msk" if source_arn else "self-managed-kafka",
        **{
            "batch_size": 100,
            "batching_window_s": None,
            "response_types": None,
            "topics": ("t",),
            "starting_position": "TRIM_HORIZON",
            "bootstrap_servers": None if source_arn else tuple(SERVERS.split(",")),
            "self_managed_kafka": KafkaSource(consumer_group_id="g"),
            **settings,
        },
    )


@dataclass(eq=False)
class FakeTopic:
    """The topic `t` and one group."""

    clock: ManualClock
    partitions: int = 1
    logs: dict[Partition, list[Record]] = field(default_factory=dict)
    committed: dict[Partition, int] = field(default_factory=dict)
    history: list[tuple[Partition, int]] = field(default_factory=list)
    """Every position that was committed, in order."""
    written: dict[str, list[tuple[bytes | None, bytes]]] = field(default_factory=dict)
    failing_commits: int = 0
    problem: SourceProblem | None = None
    client: FakeClient | None = None

    def __post_init__(self) -> None:
        self.logs = {("t", number): [] for number in range(self.partitions)}

    def send(self, *values: str | bytes | None, partition: int = 0, key: bytes | None = None, age_s: float = 0) -> None:
        """Append records, and let them arrive if somebody reads."""
        log = self.logs["t", partition]
        for value in values:
            log.append(
                Record(
                    "t",
                    partition,
                    len(log),
                    int((self.clock.now() - age_s) * 1000),
                    key=key,
                    value=value.encode() if isinstance(value, str) else value,
                )
            )
        if self.client is not None:
            self.client.fetch()


class FakeClient:
    """KafkaClient for a FakeTopic; all partitions are its own."""

    def __init__(self, topic: FakeTopic, source: KafkaSource_) -> None:
        self.topic = topic
        self.source = source
        self.next: dict[Partition, int] = {}
        self.paused: set[Partition] = set()
        self.closed = False

    async def open(self) -> None:
        if self.topic.problem is not None:
            raise self.topic.problem
        self.topic.client = self
        self.assign(self.topic.logs)

    def assign(self, partitions: Iterable[Partition]) -> None:
        begins = {partition: self.topic.committed.get(partition, 0) for partition in partitions}
        self.next.update(begins)
        self.source.assigned(begins)
        self.fetch()

    def fetch(self) -> None:
        for partition, log in self.topic.logs.items():
            while partition not in self.paused and self.next.get(partition, len(log)) < len(log):
                begin = self.next[partition]
                self.next[partition] = min(len(log), begin + AT_ONCE)
                self.source.arrived(log[begin : self.next[partition]])

    def pause(self, partition: Partition) -> None:
        self.paused.add(partition)

    def resume(self, partition: Partition) -> None:
        self.paused.discard(partition)
        self.fetch()

    async def commit(self, positions: Mapping[Partition, int]) -> None:
        assert not self.closed
        if self.topic.failing_commits:
            self.topic.failing_commits -= 1
            raise NotCommitted("the coordinator is loading")
        for partition, position in positions.items():
            assert position > self.topic.committed.get(partition, -1), "positions only grow"
            self.topic.committed[partition] = position
            self.topic.history.append((partition, position))

    async def ends(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        return {partition: len(self.topic.logs[partition]) for partition in partitions}

    async def produce(self, topic: str, messages: Sequence[tuple[bytes | None, bytes]]) -> Exception | None:
        if topic == "missing":
            return KeyError(topic)
        self.topic.written.setdefault(topic, []).extend(messages)
        return None

    async def close(self) -> None:
        self.closed = True
        if self.topic.client is self:
            self.topic.client = None


class KafkaSource_(KafkaTopicSource):
    """A source whose client is a fake one."""

    def __init__(self, mapping: EventSourceMapping, surroundings: Surroundings, topic: FakeTopic) -> None:
        super().__init__(mapping, surroundings)
        self.topic = topic

    async def cluster(self) -> Cluster:
        return Cluster(SERVERS, {})

    async def connect(self, cluster: Cluster, group: str, topics: Sequence[str], start: Start) -> FakeClient:
        assert (group, topics) == ("g", ("t",))
        return FakeClient(self.topic, self)


class KafkaWorld(World):
    """A world with a topic. `parcels` are what was delivered to destinations outside of the cluster."""

    def __init__(self, function: Any, partitions: int = 1) -> None:
        super().__init__(function, fed=False)
        self.topic = FakeTopic(self.clock, partitions)
        self.parcels: list[tuple[str, dict[str, Any]]] = []
        self.delivery_problem: Exception | None = None

    def source(self, value: EventSourceMapping | None = None, **changes: Any) -> KafkaSource_:
        async def deliver(destination: str, parcel: Any) -> Exception | None:
            self.parcels.append((destination, json.loads(parcel.body)))
            return self.delivery_problem

        chosen = value or kafka_mapping()
        return KafkaSource_(chosen, self.surroundings(chosen, deliver=deliver, **changes), self.topic)


class Function:
    """Remembers the batches that it got, and answers as it is told; it succeeds when nothing (more) is told.

    An answer is what the function returns, an exception to be raised, or "error" for a failure of the function.
    """

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.batches: list[list[str]] = []
        self.events: list[dict[str, Any]] = []

    async def __call__(self, event: bytes, trace_header: str | None) -> InvocationResult:
        self.events.append(json.loads(event))
        self.batches.append(values_of(self.events[-1]))
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        if answer == "error":
            return InvocationResult(b"{}", "$LATEST", function_error="Unhandled", request_id="r")
        return InvocationResult(json.dumps(answer).encode(), "$LATEST", request_id="r")


def values_of(event: Mapping[str, Any]) -> list[str]:
    """The values of an event's records."""
    [records] = event["records"].values()
    return [base64.b64decode(record["value"]).decode() for record in records]
