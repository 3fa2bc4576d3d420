"""Asynchronous invokes on a clock that the test drives."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from lambda_runtime.clock import ManualClock
from lambda_runtime.errors import Throttled, VersionNotDeployed
from lambda_runtime.event_queue import EventQueue, Outcome, QueuedEvent, RetryPolicy
from lambda_runtime.types import Invocation, InvocationResult

from .fakes import invocation

OK = InvocationResult(b"1", "$LATEST")
FAILED = InvocationResult(b"{}", "$LATEST", function_error="Unhandled")


class Harness:
    """A queue in front of scripted answers; remembers when each attempt was made."""

    def __init__(self, *answers: InvocationResult | Exception, policy: RetryPolicy | None = None) -> None:
        self.clock = ManualClock()
        self.started_at = self.clock.now()
        self.answers = list(answers)
        self.attempts: list[tuple[float, str]] = []
        self.outcomes: list[tuple[str, Outcome, int]] = []
        self.queue = EventQueue(self.invoke, self.clock, lambda _: policy or RetryPolicy(), self.outcome)

    async def invoke(self, call: Invocation) -> InvocationResult:
        self.attempts.append((self.clock.now() - self.started_at, call.request_id))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def outcome(self, event: QueuedEvent, outcome: Outcome) -> None:
        self.outcomes.append((event.invocation.request_id, outcome, event.attempts))

    async def run(self) -> None:
        """Advance the clock from sleeper to sleeper until the queue is empty."""
        while len(self.queue):
            await settle()
            if (moment := self.clock.next_moment()) is not None:
                self.clock.advance(moment - self.clock.now())


async def settle(turns: int = 10) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)


@pytest.fixture
def harness() -> Callable[..., Harness]:
    return Harness


async def test_function_error_is_retried_after_one_and_after_two_minutes() -> None:
    harness = Harness(FAILED, FAILED, FAILED)
    harness.queue.accept(invocation(request_id="a"))
    await harness.run()
    assert harness.attempts == [(0, "a"), (60, "a"), (180, "a")]
    assert harness.outcomes == [("a", Outcome.RETRIES_EXHAUSTED, 3)]


async def test_success_ends_the_retries() -> None:
    harness = Harness(FAILED, OK)
    harness.queue.accept(invocation(request_id="a"))
    await harness.run()
    assert harness.outcomes == [("a", Outcome.SUCCESS, 2)]


@pytest.mark.parametrize("retries", [0, 1, 2])
async def test_policy_says_how_often(retries: int) -> None:
    harness = Harness(*[FAILED] * 3, policy=RetryPolicy(maximum_retry_attempts=retries))
    harness.queue.accept(invocation(request_id="a"))
    await harness.run()
    assert len(harness.attempts) == retries + 1


async def test_event_too_old_for_its_next_retry_is_given_up() -> None:
    harness = Harness(FAILED, FAILED, policy=RetryPolicy(maximum_event_age_s=90))
    harness.queue.accept(invocation(request_id="a"))
    await harness.run()
    assert harness.outcomes == [("a", Outcome.EVENT_AGE_EXCEEDED, 2)]


async def test_throttled_events_run_in_their_order_when_slots_are_released() -> None:
    busy = Throttled("ReservedFunctionConcurrentInvocationLimitExceeded")
    harness = Harness(busy, busy, OK, OK)
    for name in "ab":
        harness.queue.accept(invocation(request_id=name))
    await settle()
    arn = invocation().version_arn.rpartition(":")[0]
    for _ in range(2):
        harness.queue.slot_released(arn)
        await settle()
    assert [name for _, name in harness.attempts] == ["a", "b", "a", "b"]
    assert [name for name, *_ in harness.outcomes] == ["a", "b"]
    assert len(harness.queue) == 0


async def test_throttled_event_is_given_up_at_its_maximum_age() -> None:
    harness = Harness(Throttled("ConcurrentInvocationLimitExceeded"), policy=RetryPolicy(maximum_event_age_s=100))
    harness.queue.accept(invocation(request_id="a"))
    await harness.run()
    assert harness.outcomes == [("a", Outcome.EVENT_AGE_EXCEEDED, 0)]
    assert harness.clock.now() - harness.started_at == 100


async def test_event_of_a_deleted_function_is_dropped() -> None:
    harness = Harness(VersionNotDeployed("gone"))
    harness.queue.accept(invocation())
    await harness.run()
    assert harness.outcomes == []


async def test_stop_leaves_nothing_behind() -> None:
    harness = Harness(FAILED)
    harness.queue.accept(invocation())
    await settle()
    await harness.queue.stop()
    assert len(harness.queue) == 0
    assert harness.clock.next_moment() is None
