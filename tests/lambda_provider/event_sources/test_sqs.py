"""Queues as sources: batches, filters, failures, throttles, and what happens when the mapping changes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from lambda_provider.api import RecursiveInvocationException, TooManyRequestsException
from lambda_provider.event_sources.source import FUNCTION_CALL_FAILED, OK, SAFETY_S, SourceProblem
from lambda_provider.event_sources.sqs import SqsSource
from lambda_provider.operations import lineage
from lambda_runtime.types import InvocationResult

from ..fakes import arn, client_error
from .fakes import QUEUE_ARN, World, mapping

SUCCESS = InvocationResult(b"null", "1")
FAILURE = InvocationResult(b'{"errorMessage": "no"}', "1", function_error="Unhandled")


class Function:
    """Remembers the messages of each batch, and answers with what is in `answers`, else with success."""

    def __init__(self, *answers: InvocationResult | Exception) -> None:
        self.answers = list(answers)
        self.batches: list[list[str]] = []
        self.events: list[dict[str, Any]] = []
        self.trace_headers: list[str | None] = []
        self.gate: asyncio.Event | None = None

    async def __call__(self, event: bytes, trace_header: str | None) -> InvocationResult:
        document = json.loads(event)
        self.events.append(document)
        self.batches.append([record["messageId"] for record in document["Records"]])
        self.trace_headers.append(trace_header)
        if self.gate is not None:
            await self.gate.wait()
        answer = self.answers.pop(0) if self.answers else SUCCESS
        if isinstance(answer, Exception):
            raise answer
        return answer


@asynccontextmanager
async def polled(
    world: World, *, source_arn: str = QUEUE_ARN, limit: int | None = None, **settings: Any
) -> AsyncIterator[SqsSource]:
    surroundings = world.surroundings()
    if limit is not None:
        surroundings = replace(surroundings, payload_limit_bytes=limit)
    async with world.running(SqsSource(mapping(source_arn, **settings), surroundings)) as source:
        yield source


async def test_messages_that_were_processed_are_deleted() -> None:
    function = Function()
    world = World(function)
    sent = [world.sqs.send(f"{number}") for number in range(3)]
    async with polled(world):
        pass
    assert function.batches == [sent]
    assert world.sqs.deleted == sent
    assert world.reports == [OK, OK]
    assert world.counts == {"PolledEventCount": 3, "InvokedEventCount": 3, "DeletedEventCount": 3}


async def test_a_queue_at_rest_is_not_asked_until_something_comes() -> None:
    function = Function()
    world = World(function)
    async with polled(world):
        asked = world.sqs.receives
        world.clock.advance(SAFETY_S - 1)
        await world.rest()
        assert world.sqs.receives == asked
        world.sqs.send()
        await world.rest()
        assert len(function.batches) == 1
        asked = world.sqs.receives
        world.clock.advance(SAFETY_S + 1)
        await world.rest()
        assert world.sqs.receives == asked + 1, "there is a look for safety"


async def test_without_a_feed_the_queue_waits_for_twenty_seconds() -> None:
    function = Function()
    world = World(function, fed=False)
    async with polled(world):
        waits: list[int] = []
        receive = world.sqs.receive_message
        world.sqs.receive_message = lambda **more: waits.append(more["WaitTimeSeconds"]) or receive(**more)  # type: ignore[func-returns-value, method-assign]
        for _ in range(3):
            await world.step()
        assert set(waits) == {20}
        world.sqs.send()
        await world.rest()
        assert len(function.batches) == 1


async def test_a_window_gathers_messages_and_ends() -> None:
    function = Function()
    world = World(function)
    async with polled(world, batch_size=100, batching_window_s=5):
        first = world.sqs.send()
        await world.rest()
        world.clock.advance(3)
        second = world.sqs.send()
        await world.rest()
        assert function.batches == []
        world.clock.advance(2)
        await world.rest()
        assert function.batches == [[first, second]]


async def test_a_full_batch_does_not_wait_for_its_window() -> None:
    function = Function()
    world = World(function)
    sent = [world.sqs.send() for _ in range(25)]
    async with polled(world, batch_size=20, batching_window_s=300):
        assert function.batches == [sent[:20]]
        await world.step()
    assert [each for batch in function.batches for each in batch] == sent[:20]
    assert [each.visible_at <= world.clock.now() for each in world.sqs.messages] == [True] * 5, "they were given back"


async def test_small_batches_are_received_together_as_far_as_the_function_may_run() -> None:
    function = Function()
    world = World(function)
    function.gate = asyncio.Event()
    sent = [world.sqs.send() for _ in range(8)]
    async with polled(world, batch_size=1, maximum_concurrency=3):
        assert function.batches == [[each] for each in sent[:3]]
        assert [each.receives for each in world.sqs.messages] == [1, 1, 1, 0, 0, 0, 0, 0]
        function.gate.set()
        await world.rest()
        assert sorted(world.sqs.deleted) == sorted(sent)


async def test_an_event_is_no_larger_than_the_limit() -> None:
    function = Function()
    world = World(function)
    for _ in range(4):
        world.sqs.send("x" * 500)
    async with polled(world, limit=1800):
        await world.rest()
    assert [len(batch) for batch in function.batches] == [2, 2]
    assert all(len(json.dumps(event, separators=(",", ":"))) <= 1800 for event in function.events)


async def test_what_filters_drop_is_deleted() -> None:
    function = Function()
    world = World(function)
    dropped = world.sqs.send('{"a": "no"}')
    kept = world.sqs.send('{"a": "yes"}')
    async with polled(world, filters=('{"body": {"a": ["yes"]}}',)):
        await world.rest()
    assert function.batches == [[kept]]
    assert sorted(world.sqs.deleted) == sorted([dropped, kept])
    assert world.counts["FilteredOutEventCount"] == 1
    assert world.counts["InvokedEventCount"] == 1


async def test_messages_of_a_batch_that_failed_come_after_their_visibility_timeout() -> None:
    function = Function(FAILURE)
    world = World(function, visibility_s=7)
    message = world.sqs.send()
    async with polled(world):
        assert world.reports[-1] == FUNCTION_CALL_FAILED
        world.clock.advance(6)
        world.feed.ring()
        await world.rest()
        assert function.batches == [[message]]
        await world.step()
        assert function.batches == [[message], [message]]
    assert function.events[1]["Records"][0]["attributes"]["ApproximateReceiveCount"] == "2"
    assert world.counts["FailedInvokeEventCount"] == 1


async def test_only_reported_messages_stay() -> None:
    world = World(Function())
    sent = [world.sqs.send() for _ in range(3)]
    report = {"batchItemFailures": [{"itemIdentifier": sent[1]}]}
    function = world.function = Function(InvocationResult(json.dumps(report).encode(), "1"))
    async with polled(world, response_types=("ReportBatchItemFailures",)):
        assert world.sqs.deleted == [sent[0], sent[2]]
        await world.step()
        assert function.batches == [sent, [sent[1]]]


async def test_reports_mean_nothing_unless_the_mapping_asks_for_them() -> None:
    report = InvocationResult(b'{"batchItemFailures": [{"itemIdentifier": "m0"}]}', "1")
    world = World(Function(report))
    message = world.sqs.send()
    async with polled(world):
        assert world.sqs.deleted == [message]


async def test_a_throttled_batch_is_tried_again_while_it_is_ours() -> None:
    throttle = TooManyRequestsException("Rate Exceeded.")
    function = Function(throttle, throttle, throttle)
    world = World(function, visibility_s=30)
    message = world.sqs.send()
    async with polled(world):
        for _ in range(6):
            await world.step(longest_s=1)
        assert world.sqs.deleted == [message]
    assert len(function.batches) == 4
    assert {event["Records"][0]["attributes"]["ApproximateReceiveCount"] for event in function.events} == {"1"}


async def test_a_batch_that_is_throttled_too_long_goes_back_to_its_queue() -> None:
    throttle = TooManyRequestsException("Rate Exceeded.")
    function = Function(*[throttle] * 8)
    world = World(function, visibility_s=2)
    message = world.sqs.send()
    async with polled(world):
        await world.until(lambda: world.sqs.deleted == [message])
    assert function.events[-1]["Records"][0]["attributes"]["ApproximateReceiveCount"] != "1"


async def test_only_the_messages_of_a_loop_are_stopped() -> None:
    header: str | None = None
    for _ in range(20):
        header, _ = lineage.extend(header, arn("f"))
    function = Function(RecursiveInvocationException("a loop"))
    world = World(function)
    assert header is not None
    looping = world.sqs.send(AWSTraceHeader=header)
    other = world.sqs.send(AWSTraceHeader="Root=1-2-3")
    async with polled(world):
        assert world.sqs.deleted == [other]
    assert function.batches == [[looping, other], [other]]
    assert function.trace_headers == [header, "Root=1-2-3"]
    assert world.counts["FailedInvokeEventCount"] == 1


async def test_deleting_is_tried_again() -> None:
    world = World(Function())
    world.sqs.failing_deletions = 2
    message = world.sqs.send()
    async with polled(world):
        for _ in range(4):
            await world.step(longest_s=2)
        assert world.sqs.deleted == [message]
        assert world.counts["DeletedEventCount"] == 1


async def test_a_queue_that_is_not_there_is_a_problem_of_the_source() -> None:
    world = World(Function())
    world.sqs.exists = False
    with pytest.raises(SourceProblem, match="does not exist"):
        await SqsSource(mapping(), world.surroundings()).run()


async def test_a_queue_that_goes_while_it_is_polled_ends_the_source_after_its_batches() -> None:
    function = Function()
    function.gate = asyncio.Event()
    world = World(function)
    world.sqs.send()
    source = SqsSource(mapping(), world.surroundings())
    run = asyncio.ensure_future(source.run())
    await world.rest()
    world.sqs.exists = False
    world.feed.ring()
    await world.rest()
    assert not run.done(), "a batch is with the function"
    function.gate.set()
    await world.until(run.done)
    assert isinstance(run.exception(), SourceProblem)


async def test_denied_access_is_told_as_such() -> None:
    world = World(Function())

    def denied(**_: Any) -> Any:
        raise client_error("AccessDenied", "no")

    world.sqs.get_queue_url = denied  # type: ignore[method-assign]
    with pytest.raises(SourceProblem) as problem:
        await SqsSource(mapping(), world.surroundings()).run()
    assert problem.value.reason == "EVENT_SOURCE_AUTHZ_ERROR"


async def test_stopping_finishes_what_is_in_flight_and_gives_the_rest_back() -> None:
    function = Function()
    function.gate = asyncio.Event()
    world = World(function)
    in_flight = [world.sqs.send() for _ in range(2)]
    source = SqsSource(mapping(batch_size=2, batching_window_s=20), world.surroundings())
    run = asyncio.ensure_future(source.run())
    await world.rest()
    waiting = world.sqs.send()
    await world.rest()
    assert function.batches == [in_flight]
    source.stop()
    await world.rest()
    assert not run.done()
    (left,) = [each for each in world.sqs.messages if each.id == waiting]
    assert left.visible_at <= world.clock.now()
    function.gate.set()
    await world.until(run.done)
    assert world.sqs.deleted == in_flight
    assert function.batches == [in_flight]


async def test_a_cancelled_source_acknowledges_nothing_more() -> None:
    function = Function()
    function.gate = asyncio.Event()
    world = World(function)
    world.sqs.send()
    source = SqsSource(mapping(), world.surroundings())
    run = asyncio.ensure_future(source.run())
    await world.rest()
    run.cancel()
    await world.rest()
    assert run.cancelled()
    function.gate.set()
    await world.rest()
    assert world.sqs.deleted == []
