"""Provisioned concurrency of one function version: environments that are initialised ahead of the invocations.

https://docs.aws.amazon.com/lambda/latest/dg/provisioned-concurrency.html
"""

from __future__ import annotations

import asyncio
import enum
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from lambda_runtime.environment import EnvironmentOwner, ExecutionEnvironment, State
from lambda_runtime.errors import EnvironmentNotStarted, ServiceStopped
from lambda_runtime.failures import InitFailure
from lambda_runtime.resets import Reset, Resets
from lambda_runtime.work import Work

INITIALIZATION_TYPE = "provisioned-concurrency"
INIT_FAILURE = "FUNCTION_ERROR_INIT_FAILURE"
"""The StatusReason of an allocation whose environments do not initialise (recorded:
test_provisioned_concurrency_init_failure)."""
INTERNAL_ERROR = "INTERNAL_ERROR"
"""The StatusReason when this machine cannot start environments."""

_ATTEMPTS = 3
"""So often in a row an environment may fail to initialise before the allocation has failed."""


class Allocation(enum.Enum):
    """How far an allocation is, in the words of the API's Status."""

    IN_PROGRESS = "IN_PROGRESS"
    READY = "READY"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class ProvisionedStatus:
    """What became of a request: environments that are kept for it, those of them that take work, and why it failed."""

    state: Allocation = Allocation.IN_PROGRESS
    allocated: int = 0
    available: int = 0
    reason: str | None = None


