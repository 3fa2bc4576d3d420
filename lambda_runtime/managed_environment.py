"""The life of an execution environment on managed instances, which takes several invocations at once.

https://docs.aws.amazon.com/lambda/latest/dg/lambda-managed-instances-execution-environment.html
"""

from __future__ import annotations

import asyncio
import enum
import time
from typing import Protocol

from lambda_runtime.blueprint import Blueprint
from lambda_runtime.concurrent_invocations import ConcurrentInvocations
from lambda_runtime.executors.base import ExitStatus
from lambda_runtime.failures import EXITED, InitFailure, exit_in_init, exit_reason, fault_body, reported_type
from lambda_runtime.housing import HousedEnvironment
from lambda_runtime.platform_events import InvokeReport
from lambda_runtime.runtime_api.connection import RuntimeApiConnection
from lambda_runtime.runtime_api.invocation import next_headers
from lambda_runtime.runtime_api.routes import Refused, ResponseStream
from lambda_runtime.shutdown import reason_after
from lambda_runtime.types import InvocationResult
from lambda_runtime.work import Work

INITIALIZATION_TYPE = "lambda-managed-instances"
WORKERS_GRACE_S = 2.0
"""How long after the first worker of an environment the others are waited for; a runtime may have fewer than it was told."""
_KEEP_CONNECTIONS = ("python", "nodejs")
"""Runtimes whose clients keep their connection: where one is lost, a worker ended."""


class Phase(enum.Enum):
    """Where such an environment stands; the transitions are in `ManagedEnvironment`."""

    STARTING = "starting"
    READY = "ready"
    STOPPED = "stopped"


class ManagedOwner(Protocol):
    """What an environment tells its manager; called on the loop."""

    def worker_waits(self, environment: ManagedEnvironment) -> None:
        """One more invocation can be given to it."""
        ...

    def environment_rests(self, environment: ManagedEnvironment) -> None:
        """Nothing runs in it any more."""
        ...

    def environment_init_failed(self, environment: ManagedEnvironment, failure: InitFailure) -> None:
        """It stopped before it was ready."""
        ...

    def environment_stopped(self, environment: ManagedEnvironment) -> None:
        """It takes no more work, for whatever reason; called exactly once, before `environment_init_failed`."""
        ...


