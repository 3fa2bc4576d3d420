"""The one door of the data plane."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from typing import Any, TypeVar

from lambda_runtime.allocations import Allocations
from lambda_runtime.blueprint import Blueprint
from lambda_runtime.clock import Clock, ScaledClock, SystemClock
from lambda_runtime.concurrency import ConcurrencyTracker
from lambda_runtime.config import RuntimeConfig
from lambda_runtime.deployments import DeployedVersions, Manager
from lambda_runtime.errors import Throttled
from lambda_runtime.event_queue import EventJournal, EventQueue, Outcome, QueuedEvent, RetryPolicy
from lambda_runtime.executors.base import PreparedVersion, RuntimeExecutor
from lambda_runtime.logs import ClosableSink, LogSink
from lambda_runtime.managed_instances import Bounds, ManagedInstances
from lambda_runtime.metrics import Metrics, MetricSink, Series
from lambda_runtime.provisioned import INIT_FAILURE, Allocation, ProvisionedStatus
from lambda_runtime.scaling import ScalingByFunction
from lambda_runtime.tracing import Sampler, new_trace_header
from lambda_runtime.types import FunctionVersion, Invocation, InvocationResult
from lambda_runtime.version_manager import VersionManager
from lambda_runtime.work import Work

T = TypeVar("T")


class RuntimeService:
    """Deploys function versions and runs them.

    Everything lives on the loop that `start` is awaited on. Coroutine methods are called on that loop; other threads use
    `submit`, which is the only crossing.

    `log_sink` gets the log entries of each environment's stream; `credentials` gives the AWS variables of an environment;
    `retry_policy` and `on_outcome` belong to the asynchronous queue, `EventQueue`; without a policy AWS's defaults hold for
    every version that is deployed.
    """

    def __init__(
        self,
        config: RuntimeConfig,
        executor: RuntimeExecutor,
        *,
        log_sink: LogSink = lambda version, stream, entries: None,
        metric_sink: MetricSink = lambda account_id, region, data: None,
        credentials: Callable[[FunctionVersion], Mapping[str, str]] = lambda version: {},
        retry_policy: Callable[[Invocation], RetryPolicy | None] | None = None,
        on_outcome: Callable[[QueuedEvent, Outcome], Awaitable[None] | None] = lambda event, outcome: None,
        clock: Clock | None = None,
    ) -> None:
        self.config = config
        self.executor = executor
        self.clock = clock or (SystemClock() if config.clock_rate == 1 else ScaledClock(config.clock_rate))
        self._log_sink = ClosableSink(log_sink)
        self._credentials = credentials
        self.events = EventQueue(
            self._run_event, self.clock, retry_policy or self._default_policy, on_outcome, self.count
        )
        self.concurrency = ConcurrencyTracker(
            config.concurrency_limit, self.events.slot_released, self.clock, config.requests_per_concurrency
        )
        self._scaling = ScalingByFunction(config, self.clock)
        self.metrics = Metrics(metric_sink, self.concurrency.unreserved)
        self.sampler = Sampler()
        self._bounds: dict[str, Bounds] = {}
        self._allocations = Allocations(self._set_provisioned_target, self._provisioned_on)
        self._deployments = DeployedVersions(
            executor, self._new_manager, self._deployed, needs_runtime=config.runtime_mismatch == "error"
        )
        self._managers = self._deployments.managers
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop that the service lives on. Raises RuntimeError before `start`."""
        if self._loop is None:
            raise RuntimeError("the runtime service was not started")
        return self._loop

    async def start(self) -> None:
        """Take work from now on."""
        self._loop = asyncio.get_running_loop()
        self._deployments.start()
        await self.executor.start()

    async def stop(self) -> None:
        """End everything: queued events, environments, the executor. May be called twice."""
        self._deployments.stop()
        await self.events.stop()
        self._end_all()
        await self._deployments.close()
        self.metrics.close()
        await self.executor.stop()

    async def reset(self) -> None:
        """End everything that runs or waits, of retired versions too, and forget every version: as a new service would.

        What is deployed or requested after the call begins is not touched. Cancelled, the rest ends by itself.
        """
        log_sink, self._log_sink = self._log_sink, self._log_sink.renewed()
        await self._deployments.ended(self._end_all())
        self.metrics.flush()
        log_sink.close()

    def _end_all(self) -> set[Manager]:
        """Begin to end everything; the answer is whose environments have to go."""
        self.events.forget()
        self._allocations.clear()
        self._bounds.clear()
        deployed = list(self._managers.values())
        ending = self._deployments.end_all()
        for manager in ending:
            self.metrics.forget(manager.version.arn)
        for manager in deployed:
            self._give_back_concurrency(manager)
        return ending

    def submit(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Run a coroutine on the service's loop, from another thread."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    async def deploy(self, version: FunctionVersion) -> None:
        """Make a version ready to be invoked; an older value with the same ARN finishes its work and goes.

        Raises VersionFailed when it cannot run; an older value stays in place then. A runtime that this machine does not have
        is not the function's fault: it is deployed, as on AWS, and its invokes raise VersionFailed. Raises ServiceStopped.
        """
        await self._deployments.deploy(version)

    def has_snapshot(self, arn: str) -> bool:
        """Whether environments of a deployed version start from a snapshot. On the service's loop only."""
        manager = self._managers.get(arn)
        return isinstance(manager, VersionManager) and manager.snapshots is not None and not manager.snapshots.obstacle

    async def retire(self, arn: str) -> None:
        """Forget a version: what runs may finish, nothing new is taken. Unknown ARNs are ignored."""
        manager = self._deployments.retire(arn)
        if manager is not None:
            self._give_back_concurrency(manager)
        self.metrics.forget(arn)

    def set_provisioned(self, name: str, versions: Mapping[str, int]) -> None:
        """Keep environments of versions initialised: how many, by the version's ARN.

        `name` stands for the request: calling again replaces it, an empty mapping ends it. A version need not be deployed yet.
        On the service's loop only.
        """
        self._allocations.request(name, versions)

    def provisioned(self, name: str) -> ProvisionedStatus | None:
        """How far such a request is; None if there is none. On the service's loop only."""
        return self._allocations.status(name)

    def set_bounds(self, arn: str, bounds: Bounds | None) -> None:
        """How many environments a version on managed instances keeps and may have; None forgets it.

        A version need not be deployed yet; one that is not on managed instances has none. On the service's loop only.
        """
        if bounds is None:
            self._bounds.pop(arn, None)
            return
        self._bounds[arn] = bounds
        manager = self._managers.get(arn)
        if isinstance(manager, ManagedInstances):
            manager.set_bounds(bounds)

    async def invoke(self, invocation: Invocation, *, synchronous: bool = True) -> InvocationResult:
        """Run a version and return what it answered; for a streamed response, as soon as it begins.

        A function's own failure is a result, not an exception. A caller that is cancelled does not stop the function.
        What is `synchronous` counts towards the requests that are allowed a second.
        Raises VersionNotDeployed, VersionFailed, Throttled, EnvironmentNotStarted or ServiceStopped.
        """
        manager = self._managers.get(invocation.version_arn)
        if manager is None:
            manager = await self._deployments.deployed(invocation.version_arn)
        version = manager.version
        if version.code_folder is not None:
            manager = await self._deployments.up_to_date(manager, version.code_folder)
            version = manager.version
        provisioned = manager.provisioned
        series = manager.series.get(invocation.invoked_arn) or self._series(manager, invocation.invoked_arn)
        ahead = provisioned.in_use < provisioned.capacity
        try:
            if ahead:
                self.concurrency.acquire_provisioned(version, synchronous)
            else:
                manager.require_room(invocation.tenant_id)
                self.concurrency.acquire(version, synchronous)
        except Throttled:
            series.add("Throttles")
            raise
        series.began()
        if provisioned.target:
            series.provisioned(used=ahead, in_use=provisioned.in_use + ahead, capacity=provisioned.capacity)
        if invocation.trace_header is None:
            invocation.trace_header = new_trace_header()
        answered: asyncio.Future[InvocationResult] = asyncio.get_running_loop().create_future()
        if ahead:
            provisioned.submit(
                Work(invocation, answered, lambda work: self._release_provisioned(manager, series, work), series)
            )
        else:
            pool = manager if invocation.tenant_id is None else manager.for_tenant(invocation.tenant_id)
            pool.submit(Work(invocation, answered, lambda work: self._release(version, series, work), series))
        return await answered

    async def _run_event(self, invocation: Invocation) -> InvocationResult:
        return await self.invoke(invocation, synchronous=False)

    async def enqueue(self, invocation: Invocation, outcome: Outcome | None = None) -> None:
        """Accept an event (InvocationType `Event`) into the asynchronous queue; with a journal it is durable then.

        With an `outcome` the event is not run: it leaves the queue in that way. Raises VersionNotDeployed, VersionFailed or
        ServiceStopped, and what the journal raises.
        """
        if invocation.version_arn not in self._managers:
            await self._deployments.deployed(invocation.version_arn)
        await self.events.accept(invocation, outcome)

    def keep_events_in(self, journal: EventJournal | None) -> None:
        """Where accepted events are durable from now on; None lets them live in memory."""
        self.events.journal = journal

    def resume_events(self, events: Iterable[QueuedEvent]) -> None:
        """Go on with events that a journal kept. On the service's loop only, when their versions are deployed."""
        self.events.resume(events)

    def forget_events(self) -> None:
        """Let go of all events; what a journal has stays there. On the service's loop only."""
        self.events.forget()

    def in_use(self) -> dict[str, int]:
        """What is taken now and given back later, as each part counts it. All 0 at rest with no function deployed."""
        return {
            **self.concurrency.counts(),
            "counted": self.metrics.active,
            "events": len(self.events),
            "environments": self.environment_count(),
            "tenant_environments": self._scaling.tenant_environments,
            **self._deployments.counts(),
        }

    def environment_count(self) -> int:
        """Environments that exist now, in any state."""
        return sum(manager.environment_count for manager in self._deployments.running())

    def count(self, metric: str, version_arn: str, invoked_arn: str, value: float = 1.0) -> None:
        """Count one of AWS's metrics for what was invoked; nothing for a version that is gone. On the service's loop only."""
        manager = self._managers.get(version_arn)
        if manager is not None:
            series = manager.series.get(invoked_arn) or self._series(manager, invoked_arn)
            series.add(metric, value)

    def _default_policy(self, invocation: Invocation) -> RetryPolicy | None:
        return RetryPolicy() if self._deployments.known(invocation.version_arn) else None

    def deliver_telemetry(self) -> None:
        """Hand over the log lines and counts that are still collected: somebody is about to read them. On the loop only."""
        self.metrics.flush()
        for manager in self._deployments.running():
            manager.deliver_logs()

    def _series(self, manager: Manager, invoked_arn: str) -> Series:
        series = manager.series[invoked_arn] = self.metrics.series(manager.version, invoked_arn)
        return series

    def _release(self, version: FunctionVersion, series: Series, work: Work) -> None:
        series.ended(work.duration_ms, work.failed)
        self.concurrency.release(version)

    def _release_provisioned(self, manager: Manager, series: Series, work: Work) -> None:
        series.ended(work.duration_ms, work.failed)
        manager.provisioned.release()
        self.concurrency.release_provisioned(manager.version)

    def _set_provisioned_target(self, arn: str, target: int) -> None:
        if (manager := self._managers.get(arn)) is not None:
            manager.provisioned.set_target(target)

    def _provisioned_on(self, arn: str) -> ProvisionedStatus:
        if (manager := self._managers.get(arn)) is not None:
            return manager.provisioned.status
        if self._deployments.failed(arn):
            return ProvisionedStatus(Allocation.FAILED, reason=INIT_FAILURE)
        return ProvisionedStatus()

    def _provisioned_changed(self, manager: VersionManager) -> None:
        arn = manager.version.arn
        if self._managers.get(arn) is manager:
            self.concurrency.set_provisioned(manager.version, manager.provisioned.capacity)
            self._allocations.version_changed(arn)

    def _give_back_concurrency(self, manager: Manager) -> None:
        """A version is gone."""
        self.concurrency.set_provisioned(manager.version, 0)
        self.concurrency.forget_rate(manager.version)

    def _deployed(self, manager: Manager) -> None:
        """A version has a new manager."""
        manager.provisioned.set_target(self._allocations.target(manager.version.arn), at_once=True)

    def _new_manager(self, prepared: PreparedVersion) -> Manager:
        version, drained = prepared.version, self._deployments.manager_drained
        blueprint = Blueprint(
            prepared, self.executor, self.config, self._log_sink, self._credentials, self._deployments.shutdowns
        )
        if version.max_concurrency is not None:
            return ManagedInstances(blueprint, self._bounds.get(version.arn, Bounds()), drained)
        scaling = self._scaling.of(version.function_arn, lambda: self.concurrency.limit_of(version))
        return VersionManager(blueprint, scaling, drained, self._provisioned_changed)
