"""SnapStart: a version is initialised once, and its environments start from a snapshot of that.

https://docs.aws.amazon.com/lambda/latest/dg/snapstart.html. What cannot be snapshotted here is initialised in every environment,
with the phases and hooks of SnapStart all the same (docs/snapstart.md).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol

from lambda_runtime.errors import EnvironmentNotStarted, SnapshotNotRegenerated, SnapStartFailed, SnapStartTimedOut
from lambda_runtime.executors.base import (
    PreparedVersion,
    RuntimeExecutor,
    Sandbox,
    SandboxSpec,
    Snapshot,
    SnapshotExecutor,
)
from lambda_runtime.failures import InitFailure
from lambda_runtime.platform_events import InvokeReport
from lambda_runtime.runtime_api.connection import Router
from lambda_runtime.runtime_api.credentials import CredentialsRouter

_LOG = logging.getLogger(__name__)

NO_CLIENT = "its runtime does not wait to be restored"


class SnapshotSource(Protocol):
    """Who has the snapshot of a version, as its environments see it."""

    obstacle: str
    """Why there is none; empty otherwise."""

    async def current(self) -> Snapshot | None:
        """The snapshot, made again if it was lost; None if there is none for good. Raises SnapshotNotRegenerated."""
        ...


class SnapStartSide:
    """What an environment of a version with SnapStart has that others have not; on the runtime loop only.

    The environment is restored from a snapshot of `source`. Without a source, its own runtime is to become one, `taken`. If
    the source has none, the environment initialises, and begins its restore phase when the runtime asks to be restored.
    """

    def __init__(
        self, source: SnapshotSource | None, issue_credentials: Callable[[], Mapping[str, str]], others: Router
    ) -> None:
        self.credentials = CredentialsRouter(issue_credentials, others)
        self.restoring = False
        self.snapshot: Snapshot | None = None
        """What the environment was restored from, or has become."""
        self._source = source
        self._began = 0.0
        self._loaded = 0.0
        self._due: tuple[float, float] | None = None

    @property
    def makes_snapshot(self) -> bool:
        """The environment is for a snapshot, not for work."""
        return self._source is None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the user has to know of an environment that initialises."""
        obstacle = self._source.obstacle if self._source is not None else ""
        return (no_snapshot(obstacle),) if obstacle else ()

    async def find_snapshot(self) -> bool:
        """Whether there is a snapshot from which the environment is to start. Raises SnapshotNotRegenerated."""
        if self._source is not None:
            self.snapshot = await self._source.current()
        return self.snapshot is not None

    async def start_sandbox(self, executor: RuntimeExecutor, prepared: PreparedVersion, spec: SandboxSpec) -> Sandbox:
        """A sandbox in which the runtime is restored or initialises. Raises OSError or SnapshotNotRegenerated."""
        if self._source is None:
            assert isinstance(executor, SnapshotExecutor)
            sandbox, self.snapshot = await executor.start_snapshot(prepared, spec)
        elif self.snapshot is None:
            sandbox = await executor.start_sandbox(prepared, spec)
        else:
            sandbox = await self._restore(self._source, self.snapshot, spec)
        self._loaded = time.monotonic()
        return sandbox

    async def _restore(self, source: SnapshotSource, snapshot: Snapshot, spec: SandboxSpec) -> Sandbox:
        while True:
            try:
                return await snapshot.start_sandbox(spec)
            except OSError:
                if snapshot.alive:
                    raise
                again = await source.current()
                if again is None:
                    raise
                snapshot = self.snapshot = again

    def begin_restore(self) -> None:
        """The restore phase begins."""
        self.restoring = True
        self._began = self._loaded = time.monotonic()

    @property
    def restore_ms(self) -> float:
        """How long the restore takes so far."""
        return (time.monotonic() - self._began) * 1000

    def restored(self) -> float:
        """The restore phase is over; returns how long it took, which the report of the next invocation shows, too."""
        self.restoring = False
        duration_ms = self.restore_ms
        self._due = duration_ms, (time.monotonic() - self._loaded) * 1000
        return duration_ms

    def failure(self, failure: InitFailure) -> InitFailure:
        """What the callers of an environment get that could not be restored.

        https://docs.aws.amazon.com/lambda/latest/dg/snapstart-troubleshooting.html. If the snapshot itself has ended, they get
        an environment from the next one.
        """
        if self.snapshot is not None and not self.snapshot.alive:
            return replace(failure, lost=True)
        timed_out = failure.status == "timeout"
        return replace(failure, error=SnapStartTimedOut() if timed_out else SnapStartFailed(failure.error_type))

    def add_to(self, report: InvokeReport) -> InvokeReport:
        """The report with the figures of the restore, if it is of the first invocation."""
        if self._due is None:
            return report
        (duration_ms, loaded_ms), self._due = self._due, None
        return replace(report, restore_duration_ms=duration_ms, restored_in_ms=loaded_ms)


