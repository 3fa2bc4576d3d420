"""Asynchronous invokes: accepted now, run soon, retried as AWS does.

https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html: a function error is retried up to two times,
after one and after two minutes; what is throttled or meets a fault of the system stays in the queue until the event is too old.
https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html: with a reserved concurrency of zero an event
leaves the queue at once.
"""

from __future__ import annotations

import asyncio
import enum
import itertools
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from lambda_runtime.clock import Clock
from lambda_runtime.errors import (
    RuntimeServiceError,
    ServiceStopped,
    Throttled,
    VersionNotDeployed,
    ZeroReservedConcurrency,
)
from lambda_runtime.event_lines import Lines
from lambda_runtime.types import Invocation, InvocationResult

logger = logging.getLogger(__name__)

RETRY_DELAYS_S = (60.0, 120.0)
FIRST_SYSTEM_RETRY_DELAY_S = 1.0
MAX_SYSTEM_RETRY_DELAY_S = 300.0
THROTTLED = (429, "Rate Exceeded.")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a failed event is run again, and how old it may get: the function's event invoke config."""

    maximum_retry_attempts: int = 2
    maximum_event_age_s: float = 21600


class Outcome(enum.Enum):
    """How an event left the queue; the values are the `condition` of a destination's record."""

    SUCCESS = "Success"
    RETRIES_EXHAUSTED = "RetriesExhausted"
    EVENT_AGE_EXCEEDED = "EventAgeExceeded"
    ZERO_RESERVED_CONCURRENCY = "ZeroReservedConcurrency"
    RECURSIVE_INVOCATION = "RecursiveInvocation"
    """The chain of requests that it belongs to ran the function too often. AWS does not document this condition's name."""


@dataclass(slots=True, eq=False)
class QueuedEvent:
    """An accepted event.

    `attempts` counts the times that the function ran, `due_at` is the moment of the next one; moments are those of the queue's
    clock. `last_result` is what the function answered last; `last_error`, a status code and a message, why it did not run.
    `outcome` is set when the event leaves the queue. `id` belongs to the journal.
    """

    invocation: Invocation
    accepted_at: float
    attempts: int = 0
    due_at: float = 0.0
    last_result: InvocationResult | None = None
    last_error: tuple[int, str] | None = None
    outcome: Outcome | None = None
    id: int = 0


class EventJournal(Protocol):
    """Where accepted events outlive the process. Called on the runtime loop; nothing here blocks it."""

    def add(self, event: QueuedEvent) -> asyncio.Future[None]:
        """Keep a new event; done when it is durable, or failed when it cannot be."""
        ...

    def update(self, event: QueuedEvent) -> None:
        """The event has changed."""
        ...

    def remove(self, event: QueuedEvent) -> None:
        """The event has left the queue, and its record was delivered."""
        ...


