"""Asynchronous invokes on a clock that the test drives."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from lambda_runtime.clock import ManualClock
from lambda_runtime.errors import EnvironmentNotStarted, Throttled, VersionNotDeployed, ZeroReservedConcurrency
from lambda_runtime.event_lines import PACE
from lambda_runtime.event_queue import EventQueue, Outcome, QueuedEvent, RetryPolicy
from lambda_runtime.types import Invocation, InvocationResult

from .fakes import invocation

FUNCTION = invocation().version_arn.rpartition(":")[0]
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
        self.policy: RetryPolicy | None = policy or RetryPolicy()
        self.delivery: asyncio.Future[None] | None = None
        self.answers_wait: asyncio.Event | None = None
        self.counted: list[tuple[str, float]] = []
        self.queue = EventQueue(
            self.invoke,
            self.clock,
            lambda _: self.policy,
            self.outcome,
            lambda metric, version_arn, invoked_arn, value: self.counted.append((metric, value)),
        )

    async def invoke(self, call: Invocation) -> InvocationResult:
        self.attempts.append((self.clock.now() - self.started_at, call.request_id))
        if self.answers_wait is not None:
            await self.answers_wait.wait()
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def outcome(self, event: QueuedEvent, outcome: Outcome) -> asyncio.Future[None] | None:
        self.outcomes.append((event.invocation.request_id, outcome, event.attempts))
        return self.delivery

    async def run(self) -> None:
        """Advance the clock from sleeper to sleeper until the queue is empty."""
        while len(self.queue):
            await settle()
            if (moment := self.clock.next_moment()) is not None:
                self.clock.advance(moment - self.clock.now())


class Slots:
    """A runtime with a limit, whose functions run until `gate` is open."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.gate = asyncio.Event()
        self.running: list[str] = []
        self.order: list[str] = []
        self.started = asyncio.Condition()

    async def invoke(self, call: Invocation) -> InvocationResult:
        if len(self.running) >= self.limit:
            raise Throttled("ReservedFunctionConcurrentInvocationLimitExceeded")
        self.running.append(call.request_id)
        self.order.append(call.request_id)
        async with self.started:
            self.started.notify_all()
        await self.gate.wait()
        self.running.remove(call.request_id)
        return OK

    async def until_running(self, count: int) -> None:
        async with self.started:
            await self.started.wait_for(lambda: len(self.running) == count)


async def settle(turns: int = 10) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)


@pytest.fixture
def harness() -> Callable[..., Harness]:
    return Harness


async def test_function_error_is_retried_after_one_and_after_two_minutes() -> None:
    harness = Harness(FAILED, FAILED, FAILED)
    await harness.queue.accept(invocation(request_id="a"))
    await harness.run()
    assert harness.attempts == [(0, "a"), (60, "a"), (180, "a")]
    assert harness.outcomes == [("a", Outcome.RETRIES_EXHAUSTED, 3)]


async def test_success_ends_the_retries() -> None:
    harness = Harness(FAILED, OK)
    await harness.queue.accept(invocation(request_id="a"))
    await harness.run()
    assert harness.outcomes == [("a", Outcome.SUCCESS, 2)]


@pytest.mark.parametrize("retries", [0, 1, 2])
async def test_policy_says_how_often(retries: int) -> None:
    harness = Harness(*[FAILED] * 3, policy=RetryPolicy(maximum_retry_attempts=retries))
    await harness.queue.accept(invocation(request_id="a"))
    await harness.run()
    assert len(harness.attempts) == retries + 1


async def test_event_too_old_for_its_next_retry_is_given_up() -> None:
    harness = Harness(FAILED, FAILED, policy=RetryPolicy(maximum_event_age_s=90))
    await harness.queue.accept(invocation(request_id="a"))
    await harness.run()
    assert harness.outcomes == [("a", Outcome.EVENT_AGE_EXCEEDED, 2)]


async def test_throttled_event_is_given_up_at_its_maximum_age() -> None:
    harness = Harness(Throttled("ConcurrentInvocationLimitExceeded"), policy=RetryPolicy(maximum_event_age_s=100))
    await harness.queue.accept(invocation(request_id="a"))
    await harness.run()
    assert harness.outcomes == [("a", Outcome.EVENT_AGE_EXCEEDED, 0)]
    assert harness.clock.now() - harness.started_at == 100


async def test_event_of_a_deleted_function_is_dropped() -> None:
    harness = Harness(FAILED)
    await harness.queue.accept(invocation())
    await settle()
    harness.policy = None
    await harness.run()
    assert harness.outcomes == []
    assert len(harness.attempts) == 1


async def test_event_of_a_version_that_is_not_deployed_yet_is_tried_again() -> None:
    harness = Harness(VersionNotDeployed("not yet"), OK)
    await harness.queue.accept(invocation(request_id="a"))
    await harness.run()
    assert harness.attempts == [(0, "a"), (1, "a")]
    assert harness.outcomes == [("a", Outcome.SUCCESS, 1)]


