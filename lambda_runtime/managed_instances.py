"""The environments of one function version on managed instances.

https://docs.aws.amazon.com/lambda/latest/dg/lambda-managed-instances-scaling.html
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from lambda_runtime.blueprint import Blueprint
from lambda_runtime.concurrency import ACCOUNT_LIMIT_EXCEEDED
from lambda_runtime.errors import EnvironmentNotStarted, ServiceStopped, Throttled
from lambda_runtime.failures import UNHANDLED, InitFailure
from lambda_runtime.managed_environment import WORKERS_GRACE_S, ManagedEnvironment, Phase
from lambda_runtime.metrics import Series
from lambda_runtime.patience import LEAST_S
from lambda_runtime.provisioned import ProvisionedEnvironments
from lambda_runtime.resets import Resets
from lambda_runtime.types import InvocationResult
from lambda_runtime.work import Work

_ATTEMPTS = 3
"""So often in a row environments that are to be kept may fail before nobody is started any more without an invocation."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many environments a version keeps, and how many it may have; None for as many as needed."""

    minimum: int = 0
    maximum: int | None = None


class ManagedInstances:
    """Keeps the minimum of environments initialised, fills one after the other, and starts more of them up to the maximum.

    AWS adds environments when the load rises, and throttles until they are there; here they are added for the invocations that
    wait, and only the maximum throttles. Surplus environments are stopped when nothing has run in them for `idle_timeout_s`.

    Owned by the RuntimeService, touched only on the runtime loop; hence no locks. After `drain` it takes no new work, finishes
    what it has, and calls `on_drained` when its last environment is gone. The counterpart of `VersionManager`.
    """

    def __init__(self, blueprint: Blueprint, bounds: Bounds, on_drained: Callable[[ManagedInstances], None]) -> None:
        self.version = blueprint.prepared.version
        self.prepared = blueprint.prepared
        self.series: dict[str, Series] = {}
        """What is counted for CloudWatch, by the ARN that was invoked; filled by the RuntimeService."""
        self.bounds = Bounds()
        self.provisioned = ProvisionedEnvironments(_never, 0.0, lambda: None, self.submit, Resets(0.0))
        """Without a target: there is no provisioned concurrency on managed instances."""
        self._blueprint = blueprint
        self._config = blueprint.config
        self._on_drained = on_drained
        self._slots = self.version.max_concurrency or 1
        self._loop = asyncio.get_running_loop()
        self._environments: dict[ManagedEnvironment, None] = {}
        """In the order of their start: the first that has room takes the work, so that later ones come to rest."""
        self._pending: deque[Work] = deque()
        self._failures = 0
        self._draining = False
        self._drained = False
        self._timer: asyncio.TimerHandle | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.set_bounds(bounds)

    @property
    def environment_count(self) -> int:
        """Environments that exist now, in any state."""
        return len(self._environments)

    def set_bounds(self, bounds: Bounds) -> None:
        """Keep and allow that many environments from now on."""
        self.bounds = bounds
        self._failures = 0
        self._stop_surplus()
        self._fill()

    def require_room(self, tenant_id: str | None) -> None:
        """Raise Throttled if the work could neither be given to an environment nor to one that is, or may be, started."""
        maximum = self.bounds.maximum
        if maximum is None or self.environment_count < maximum:
            return
        expected = sum(
            self._slots if each.phase is Phase.STARTING else each.free + each.free_soon + each.coming
            for each in self._environments
        )
        if len(self._pending) >= expected:
            raise Throttled(ACCOUNT_LIMIT_EXCEEDED)

    def for_tenant(self, tenant_id: str) -> ManagedInstances:
        """Itself: tenants are not isolated on managed instances, and nobody may ask for it."""
        return self

    def submit(self, work: Work) -> None:
        """Run the work in the first environment that has room, or in the next one that has."""
        for environment in self._environments:
            if environment.free:
                environment.assign(work)
                return
        self._pending.append(work)
        self._grow(soon=True)
        self._loop.call_later(LEAST_S, self._grow_for, work)

    def deliver_logs(self) -> None:
        """Hand over the log lines that are still collected."""
        for environment in self._environments:
            environment.deliver_log()

    def drain(self) -> None:
        """Take no more work, stop what rests, finish what runs."""
        self._draining = True
        self._cancel_timers()
        for environment in list(self._environments):
            if not environment.busy and not self._pending:
                environment.stop()
        self._check_drained()

    def stop(self) -> None:
        """End every environment now; waiting work fails with ServiceStopped."""
        self._draining = True
        self._cancel_timers()
        while self._pending:
            self._pending.popleft().fail(ServiceStopped("the service is stopping"))
        for environment in list(self._environments):
            environment.stop()
        for task in self._tasks:
            task.cancel()
        self._check_drained()

    # --- what environments tell (ManagedOwner)

    def worker_waits(self, environment: ManagedEnvironment) -> None:
        self._failures = 0
        if self._pending and environment.free:
            environment.assign(self._pending.popleft())

    def environment_rests(self, environment: ManagedEnvironment) -> None:
        if self._draining and not self._pending:
            environment.stop()
            return
        self._grow()
        self._stop_surplus()
        if self._idle_timer is None:
            self._idle_timer = self._loop.call_later(self._config.idle_timeout_s, self._stop_idle)

    def environment_init_failed(self, environment: ManagedEnvironment, failure: InitFailure) -> None:
        self._failures += 1
        if self._pending:
            work = self._pending.popleft()
            work.assigned, work.failed = True, True
            work.duration_ms = 0.0
            work.answer(InvocationResult(failure.payload, self.version.version, function_error=UNHANDLED))
            work.finish()

    def environment_stopped(self, environment: ManagedEnvironment) -> None:
        self._environments.pop(environment, None)
        # What cannot live must not be started over and over as fast as it dies.
        self._fill_later(self._config.provisioning_delay_s)
        if self._pending:
            self._loop.call_soon(self._grow)
        self._check_drained()

    # --- inside

    def _grow_for(self, work: Work) -> None:
        """The worker that was to be free in a moment was not, or somebody else got it."""
        if work.assigned:
            return
        self._grow()
        if any(each.coming for each in self._environments):
            self._loop.call_later(WORKERS_GRACE_S, self._grow_for, work)

    def _grow(self, *, soon: bool = False) -> None:
        """Start what the waiting work needs beyond the environments and workers that are being started.

        `soon` counts on workers that have just answered, too.
        """
        expected = sum(each.coming + (each.free_soon if soon else 0) for each in self._environments)
        starting = sum(each.phase is Phase.STARTING for each in self._environments)
        while len(self._pending) - expected > starting * self._slots and self._may_start():
            self._start()
            starting += 1

    def _may_start(self) -> bool:
        maximum = self.bounds.maximum
        return (not self._draining or bool(self._pending)) and (maximum is None or self.environment_count < maximum)

    def _fill_later(self, delay_s: float) -> None:
        if self._timer is None and not self._draining:
            self._timer = self._loop.call_later(delay_s, self._fill)

    def _fill(self) -> None:
        """Start what is missing of the minimum."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while not self._draining and self._failures < _ATTEMPTS and self.environment_count < self.bounds.minimum:
            self._start()

    def _start(self) -> None:
        environment = ManagedEnvironment(self._blueprint, self)
        self._environments[environment] = None
        task = self._loop.create_task(self._run_start(environment))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run_start(self, environment: ManagedEnvironment) -> None:
        try:
            await environment.start()
        except EnvironmentNotStarted as error:
            self._failures += 1
            if self._pending:
                self._pending.popleft().fail(error)

    def _stop_surplus(self) -> None:
        """Above the maximum, what rests is stopped; what is busy follows when it rests."""
        maximum = self.bounds.maximum
        if maximum is None:
            return
        for environment in reversed(list(self._environments)):
            if self.environment_count > maximum and not environment.busy:
                environment.stop()

    def _stop_idle(self) -> None:
        self._idle_timer = None
        horizon = self._loop.time() - self._config.idle_timeout_s
        resting = [each for each in reversed(list(self._environments)) if each.phase is Phase.READY and not each.busy]
        for environment in resting:
            if environment.idle_since <= horizon and self.environment_count > self.bounds.minimum:
                environment.stop()
        resting = [each for each in resting if each.phase is Phase.READY]
        if resting and self.environment_count > self.bounds.minimum:
            due = min(each.idle_since for each in resting) + self._config.idle_timeout_s
            self._idle_timer = self._loop.call_at(max(due, self._loop.time() + 0.001), self._stop_idle)

    def _cancel_timers(self) -> None:
        for timer in (self._timer, self._idle_timer):
            if timer is not None:
                timer.cancel()
        self._timer = self._idle_timer = None

    def _check_drained(self) -> None:
        if self._draining and not self._drained and not self._environments and not self._pending:
            self._drained = True
            self._on_drained(self)


def _never(owner: object, predecessor: object) -> NoReturn:
    raise AssertionError("there is no provisioned concurrency on managed instances")