class ProvisionedEnvironments:
    """Keeps `target` environments of a version initialised, and runs on them the work that has a slot.

        IN_PROGRESS -> READY                as many as asked for are initialised; they go into service together
        IN_PROGRESS | READY -> FAILED       an environment could not be initialised, three times in a row
        READY | FAILED -> IN_PROGRESS       another number is asked for

    An environment that stops is replaced. Work takes a slot (`in_use < capacity`, see `submit`) rather than an idle environment:
    one that has just answered, or is being replaced, will be there in a moment. None is stopped for being idle.

    Touched only on the runtime loop; hence no locks. `on_change` is called after the state, the capacity or the number of
    environments changed; `fall_back` takes work whose environment could not be initialised and runs it on demand.
    """

    def __init__(
        self,
        create: Callable[[EnvironmentOwner, Reset | None], ExecutionEnvironment],
        delay_s: float,
        on_change: Callable[[], None],
        fall_back: Callable[[Work], None],
        resets: Resets,
    ) -> None:
        self.target = 0
        self.capacity = 0
        """Invocations that may run here at once."""
        self.in_use = 0
        self.state = Allocation.READY
        self.reason: str | None = None
        self.environments: set[ExecutionEnvironment] = set()
        self._create = create
        self._delay_s = delay_s
        self._on_change = on_change
        self._fall_back = fall_back
        self._resets = resets
        self._loop = asyncio.get_running_loop()
        self._waiting: list[ExecutionEnvironment] = []
        """Initialised, until all are."""
        self._serving: set[ExecutionEnvironment] = set()
        self._idle: list[ExecutionEnvironment] = []
        self._pending: deque[Work] = deque()
        self._failures = 0
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def status(self) -> ProvisionedStatus:
        """How far the allocation is. What is READY stays allocated while an environment is replaced."""
        ready = self.state is Allocation.READY
        allocated = self.target if ready else min(self.target, len(self._serving) + len(self._waiting))
        return ProvisionedStatus(self.state, allocated, min(self.target, len(self._serving)), self.reason)

    def set_target(self, target: int, *, at_once: bool = False) -> None:
        """Keep that many environments. New ones are started after the delay, or at once."""
        if target == self.target and self.state is not Allocation.FAILED:
            return
        self.target = target
        self._failures, self.reason = 0, None
        self.state = Allocation.IN_PROGRESS
        self._stop_surplus()
        self._settle()
        if self.state is Allocation.IN_PROGRESS:
            self._fill_later(0 if at_once else self._delay_s)

    def submit(self, work: Work) -> None:
        """Run the work; there must be a slot, and `release` follows when the work is finished."""
        self.in_use += 1
        while self._idle:
            environment = self._idle.pop()
            if environment.state is State.READY:
                environment.assign(work)
                return
        self._pending.append(work)
        self._fill()

    def release(self) -> None:
        """Work that had a slot is finished."""
        self.in_use -= 1

    def drain(self) -> None:
        """Take no more work, finish what runs."""
        self.target = 0
        self._resets.clear()
        self._stop_surplus()
        self._fall_back_beyond(0)
        self._settle()

    def stop(self) -> None:
        """End everything now; waiting work fails with ServiceStopped."""
        self.target = self.capacity = 0
        self._cancel_timer()
        while self._pending:
            self._pending.popleft().fail(ServiceStopped("the service is stopping"))
        for environment in list(self.environments):
            environment.stop()
        for task in self._tasks:
            task.cancel()
        self._resets.clear()

    # --- what environments tell (EnvironmentOwner)

    def environment_ready(self, environment: ExecutionEnvironment) -> None:
        if environment not in self._serving:
            self._failures = 0
            if self.state is Allocation.IN_PROGRESS and len(self.environments) <= self.target:
                self._waiting.append(environment)
                self._settle()
                return
            self._serving.add(environment)
            self._on_change()
        self._offer(environment)

    def environment_finishing(self, environment: ExecutionEnvironment) -> None:
        pass  # its slot is free already, and who takes that waits for it

    def environment_init_failed(self, environment: ExecutionEnvironment, failure: InitFailure) -> None:
        self._start_failed(INIT_FAILURE)

    def environment_stopped(self, environment: ExecutionEnvironment) -> None:
        self._resets.add(environment.reset)
        self.environments.discard(environment)
        self._serving.discard(environment)
        if environment in self._waiting:
            self._waiting.remove(environment)
        died_idle = environment in self._idle
        if died_idle:
            self._idle.remove(environment)
        # One that cannot live must not be started over and over as fast as it dies. Not within this call in any case: an init
        # failure is told, and counted, after the stop.
        self._fill_later(self._delay_s if died_idle else 0)
        if self._timer is None:
            self._fall_back_beyond(len(self.environments))
        self._settle()

    # --- inside

    def _offer(self, environment: ExecutionEnvironment) -> None:
        if self._pending:
            environment.assign(self._pending.popleft())
        elif len(self.environments) > self.target:
            environment.stop()
        else:
            self._idle.append(environment)

    def _settle(self) -> None:
        """Put what is initialised into service once it is enough."""
        if self.state is Allocation.IN_PROGRESS and len(self._serving) + len(self._waiting) >= self.target:
            self.state = Allocation.READY
            initialised, self._waiting = self._waiting, []
            self._serving.update(initialised)
            for environment in initialised:
                self._offer(environment)
        ready = self.state is Allocation.READY
        self.capacity = self.target if ready else min(self.target, len(self._serving))
        self._on_change()

    def _stop_surplus(self) -> None:
        """Stop what is above the target: what does not serve yet before what idles; what is busy goes when it is done."""
        starting = self.environments - self._serving - set(self._waiting)
        for environment in [*starting, *self._waiting, *self._idle]:
            if len(self.environments) > self.target:
                environment.stop()

    def _fill_later(self, delay_s: float) -> None:
        if self._timer is None and len(self.environments) < self.target and self.state is not Allocation.FAILED:
            self._timer = self._loop.call_later(delay_s, self._fill)

    def _fill(self) -> None:
        """Start what is missing."""
        self._cancel_timer()
        if self.state is Allocation.FAILED:
            return
        while len(self.environments) < self.target:
            environment = self._create(self, self._resets.take())
            self.environments.add(environment)
            task = self._loop.create_task(self._start(environment))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _start(self, environment: ExecutionEnvironment) -> None:
        try:
            await environment.start()
        except EnvironmentNotStarted:
            self._start_failed(INTERNAL_ERROR)

    def _start_failed(self, reason: str) -> None:
        if self._pending:
            self._fall_back(self._pending.popleft())
        self._failures += 1
        if self._failures < _ATTEMPTS or self.state is Allocation.FAILED:
            return
        self.state = Allocation.FAILED
        self.reason = reason
        self._cancel_timer()
        for environment in self.environments - self._serving:
            environment.stop()
        self._fall_back_beyond(len(self._serving))
        self._settle()

    def _fall_back_beyond(self, expected: int) -> None:
        """Run on demand what waits for more environments than will come."""
        while len(self._pending) > expected:
            self._fall_back(self._pending.popleft())

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
