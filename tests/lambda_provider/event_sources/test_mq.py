"""Brokers as sources: batches, windows, failures, throttles, and what happens when a connection or the function goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lambda_provider.api import ResourceNotFoundException, TooManyRequestsException
from lambda_provider.event_sources import mq
from lambda_provider.event_sources.mq import MqSource
from lambda_provider.event_sources.source import FUNCTION_CALL_FAILED, FUNCTION_NOT_VALID, OK, SourceProblem
from lambda_runtime.types import InvocationResult

from .fakes import World
from .mq_fakes import FakeQueue, bodies, mq_mapping, use

SUCCESS = InvocationResult(b"null", "1")
FAILURE = InvocationResult(b"{}", "1", function_error="Unhandled")


class Function:
    """Remembers the batches; answers with what is in `answers`, else with success, when `gate` is open."""

    def __init__(self, *answers: InvocationResult | Exception) -> None:
        self.answers = list(answers)
        self.batches: list[list[tuple[str, bool]]] = []
        self.gate: asyncio.Event | None = None
        self.running = self.most = 0

    @property
    def bodies(self) -> list[list[str]]:
        return [[body for body, _ in batch] for batch in self.batches]

    async def __call__(self, event: bytes, trace_header: str | None) -> InvocationResult:
        answer = self.answers.pop(0) if self.answers else SUCCESS
        if isinstance(answer, Exception):
            raise answer
        self.batches.append(bodies(event))
        self.running += 1
        self.most = max(self.most, self.running)
        if self.gate is not None:
            await self.gate.wait()
        self.running -= 1
        return answer


@asynccontextmanager
async def consumed(world: World, *, limit: int | None = None, **changes: Any) -> AsyncIterator[MqSource]:
    surroundings = world.surroundings()
    if limit is not None:
        surroundings = replace(surroundings, payload_limit_bytes=limit)
    async with world.running(MqSource(mq_mapping(**changes), surroundings)) as source:
        yield source


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> FakeQueue:
    made = FakeQueue()
    use(made, monkeypatch)
    return made


async def test_a_mapping_without_a_window_gathers_for_half_a_second(queue: FakeQueue) -> None:
    function = Function()
    world = World(function)
    async with consumed(world):
        queue.send("a")
        await world.rest()
        world.clock.advance(0.4)
        queue.send("b")
        await world.rest()
        assert function.batches == []
        world.clock.advance(0.1)
        await world.rest()
        assert function.batches == [[("a", False), ("b", False)]]
    assert queue.acknowledged == ["a", "b"]
    assert world.reports == [OK, OK]
    assert world.counts == {"PolledEventCount": 2, "InvokedEventCount": 2}


async def test_a_full_batch_does_not_wait_and_the_next_one_waits_for_it(queue: FakeQueue) -> None:
    function = Function()
    function.gate = asyncio.Event()
    world = World(function)
    async with consumed(world, batch_size=2, batching_window_s=300):
        queue.send("a", "b", "c", "d")
        await world.rest()
        assert function.bodies == [["a", "b"]], "one batch of RabbitMQ is with the function"
        assert queue.acknowledged == []
        function.gate.set()
        await world.rest()
        assert function.bodies == [["a", "b"], ["c", "d"]]


async def test_a_batch_ends_with_what_fits_into_an_event(queue: FakeQueue) -> None:
    function = Function()
    world = World(function)
    async with consumed(world, limit=800, batching_window_s=0):
        queue.send("a" * 300, "b" * 300, "c" * 1000, "d")
        await world.rest()
    assert [len(batch) for batch in function.batches] == [1, 2]
    assert queue.rejected == ["c" * 1000]
    assert world.counts["DroppedEventCount"] == 1


async def test_a_batch_that_failed_is_the_queue_s_again_longer_after_each_failure(queue: FakeQueue) -> None:
    function = Function(FAILURE, FAILURE)
    world = World(function)
    async with consumed(world, batching_window_s=0):
        queue.send("a", "b")
        await world.rest()
        assert [body for body, _ in queue.waiting] == ["a", "b"], "others may have them, and they may expire"
        assert world.reports == [OK, FUNCTION_CALL_FAILED]
        world.clock.advance(1)
        await world.rest()
        assert [body for body, _ in queue.waiting] == ["a", "b"]
        world.clock.advance(1)
        await world.rest()
        assert len(function.batches) == 2, "after a second failure it takes two seconds"
        world.clock.advance(1)
        await world.rest()
    assert function.batches == [[("a", False), ("b", False)], *[[("a", True), ("b", True)]] * 2]
    assert queue.acknowledged == ["a", "b"]
    assert world.reports[-1] == OK
    assert world.counts["FailedInvokeEventCount"] == 4


async def test_five_batches_of_activemq_are_with_the_function(queue: FakeQueue) -> None:
    queue.redeliveries, queue.at_once = 6, 5
    function = Function()
    function.gate = asyncio.Event()
    world = World(function)
    async with consumed(world, batch_size=1, batching_window_s=0):
        queue.send(*"abcdefg")
        await world.rest()
        assert function.bodies == [[each] for each in "abcde"]
        function.gate.set()
    assert function.most == 5


async def test_activemq_s_messages_are_given_again_after_a_second_six_times(queue: FakeQueue) -> None:
    queue.redeliveries, queue.at_once = 6, 5
    function = Function(*[FAILURE] * 7)
    world = World(function)
    async with consumed(world, batching_window_s=0):
        queue.send("a")
        await world.rest()
        for attempt in range(1, 7):
            world.clock.advance(0.9)
            await world.rest()
            assert len(function.batches) == attempt
            world.clock.advance(0.1)
            await world.rest()
    assert function.batches == [[("a", False)]] + [[("a", True)]] * 6
    assert (queue.rejected, queue.acknowledged) == (["a"], [])


async def test_a_throttled_batch_stays_ours_and_is_given_when_there_is_room(queue: FakeQueue) -> None:
    function = Function(*[TooManyRequestsException("Rate Exceeded.")] * 5)
    world = World(function)
    async with consumed(world, batching_window_s=0):
        queue.send("a")
        await world.until(lambda: bool(function.batches))
        assert queue.acknowledged == ["a"]
    assert function.batches == [[("a", False)]]
    assert FUNCTION_CALL_FAILED not in world.reports


async def test_after_ten_minutes_of_throttles_the_queue_has_its_messages_again(queue: FakeQueue) -> None:
    function = Function(*[TooManyRequestsException("Rate Exceeded.")] * 1000)
    world = World(function)
    began = world.clock.now()
    async with consumed(world, batching_window_s=0):
        queue.send("a")
        await world.until(lambda: bool(queue.waiting))
        assert mq.HELD_S - 20 < world.clock.now() - began <= mq.HELD_S
        function.answers.clear()


async def test_a_function_that_cannot_run_is_the_mapping_s_problem(queue: FakeQueue) -> None:
    world = World(Function(ResourceNotFoundException("Function not found")))
    source = MqSource(mq_mapping(batching_window_s=0), world.surroundings())
    run = asyncio.ensure_future(source.run())
    await world.rest()
    queue.send("a")
    await world.rest()
    with pytest.raises(SourceProblem) as raised:
        await run
    assert (raised.value.reason, raised.value.result) == (FUNCTION_NOT_VALID, FUNCTION_CALL_FAILED)
    assert [body for body, _ in queue.waiting] == ["a"]


async def test_what_is_with_the_function_ends_before_a_lost_connection_is_told(queue: FakeQueue) -> None:
    function = Function()
    function.gate = asyncio.Event()
    world = World(function)
    source = MqSource(mq_mapping(batching_window_s=0), world.surroundings())
    run = asyncio.ensure_future(source.run())
    await world.rest()
    queue.send("a")
    await world.rest()
    queue.lose_connections()
    await world.rest()
    assert not run.done()
    function.gate.set()
    with pytest.raises(SourceProblem, match="the connection is gone"):
        await run


async def test_messages_that_no_filter_wants_are_acknowledged(queue: FakeQueue) -> None:
    function = Function()
    world = World(function)
    async with consumed(world, batching_window_s=0, filters=('{"data": {"a": [1]}}', '{"data": ["text"]}')):
        queue.send('{"a": 1}', '{"a": 2}', "text", "[1]", "{broken", '"text"')
        await world.rest()
    assert [body for batch in function.bodies for body in batch] == ['{"a": 1}', "text"]
    assert sorted(queue.acknowledged) == sorted(['{"a": 1}', '{"a": 2}', "text", "[1]", "{broken", '"text"'])
    assert world.counts["FilteredOutEventCount"] == 4


async def test_a_mapping_that_stops_leaves_what_it_gathered_to_the_queue(queue: FakeQueue) -> None:
    function = Function()
    world = World(function)
    async with consumed(world, batching_window_s=300):
        queue.send("a", "b")
        await world.rest()
        assert queue.waiting == []
    assert queue.everything() == ["a", "b"]
    assert function.batches == []


OUTCOMES = st.sampled_from(["ok", "ok", "error", "throttle", "gone", "slow", "lost"])


@given(
    outcomes=st.lists(OUTCOMES, max_size=15),
    count=st.integers(1, 25),
    size=st.integers(1, 7),
    window_s=st.sampled_from([None, 0, 5]),
    activemq=st.booleans(),
    prefetch=st.integers(7, 20),
    limit=st.sampled_from([6 * 1024 * 1024, 250]),
    stops=st.lists(st.integers(0, 5), max_size=3),
    cancels=st.booleans(),
)
@example(
    # A connection that is lost while a batch of another one is with the function: nothing comes by it any more.
    outcomes=["ok", "ok", "slow", "lost"],
    count=8,
    size=3,
    window_s=None,
    activemq=True,
    prefetch=7,
    limit=6 * 1024 * 1024,
    stops=[1],
    cancels=False,
)
@settings(deadline=None)
def test_no_message_is_lost_or_processed_out_of_order(activemq: bool, **history: Any) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        asyncio.run(live(monkeypatch, activemq, **history))


async def live(monkeypatch: pytest.MonkeyPatch, activemq: bool, **history: Any) -> None:
    queue = FakeQueue(redeliveries=6 if activemq else None, at_once=5 if activemq else 1, prefetch=history["prefetch"])
    use(queue, monkeypatch)
    outcomes, done = list(history["outcomes"]), []

    async def function(event: bytes, trace_header: str | None) -> InvocationResult:
        outcome = outcomes.pop(0) if outcomes else "ok"
        if outcome == "throttle":
            raise TooManyRequestsException("Rate Exceeded.")
        if outcome == "gone":
            raise ResourceNotFoundException("Function not found")
        if outcome == "slow":
            await world.clock.sleep_until(world.clock.now() + 20)
        if outcome == "lost":
            queue.lose_connections()
        if outcome == "error":
            return FAILURE
        done.extend(body for body, _ in bodies(event))
        return SUCCESS

    world = World(function)
    surroundings = replace(world.surroundings(), payload_limit_bytes=history["limit"])
    asked = mq_mapping(batch_size=history["size"], batching_window_s=history["window_s"])
    sent = [f"{number}" for number in range(history["count"])]
    queue.send(*sent[: len(sent) // 2])
    runs: list[asyncio.Future[None]] = []

    def begin() -> MqSource:
        source = MqSource(asked, surroundings)
        runs.append(asyncio.ensure_future(source.run()))
        return source

    async def end(source: MqSource) -> None:
        source.stop()
        for _ in range(1000):
            if runs[-1].done():
                return
            await world.step()
        raise AssertionError("it does not stop")

    source = begin()
    for steps in history["stops"]:
        for _ in range(steps):
            await world.step()
        if history["cancels"]:
            runs[-1].cancel()
        await end(source)
        source = begin()
    queue.send(*sent[len(sent) // 2 :])
    for _ in range(2000):
        if not queue.everything():
            break
        if runs[-1].done():
            source = begin()
        await world.step()
    await end(source)
    assert queue.everything() == []
    for run in runs:
        assert run.cancelled() or run.exception() is None or isinstance(run.exception(), SourceProblem)
    assert set(done) | set(queue.rejected) == set(sent), "a message was lost"
    assert set(queue.acknowledged) <= set(done), "a message was acknowledged that nobody processed"
    if not activemq:
        assert list(dict.fromkeys(done)) == sent, "messages lost their order"
