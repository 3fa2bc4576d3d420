"""The life of one execution environment."""

from __future__ import annotations

import asyncio
import enum
import time
from typing import Protocol

from lambda_runtime.blueprint import Blueprint
from lambda_runtime.errors import EnvironmentNotStarted
from lambda_runtime.executors.base import ExitStatus
from lambda_runtime.failures import (
    EXITED,
    TIMED_OUT,
    TOO_LARGE,
    UNHANDLED,
    InitFailure,
    exit_in_init,
    exit_reason,
    fault_body,
    init_error_type,
    lasted_ms,
    reported_type,
    status_of,
    timeout_body,
    too_large_body,
)
from lambda_runtime.housing import HousedEnvironment
from lambda_runtime.metrics import Series
from lambda_runtime.platform_events import UNNAMED, InvokeReport
from lambda_runtime.resets import Reset
from lambda_runtime.runtime_api.connection import RuntimeApiConnection
from lambda_runtime.runtime_api.invocation import next_headers
from lambda_runtime.runtime_api.routes import Refused, ResponseStream
from lambda_runtime.shutdown import reason_after
from lambda_runtime.types import InvocationResult
from lambda_runtime.work import StreamedResponse, Work


class State(enum.Enum):
    """Where an environment stands; the transitions are in `ExecutionEnvironment`."""

    STARTING = "starting"
    INIT = "init"
    READY = "ready"
    BUSY = "busy"
    FINISHING = "finishing"
    STOPPED = "stopped"


class EnvironmentOwner(Protocol):
    """What an environment tells its version manager; called on the loop."""

    def environment_ready(self, environment: ExecutionEnvironment) -> None:
        """It can take work now."""
        ...

    def environment_finishing(self, environment: ExecutionEnvironment) -> None:
        """Its invocation was answered; it is ready again once the runtime asks for the next one."""
        ...

    def environment_init_failed(self, environment: ExecutionEnvironment, failure: InitFailure) -> None:
        """It stopped in its init phase, without work bound to it."""
        ...

    def environment_stopped(self, environment: ExecutionEnvironment) -> None:
        """It takes no more work, for whatever reason; called exactly once, last."""
        ...