async def test_faults_of_the_system_back_off_from_a_second_to_five_minutes_until_the_event_is_too_old() -> None:
    harness = Harness(*[EnvironmentNotStarted("no")] * 50, policy=RetryPolicy(maximum_event_age_s=1500))
    await harness.queue.accept(invocation(request_id="a"))
    await harness.run()
    moments = [moment for moment, _ in harness.attempts]
    assert moments == [0, 1, 3, 7, 15, 31, 63, 127, 255, 511, 811, 1111, 1411]
    assert harness.outcomes == [("a", Outcome.EVENT_AGE_EXCEEDED, 0)]
    assert harness.clock.now() - harness.started_at == 1500


async def test_what_nobody_foresaw_is_a_fault_of_the_system(caplog: pytest.LogCaptureFixture) -> None:
    harness = Harness(ZeroDivisionError("oops"), OK)
    await harness.queue.accept(invocation(request_id="a"))
    await harness.run()
    assert harness.outcomes == [("a", Outcome.SUCCESS, 1)]
    assert "ZeroDivisionError" in caplog.text


async def test_with_nothing_reserved_an_event_leaves_at_once_and_so_do_those_that_wait() -> None:
    busy, zero = Throttled("ConcurrentInvocationLimitExceeded"), ZeroReservedConcurrency("Reserved…")
    harness = Harness(busy, zero, zero)
    for name in "ab":
        await harness.queue.accept(invocation(request_id=name))
    await settle()
    assert harness.outcomes == []
    harness.queue.slot_released(FUNCTION)
    await settle()
    assert harness.outcomes == [(name, Outcome.ZERO_RESERVED_CONCURRENCY, 0) for name in "ab"]
    assert len(harness.queue) == 0


async def test_event_with_an_outcome_leaves_without_being_run() -> None:
    harness = Harness()
    await harness.queue.accept(invocation(request_id="a"), Outcome.RECURSIVE_INVOCATION)
    await harness.run()
    assert harness.outcomes == [("a", Outcome.RECURSIVE_INVOCATION, 0)]


async def test_configuration_of_the_moment_of_the_failure_counts() -> None:
    harness = Harness(FAILED)
    harness.answers_wait = asyncio.Event()
    await harness.queue.accept(invocation(request_id="a"))
    await settle()
    harness.policy = RetryPolicy(maximum_retry_attempts=0)
    harness.answers_wait.set()
    await harness.run()
    assert harness.outcomes == [("a", Outcome.RETRIES_EXHAUSTED, 1)]


async def test_throttled_event_keeps_its_place() -> None:
    busy = Throttled("ReservedFunctionConcurrentInvocationLimitExceeded")
    harness = Harness(busy, busy, OK, OK)
    for name in "ab":
        await harness.queue.accept(invocation(request_id=name))
    await settle()
    assert [name for _, name in harness.attempts] == ["a"]
    for _ in range(2):
        harness.queue.slot_released(FUNCTION)
        await settle()
    assert [name for _, name in harness.attempts] == ["a", "a", "a", "b"]


async def test_as_many_waiting_events_run_as_there_are_slots() -> None:
    """One release after a limit was raised must do for all: who got a slot wakes the next."""
    slots = Slots(0)
    queue = EventQueue(slots.invoke, ManualClock())
    for number in range(10):
        await queue.accept(invocation(request_id=str(number)))
    await settle()
    assert slots.running == []
    slots.limit = 4
    queue.slot_released(FUNCTION)
    await settle(50)
    assert slots.running == ["0", "1", "2", "3"]
    slots.gate.set()
    await settle(100)
    assert len(queue) == 0
    assert slots.order == [str(number) for number in range(10)]


async def test_burst_starts_step_by_step_and_ends_in_order() -> None:
    slots = Slots(1000)
    queue = EventQueue(slots.invoke, ManualClock())
    for number in range(3 * PACE):
        await queue.accept(invocation(request_id=str(number)))
    await settle(200)
    assert len(slots.running) == PACE
    slots.gate.set()
    await settle(1000)
    assert slots.order == [str(number) for number in range(3 * PACE)]
    assert len(queue) == 0


async def test_long_events_get_all_the_concurrency_in_time() -> None:
    slots = Slots(1000)
    queue = EventQueue(slots.invoke, ManualClock())
    for number in range(3 * PACE):
        await queue.accept(invocation(request_id=str(number)))
    await asyncio.wait_for(slots.until_running(3 * PACE), 10)
    await queue.stop()


async def test_released_slot_of_another_function_helps_who_waits_for_the_account() -> None:
    harness = Harness(Throttled("ConcurrentInvocationLimitExceeded"), OK)
    await harness.queue.accept(invocation(request_id="a"))
    await settle()
    harness.queue.slot_released("arn:aws:lambda:us-east-1:000000000000:function:other")
    await settle()
    assert harness.outcomes == [("a", Outcome.SUCCESS, 1)]


