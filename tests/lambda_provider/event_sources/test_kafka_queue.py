"""Topics as queues: what is acknowledged, what is released, and who works beside whom, on a manual clock."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from lambda_provider.api import TooManyRequestsException
from lambda_provider.event_sources.kafka_cluster import Cluster
from lambda_provider.event_sources.kafka_queue import POLLERS, MakeMember
from lambda_provider.event_sources.kafka_records import Record
from lambda_provider.event_sources.kafka_share import ShareClient
from lambda_provider.event_sources.source import FUNCTION_CALL_FAILED, OK, SourceProblem
from lambda_provider.model.event_source_mapping import EventSourceMapping, KafkaSource, Pollers
from lambda_runtime.types import InvocationResult

from .kafka_fakes import Function, KafkaSource_, KafkaWorld, kafka_mapping, values_of

QUEUE = "arn:aws:sqs:us-east-1:000000000000:failures"
DELIVERIES = 5
"""`group.share.delivery.count.limit` of a group that does not say otherwise."""


class FakeGroup:
    """A share group of the topic `t`: gives records to its members, until they are done or were given too often."""

    def __init__(self) -> None:
        self.available: asyncio.Queue[list[Record]] = asyncio.Queue()
        self.done: list[str] = []
        self.archived: list[str] = []
        self.deliveries: dict[int, int] = {}
        """Offset -> how often the record was given; partitions do not share offsets here."""
        self.members: list[FakeMember] = []
        self.problem: SourceProblem | None = None
        self.refusal: Exception | None = None

    def send(self, *values: str, partition: int = 0) -> None:
        """Records of one lot, which a member takes together."""
        first = len(self.deliveries)
        lot = [Record("t", partition, first + number, 0, value=value.encode()) for number, value in enumerate(values)]
        self.offer(lot)

    def offer(self, lot: list[Record]) -> None:
        self.deliveries |= {record.offset: 0 for record in lot}
        self.available.put_nowait(lot)

    def release(self, records: Sequence[Record]) -> None:
        self.archived += [text_of(each) for each in records if self.deliveries[each.offset] >= DELIVERIES]
        if again := [each for each in records if self.deliveries[each.offset] < DELIVERIES]:
            self.available.put_nowait(again)


class FakeMember:
    """Takes a lot, has it processed, and takes the next one."""

    def __init__(self, group: FakeGroup, receiver: Any) -> None:
        self.group = group
        self.receiver = receiver
        self.task: asyncio.Task[None] | None = None
        self.stopping = False

    async def open(self) -> None:
        if self.group.problem is not None:
            raise self.group.problem
        self.group.members.append(self)
        self.task = asyncio.create_task(self.work())

    async def work(self) -> None:
        while not self.stopping:
            lot = await self.group.available.get()
            for record in lot:
                self.group.deliveries[record.offset] += 1
            done = await self.receiver.process(lot)
            processed = [each for each in lot if (each.topic, each.partition, each.offset) in done]
            self.group.done += [text_of(each) for each in processed]
            self.group.release([each for each in lot if each not in processed])
            self.receiver.acknowledged(len(processed), len(lot) - len(processed), self.group.refusal)

    def stop(self) -> None:
        self.stopping = True

    async def close(self) -> None:
        if self.task is not None:
            await asyncio.sleep(0)  # What was processed is acknowledged.
            self.task.cancel()


class QueueSource(KafkaSource_):
    """A source whose group is a fake one."""

    group: FakeGroup

    async def members(self) -> MakeMember:
        return lambda receiver: FakeMember(self.group, receiver)


class QueueWorld(KafkaWorld):
    """A world with a share group."""

    def __init__(self, function: Any) -> None:
        super().__init__(function)
        self.group = FakeGroup()

    def source(self, value: EventSourceMapping | None = None, **changes: Any) -> QueueSource:
        chosen = value or queue_mapping()
        made = QueueSource(chosen, self.surroundings(chosen, **changes), self.topic)
        made.group = self.group
        return made


def text_of(record: Record) -> str:
    return (record.value or b"").decode()


def queue_mapping(**settings: Any) -> EventSourceMapping:
    share = KafkaSource(consumer_group_id="g", consumption_mode="Queue")
    return kafka_mapping(
        **{"self_managed_kafka": share, "max_retry_attempts": 0, "starting_position": None, **settings}
    )


@asynccontextmanager
async def running(world: QueueWorld, **settings: Any) -> AsyncIterator[QueueSource]:
    async with world.running(world.source(queue_mapping(**settings))) as source:
        yield source


async def test_what_is_processed_is_acknowledged() -> None:
    function = Function()
    world = QueueWorld(function)
    async with running(world, batch_size=2):
        world.group.send("a", "b", "c")
        await world.rest()
        assert sorted(function.batches) == [["a", "b"], ["c"]]
        assert world.group.done == ["a", "b", "c"]
        assert world.reports == [OK, OK, OK]
    assert world.counts == {"PolledEventCount": 3, "InvokedEventCount": 3}


async def test_a_batch_has_records_of_one_partition() -> None:
    function = Function()
    world = QueueWorld(function)
    async with running(world):
        lot = [Record("t", number % 2, number, 0, value=str(number).encode()) for number in range(4)]
        world.group.offer(lot)
        await world.rest()
    assert sorted(values_of(event) for event in function.events) == [["0", "2"], ["1", "3"]]
    assert {name for event in function.events for name in event["records"]} == {"t-0", "t-1"}


async def test_what_fails_is_released_and_given_again_as_often_as_the_group_says() -> None:
    function = Function(*["error"] * DELIVERIES)
    world = QueueWorld(function)
    async with running(world):
        world.group.send("a")
        await world.until(lambda: world.group.archived == ["a"])
        assert world.reports[-1] == FUNCTION_CALL_FAILED
        world.group.send("b")
        await world.until(lambda: world.group.done == ["b"])
    assert function.batches == [["a"]] * DELIVERIES + [["b"]]
    assert "DroppedEventCount" not in world.counts


async def test_what_fails_is_tried_again_first_if_the_mapping_says_so() -> None:
    function = Function("error", "error")
    world = QueueWorld(function)
    async with running(world, max_retry_attempts=2):
        world.group.send("a")
        await world.until(lambda: world.group.done == ["a"])
        assert max(world.group.deliveries.values()) == 1
    assert function.batches == [["a"]] * 3


async def test_with_a_destination_what_fails_goes_there_and_does_not_come_again() -> None:
    world = QueueWorld(Function("error"))
    async with running(world, on_failure="kafka://failures"):
        world.group.send("a")
        await world.until(lambda: world.group.done == ["a"])
    [(_, document)] = world.topic.written["failures"]
    assert json.loads(document)["requestContext"]["condition"] == "RetriesExhausted"


async def test_only_reported_records_are_released() -> None:
    report = {"batchItemFailures": [{"itemIdentifier": {"partition": "t-0", "offset": 1}}]}
    function = Function(report)
    world = QueueWorld(function)
    async with running(world, response_types=("ReportBatchItemFailures",)):
        world.group.send("a", "b", "c")
        await world.until(lambda: len(world.group.done) == 3)
    assert function.batches == [["a", "b", "c"], ["b"]]
    assert world.group.done == ["a", "c", "b"]


async def test_what_filters_leave_out_is_done() -> None:
    function = Function()
    world = QueueWorld(function)
    async with running(world, filters=('{"value":["a"]}',)):
        world.group.send("a", "x")
        await world.rest()
    assert function.batches == [["a"]]
    assert sorted(world.group.done) == ["a", "x"]
    assert world.counts["FilteredOutEventCount"] == 1


async def test_a_slow_batch_holds_up_no_other_member() -> None:
    async def function(event: bytes, trace_header: str | None) -> InvocationResult:
        [value] = values_of(json.loads(event))
        if value.startswith("slow"):
            await release.wait()
        return InvocationResult(b"null", "1")

    release = asyncio.Event()
    world = QueueWorld(function)
    async with running(world):
        world.group.send("slow")
        await world.rest()
        world.group.send("quick")
        await world.rest()
        assert world.group.done == ["quick"]
        assert len(world.group.members) == 3, "one more than there is work for"
        for number in range(2 * POLLERS):
            world.group.send(f"slow {number}")
        await world.rest()
        assert len(world.group.members) == POLLERS
        release.set()
        await world.until(lambda: len(world.group.done) == 2 + 2 * POLLERS)


async def test_provisioned_pollers_are_members_from_the_start_and_bound_the_batches() -> None:
    async def function(event: bytes, trace_header: str | None) -> InvocationResult:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        now -= 1
        return InvocationResult(b"null", "1")

    now = most = 0
    world = QueueWorld(function)
    async with running(world, batch_size=1, pollers=Pollers(minimum=2, maximum=3)):
        assert len(world.group.members) == 2
        world.group.send(*map(str, range(10)))
        await world.until(lambda: len(world.group.done) == 10)
    assert most == 3


async def test_throttles_use_up_no_attempt() -> None:
    function = Function(*[TooManyRequestsException("Rate Exceeded.")] * 10)
    world = QueueWorld(function)
    async with running(world):
        world.group.send("a")
        await world.until(lambda: world.group.done == ["a"])
    assert max(world.group.deliveries.values()) == 1


async def test_an_end_waits_for_the_function_and_releases_what_waits_for_another_attempt() -> None:
    async def function(event: bytes, trace_header: str | None) -> InvocationResult:
        if values_of(json.loads(event)) == ["fails"]:
            return InvocationResult(b"{}", "1", function_error="Unhandled")
        began.set()
        await release.wait()
        return InvocationResult(b"null", "1")

    began, release = asyncio.Event(), asyncio.Event()
    world = QueueWorld(function)
    source = world.source(queue_mapping(max_retry_attempts=9, batch_size=1))
    run = asyncio.create_task(source.run())
    await world.rest()
    world.group.send("slow", "fails")
    await asyncio.wait_for(began.wait(), 30)
    await world.rest()
    source.stop()
    await world.rest()
    assert not run.done()
    release.set()
    await asyncio.wait_for(run, 30)
    source.close()
    assert world.group.done == ["slow"]
    assert [text_of(each) for each in world.group.available.get_nowait()] == ["fails"]


async def test_what_the_cluster_refuses_to_acknowledge_is_told() -> None:
    world = QueueWorld(Function())
    world.group.refusal = RuntimeError("the lock is over")
    async with running(world):
        world.group.send("a")
        await world.rest()
    assert world.counts["CommitErrorCount"] == 1


async def test_a_group_that_cannot_be_joined_is_a_problem_of_the_source() -> None:
    world = QueueWorld(Function())
    world.group.problem = SourceProblem("refused")
    with pytest.raises(SourceProblem, match="refused"):
        await world.source().run()


async def test_a_client_without_share_groups_says_what_to_install() -> None:
    with pytest.raises(SourceProblem, match=r"confluent-kafka 2\.16"):
        ShareClient(SimpleNamespace(), Cluster("b:1", {}), "g", ("t",), 100, object())  # type: ignore[arg-type]


class ShareConsumer:
    """A consumer of the library that ends as one does with a cluster that has no share groups."""

    def __init__(self, settings: dict[str, Any], logger: Any) -> None:
        assert settings["group.id"] == "g"
        assert settings["share.acknowledgement.mode"] == "explicit"

    def subscribe(self, topics: list[str]) -> None:
        assert topics == ["t"]

    def poll(self, timeout: float) -> list[Any]:
        raise KafkaException(
            SimpleNamespace(name=lambda: "UNSUPPORTED_VERSION", str=lambda: "Broker: API version not supported")
        )

    def close(self) -> None:
        pass


class KafkaException(Exception):
    """The library's."""


class Producer:
    """Sees the topics."""

    def __init__(self, settings: dict[str, Any], logger: Any) -> None:
        pass

    def list_topics(self, topic: str, timeout: float) -> Any:
        return SimpleNamespace(topics={topic: SimpleNamespace(error=None)})


async def test_a_cluster_without_share_groups_is_a_problem_of_the_source() -> None:
    class Receiver:
        def failed(self, error: Exception) -> None:
            told.set_result(error)

    told: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
    library = SimpleNamespace(ShareConsumer=ShareConsumer, Producer=Producer, KafkaException=KafkaException)
    client = ShareClient(library, Cluster("b:1", {}), "g", ("t",), 100, Receiver())  # type: ignore[arg-type]
    await client.open()
    problem = await asyncio.wait_for(told, 30)
    assert isinstance(problem, SourceProblem)
    assert "Kafka 4.2" in problem.reason
    await client.close()
