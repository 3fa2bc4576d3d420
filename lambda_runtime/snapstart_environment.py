"""The life of an execution environment with SnapStart: restored from a snapshot, or to become one.

https://docs.aws.amazon.com/lambda/latest/dg/snapstart.html
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace

from lambda_runtime.blueprint import Blueprint
from lambda_runtime.environment import EnvironmentOwner, ExecutionEnvironment, State
from lambda_runtime.errors import SnapStartFailed, SnapStartTimedOut
from lambda_runtime.executors.base import Sandbox, SandboxSpec, Snapshot, SnapshotExecutor
from lambda_runtime.failures import TIMED_OUT, InitFailure
from lambda_runtime.runtime_api.connection import Router, RuntimeApiConnection
from lambda_runtime.runtime_api.credentials import CredentialsRouter
from lambda_runtime.runtime_api.routes import Refused
from lambda_runtime.snapstart import SnapshotSource, no_snapshot
from lambda_runtime.variables import SNAP_START
from lambda_runtime.work import Work


class SnapStartEnvironment(ExecutionEnvironment):
    """An execution environment of a version with SnapStart.

    Its way through INIT is one of three. It is restored from the snapshot of `source`: all of INIT is the restore phase. If the
    source has none, it initialises, and begins its restore phase when the runtime asks to be restored. Without a source, its own
    runtime is to become a snapshot, `snapshot`: it is READY when that is taken, and takes no work.
    """

    def __init__(self, blueprint: Blueprint, owner: EnvironmentOwner, source: SnapshotSource | None) -> None:
        super().__init__(blueprint, owner, SNAP_START)
        self.snapshot: Snapshot | None = None
        """What the environment was restored from, or has become."""
        self._source = source
        self._restoring = False
        self._restore_began = 0.0
        self._loaded = 0.0
        self._restored: tuple[float, float] | None = None
        """What the report of the first invocation shows of the restore: all of it, and what came after loading; in ms."""

    def _leave(self) -> None:
        """Nothing: what takes its place is restored from the snapshot, with the /tmp of that."""

    async def start(self, work: Work | None = None) -> None:
        """STARTING -> INIT. Raises SnapshotNotRegenerated, too, when a lost snapshot cannot be made again."""
        if self._source is not None:
            try:
                self.snapshot = await self._source.current()
            except BaseException:
                self.stop()
                raise
        if self.state is not State.STOPPED:
            await super().start(work)

    async def _start_sandbox(self, spec: SandboxSpec) -> Sandbox:
        if self._source is None:
            assert isinstance(self._executor, SnapshotExecutor)
            sandbox, self.snapshot = await self._executor.start_snapshot(self._prepared, spec)
            self.snapshot.taken.add_done_callback(self._snapshot_taken)
        elif self.snapshot is None:
            sandbox = await super()._start_sandbox(spec)
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

    # --- for a snapshot

    def _snapshot_taken(self, taken: asyncio.Future[str]) -> None:
        """INIT -> READY, of an environment that takes no work: others start from it."""
        if not self._initialising or taken.cancelled():
            return
        self._cancel_timer()
        self._reporter.drain()
        self._log.end_of_invocation()
        self._reporter.init_finished(self._elapsed_ms)
        self._log.deliver()
        self.state = State.READY
        if self._sandbox is not None:
            self._sandbox.work_ends()
        self._owner.environment_ready(self)

    # --- the restore phase

    def _begin_init(self) -> None:
        if self.snapshot is None:
            super()._begin_init()
        else:
            self._begin_restore()

    def _begin_restore(self) -> None:
        self._restoring = True
        self._restore_began = self._loaded = time.monotonic()
        self._reporter.restore_started(self._prepared.runtime_version)
        self._timer = self._loop.call_later(self._config.restore_timeout_s, self._restore_timed_out)

    def runtime_may_be_restored(self, connection: RuntimeApiConnection) -> None:
        """The init phase is over; the restore phase begins, if there is no snapshot in between.

        An init that is a part of an invocation goes on: the time is the invocation's.
        """
        if self._restoring or not self._initialising:
            raise Refused(403, "InvalidStateTransition", "State transition is not allowed")
        if self._source is None:
            self._initialised(connection)
            return
        if self._work is None:
            self._cancel_timer()
            self._reporter.drain()
            self._reporter.init_finished(self._elapsed_ms)
            self._begin_restore()
        connection.reply(200, b"", b"")

    def _init_ended(self) -> None:
        super()._init_ended()
        if self._restoring:
            self._restoring = False
            self._init_duration_ms = None
            duration_ms = self._restore_ms
            self._restored = duration_ms, (time.monotonic() - self._loaded) * 1000
            self._reporter.restored(duration_ms)

    def _restore_timed_out(self) -> None:
        self._init_failed(InitFailure(TIMED_OUT, b"", "timeout"))

    def _init_failed(self, failure: InitFailure) -> None:
        """If it could not be restored, its callers are told so; if the snapshot has ended, they get another environment.

        https://docs.aws.amazon.com/lambda/latest/dg/snapstart-troubleshooting.html
        """
        if self._restoring:
            if self.snapshot is not None and not self.snapshot.alive:
                failure = replace(failure, lost=True)
            else:
                timed_out = failure.status == "timeout"
                error = SnapStartTimedOut() if timed_out else SnapStartFailed(failure.error_type)
                failure = replace(failure, error=error)
        super()._init_failed(failure)

    def _complete(self, work: Work, status: str, error_type: str | None) -> None:
        super()._complete(work, status, error_type)
        if self._restored is not None and self._reporter.due is not None:
            (duration_ms, restored_in_ms), self._restored = self._restored, None
            self._reporter.due = replace(
                self._reporter.due, restore_duration_ms=duration_ms, restored_in_ms=restored_in_ms
            )

    @property
    def _restore_ms(self) -> float:
        return (time.monotonic() - self._restore_began) * 1000

    # --- what differs in the log and in the variables

    @property
    def _warnings(self) -> tuple[str, ...]:
        obstacle = self._source.obstacle if self._source is not None else ""
        return (*super()._warnings, no_snapshot(obstacle)) if obstacle else super()._warnings

    def _write_init_failure(self, failure: InitFailure, phase: str) -> None:
        if not self._restoring:
            super()._write_init_failure(failure, phase)
            return
        self._write_last_lines()
        error = failure.error_type if failure.status == "error" else None
        self._reporter.restored(self._restore_ms, failure.status, error)

    def _other_apis(self) -> Router:
        self._own_credentials = CredentialsRouter(lambda: self._credentials(self.version), super()._other_apis())
        return self._own_credentials

    def _credential_variables(self, runtime_api: str) -> Mapping[str, str]:
        # SDKs take them from addresses of the machine itself only; another executor's listener may have another.
        if runtime_api.startswith("127."):
            return self._own_credentials.variables(runtime_api)
        return super()._credential_variables(runtime_api)