class EventQueue:
    """Runs accepted events through `invoke`, one task each. Touched only on the runtime loop; hence no locks.

    Events of one function run in their order as far as there are slots; nothing polls (see `Lines`). `policy` tells how the
    event of an invocation is retried, None if its function is gone: the event is dropped then. `on_outcome` is called once
    for each event that leaves the queue otherwise; what it returns, the delivery of the record, is awaited before the event
    is forgotten.

    `count` is told AWS's metrics of asynchronous events, each with the ARN of the version, the ARN as it was invoked, and a value
    (https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html, "Asynchronous invocation metrics").

    With a `journal` an event is durable when `accept` returns, and remains so until its record was delivered. What was
    running when the process died runs again: at least once, as on AWS.
    """

    def __init__(
        self,
        invoke: Callable[[Invocation], Awaitable[InvocationResult]],
        clock: Clock,
        policy: Callable[[Invocation], RetryPolicy | None] = lambda invocation: RetryPolicy(),
        on_outcome: Callable[[QueuedEvent, Outcome], Awaitable[None] | None] = lambda event, outcome: None,
        count: Callable[[str, str, str, float], None] = lambda metric, version_arn, invoked_arn, value: None,
    ) -> None:
        self.journal: EventJournal | None = None
        self._invoke = invoke
        self._clock = clock
        self._policy = policy
        self._on_outcome = on_outcome
        self._count_for = count
        self._tasks: set[asyncio.Task[None]] = set()
        self._lines = Lines(clock)
        self._orders = itertools.count()

    def __len__(self) -> int:
        return len(self._tasks)

    async def accept(self, invocation: Invocation, outcome: Outcome | None = None) -> None:
        """Take the event; it is run as soon as there is a slot. With an `outcome` it leaves the queue without being run.

        Raises what the journal raises when it cannot keep the event; the event is not accepted then. A caller that is
        cancelled leaves the event in the queue.
        """
        event = QueuedEvent(invocation, self._clock.now(), outcome=outcome)
        durable = self.journal.add(event) if self.journal is not None else None
        self._start(event, durable)
        if durable is not None:
            await asyncio.shield(durable)
        self._count("AsyncEventsReceived", event)
        if outcome is not None:
            self._count("AsyncEventsDropped", event)

    def resume(self, events: Iterable[QueuedEvent]) -> None:
        """Go on with events that the journal kept over a restart, in their order."""
        now = self._clock.now()
        for event in events:
            # A clock that was set back, or ran fast before, must not hold an event for longer than any delay can be.
            event.accepted_at = min(event.accepted_at, now)
            event.due_at = min(event.due_at, now + MAX_SYSTEM_RETRY_DELAY_S)
            self._start(event, None)

    async def empty(self) -> None:
        """Return when nothing is queued, runs, waits for a retry or has a record under way."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def slot_released(self, function_arn: str) -> None:
        """A slot is free: let the oldest waiting event of that function try, or else the oldest of another function."""
        self._lines.slot_released(function_arn)

    def forget(self) -> None:
        """Let go of what is queued or running; what the journal has stays there. May be called twice."""
        for task in list(self._tasks):
            task.cancel()

    async def stop(self) -> None:
        """`forget`, and wait until nothing is left. May be called twice."""
        tasks = list(self._tasks)
        self.forget()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self, event: QueuedEvent, durable: asyncio.Future[None] | None) -> None:
        task = asyncio.get_running_loop().create_task(self._process(event, durable))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _process(self, event: QueuedEvent, durable: asyncio.Future[None] | None) -> None:
        """One event from its acceptance to its end. Cancelled, it stays in the journal."""
        if durable is not None:
            await asyncio.wait((durable,))
            if durable.cancelled() or durable.exception() is not None:
                return  # Whoever sent it was told.
        try:
            if event.outcome is None:
                event.outcome = await self._run(event, next(self._orders))
                if event.outcome is not Outcome.SUCCESS:
                    self._count("AsyncEventsDropped", event)
            if event.outcome is not None:
                await self._deliver(event, event.outcome)
        except ServiceStopped:
            return
        if self.journal is not None:
            self.journal.remove(event)

    async def _deliver(self, event: QueuedEvent, outcome: Outcome) -> None:
        try:
            delivery = self._on_outcome(event, outcome)
            if delivery is not None:
                self._changed(event)
                await delivery
        except Exception:
            logger.exception("the record of event %s (%s) is lost", event.invocation.request_id, outcome.value)

    async def _run(self, event: QueuedEvent, order: int) -> Outcome | None:
        """Run the function until the event has an outcome; None if it is to be dropped."""
        invocation = event.invocation
        function_arn = invocation.version_arn.rpartition(":")[0]
        delay_s = FIRST_SYSTEM_RETRY_DELAY_S
        throttled = False
        while True:
            line = self._lines.of(function_arn)
            policy = self._policy(invocation)
            if policy is None:
                logger.info(
                    "dropped event %s of %s: the version is gone", invocation.request_id, invocation.version_arn
                )
                return self._lines.leave(line, None)
            expires_at = event.accepted_at + policy.maximum_event_age_s
            now = self._clock.now()
            if now >= expires_at:
                return self._lines.leave(line, Outcome.EVENT_AGE_EXCEEDED)
            if event.due_at > now:
                await self._clock.sleep_until(min(event.due_at, expires_at))
                continue
            if throttled or line.must_wait(order):
                throttled = False
                await line.wait(order, expires_at)
                continue
            try:
                with line.running():
                    result = await self._invoke(invocation)
            except ZeroReservedConcurrency:
                event.last_error = THROTTLED
                return Outcome.ZERO_RESERVED_CONCURRENCY
            except Throttled as error:
                event.last_error = THROTTLED
                throttled = error.retry_after_s is None
                if error.retry_after_s is not None:
                    event.due_at = min(self._clock.now() + error.retry_after_s, expires_at)
                continue
            except ServiceStopped:
                raise
            except RuntimeServiceError as error:
                if isinstance(error, VersionNotDeployed) and self._policy(invocation) is None:
                    continue
                logger.warning("event %s cannot run now: %s", invocation.request_id, error)
                self._retry_later(event, error, delay_s, expires_at)
            except Exception as error:
                logger.exception("event %s cannot run now", invocation.request_id)
                self._retry_later(event, error, delay_s, expires_at)
            else:
                self._count("AsyncEventAge", event, (now - event.accepted_at) * 1000)
                outcome = self._ran(event, result)
                if outcome is not None:
                    return outcome
                continue
            delay_s = min(delay_s * 2, MAX_SYSTEM_RETRY_DELAY_S)

    def _ran(self, event: QueuedEvent, result: InvocationResult) -> Outcome | None:
        """The function ran: what became of the event, or None if it is to run again later."""
        event.attempts += 1
        event.last_result = result
        if result.function_error is None:
            return Outcome.SUCCESS
        # The configuration of now, not that of when the event was accepted.
        policy = self._policy(event.invocation) or RetryPolicy()
        if event.attempts > policy.maximum_retry_attempts:
            return Outcome.RETRIES_EXHAUSTED
        event.due_at = self._clock.now() + RETRY_DELAYS_S[min(event.attempts, len(RETRY_DELAYS_S)) - 1]
        if event.due_at >= event.accepted_at + policy.maximum_event_age_s:
            return Outcome.EVENT_AGE_EXCEEDED
        self._changed(event)
        return None

    def _retry_later(self, event: QueuedEvent, error: Exception, delay_s: float, expires_at: float) -> None:
        """A fault of the system, not of the function: the attempt does not count."""
        event.last_error = (500, str(error))
        event.due_at = min(self._clock.now() + delay_s, expires_at)
        self._changed(event)

    def _count(self, metric: str, event: QueuedEvent, value: float = 1.0) -> None:
        self._count_for(metric, event.invocation.version_arn, event.invocation.invoked_arn, value)

    def _changed(self, event: QueuedEvent) -> None:
        if self.journal is not None:
            self.journal.update(event)
