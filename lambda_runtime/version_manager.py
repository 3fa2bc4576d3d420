"""The environments of one function version."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from lambda_runtime.blueprint import Blueprint
from lambda_runtime.environment import EnvironmentOwner, ExecutionEnvironment, State
from lambda_runtime.errors import EnvironmentNotStarted, ServiceStopped, SnapshotNotRegenerated
from lambda_runtime.failures import InitFailure
from lambda_runtime.metrics import Series
from lambda_runtime.patience import Patience
from lambda_runtime.provisioned import INITIALIZATION_TYPE, ProvisionedEnvironments
from lambda_runtime.resets import Reset, Resets
from lambda_runtime.scaling import FunctionScaling
from lambda_runtime.snapstart import Snapshots, SnapshotSource, obstacle_of
from lambda_runtime.snapstart_environment import SnapStartEnvironment
from lambda_runtime.work import Work

ON_DEMAND = "on-demand"


class VersionManager:
    """Assigns work to environments, starts more of them when all are busy, and stops those that idle.

    Whichever environment is ready first takes the oldest waiting work, whether it was just started or just got free. Idle
    environments are used last-in-first-out, so surplus ones age and are stopped after `idle_timeout_s`.

    These are the environments on demand; those with provisioned concurrency, `provisioned`, have rules of their own. A version
    that isolates tenants runs each tenant's work in a manager of the tenant's own (`for_tenant`), which goes with its last
    environment: https://docs.aws.amazon.com/lambda/latest/dg/tenant-isolation.html.

    Owned by the RuntimeService, touched only on the runtime loop; hence no locks. After `drain` it takes no new work, finishes
    what it has, and calls `on_drained` when its last environment is gone.
    """

    def __init__(
        self,
        blueprint: Blueprint,
        scaling: FunctionScaling,
        on_drained: Callable[[VersionManager], None],
        on_provisioned: Callable[[VersionManager], None] = lambda manager: None,
        tenant_id: str | None = None,
    ) -> None:
        self.version = blueprint.prepared.version
        self.prepared = blueprint.prepared
        self.environments: set[ExecutionEnvironment] = set()
        self.series: dict[str, Series] = {}
        """What is counted for CloudWatch, by the ARN that was invoked; filled by the RuntimeService."""
        self._blueprint = blueprint
        self._config = blueprint.config
        self._scaling = scaling
        self._on_drained = on_drained
        self._on_provisioned = on_provisioned
        self._tenant_id = tenant_id
        self._tenants: dict[str, VersionManager] = {}
        self._loop = asyncio.get_running_loop()
        self._idle: list[ExecutionEnvironment] = []
        self._pending: deque[Work] = deque()
        self._patience = Patience()
        self._begun: dict[ExecutionEnvironment, float] = {}
        """Since when those start that any work may have."""
        self._finishing = 0
        self._draining = False
        self._drained = False
        self._idle_timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.snapshots: Snapshots | None = None
        """Where its environments start from, if it has SnapStart."""
        if self.version.snap_start:
            self.snapshots = Snapshots(self._new_snapstart, obstacle_of(blueprint.executor, self.prepared))
        self._resets = Resets(self._config.idle_timeout_s, self._check_drained)
        self.provisioned = ProvisionedEnvironments(
            self._new_provisioned,
            self._config.provisioning_delay_s,
            self._provisioned_changed,
            self._start_environment,
            Resets(self._config.idle_timeout_s),
        )

    @property
    def environment_count(self) -> int:
        """Environments that exist now, in any state."""
        own = len(self.environments) + len(self.provisioned.environments)
        return own + sum(tenant.environment_count for tenant in self._tenants.values())

    @property
    def idle_count(self) -> int:
        """Environments that wait for work."""
        return len(self._idle)

    def require_room(self, tenant_id: str | None) -> None:
        """Raise Throttled if the work would need an environment that cannot be started now."""
        pool = self if tenant_id is None else self._tenants.get(tenant_id)
        if pool is None or (not pool._idle and len(pool._pending) >= len(pool._begun) + pool._finishing):
            self._scaling.require_room(for_tenant=tenant_id is not None)

    def submit(self, work: Work) -> None:
        """Run the work on an idle environment, or on the next one that is ready."""
        while self._idle:
            environment = self._idle.pop()
            if environment.state is State.READY:
                environment.assign(work)
                return
        self._pending.append(work)
        if len(self._pending) <= len(self._begun):
            return
        if len(self._pending) - len(self._begun) <= self._finishing:
            self._patience.wait(work, self._waited_in_vain)
        else:
            self._start_missing(self._finishing)

    def for_tenant(self, tenant_id: str) -> VersionManager:
        """The environments of one tenant. Submit to it at once: a manager that has nothing is forgotten."""
        tenant = self._tenants.get(tenant_id)
        if tenant is None:
            tenant = self._tenants[tenant_id] = VersionManager(
                self._blueprint, self._scaling, self._tenant_gone, tenant_id=tenant_id
            )
        return tenant

    def deliver_logs(self) -> None:
        """Hand over the log lines that are still collected."""
        for tenant in self._tenants.values():
            tenant.deliver_logs()
        for environment in (*self.environments, *self.provisioned.environments):
            environment.deliver_log()

    def drain(self) -> None:
        """Take no more work, stop what idles, finish what runs."""
        self._draining = True
        for tenant in list(self._tenants.values()):
            tenant.drain()
        self.provisioned.drain()
        for environment in [environment for environment in self.environments if environment.state is State.READY]:
            environment.stop()
        self._check_drained()

    def stop(self) -> None:
        """End every environment now; waiting work fails with ServiceStopped."""
        self._draining = True
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        while self._pending:
            self._pending.popleft().fail(ServiceStopped("the service is stopping"))
        for tenant in list(self._tenants.values()):
            tenant.stop()
        self.provisioned.stop()
        for environment in list(self.environments):
            environment.stop()
        for task in self._tasks:
            task.cancel()
        self._check_drained()

    # --- what environments tell (EnvironmentOwner)

    def environment_ready(self, environment: ExecutionEnvironment) -> None:
        if (begun := self._begun.get(environment)) is not None:
            self._patience.learn(self._loop.time() - begun)
        self._left_phase(environment)
        if self._pending:
            environment.assign(self._pending.popleft())
        elif self._draining:
            environment.stop()
        else:
            environment.idle_since = self._loop.time()
            self._idle.append(environment)
            if self._idle_timer is None:
                self._idle_timer = self._loop.call_later(self._config.idle_timeout_s, self._stop_idle)

    def environment_finishing(self, environment: ExecutionEnvironment) -> None:
        self._finishing += 1
        environment.phase = "finishing"

    def environment_init_failed(self, environment: ExecutionEnvironment, failure: InitFailure) -> None:
        # AWS repeats a failed init phase as a part of the invocation that it was started for, and reports that one's outcome:
        # https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html#runtimes-lifecycle-ib
        if failure.lost:
            self._start_missing()
        elif self._pending and failure.error is not None:
            self._pending.popleft().fail(failure.error)
        elif self._pending:
            self._start_environment(self._pending.popleft())

    def environment_stopped(self, environment: ExecutionEnvironment) -> None:
        self._resets.add(environment.reset)
        if self._left_phase(environment):
            self._start_missing(self._finishing)  # Somebody may have waited for this one.
        if environment in self.environments:
            self.environments.discard(environment)
            self._scaling.stopped(for_tenant=self._tenant_id is not None)
        if environment in self._idle:
            self._idle.remove(environment)
        self._check_drained()

    # --- inside

    def _left_phase(self, environment: ExecutionEnvironment) -> bool:
        """Whether it had answered, and was to be ready in a moment."""
        finishing = environment.phase == "finishing"
        self._finishing -= finishing
        self._begun.pop(environment, None)
        environment.phase = ""
        return finishing

    def _waited_in_vain(self) -> None:
        """An environment that was to be ready in a moment is not."""
        if len(self._pending) > len(self._begun):
            self._start_environment(None)

    def _start_missing(self, expected: int = 0) -> None:
        """Start what the waiting work needs beyond the environments that will be ready anyway."""
        for _ in range(len(self._pending) - len(self._begun) - expected):
            self._start_environment(None)

    def _new_provisioned(self, owner: EnvironmentOwner, predecessor: Reset | None) -> ExecutionEnvironment:
        return ExecutionEnvironment(self._blueprint, owner, INITIALIZATION_TYPE, predecessor)

    def _new_snapstart(self, owner: EnvironmentOwner, source: SnapshotSource | None = None) -> SnapStartEnvironment:
        """One that is restored from the source's snapshot, or, without a source, is to become one."""
        return SnapStartEnvironment(self._blueprint, owner, source)

    def _provisioned_changed(self) -> None:
        self._on_provisioned(self)
        self._check_drained()

    def _start_environment(self, work: Work | None) -> None:
        environment = (
            ExecutionEnvironment(self._blueprint, self, ON_DEMAND, self._resets.take())
            if self.snapshots is None
            else self._new_snapstart(self, self.snapshots)
        )
        self.environments.add(environment)
        self._scaling.started(for_tenant=self._tenant_id is not None)
        if work is None:
            self._begun[environment] = self._loop.time()
        task = self._loop.create_task(self._run_start(environment, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run_start(self, environment: ExecutionEnvironment, work: Work | None) -> None:
        try:
            await environment.start(work)
        except (EnvironmentNotStarted, SnapshotNotRegenerated) as error:
            if work is None and self._pending:
                self._pending.popleft().fail(error)

    def _stop_idle(self) -> None:
        self._idle_timer = None
        horizon = self._loop.time() - self._config.idle_timeout_s
        for environment in [each for each in self._idle if each.idle_since <= horizon]:
            environment.stop()
        if self._idle:
            due = min(each.idle_since for each in self._idle) + self._config.idle_timeout_s
            self._idle_timer = self._loop.call_at(due, self._stop_idle)

    def _tenant_gone(self, tenant: VersionManager) -> None:
        if tenant._tenant_id is not None:
            del self._tenants[tenant._tenant_id]
        self._check_drained()

    def _check_drained(self) -> None:
        if not self._draining and self._tenant_id is None:
            return
        if self._draining:
            self._resets.clear()
        if not (self._drained or self._tenants or self.environment_count or self._pending or self._resets):
            self._drained = True
            if self._idle_timer is not None:
                self._idle_timer.cancel()
                self._idle_timer = None
            if self.snapshots is not None:
                self.snapshots.stop()
            self._on_drained(self)