class Journal:
    """Remembers what it is told; `durable` is what `add` answers."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int, int]] = []
        self.durable: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.durable.set_result(None)

    def add(self, event: QueuedEvent) -> asyncio.Future[None]:
        event.id = 7
        self.calls.append(("add", event.id, event.attempts))
        return self.durable

    def update(self, event: QueuedEvent) -> None:
        self.calls.append(("update", event.id, event.attempts))

    def remove(self, event: QueuedEvent) -> None:
        self.calls.append(("remove", event.id, event.attempts))


async def test_event_is_accepted_when_it_is_durable_and_runs_then() -> None:
    harness = Harness(OK)
    harness.queue.journal = journal = Journal()
    journal.durable = asyncio.get_running_loop().create_future()
    accepting = asyncio.create_task(harness.queue.accept(invocation()))
    await settle()
    assert not accepting.done()
    assert harness.attempts == []
    journal.durable.set_result(None)
    await accepting
    await harness.run()
    assert journal.calls == [("add", 7, 0), ("remove", 7, 1)]


async def test_event_that_cannot_be_kept_is_not_accepted_and_does_not_run() -> None:
    harness = Harness(OK)
    harness.queue.journal = journal = Journal()
    journal.durable = asyncio.get_running_loop().create_future()
    journal.durable.set_exception(OSError("disk full"))
    with pytest.raises(OSError, match="disk full"):
        await harness.queue.accept(invocation())
    await harness.run()
    assert harness.attempts == []


async def test_attempts_and_the_next_one_are_kept() -> None:
    harness = Harness(FAILED, FAILED, OK)
    harness.queue.journal = journal = Journal()
    await harness.queue.accept(invocation())
    await harness.run()
    assert journal.calls == [("add", 7, 0), ("update", 7, 1), ("update", 7, 2), ("remove", 7, 3)]


async def test_event_is_kept_until_its_record_was_delivered() -> None:
    harness = Harness(OK)
    harness.queue.journal = journal = Journal()
    harness.delivery = asyncio.get_running_loop().create_future()
    await harness.queue.accept(invocation())
    await settle()
    assert journal.calls == [("add", 7, 0), ("update", 7, 1)]
    harness.delivery.set_result(None)
    await harness.run()
    assert journal.calls[-1] == ("remove", 7, 1)


async def test_resumed_event_goes_on_where_it_was() -> None:
    harness = Harness(FAILED, OK)
    now = harness.clock.now()
    event = QueuedEvent(invocation(request_id="a"), now - 30, attempts=1, due_at=now + 30, last_result=FAILED)
    harness.queue.resume([event])
    await harness.run()
    assert harness.attempts == [(30, "a"), (150, "a")]
    assert harness.outcomes == [("a", Outcome.SUCCESS, 3)]


async def test_resumed_event_that_got_too_old_meanwhile_does_not_run() -> None:
    harness = Harness()
    harness.queue.resume([QueuedEvent(invocation(request_id="a"), harness.clock.now() - 21600)])
    await harness.run()
    assert harness.outcomes == [("a", Outcome.EVENT_AGE_EXCEEDED, 0)]


async def test_resumed_event_with_an_outcome_is_only_delivered() -> None:
    harness = Harness()
    event = QueuedEvent(
        invocation(request_id="a"), harness.clock.now(), attempts=1, last_result=OK, outcome=Outcome.SUCCESS
    )
    harness.queue.resume([event])
    await harness.run()
    assert harness.outcomes == [("a", Outcome.SUCCESS, 1)]


async def test_clock_that_was_set_back_holds_no_event_for_long() -> None:
    harness = Harness(OK)
    event = QueuedEvent(invocation(request_id="a"), harness.clock.now() + 1e6, due_at=harness.clock.now() + 1e6)
    harness.queue.resume([event])
    await harness.run()
    assert harness.attempts == [(300, "a")]


async def test_stopped_queue_leaves_its_events_in_the_journal() -> None:
    harness = Harness(FAILED)
    harness.queue.journal = journal = Journal()
    await harness.queue.accept(invocation())
    await settle()
    await harness.queue.stop()
    assert [name for name, *_ in journal.calls] == ["add", "update"]


async def test_stop_leaves_nothing_behind() -> None:
    harness = Harness(FAILED)
    await harness.queue.accept(invocation())
    await settle()
    await harness.queue.stop()
    assert len(harness.queue) == 0
    assert harness.clock.next_moment() is None


async def test_metrics_of_an_event_that_is_retried_and_given_up() -> None:
    harness = Harness(FAILED, Throttled("ConcurrentInvocationLimitExceeded"), FAILED)
    harness.policy = RetryPolicy(maximum_retry_attempts=1)
    await harness.queue.accept(invocation())
    await settle()
    harness.clock.advance(60)
    await settle()
    harness.clock.advance(5)
    harness.queue.slot_released(FUNCTION)
    await harness.run()
    assert harness.counted == [
        ("AsyncEventsReceived", 1),
        ("AsyncEventAge", 0),
        ("AsyncEventAge", 65_000),
        ("AsyncEventsDropped", 1),
    ]


async def test_event_that_closes_a_loop_is_received_and_dropped() -> None:
    harness = Harness()
    await harness.queue.accept(invocation(), Outcome.RECURSIVE_INVOCATION)
    await harness.run()
    assert harness.counted == [("AsyncEventsReceived", 1), ("AsyncEventsDropped", 1)]