class ExecutionEnvironment(HousedEnvironment):
    """One sandbox of one function version.

        STARTING -> INIT -> READY <-> BUSY -> FINISHING -> READY
        any state -> STOPPED   (stop, init failure, exit of the runtime, timeout of an invocation)

    STARTING is the executor at work, INIT the code inside; READY means that the runtime waits in `GET next`. FINISHING is the
    short time from the runtime's answer to its next `GET next`. A runtime that exits, or does not answer in time, takes its
    environment with it. On AWS that is reset; here the next one, which costs as little, takes its place: `reset`.

    Extensions hold it up: it is READY when all of them are ready, too. What it lives in is the subject of `HousedEnvironment`.

    Work may be bound to an environment before it starts (`start(work)`): its init then runs as a part of that invocation, as on
    AWS after a failed init phase, and a failure is the invocation's result.

    Owned by its VersionManager, touched only on the runtime loop; hence no locks. `stop()` may be called in any state, twice,
    and while a start is under way; it never raises and leaves no process, timer or listener.
    """

    def __init__(
        self,
        blueprint: Blueprint,
        owner: EnvironmentOwner,
        initialization_type: str,
        predecessor: Reset | None = None,
    ) -> None:
        logs_json = blueprint.prepared.version.log_format == "JSON"
        super().__init__(blueprint, initialization_type, logs_json=logs_json, predecessor=predecessor)
        self.reset: Reset | None = None
        """What it leaves to the one that takes its place; told with `environment_stopped`."""
        self.state = State.STARTING
        self.phase = ""
        """`finishing` while the owner counts it as such; the owner's to use."""
        self._owner = owner
        self._waiting: RuntimeApiConnection | None = None
        self._work: Work | None = None
        self._stream: StreamedResponse | None = None
        self._untold: tuple[Work, str, bytes] | None = None
        """A failure that the runtime has reported and its caller does not know yet."""
        # AWS's client for Java reports an exception before it logs it, and what a runtime writes belongs to an invocation until
        # it asks for the next one. The others log first.
        self._logs_after_failure = (self.version.runtime or "").startswith("java")
        self._counted: Series | None = None
        self._bound_at = 0.0
        self._init_duration_ms: float | None = None

    # --- what the version manager calls

    async def start(self, work: Work | None = None) -> None:
        """STARTING -> INIT: start the sandbox. The owner is told when it is ready, or that it failed.

        Raises EnvironmentNotStarted when the machine cannot; the environment is stopped then.
        """
        self._began = time.monotonic()
        if work is not None:
            self._bind(work, self.version.timeout_s)
            self._reporter.expect(work.invocation)
        else:
            self._begin_init()
        sandbox = await self._open()
        if self.state is State.STARTING:
            self.state = State.INIT
        elif self.state is State.READY:
            sandbox.work_ends()
            self._rest()
        elif self.state is State.STOPPED:
            sandbox.kill()

    def assign(self, work: Work) -> None:
        """READY -> BUSY: give the waiting runtime its next invocation."""
        assert self.state is State.READY and self._waiting is not None
        self._reporter.write_due()
        self._bind(work, self.version.timeout_s)
        self._hand_over(self._waiting, work)
        self._reporter.started(work.invocation, self._bound_at)

    def stop(self, reason: str = "spindown") -> None:
        """Any state -> STOPPED: end the processes inside. Work that is still bound fails.

        Extensions are told the reason (`spindown`, `timeout`, `failure`), and processes end when they are done, or out of time.
        """
        if self.state is State.STOPPED:
            return
        self._tell_failure()
        self.state = State.STOPPED
        self._cancel_timer()
        self._waiting = None
        if reason != "spindown":
            self.reset = self._leave()
        self._shut_down(reason)
        if self._work is not None:
            work, self._work = self._work, None
            stream, self._stream = self._stream, None
            work.fail(EnvironmentNotStarted("the execution environment was stopped"))
            if stream is not None:
                stream.cut()
        self._owner.environment_stopped(self)

    # --- what the Runtime API calls (RuntimeEvents)

    def runtime_waits(self, connection: RuntimeApiConnection) -> None:
        """INIT or FINISHING -> READY; with work bound, straight on to BUSY."""
        if self.state is State.STOPPED:
            return  # Nothing comes any more. The connection is closed with the environment, as on AWS when a sandbox is reset.
        if (self.state is State.BUSY and self._untold is None) or self._waiting is not None:
            raise Refused(403, "InvalidStateTransition", "State transition is not allowed")
        self._tell_failure()
        self._waiting = connection
        if self._extensions is not None:
            if self.state is State.FINISHING and (report := self._reporter.measure()) is not None:
                self._extensions.runtime_done(report)
            elif self._initialising:
                self._extensions.runtime_initialised(self._phase)
        if self.state is not State.READY:
            self.proceed()

    def proceed(self) -> None:
        """INIT or FINISHING -> READY, once the runtime and all extensions wait; with work bound, straight on to BUSY."""
        if self._waiting is None or (self._extensions is not None and not self._extensions.ready):
            return
        if self.state is State.FINISHING:
            self._cancel_timer()
            self.state = State.READY
            if self._extensions is not None:
                self._write_whole_report()
            self._rest()
            self._owner.environment_ready(self)
        elif self._initialising:
            self._initialised(self._waiting)

    def runtime_gone(self, connection: RuntimeApiConnection) -> None:
        if connection is self._waiting:
            self._waiting = None
            if self.state is State.READY:
                self.stop("failure")

    def runtime_responded(self, request_id: bytes, body: bytes, content_type: bytes | None) -> None:
        work = self._running(request_id)
        kind = content_type.decode("latin-1") if content_type else None
        if self._extensions is not None:
            self._extensions.platform.responded(len(body))
        self._answer(work, InvocationResult(body, self.version.version, content_type=kind))

    def runtime_streams(
        self, request_id: bytes, content_type: bytes | None, connection: RuntimeApiConnection
    ) -> ResponseStream:
        work = self._running(request_id)
        version = self.version.version
        stream = StreamedResponse(work, version, content_type, connection, self._config, self._stream_ended)
        self._stream = stream
        return stream

    def response_too_large(self, request_id: bytes) -> None:
        work = self._running(request_id)
        self._fail(work, TOO_LARGE, too_large_body(self._config.max_response_bytes))

    def runtime_failed(self, request_id: bytes, body: bytes, error_type: str | None) -> None:
        work = self._running(request_id)
        self._untold = (work, error_type or UNNAMED, body)
        if not self._logs_after_failure:
            self._tell_failure()

    def _tell_failure(self) -> None:
        """BUSY -> FINISHING, if the runtime has said that the function failed and the caller does not know yet."""
        if self._untold is not None:
            failure, self._untold = self._untold, None
            self._fail(*failure)

    def init_failed(self, body: bytes, error_type: str | None) -> None:
        if not self._initialising:
            raise Refused(403, "InvalidStateTransition", "State transition is not allowed")
        # The runtime's report is acknowledged in the next turn of the loop, and then it exits by itself; killing it a turn later
        # lets that acknowledgement leave first.
        failure = InitFailure(init_error_type(error_type), body)
        self._cancel_timer()
        self._loop.call_soon(self._loop.call_soon, self._init_failed, failure)

    def runtime_may_be_restored(self, connection: RuntimeApiConnection) -> None:
        raise Refused(403, "InvalidStateTransition", "State transition is not allowed")

    def restore_failed(self, body: bytes, error_type: str | None) -> None:
        self.init_failed(body, error_type or "Runtime.AfterRestoreError")

    # --- init

    @property
    def _initialising(self) -> bool:
        return self.state in (State.STARTING, State.INIT)

    @property
    def _phase(self) -> str:
        return "init" if self._work is None else "invoke"

    def _init_ended(self) -> None:
        """The runtime and the extensions are ready for the first time."""
        self._init_duration_ms = self._elapsed_ms
        if self._extensions is not None:
            self._extensions.initialised(self._init_duration_ms, self._phase)
        self._reporter.initialised(self._init_duration_ms, self._phase)

    def _initialised(self, connection: RuntimeApiConnection) -> None:
        self._init_ended()
        if self._work is None:
            if self._sandbox is not None:
                self._sandbox.work_ends()
            self._cancel_timer()
            self.state = State.READY
            self._waiting = connection
            self._rest()
            self._owner.environment_ready(self)
        else:
            # Init was a part of this invocation: its time counts as the invocation's, and the deadline stands.
            self._init_duration_ms = None
            self._reporter.started(self._work.invocation, time.time())
            self._hand_over(connection, self._work)

    def _init_failed(self, failure: InitFailure) -> None:
        if self.state is State.STOPPED:
            return
        self._write_init_failure(failure, self._phase)
        if self._work is not None:
            self._init_duration_ms = None
            invocation = self._work.invocation
            self._reporter.started(invocation, time.time())
            if failure.fault:
                self._reporter.fault(invocation.request_id, *failure.fault)
            self._fail(self._work, failure.error_type, failure.payload)
            self.stop(reason_after(failure.status))
        else:
            self.stop(reason_after(failure.status))
            self._owner.environment_init_failed(self, failure)

    def _rest(self) -> None:
        if self._sandbox is not None and self._extensions is None:
            self._sandbox.rests()

    # --- an invocation

    def _bind(self, work: Work, timeout_s: float) -> None:
        work.assigned = True
        self._work = work
        self._began = time.monotonic()
        self._bound_at = time.time()
        self._timer = self._loop.call_later(timeout_s, self._timed_out)

    def _hand_over(self, connection: RuntimeApiConnection, work: Work) -> None:
        self.state = State.BUSY
        self._waiting = None
        if self._sandbox is not None:
            self._sandbox.work_begins()
        invocation = work.invocation
        deadline_ms = int((self._bound_at + self.version.timeout_s) * 1000)
        connection.reply(200, next_headers(invocation, deadline_ms), invocation.payload)
        if self._extensions is not None:
            self._extensions.invoke(invocation, deadline_ms)

    def _running(self, request_id: bytes) -> Work:
        if self.state is not State.BUSY or self._work is None or self._stream is not None or self._untold is not None:
            raise Refused(403, "InvalidStateTransition", "State transition is not allowed")
        if self._work.invocation.request_id.encode() != request_id:
            raise Refused(400, "InvalidRequestID", "Invalid request ID")
        return self._work

    def _fail(self, work: Work, error_type: str, payload: bytes, status: str = "error") -> None:
        result = InvocationResult(payload, self.version.version, function_error=UNHANDLED)
        self._answer(work, result, status, error_type)

    def _answer(self, work: Work, result: InvocationResult, status: str = "success", error: str | None = None) -> None:
        """BUSY -> FINISHING: the caller gets its result now; the report is written after that, unless it is asked for."""
        self._complete(work, status, error)
        if work.invocation.want_log_tail:
            result.log_tail = self._close_tail()
        work.answer(result)
        work.finish()
        self._report_later(work)

    def _complete(self, work: Work, status: str, error_type: str | None) -> None:
        self._cancel_timer()
        if self._sandbox is not None:
            self._sandbox.work_ends()
        self._work = None
        self._stream = None
        work.duration_ms = duration_ms = lasted_ms(self._elapsed_ms, status, self.version.timeout_s)
        work.failed = status != "success"
        self._reporter.due = InvokeReport(
            work.invocation.request_id,
            duration_ms,
            self.version.memory_mib,
            None,
            self._init_duration_ms,
            status,
            error_type,
            work.invocation.trace_header,
            work.invocation.tenant_id,
            in_init=self._initialising,
        )
        self._init_duration_ms = None
        if self.state is State.BUSY:
            self.state = State.FINISHING
            self._owner.environment_finishing(self)

    def _report_later(self, work: Work) -> None:
        if self._extensions is None or self.state is not State.FINISHING:
            self._loop.call_soon(self._reporter.write_due)
        else:
            # The time limit holds for the extensions, too, which may go on.
            self._counted = work.series
            left_s = self._began + self.version.timeout_s - time.monotonic()
            self._timer = self._loop.call_later(max(0.0, left_s), self._overran)

    def _close_tail(self) -> bytes:
        if self._extensions is not None and self.state is State.FINISHING and (report := self._reporter.measure()):
            # The caller does not wait for the extensions, so its report is of the function alone.
            return self._reporter.tail(*self._extensions.platform.preview(time.time(), report))
        self._reporter.write_due()
        return self._reporter.tail()

    def _write_whole_report(self, status: str | None = None, error_type: str | None = None) -> None:
        """The report of an invocation that ends with the extensions: the time is that of all."""
        whole_ms = lasted_ms(self._elapsed_ms, status or "success", self.version.timeout_s)
        if self._counted is not None and self._reporter.due is not None:
            self._counted.add("PostRuntimeExtensionsDuration", max(0.0, whole_ms - self._reporter.due.duration_ms))
        self._reporter.amend(whole_ms, status, error_type)
        self._reporter.write_due()

    def _stream_ended(self, error_type: str | None, details: bytes) -> None:
        work, stream = self._work, self._stream
        if work is None or stream is None:
            return
        stream.conclude(error_type, details)
        self._complete(work, status_of(error_type), error_type)
        if work.invocation.want_log_tail:
            stream.result.log_tail = self._close_tail()
        work.finish()
        self._report_later(work)

    def _timed_out(self) -> None:
        self._tell_failure()
        work = self._work
        if work is None:
            return
        request_id = work.invocation.request_id
        if self._initialising:
            self._write_init_failure(InitFailure(TIMED_OUT, b"", "timeout"), self._phase)
            self._reporter.started(work.invocation, time.time())
        self._reporter.timed_out(request_id)
        self._break(work, TIMED_OUT, timeout_body(request_id, self.version.timeout_s), "timeout")

    def _overran(self) -> None:
        """The function has answered, but its extensions take longer than it may."""
        if self._reporter.due is not None:
            self._reporter.timed_out(self._reporter.due.request_id)
            self._write_whole_report(status="timeout", error_type=TIMED_OUT)
        self.stop("timeout")

    def extension_failed(self, error_type: str, message: str) -> None:
        """Any state -> STOPPED: an extension ended or reported an error. An invocation that is under way fails."""
        if self.state is State.STOPPED:
            return
        due = self._reporter.due.request_id if self._reporter.due is not None else ""
        request_id = self._work.invocation.request_id if self._work is not None else due
        payload = fault_body(error_type, request_id, message)
        if self._initialising:
            self._init_failed(InitFailure(error_type, payload, fault=(message, error_type)))
            return
        if request_id:
            self._reporter.fault(request_id, message, error_type)
        if self._work is not None:
            self._break(self._work, error_type, payload, "error")
        else:
            self._write_whole_report(status="error", error_type=error_type)
            self.stop("failure")

    def _exited(self, exited: asyncio.Future[ExitStatus]) -> None:
        if self.state is State.STOPPED or exited.cancelled():
            return
        self._tell_failure()
        status = exited.result()
        if self._initialising:
            self._init_failed(exit_in_init(status, self._work.invocation.request_id if self._work else ""))
        elif self._work is not None:
            request_id, reason = self._work.invocation.request_id, exit_reason(status)
            self._reporter.fault(request_id, reason, EXITED)
            self._break(self._work, reported_type(status, EXITED), fault_body(EXITED, request_id, reason), "error")
        else:
            self.stop("failure")

    def _break(self, work: Work, error_type: str, payload: bytes, status: str) -> None:
        """The invocation ends with its environment."""
        if self._stream is not None:
            self._stream.fail(error_type, payload)
        else:
            self._fail(work, error_type, payload, status)
        self.stop(reason_after(status))
