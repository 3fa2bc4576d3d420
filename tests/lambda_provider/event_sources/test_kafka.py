"""Topics of Kafka: batches, attempts, positions and what becomes of records that fail, on a manual clock."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambda_provider.api import ResourceNotFoundException, TooManyRequestsException
from lambda_provider.event_sources import extras
from lambda_provider.event_sources.kafka import COMMIT_ATTEMPTS, LAG_EVERY_S, KafkaTopicSource
from lambda_provider.event_sources.kafka_cluster import CONNECTION_PROBLEM, Cluster
from lambda_provider.event_sources.source import FUNCTION_CALL_FAILED, OK, SourceProblem
from lambda_provider.model.event_source_mapping import Pollers
from lambda_runtime.types import InvocationResult

from .kafka_fakes import SERVERS, FakeClient, Function, KafkaSource_, KafkaWorld, kafka_mapping, values_of

PARTITION = ("t", 0)
QUEUE = "arn:aws:sqs:us-east-1:000000000000:failures"


@asynccontextmanager
async def running(world: KafkaWorld, **mapping_settings: Any) -> AsyncIterator[KafkaSource_]:
    """A source at work, which ends as it does when its mapping changes."""
    source = world.source(kafka_mapping(**mapping_settings))
    task = asyncio.get_running_loop().create_task(source.run())
    await world.rest()
    try:
        yield source
    finally:
        source.stop()
        await world.rest()
        for _ in range(50):
            if task.done():
                break
            await world.step()
        await task
        source.close()


async def test_a_batch_waits_half_a_second_unless_it_is_full() -> None:
    function = Function()
    world = KafkaWorld(function)
    async with running(world, batch_size=3):
        world.topic.send("a")
        await world.rest()
        assert function.batches == []
        world.topic.send("b")
        world.clock.advance(0.49)
        await world.rest()
        assert function.batches == []
        world.clock.advance(0.02)
        await world.rest()
        assert function.batches == [["a", "b"]]

        world.topic.send("c", "d", "e", "f")
        await world.rest()
        assert function.batches == [["a", "b"], ["c", "d", "e"]]


async def test_a_batch_is_bounded_by_the_payload() -> None:
    function = Function()
    world = KafkaWorld(function)
    source = world.source(kafka_mapping(batching_window_s=0), payload_limit_bytes=1000)
    task = asyncio.create_task(source.run())
    await world.rest()
    world.topic.send(*["x" * 90] * 7, "y" * 900, "z")
    await world.until(lambda: sum(map(len, function.batches)) == 8)
    source.stop()
    await task
    assert [len(batch) for batch in function.batches] == [3, 3, 1, 1]
    assert all(len(json.dumps(event, separators=(",", ":"))) <= 1000 for event in function.events)
    assert function.batches[-1] == ["z"]
    assert world.topic.committed == {PARTITION: 9}
    assert world.counts["DroppedEventCount"] == 1


async def test_positions_are_committed_when_a_batch_is_done_and_not_before() -> None:
    function = Function("error")
    world = KafkaWorld(function)
    async with running(world, batching_window_s=0):
        world.topic.send("a", "b")
        await world.rest()
        assert function.batches == [["a", "b"]]
        assert world.topic.committed == {}
        assert world.reports[-1] == FUNCTION_CALL_FAILED
        await world.until(lambda: world.topic.committed == {PARTITION: 2})
        assert function.batches == [["a", "b"]] * 2
        assert world.reports[-1] == OK


async def test_filtered_records_move_the_position_once_nothing_before_them_is_open() -> None:
    function = Function("error")
    world = KafkaWorld(function)
    async with running(world, batching_window_s=0, filters=('{"value":["a","b"]}',)):
        world.topic.send("x", "y")
        await world.rest()
        assert world.topic.committed == {PARTITION: 2}
        world.topic.send("a", "x", "b", "x", "x")
        await world.rest()
        assert function.batches == [["a", "b"]]
        assert world.topic.committed == {PARTITION: 2}
        await world.until(lambda: world.topic.committed == {PARTITION: 7})
        assert world.counts["FilteredOutEventCount"] == 5


async def test_a_failing_partition_holds_up_no_other() -> None:
    async def function(event: bytes, trace_header: str | None) -> InvocationResult:
        document = json.loads(event)
        seen.append((next(iter(document["records"])), values_of(document)))
        failed = "Unhandled" if "t-0" in document["records"] else None
        return InvocationResult(b"null", "1", function_error=failed)

    seen: list[tuple[str, list[str]]] = []
    world = KafkaWorld(function, partitions=2)
    async with running(world, batching_window_s=0, batch_size=2):
        world.topic.send("bad", "a", "b", partition=0)
        world.topic.send("1", "2", "3", "4", "5", partition=1)
        await world.step(1.0)
        assert [values for name, values in seen if name == "t-1"] == [["1", "2"], ["3", "4"], ["5"]]
        assert {tuple(values) for name, values in seen if name == "t-0"} == {("bad", "a")}
        assert world.topic.committed == {("t", 1): 5}


async def test_without_limits_a_batch_is_tried_until_it_works_later_and_later() -> None:
    function = Function(*["error"] * 12)
    world = KafkaWorld(function)
    began = world.clock.now()
    async with running(world, batching_window_s=0):
        world.topic.send("a")
        await world.until(lambda: world.topic.committed == {PARTITION: 1})
    assert len(function.batches) == 13
    assert world.clock.now() - began >= 1 + 2 + 4 + 8 + 16 + 32 + 6 * 60


async def test_with_a_destination_a_batch_is_tried_ten_times_more() -> None:
    function = Function(*["error"] * 100)
    world = KafkaWorld(function)
    async with running(world, batching_window_s=0, on_failure=QUEUE):
        world.topic.send("a", "b", key=b"k")
        await world.until(lambda: bool(world.parcels))
        assert len(function.batches) == 11
        [(destination, document)] = world.parcels
        assert destination == QUEUE
        assert document["requestContext"]["condition"] == "RetryAttemptsExhausted"
        assert document["requestContext"]["approximateInvokeCount"] == 11
        assert document["requestContext"]["requestId"] == "r"
        assert document["KafkaBatchInfo"]["recordsInfo"]["t-0"]["lastRecordOffset"] == "1"
        assert world.topic.committed == {PARTITION: 2}
        assert world.counts["OnFailureDestinationDeliveredEventCount"] == 2


@pytest.mark.parametrize("destination", ["", QUEUE, "kafka://missing"])
async def test_what_cannot_be_delivered_is_dropped_and_counted(destination: str) -> None:
    function = Function("error")
    world = KafkaWorld(function)
    world.delivery_problem = OSError("no such queue")
    async with running(world, batching_window_s=0, max_retry_attempts=0, on_failure=destination):
        world.topic.send("a", "b")
        await world.until(lambda: world.topic.committed == {PARTITION: 2})
        assert world.counts["DroppedEventCount"] == 2
        assert "OnFailureDestinationDeliveredEventCount" not in world.counts


async def test_a_topic_gets_each_record_with_its_key() -> None:
    function = Function("error")
    world = KafkaWorld(function)
    async with running(world, batching_window_s=0, max_retry_attempts=0, on_failure="kafka://failures"):
        world.topic.send("a", key=b"k1")
        world.topic.send("b", key=None)
        await world.until(lambda: world.topic.committed == {PARTITION: 2})
    messages = world.topic.written["failures"]
    assert [key for key, _ in messages] == [b"k1", None]
    documents = [json.loads(value) for _, value in messages]
    assert [values_of(document["payload"]) for document in documents] == [["a"], ["b"]]
    assert {document["requestContext"]["condition"] for document in documents} == {"RetriesExhausted"}
    assert documents[0]["requestContext"]["functionArn"].endswith(":$LATEST")
    assert documents[0]["payload"]["bootstrapServers"] == SERVERS


async def test_halves_of_a_batch_are_tried_in_order_without_using_up_attempts() -> None:
    async def function(event: bytes, trace_header: str | None) -> InvocationResult:
        batches.append(values_of(json.loads(event)))
        return InvocationResult(b"null", "1", function_error="Unhandled" if "bad" in batches[-1] else None)

    batches: list[list[str]] = []
    world = KafkaWorld(function)
    async with running(world, batching_window_s=0, bisect_on_error=True, max_retry_attempts=1):
        world.topic.send("a", "b", "bad", "c")
        await world.until(lambda: world.topic.committed == {PARTITION: 4})
    assert batches == [["a", "b", "bad", "c"], ["a", "b"], ["bad", "c"], ["bad"], ["bad"], ["c"]]
    assert world.topic.history[0] == (PARTITION, 2), "a half that is done is not tried again"


async def test_only_reported_records_are_tried_again() -> None:
    function = Function(
        {"batchItemFailures": [{"itemIdentifier": {"partition": "t-0", "offset": offset}} for offset in (1, 3)]},
        {"batchItemFailures": [{"itemIdentifier": {"partition": "t-0", "offset": 3}}]},
    )
    world = KafkaWorld(function)
    async with running(world, batching_window_s=0, response_types=("ReportBatchItemFailures",)):
        world.topic.send("a", "b", "c", "d")
        await world.until(lambda: world.topic.committed == {PARTITION: 4})
    assert function.batches == [["a", "b", "c", "d"], ["b", "d"], ["d"]]
    assert [position for _, position in world.topic.history] == [1, 3, 4]


@pytest.mark.parametrize(
    "identifier",
    ["t-0", None, {}, {"partition": "t-0"}, {"partition": "t-1", "offset": 0}, {"partition": "t-0", "offset": 9}],
)
async def test_a_report_of_nonsense_fails_the_batch(identifier: Any) -> None:
    function = Function({"batchItemFailures": [{"itemIdentifier": identifier}]})
    world = KafkaWorld(function)
    async with running(world, batching_window_s=0, response_types=("ReportBatchItemFailures",)):
        world.topic.send("a", "b")
        await world.until(lambda: world.topic.committed == {PARTITION: 2})
    assert function.batches == [["a", "b"]] * 2


async def test_throttles_and_functions_that_cannot_run_use_up_no_attempt() -> None:
    function = Function(*[TooManyRequestsException("Rate Exceeded.")] * 20, ResourceNotFoundException("gone"))
    world = KafkaWorld(function)
    async with running(world, batching_window_s=0, max_retry_attempts=0):
        world.topic.send("a")
        await world.until(lambda: world.topic.committed == {PARTITION: 1})
    assert len(function.batches) == 22
    assert "DroppedEventCount" not in world.counts
    assert world.counts["InvokeErrorCount"] == 21


async def test_records_that_are_too_old_are_given_up() -> None:
    function = Function("error", "error")
    world = KafkaWorld(function)
    async with running(world, batching_window_s=0, max_record_age_s=60, on_failure=QUEUE):
        world.topic.send("old", age_s=61)
        world.topic.send("young", age_s=58)
        await world.until(lambda: world.topic.committed == {PARTITION: 2})
    assert function.batches == [["young"]] * 2
    conditions = [(document["requestContext"], document.get("responseContext")) for _, document in world.parcels]
    assert [context["condition"] for context, _ in conditions] == ["RecordAgeExceeded"] * 2
    assert [response for _, response in conditions] == [None, None]


async def test_pollers_bound_what_is_with_the_function_at_once() -> None:
    async def function(event: bytes, trace_header: str | None) -> InvocationResult:
        nonlocal most, now
        now += 1
        most = max(most, now)
        await world.clock.sleep_until(world.clock.now() + 5)
        now -= 1
        return InvocationResult(b"null", "1")

    most = now = 0
    world = KafkaWorld(function, partitions=6)
    async with running(world, batching_window_s=0, pollers=Pollers(minimum=1, maximum=2)):
        for partition in range(6):
            world.topic.send("a", partition=partition)
        await world.until(lambda: len(world.topic.committed) == 6)
    assert most == 2


async def test_nothing_more_is_fetched_while_a_partition_has_much() -> None:
    blocked = asyncio.Event()

    async def function(event: bytes, trace_header: str | None) -> InvocationResult:
        await blocked.wait()
        return InvocationResult(b"null", "1")

    world = KafkaWorld(function)
    async with running(world, batching_window_s=0, batch_size=10):
        world.topic.send(*(str(number) for number in range(3000)))
        await world.rest()
        client = world.topic.client
        assert isinstance(client, FakeClient)
        assert client.paused == {PARTITION}
        assert client.next[PARTITION] < 1100
        blocked.set()
        await world.until(lambda: world.topic.committed == {PARTITION: 3000})
        assert not client.paused


async def test_a_stop_leaves_what_waits_for_another_attempt() -> None:
    function = Function(*["error"] * 3)
    world = KafkaWorld(function)
    async with running(world, batching_window_s=0):
        world.topic.send("a")
        await world.rest()
    assert function.batches == [["a"]]
    assert world.topic.committed == {}
    async with running(world, batching_window_s=0):
        await world.until(lambda: world.topic.committed == {PARTITION: 1})


async def test_a_stop_waits_for_the_function_and_commits() -> None:
    async def function(event: bytes, trace_header: str | None) -> InvocationResult:
        await world.clock.sleep_until(world.clock.now() + 20)
        return InvocationResult(b"null", "1")

    world = KafkaWorld(function)
    async with running(world, batching_window_s=0):
        world.topic.send("a")
        await world.rest()
    assert world.topic.committed == {PARTITION: 1}


async def test_a_partition_that_goes_away_is_let_go_of_with_its_position() -> None:
    async def function(event: bytes, trace_header: str | None) -> InvocationResult:
        await world.clock.sleep_until(world.clock.now() + 5)
        return InvocationResult(b"null", "1")

    world = KafkaWorld(function, partitions=2)
    async with running(world, batching_window_s=0) as source:
        world.topic.send("a", partition=0)
        await world.rest()
        going = asyncio.create_task(source.revoked([("t", 0)]))
        await world.rest()
        assert not going.done()
        await world.until(going.done)
        assert world.topic.committed == {("t", 0): 1}
        world.topic.send("b", partition=0)
        world.topic.send("c", partition=1)
        await world.until(lambda: ("t", 1) in world.topic.committed)
        assert world.topic.committed[("t", 0)] == 1


async def test_a_commit_that_fails_is_tried_again() -> None:
    world = KafkaWorld(Function())
    world.topic.failing_commits = COMMIT_ATTEMPTS - 1
    async with running(world, batching_window_s=0):
        world.topic.send("a")
        await world.until(lambda: world.topic.committed == {PARTITION: 1})
        assert world.counts["CommitErrorCount"] == COMMIT_ATTEMPTS - 1


async def test_lag_is_told_once_a_minute() -> None:
    world = KafkaWorld(Function(*["error"] * 50), partitions=2)
    async with running(world, batching_window_s=0, batch_size=1):
        world.topic.send("a", "b", "c")
        world.clock.advance(LAG_EVERY_S)
        await world.rest()
        assert world.counts["OffsetLag"] == 3
        assert world.counts["MaxOffsetLag"] == 3
        assert world.counts["SumOffsetLag"] == 3


async def test_a_trouble_is_told_once_and_forgotten_when_records_come() -> None:
    world = KafkaWorld(Function())
    problem = SourceProblem("down", result=CONNECTION_PROBLEM)
    async with running(world, batching_window_s=0) as source:
        source.troubled(problem)
        source.troubled(problem)
        assert world.reports == [OK, CONNECTION_PROBLEM]
        assert world.counts["PollingErrorCount"] == 2
        world.topic.send("a")
        await world.until(lambda: world.reports[-1] == OK)


async def test_a_cluster_that_cannot_be_used_is_a_problem_of_the_source() -> None:
    world = KafkaWorld(Function())
    world.topic.problem = SourceProblem("refused", result=CONNECTION_PROBLEM)
    with pytest.raises(SourceProblem, match="refused"):
        await world.source().run()


async def test_a_cluster_that_is_not_found_counts_as_an_error_of_polling() -> None:
    class Lost(KafkaSource_):
        async def cluster(self) -> Cluster:
            raise SourceProblem("no secret")

    world = KafkaWorld(Function())
    with pytest.raises(SourceProblem, match="no secret"):
        await Lost(kafka_mapping(), world.surroundings(), world.topic).run()
    assert world.counts == {"PollingErrorCount": 1}


async def test_a_client_that_ends_ends_the_source() -> None:
    world = KafkaWorld(Function())
    source = world.source()
    task = asyncio.create_task(source.run())
    await world.rest()
    source.failed(SourceProblem("the topic is gone"))
    with pytest.raises(SourceProblem, match="the topic is gone"):
        await task


async def test_without_the_library_it_is_said_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Source(KafkaTopicSource):
        async def cluster(self) -> Cluster:
            return Cluster(SERVERS, {})

    def missing(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(extras, "import_module", missing)
    with pytest.raises(SourceProblem) as caught:
        await Source(kafka_mapping(), KafkaWorld(Function()).surroundings()).run()
    assert "pip install 'lambda-provider[kafka]'" in caught.value.reason


OUTCOMES = st.sampled_from(["ok", "ok", "error", "throttle", "partial", "nonsense"])


@given(
    st.lists(OUTCOMES, max_size=15),
    st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=1, max_size=40),
    st.integers(1, 8),
    st.booleans(),
    st.lists(st.integers(1, 8), max_size=3),
    st.integers(0, 2),
)
@settings(max_examples=60, deadline=None)
def test_no_record_is_lost_or_committed_before_it_is_done(
    outcomes: list[str],
    records: list[tuple[int, bool]],
    size: int,
    bisect: bool,
    stops: list[int],
    failing_commits: int,
) -> None:
    """Across failures, halves, partial responses and restarts; records of a partition succeed in their order but for those
    that a partial response reports."""
    done: set[str] = set()
    in_flight: set[str] = set()

    async def function(event: bytes, trace_header: str | None) -> InvocationResult:
        outcome = outcomes.pop(0) if outcomes else "ok"
        if outcome == "throttle":
            raise TooManyRequestsException("Rate Exceeded.")
        document = json.loads(event)
        [(name, members)] = document["records"].items()
        assert name not in in_flight, "two batches of a partition at once"
        assert [each["offset"] for each in members] == sorted({each["offset"] for each in members})
        assert len(members) <= size
        in_flight.add(name)
        await asyncio.sleep(0)
        in_flight.discard(name)
        values = values_of(document)
        if outcome == "error":
            return InvocationResult(b"{}", "1", function_error="Unhandled")
        if outcome == "nonsense":
            return InvocationResult(b'{"batchItemFailures":[{"itemIdentifier":7}]}', "1")
        failed = members[::2] if outcome == "partial" else []
        done.update(value for value, each in zip(values, members, strict=True) if each not in failed)
        items = [{"itemIdentifier": {"partition": name, "offset": each["offset"]}} for each in failed]
        return InvocationResult(json.dumps({"batchItemFailures": items}).encode(), "1")

    async def scenario() -> None:
        world = KafkaWorld(function, partitions=3)
        world.topic.failing_commits = failing_commits
        wanted: dict[tuple[str, int], list[str | None]] = {("t", number): [] for number in range(3)}
        for number, (partition, kept) in enumerate(records):
            value = f"{number}" if kept else f"filtered {number}"
            world.topic.send(value, partition=partition)
            wanted["t", partition].append(value if kept else None)

        def check() -> None:
            for partition, position in world.topic.committed.items():
                before = {value for value in wanted[partition][:position] if value is not None}
                assert before <= done, "committed before it was done"

        options: dict[str, Any] = {
            "batch_size": size,
            "batching_window_s": 0,
            "bisect_on_error": bisect,
            "response_types": ("ReportBatchItemFailures",),
            "filters": ('{"value":[{"anything-but":{"prefix":"filtered"}}]}',),
        }
        for steps in stops:
            async with running(world, **options):
                for _ in range(steps):
                    await world.step(1.0)
                    check()
        ends = {partition: len(log) for partition, log in world.topic.logs.items() if log}
        async with running(world, **options):
            await world.until(lambda: world.topic.committed == ends)
        check()
        assert done == {str(number) for number, (_, kept) in enumerate(records) if kept}

    asyncio.run(scenario())