class ManagedEnvironment(HousedEnvironment):
    """One sandbox whose runtime has several workers, each of which asks for an invocation of its own.

        STARTING -> READY      a worker asked for the first time, and all extensions are ready
        any state -> STOPPED   (stop, init failure, end of the runtime, crash of an extension)

    How many invocations it takes is what the runtime asks for: as many as workers wait. The time limit is that of each
    invocation: one that takes too long has failed, but its worker goes on, and what it answers in the end is dropped. A worker
    that ends takes only its own invocation along. What it lives in is the subject of `HousedEnvironment`.

    Owned by its manager, touched only on the runtime loop; hence no locks. `stop()` may be called in any state, twice; it never
    raises and leaves no process, timer or listener.
    """

    def __init__(self, blueprint: Blueprint, owner: ManagedOwner) -> None:
        # Functions on managed instances always log in JSON: only that tells whose line is whose.
        super().__init__(blueprint, INITIALIZATION_TYPE, logs_json=True)
        self.phase = Phase.STARTING
        self._owner = owner
        self._waiting: list[RuntimeApiConnection] = []
        self._invocations = ConcurrentInvocations(self.version, self._config, self._ended)
        self._seen = 0
        """The most workers that were there at once."""
        self._ready_at = 0.0
        self._told_initialised = False
        self._keeps_connections = (self.version.runtime or "").startswith(_KEEP_CONNECTIONS)

    @property
    def free(self) -> int:
        """How many invocations it could take now."""
        return len(self._waiting) if self.phase is Phase.READY else 0

    @property
    def free_soon(self) -> int:
        """How many it could take in a moment besides, from workers that have just answered."""
        return self._invocations.answered if self.phase is Phase.READY else 0

    @property
    def coming(self) -> int:
        """How many workers are to be expected besides: for a while after the first one, those that are being initialised."""
        if self.phase is not Phase.READY or self._loop.time() > self._ready_at + WORKERS_GRACE_S:
            return 0
        return max(0, (self.version.max_concurrency or 1) - self._seen)

    @property
    def busy(self) -> int:
        """How many invocations are under way."""
        return len(self._invocations)

    # --- what the manager calls

    async def start(self) -> None:
        """Start the sandbox. The owner is told when workers wait, or that the init failed.

        Raises EnvironmentNotStarted when the machine cannot; the environment is stopped then.
        """
        self._began = time.monotonic()
        self._begin_init()
        sandbox = await self._open()
        if self.phase is Phase.READY and not self._invocations:
            sandbox.work_ends()
        elif self.phase is Phase.STOPPED:
            sandbox.kill()

    def assign(self, work: Work) -> None:
        """Give an invocation to a worker that waits; there must be one (`free`)."""
        invocation, connection, moment = work.invocation, self._waiting.pop(), time.time()
        if not self._invocations and self._sandbox is not None:
            self._sandbox.work_begins()
        self._invocations.begin(work, connection, tells_loss=self._keeps_connections)
        deadline_ms = int((moment + self.version.timeout_s) * 1000)
        connection.reply(200, next_headers(invocation, deadline_ms), invocation.payload)
        self._reporter.started(invocation, moment)

    def stop(self, reason: str = "spindown") -> None:
        """Any state -> STOPPED: end the processes inside. Invocations under way fail."""
        if self.phase is Phase.STOPPED:
            return
        self.phase = Phase.STOPPED
        self._cancel_timer()
        self._waiting.clear()
        self._invocations.abandon()
        self._shut_down(reason)
        self._owner.environment_stopped(self)

    # --- what the Runtime API calls (RuntimeEvents)

    def runtime_waits(self, connection: RuntimeApiConnection) -> None:
        """A worker is initialised, or done with its last invocation."""
        if self.phase is Phase.STOPPED or connection in self._waiting:
            raise Refused(403, "InvalidStateTransition", "State transition is not allowed")
        self._waiting.append(connection)
        self._invocations.asked()
        self._seen = max(self._seen, len(self._waiting) + self._invocations.workers)
        if self.phase is Phase.READY:
            self._owner.worker_waits(self)
            return
        if self._extensions is not None and not self._told_initialised:
            self._told_initialised = True
            self._extensions.runtime_initialised("init")
        self.proceed()

    def proceed(self) -> None:
        """STARTING -> READY, once a worker and all extensions wait."""
        ready = self._extensions is None or self._extensions.ready
        if self.phase is not Phase.STARTING or not self._waiting or not ready:
            return
        self._cancel_timer()
        self.phase = Phase.READY
        self._ready_at = self._loop.time()
        if self._extensions is not None:
            self._extensions.initialised(self._elapsed_ms, "init")
        self._reporter.drain()
        self._rest()
        for _ in range(len(self._waiting)):
            self._owner.worker_waits(self)

    def runtime_gone(self, connection: RuntimeApiConnection) -> None:
        if connection in self._waiting:
            self._waiting.remove(connection)

    def runtime_responded(self, request_id: bytes, body: bytes, content_type: bytes | None) -> None:
        self._invocations.responded(request_id, body, content_type)

    def runtime_streams(
        self, request_id: bytes, content_type: bytes | None, connection: RuntimeApiConnection
    ) -> ResponseStream:
        return self._invocations.streams(request_id, content_type, connection)

    def response_too_large(self, request_id: bytes) -> None:
        self._invocations.too_large(request_id)

    def runtime_failed(self, request_id: bytes, body: bytes, error_type: str | None) -> None:
        self._invocations.failed(request_id, body, error_type)

    def init_failed(self, body: bytes, error_type: str | None) -> None:
        # One worker of an environment that is ready already takes nothing along. Before that, all of them have the same code.
        if self.phase is Phase.STARTING:
            # In a turn of the loop, so that our answer leaves before the runtime is killed.
            self._loop.call_soon(self._init_failed, InitFailure(error_type or "Runtime.Unknown", body))

    def runtime_may_be_restored(self, connection: RuntimeApiConnection) -> None:
        raise Refused(403, "InvalidStateTransition", "State transition is not allowed")

    def restore_failed(self, body: bytes, error_type: str | None) -> None:
        raise Refused(403, "InvalidStateTransition", "State transition is not allowed")

    # --- what the extensions tell (ExtendedEnvironment)

    def extension_failed(self, error_type: str, message: str) -> None:
        """Any state -> STOPPED: the whole environment is unhealthy."""
        if self.phase is Phase.STARTING:
            self._init_failed(InitFailure(error_type, fault_body(error_type, "", message)))
        elif self.phase is Phase.READY:
            self._fail_all(error_type, message)
            self.stop("failure")

    # --- inside

    @property
    def _initialising(self) -> bool:
        return self.phase is Phase.STARTING

    def _variables(self, runtime_api: str) -> dict[str, str]:
        return {
            **super()._variables(runtime_api),
            "AWS_LAMBDA_MAX_CONCURRENCY": str(self.version.max_concurrency),
        }

    def _ended(self, work: Work, result: InvocationResult, report: InvokeReport) -> None:
        """The caller gets its result now; the report is written after that, unless it is asked for."""
        if work.invocation.want_log_tail:
            # Lines of what ran at the same time are in it, too.
            self._report(report)
            result.log_tail = self._reporter.tail()
        else:
            self._loop.call_soon(self._report, report)
        if not self._invocations:
            self._rest()

    def _rest(self) -> None:
        self.idle_since = self._loop.time()
        if self._sandbox is not None:
            self._sandbox.work_ends()
        self._loop.call_soon(self._tell_rest)

    def _tell_rest(self) -> None:
        if self.phase is Phase.READY and not self._invocations:
            self._owner.environment_rests(self)

    def _report(self, report: InvokeReport) -> None:
        self._reporter.due = report
        self._reporter.write_due()

    def _fail_all(self, error_type: str, message: str, reported: str | None = None) -> None:
        self._reporter.drain()
        self._invocations.fail_all(error_type, message, reported)

    def _init_failed(self, failure: InitFailure) -> None:
        if self.phase is not Phase.STARTING:
            return
        self._write_init_failure(failure, "init")
        self.stop(reason_after(failure.status))
        self._owner.environment_init_failed(self, failure)

    def _exited(self, exited: asyncio.Future[ExitStatus]) -> None:
        if self.phase is Phase.STOPPED or exited.cancelled():
            return
        status = exited.result()
        if self.phase is Phase.STARTING:
            self._init_failed(exit_in_init(status))
        else:
            self._fail_all(EXITED, exit_reason(status), reported_type(status, EXITED))
            self.stop("failure")
