"""SnapStart: a version is initialised once, and its environments start from a snapshot of that.

https://docs.aws.amazon.com/lambda/latest/dg/snapstart.html. What cannot be snapshotted here is initialised in every environment,
with the phases and hooks of SnapStart all the same (docs/snapstart.md).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from lambda_runtime.errors import EnvironmentNotStarted, SnapshotNotRegenerated
from lambda_runtime.executors.base import PreparedVersion, RuntimeExecutor, Snapshot, SnapshotExecutor
from lambda_runtime.failures import InitFailure

_LOG = logging.getLogger(__name__)

NO_CLIENT = "its runtime does not wait to be restored"


class SnapshotSource(Protocol):
    """Who has the snapshot of a version, as its environments see it."""

    obstacle: str
    """Why there is none; empty otherwise."""

    async def current(self) -> Snapshot | None:
        """The snapshot, made again if it was lost; None if there is none for good. Raises SnapshotNotRegenerated."""
        ...


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

    def environment_ready(self, environment: object) -> None:
        if self._environment is not None and self._outcome is not None and not self._outcome.done():
            snapshot = self._environment.snapshot
            taken = snapshot is not None and snapshot.taken.done() and not snapshot.taken.cancelled()
            self._outcome.set_result(snapshot.taken.result() if taken and snapshot else NO_CLIENT)

    def environment_finishing(self, environment: object) -> None:
        """It takes no work."""

    def environment_init_failed(self, environment: object, failure: InitFailure) -> None:
        self._fail(SnapshotFailed(failure))

    def environment_stopped(self, environment: object) -> None:
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
