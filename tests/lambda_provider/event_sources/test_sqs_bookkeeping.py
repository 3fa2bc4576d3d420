"""Whatever happens to batches, no message is lost, none comes again once it is done, and a group keeps its order."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lambda_provider.api import ResourceNotFoundException, TooManyRequestsException
from lambda_provider.event_sources.sqs import SqsSource
from lambda_runtime.types import InvocationResult

from .fakes import QUEUE_ARN, World, mapping

OUTCOMES = st.sampled_from(["ok", "ok", "error", "throttle", "gone", "partial", "nonsense", "slow"])


class Function:
    """Processes messages with outcomes that were drawn; when they are used up, everything succeeds."""

    def __init__(self, outcomes: list[str], *, fifo: bool) -> None:
        self.outcomes = outcomes
        self.fifo = fifo
        self.done: list[str] = []
        self.delivered: list[str] = []
        self.in_flight: list[set[str]] = []
        self.world: World

    async def __call__(self, event: bytes, trace_header: str | None) -> InvocationResult:
        records = json.loads(event)["Records"]
        assert records
        ids = [record["messageId"] for record in records]
        groups = {record["attributes"].get("MessageGroupId") for record in records} - {None}
        if self.fifo:
            for others in self.in_flight:
                assert not groups & others, "two batches of a group are in flight"
        self.in_flight.append(groups)
        try:
            return await self.process(records, ids)
        finally:
            self.in_flight.remove(groups)

    async def process(self, records: list, ids: list[str]) -> InvocationResult:
        outcome = self.outcomes.pop(0) if self.outcomes else "ok"
        if outcome == "throttle":
            raise TooManyRequestsException("Rate Exceeded.")
        if outcome == "gone":
            raise ResourceNotFoundException("Function not found")
        self.delivered += ids
        if outcome == "slow":
            await self.world.clock.sleep_until(self.world.clock.now() + 20)
        if outcome == "error":
            return InvocationResult(b"{}", "1", function_error="Unhandled")
        if outcome == "nonsense":
            return answer({"batchItemFailures": [{"itemIdentifier": "of another batch"}]})
        if outcome == "partial":
            failed = self.first_failures(records)
            self.done += [id_ for id_ in ids if id_ not in failed]
            return answer({"batchItemFailures": [{"itemIdentifier": id_} for id_ in failed]})
        self.done += ids
        return InvocationResult(b"null", "1")

    def first_failures(self, records: list) -> list[str]:
        """From the middle of the batch on everything fails, as AWS asks of functions that work on a FIFO queue."""
        return [record["messageId"] for record in records[len(records) // 2 :]]


def answer(document: object) -> InvocationResult:
    return InvocationResult(json.dumps(document).encode(), "1")


@st.composite
def histories(draw: st.DrawFn) -> dict:
    window_s = draw(st.sampled_from([0, 0, 5]))
    return {
        "outcomes": draw(st.lists(OUTCOMES, max_size=12)),
        "groups": draw(st.lists(st.sampled_from("abc"), min_size=1, max_size=30)),
        "size": draw(st.integers(1, 10)),
        "window_s": window_s,
        "limit": draw(st.sampled_from([6 * 1024 * 1024, 900])),
        "fed": draw(st.booleans()),
        "stops": draw(st.lists(st.integers(1, 6), max_size=3)),
        "cancels": draw(st.booleans()),
        "failing_deletions": draw(st.integers(0, 2)),
        "later": draw(st.booleans()),
    }


WITH_LARGE_MESSAGES = {
    "outcomes": ["slow", "slow"],
    "groups": ["a"] * 4,
    "size": 4,
    "window_s": 0,
    "limit": 900,
    "fed": False,
    "stops": [],
    "cancels": False,
    "failing_deletions": 0,
    "later": False,
}
"""What is received together takes the function longer than the queue hides it, in several events."""


@pytest.mark.parametrize("fifo", [False, True], ids=["standard", "fifo"])
@example(history=WITH_LARGE_MESSAGES)
@given(history=histories())
@settings(deadline=None)
def test_no_message_is_lost_or_out_of_order(fifo: bool, history: dict) -> None:
    asyncio.run(live(fifo, history))


async def live(fifo: bool, history: dict) -> None:
    function = Function(list(history["outcomes"]), fifo=fifo)
    world = function.world = World(function, fed=history["fed"], fifo=fifo)
    world.sqs.failing_deletions = history["failing_deletions"]
    asked = mapping(
        f"{QUEUE_ARN}.fifo" if fifo else QUEUE_ARN,
        batch_size=history["size"],
        batching_window_s=0 if fifo else history["window_s"],
        response_types=("ReportBatchItemFailures",),
    )
    surroundings = replace(world.surroundings(), payload_limit_bytes=history["limit"])
    groups = history["groups"]
    sent = [world.sqs.send(group=group if fifo else None) for group in groups[: len(groups) // 2 + 1]]
    runs = []

    def begin() -> SqsSource:
        source = SqsSource(asked, surroundings)
        world.feed.ring(asked.event_source_arn)
        runs.append(asyncio.ensure_future(source.run()))
        return source

    source = begin()
    for steps in history["stops"]:
        for _ in range(steps):
            await world.step()
            world.feed.ring(asked.event_source_arn)
        source.stop()
        if history["cancels"]:
            runs[-1].cancel()
        source = begin()
    sent += [world.sqs.send(group=group if fifo else None) for group in groups[len(groups) // 2 + 1 :]]
    for _ in range(2000):
        if not world.sqs.messages and not function.in_flight:
            break
        world.feed.ring(asked.event_source_arn)
        await world.step()
    source.stop()
    for _ in range(100):
        if all(run.done() for run in runs):
            break
        await world.step()
    assert world.sqs.messages == []
    assert all(run.done() for run in runs)
    for run in runs:
        assert run.cancelled() or run.exception() is None
    assert set(function.done) == set(sent), "a message was lost"
    if not history["failing_deletions"] and not history["cancels"]:
        assert sorted(function.done) == sorted(sent), "a message that was done came again"
    if fifo:
        of_group = dict(zip(sent, groups, strict=True))
        for group in set(groups):
            firsts = list(dict.fromkeys(each for each in function.done if of_group[each] == group))
            assert firsts == [each for each in sent if of_group[each] == group], "a group lost its order"