def no_snapshot(obstacle: str) -> str:
    """What a function's log says where there is no snapshot."""
    return (
        f"SnapStart: there is no snapshot of this version ({obstacle}), so every environment is initialised by itself."
    )


def obstacle_of(executor: RuntimeExecutor, prepared: PreparedVersion) -> str:
    """Why there can be no snapshot of a version, as far as is known before its code runs; empty if there can."""
    if not isinstance(executor, SnapshotExecutor):
        return f"the executor {executor.name} makes none"
    return prepared.snapshot_obstacle


class MakingEnvironment(Protocol):
    """An ExecutionEnvironment that is for a snapshot."""

    @property
    def snapshot(self) -> Snapshot | None: ...
    async def start(self) -> None: ...
    def stop(self) -> None: ...


class Snapshots:
    """The snapshot of one version: taken when it is deployed, and again whenever its process ends.

        take() -> there is one      the runtime has initialised and waits to be restored
               -> `obstacle`        what runs in it cannot be had more than once
               -> SnapshotFailed    it does not initialise

    It is an `EnvironmentOwner` of the environments that become snapshots; they count as no environment of the version. Owned
    by the VersionManager, touched only on the runtime loop.
    """

    def __init__(self, create: Callable[[Snapshots], MakingEnvironment], obstacle: str) -> None:
        self.obstacle = obstacle
        self._create = create
        self._loop = asyncio.get_running_loop()
        self._environment: MakingEnvironment | None = None
        self._outcome: asyncio.Future[str] | None = None
        self._taking: asyncio.Task[None] | None = None
        self._stopped = False

    async def take(self) -> None:
        """Initialise the version once. Raises SnapshotFailed or EnvironmentNotStarted; cancelled, nothing is left."""
        if self.obstacle:
            return
        outcome = self._outcome = self._loop.create_future()
        environment = self._environment = self._create(self)
        try:
            await environment.start()
            self.obstacle = await outcome
        except BaseException:
            self._let_go()
            raise
        if self.obstacle:
            self._let_go()

    async def current(self) -> Snapshot | None:
        """The snapshot, made again if it was lost; None if there is an obstacle. Raises SnapshotNotRegenerated."""
        while not self.obstacle:
            if (
                self._environment is not None
                and (snapshot := self._environment.snapshot)
                and snapshot.alive
                and (self._taking is None)
            ):
                return snapshot
            if self._stopped:
                raise SnapshotNotRegenerated("the version is being stopped")
            await asyncio.shield(self._take_again())
        return None

    def stop(self) -> None:
        """End the snapshot. May be called twice."""
        self._stopped = True
        if self._taking is not None:
            self._taking.cancel()
        self._let_go()

    # --- what the environment tells (EnvironmentOwner)

    def environment_ready(self, environment: MakingEnvironment) -> None:
        if self._outcome is not None and not self._outcome.done():
            snapshot = environment.snapshot
            taken = snapshot is not None and snapshot.taken.done() and not snapshot.taken.cancelled()
            self._outcome.set_result(snapshot.taken.result() if taken and snapshot else NO_CLIENT)

    def environment_finishing(self, environment: MakingEnvironment) -> None:
        """It takes no work."""

    def environment_init_failed(self, environment: MakingEnvironment, failure: InitFailure) -> None:
        self._fail(SnapshotFailed(failure))

    def environment_stopped(self, environment: MakingEnvironment) -> None:
        if environment is not self._environment:
            return
        if self._outcome is not None and not self._outcome.done():
            # An init failure is told in a moment.
            self._loop.call_soon(self._fail, EnvironmentNotStarted("the environment for the snapshot ended"))
            return
        self._environment = None
        if not self._stopped:
            _LOG.warning("the process of a snapshot ended; it is made again")
            self._take_again()

    # --- inside

    def _fail(self, error: Exception) -> None:
        if self._outcome is not None and not self._outcome.done():
            self._outcome.set_exception(error)

    def _let_go(self) -> None:
        environment, self._environment = self._environment, None
        if environment is not None:
            environment.stop()
        if self._outcome is not None and not self._outcome.done():
            self._outcome.cancel()

    def _take_again(self) -> asyncio.Task[None]:
        if self._taking is None:
            self._taking = self._loop.create_task(self._regenerate())
            self._taking.add_done_callback(self._taken_again)
        return self._taking

    async def _regenerate(self) -> None:
        try:
            await self.take()
        except (SnapshotFailed, EnvironmentNotStarted) as error:
            raise SnapshotNotRegenerated(str(error)) from error

    def _taken_again(self, task: asyncio.Task[None]) -> None:
        self._taking = None
        if not task.cancelled() and (error := task.exception()) is not None:
            _LOG.warning("a snapshot could not be made again: %s", error)


class SnapshotFailed(Exception):
    """The version did not initialise."""

    def __init__(self, failure: InitFailure) -> None:
        super().__init__(failure.payload.decode("utf-8", "replace"))
        self.failure = failure
