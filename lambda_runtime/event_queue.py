"""Asynchronous invokes: accepted now, run soon, retried as AWS does.

https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html: a function error is retried up to two times,
after one and after two minutes; what is throttled stays in the queue until the event is too old.
"""

from __future__ import annotations

import asyncio
import enum
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from lambda_runtime.clock import Clock
from lambda_runtime.errors import ServiceStopped, Throttled, VersionFailed, VersionNotDeployed
from lambda_runtime.types import Invocation, InvocationResult

logger = logging.getLogger(__name__)

RETRY_DELAYS_S = (60.0, 120.0)
MAX_SYSTEM_RETRY_DELAY_S = 300.0


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


@dataclass(slots=True)
class QueuedEvent:
    """An accepted event. `attempts` counts the times that the function ran."""

    invocation: Invocation
    accepted_at: float
    attempts: int = 0
    last_result: InvocationResult | None = None
    woken: asyncio.Future[None] | None = field(default=None, repr=False)


class EventQueue:
    """Runs accepted events through `invoke`, one task each. Touched only on the runtime loop.

    Events of a throttled function wait in their order until a slot is free (`slot_released`), so nothing polls. `on_outcome` is
    called once for each event that leaves the queue.
    """

    def __init__(
        self,
        invoke: Callable[[Invocation], Awaitable[InvocationResult]],
        clock: Clock,
        policy: Callable[[Invocation], RetryPolicy] = lambda invocation: RetryPolicy(),
        on_outcome: Callable[[QueuedEvent, Outcome], None] = lambda event, outcome: None,
    ) -> None:
        self._invoke = invoke
        self._clock = clock
        self._policy = policy
        self._on_outcome = on_outcome
        self._tasks: set[asyncio.Task[None]] = set()
        self._throttled: dict[str, deque[QueuedEvent]] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    def accept(self, invocation: Invocation) -> None:
        """Take the event; it is run as soon as there is a slot."""
        event = QueuedEvent(invocation, self._clock.now())
        task = asyncio.get_running_loop().create_task(self._process(event))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def slot_released(self, function_arn: str) -> None:
        """A slot is free: let the oldest waiting event of that function try, or else the oldest of any function."""
        if not self._throttled:
            return
        for arn in (function_arn, *self._throttled):
            waiting = self._throttled.get(arn)
            while waiting:
                woken = waiting.popleft().woken
                if woken is not None and not woken.done():
                    woken.set_result(None)
                    return

    async def stop(self) -> None:
        """Cancel what is queued or running. May be called twice."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _process(self, event: QueuedEvent) -> None:
        policy = self._policy(event.invocation)
        expires_at = event.accepted_at + policy.maximum_event_age_s
        system_delay_s = 1.0
        while True:
            if event.attempts and self._clock.now() > expires_at:
                return self._on_outcome(event, Outcome.EVENT_AGE_EXCEEDED)
            try:
                result = await self._invoke(event.invocation)
            except Throttled:
                if not await self._slot_free(event, expires_at):
                    return self._on_outcome(event, Outcome.EVENT_AGE_EXCEEDED)
                continue
            except VersionNotDeployed:
                # The function was deleted after the event was accepted: AWS drops it.
                return logger.info("dropped an event of %s: the version is gone", event.invocation.version_arn)
            except ServiceStopped:
                return None
            except VersionFailed as error:
                logger.warning("event %s cannot run now: %s", event.invocation.request_id, error)
                await self._clock.sleep_until(self._clock.now() + system_delay_s)
                system_delay_s = min(system_delay_s * 2, MAX_SYSTEM_RETRY_DELAY_S)
                if self._clock.now() > expires_at:
                    return self._on_outcome(event, Outcome.EVENT_AGE_EXCEEDED)
                continue
            event.attempts += 1
            event.last_result = result
            if result.function_error is None:
                return self._on_outcome(event, Outcome.SUCCESS)
            if event.attempts > policy.maximum_retry_attempts:
                return self._on_outcome(event, Outcome.RETRIES_EXHAUSTED)
            delay_s = RETRY_DELAYS_S[min(event.attempts, len(RETRY_DELAYS_S)) - 1]
            if self._clock.now() + delay_s > expires_at:
                return self._on_outcome(event, Outcome.EVENT_AGE_EXCEEDED)
            await self._clock.sleep_until(self._clock.now() + delay_s)

    async def _slot_free(self, event: QueuedEvent, expires_at: float) -> bool:
        """Wait in the function's line for a slot; False when the event got too old."""
        function_arn = event.invocation.version_arn.rpartition(":")[0]
        waiting = self._throttled.setdefault(function_arn, deque())
        event.woken = asyncio.get_running_loop().create_future()
        waiting.append(event)
        expiry = asyncio.ensure_future(self._clock.sleep_until(expires_at))
        try:
            await asyncio.wait({event.woken, expiry}, return_when=asyncio.FIRST_COMPLETED)
            return event.woken.done()
        finally:
            expiry.cancel()
            event.woken.cancel()
            if event in waiting:
                waiting.remove(event)
            if not waiting and self._throttled.get(function_arn) is waiting:
                del self._throttled[function_arn]
