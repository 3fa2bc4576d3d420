"""The life of one execution environment."""

from __future__ import annotations

import asyncio
import enum
import logging
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from lambda_runtime.config import RuntimeConfig
from lambda_runtime.errors import EnvironmentNotStarted, RuntimeServiceError
from lambda_runtime.executors.base import (
    ExitStatus,
    PreparedVersion,
    RuntimeExecutor,
    Sandbox,
    SandboxSpec,
    Snapshot,
)
from lambda_runtime.extension_side import ExtensionSide
from lambda_runtime.failures import InitFailure, decoded, error_body, exit_reason, reported_type
from lambda_runtime.logs import EnvironmentLog, LogSink, new_log_stream
from lambda_runtime.metrics import Series
from lambda_runtime.platform_events import InvokeReport, JsonPlatformLog, TextPlatformLog
from lambda_runtime.reporter import EnvironmentReporter
from lambda_runtime.runtime_api.connection import Router, RuntimeApiConnection
from lambda_runtime.runtime_api.extensions import ExtensionsRouter
from lambda_runtime.runtime_api.invocation import next_headers
from lambda_runtime.runtime_api.routes import Refused, ResponseStream, RuntimeApiRouter
from lambda_runtime.runtime_api.server import RuntimeApiServer
from lambda_runtime.snapstart import SnapshotSource, SnapStartSide
from lambda_runtime.telemetry import AnyPlatformLog
from lambda_runtime.types import FunctionVersion, InvocationResult
from lambda_runtime.variables import SNAP_START, environment_variables, extension_variables
from lambda_runtime.work import StreamedResponse, Work

logger = logging.getLogger(__name__)

UNHANDLED = "Unhandled"
TIMED_OUT = "Sandbox.Timedout"


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


class ExecutionEnvironment:
    """One sandbox of one function version.

        STARTING -> INIT -> READY <-> BUSY -> FINISHING -> READY
        any state -> STOPPED   (stop, init failure, exit of the runtime, timeout of an invocation)

    STARTING is the executor at work, INIT the code inside; READY means that the runtime waits in `GET next`. FINISHING is the
    short time from the runtime's answer to its next `GET next`. A runtime that exits, or does not answer in time, takes its
    environment with it: AWS resets the sandbox, and here the next one costs as little as a reset.

    Extensions hold it up (`ExtensionSide`): it is READY when all of them are ready, too, and when it stops their shutdown phase
    goes on for a moment in a task of `shutdowns`, for which the service waits.

    Work may be bound to an environment before it starts (`start(work)`): its init then runs as a part of that invocation, as on
    AWS after a failed init phase, and a failure is the invocation's result.

    Owned by its VersionManager, touched only on the runtime loop; hence no locks. `stop()` may be called in any state, twice,
    and while a start is under way; it never raises and leaves no process, timer or listener.
    """

    def __init__(
        self,
        prepared: PreparedVersion,
        executor: RuntimeExecutor,
        config: RuntimeConfig,
        owner: EnvironmentOwner,
        log_sink: LogSink,
        credentials: Callable[[FunctionVersion], Mapping[str, str]],
        initialization_type: str = "on-demand",
        shutdowns: set[asyncio.Task[None]] | None = None,
        snapshots: SnapshotSource | None = None,
    ) -> None:
        """With the initialization type `snap-start` it is restored from a snapshot of `snapshots`, or is to become one."""
        self.version = prepared.version
        self.initialization_type = initialization_type
        self.state = State.STARTING
        self.phase = ""
        """`finishing` while the owner counts it as such; the owner's to use."""
        self.idle_since = 0.0
        self.max_response_bytes = config.max_response_bytes
        self.id = ""
        self._prepared = prepared
        self._executor = executor
        self._config = config
        self._owner = owner
        self._credentials = credentials
        self._loop = asyncio.get_running_loop()
        self._shutdowns = set() if shutdowns is None else shutdowns
        others: Router = ExtensionsRouter(self._extension_side)
        self._snap_start: SnapStartSide | None = None
        if initialization_type == SNAP_START:
            self._snap_start = SnapStartSide(snapshots, lambda: credentials(self.version), others)
            others = self._snap_start.credentials
        self._server = RuntimeApiServer(RuntimeApiRouter(self, others))
        self._sandbox: Sandbox | None = None
        self._waiting: RuntimeApiConnection | None = None
        self._work: Work | None = None
        self._stream: StreamedResponse | None = None
        self._untold: tuple[Work, str, bytes] | None = None
        """A failure that the runtime has reported and its caller does not know yet."""
        # AWS's client for Java reports an exception before it logs it, and what a runtime writes belongs to an invocation until
        # it asks for the next one. The others log first.
        self._logs_after_failure = (self.version.runtime or "").startswith("java")
        self._counted: Series | None = None
        self._collecting: asyncio.Task[None] | None = None  # Held, because the loop holds tasks weakly.
        self._timer: asyncio.TimerHandle | None = None
        self._began = 0.0
        self._bound_at = 0.0
        self._init_duration_ms: float | None = None
        stream = new_log_stream(self.version, time.time())
        self._log = EnvironmentLog(self.version, stream, log_sink, self._loop)
        platform: AnyPlatformLog = (
            JsonPlatformLog(self.version.system_log_level or "INFO", initialization_type)
            if self.version.log_format == "JSON"
            else TextPlatformLog()
        )
        self._reporter = EnvironmentReporter(self.version, self._log, platform)
        self.id = stream[-32:]
        self._extensions: ExtensionSide | None = None
        if prepared.extensions:
            self._extension_side()

    # --- what the version manager calls

    async def start(self, work: Work | None = None) -> None:
        """STARTING -> INIT: start the sandbox. The owner is told when it is ready, or that it failed.

        Raises EnvironmentNotStarted when the machine cannot; the environment is stopped then.
        """
        restores = self._snap_start is not None and await self._find_snapshot(self._snap_start)
        if self._is_stopped():
            return
        self._began = time.monotonic()
        if work is not None:
            self._bind(work, self.version.timeout_s)
            self._reporter.started(work.invocation, self._bound_at)
        elif restores:
            self._begin_restore()
        else:
            self._timer = self._loop.call_later(self._init_timeout_s, self._init_timed_out)
            warnings = self._prepared.warnings + (self._snap_start.warnings if self._snap_start is not None else ())
            self._reporter.init_started(self._prepared.runtime_version, warnings)
        try:
            runtime_api = await self._server.open(self._executor.runtime_api_host(self._prepared))
            spec = SandboxSpec(self.id, runtime_api, self._variables(runtime_api), self._log.output)
            if self._extensions is not None:
                spec.extension_variables = extension_variables(spec.variables)
                spec.on_extension_output = self._log.extension_output
                spec.on_extension_exit = self._extensions.group.process_ended
            if self._snap_start is None:
                sandbox = await self._executor.start_sandbox(self._prepared, spec)
            else:
                sandbox = await self._snap_start.start_sandbox(self._executor, self._prepared, spec)
                if self._snap_start.makes_snapshot and self._snap_start.snapshot is not None:
                    self._snap_start.snapshot.taken.add_done_callback(self._snapshot_taken)
        except (RuntimeServiceError, asyncio.CancelledError):
            self.stop()
            raise
        except Exception as error:
            if not isinstance(error, OSError):
                logger.exception("%s: the executor failed", self.version.arn)
            self.stop()
            raise EnvironmentNotStarted(f"cannot start an execution environment: {error}") from error
        self._sandbox = self._reporter.sandbox = sandbox
        self._server.admit(sandbox.admits)
        sandbox.exited.add_done_callback(self._exited)
        if self._extensions is not None:
            self._extensions.sandbox_started(sandbox)
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
        if self._extensions is not None and self._extensions.any and self._sandbox is not None:
            self._reporter.write_due()
            limit_s = self._config.shutdown_timeout_s
            phase = self._extensions.shut_down(self._sandbox, reason, limit_s, self._close)
            task = self._loop.create_task(phase)
            self._shutdowns.add(task)
            task.add_done_callback(self._shutdowns.discard)
        else:
            self._close()
        if self._work is not None:
            work, self._work = self._work, None
            work.fail(EnvironmentNotStarted("the execution environment was stopped"))
        self._owner.environment_stopped(self)

    def _close(self) -> None:
        """Leave no process and no listener."""
        self._reporter.drain()
        if self._sandbox is not None:
            self._sandbox.kill()
        self._server.close(self._sandbox.exited if self._sandbox is not None else None)
        self._reporter.close()
        self._log.deliver()

    def deliver_log(self) -> None:
        """Hand over what was written to the log so far, instead of in a moment."""
        self._reporter.drain()
        self._log.deliver()

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
            elif self.state in (State.STARTING, State.INIT):
                self._extensions.runtime_initialised(self._phase)
        if self.state is not State.READY:
            self.proceed()

    def proceed(self) -> None:
        """INIT or FINISHING -> READY, once the runtime and all extensions wait; with work bound, straight on to BUSY."""
        if self._waiting is None or (self._extensions is not None and not self._extensions.ready):
            return
        if self.state in (State.STARTING, State.INIT):
            self._initialised(self._waiting)
        elif self.state is State.FINISHING:
            self._cancel_timer()
            self.state = State.READY
            if self._extensions is not None:
                self._write_whole_report()
            self._rest()
            self._owner.environment_ready(self)

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
        buffered = not work.invocation.streaming
        limit = self._config.max_response_bytes if buffered else self._config.max_streamed_response_bytes
        stream = StreamedResponse(connection, limit, self._stream_ended)
        self._stream = stream
        result = InvocationResult(b"", self.version.version)
        result.content_type = content_type.decode("latin-1") if content_type else "application/octet-stream"
        stream.result = result
        if buffered:
            self._collecting = self._loop.create_task(self._collect(stream, work, result))
        else:
            result.stream = stream.chunks()
            work.answer(result)
        return stream

    def response_too_large(self, request_id: bytes) -> None:
        work = self._running(request_id)
        limit = self._config.max_response_bytes
        message = f"Response payload size exceeded maximum allowed payload size ({limit} bytes)."
        self._fail(work, "Function.ResponseSizeTooLarge", error_body("Function.ResponseSizeTooLarge", message, False))

    def runtime_failed(self, request_id: bytes, body: bytes, error_type: str | None) -> None:
        work = self._running(request_id)
        self._untold = (work, error_type or "Runtime.Unknown", body)
        if not self._logs_after_failure:
            self._tell_failure()

    def _tell_failure(self) -> None:
        """BUSY -> FINISHING, if the runtime has said that the function failed and the caller does not know yet."""
        if self._untold is not None:
            failure, self._untold = self._untold, None
            self._fail(*failure)

    def init_failed(self, body: bytes, error_type: str | None) -> None:
        if self.state not in (State.STARTING, State.INIT):
            raise Refused(403, "InvalidStateTransition", "State transition is not allowed")
        # The runtime's report is acknowledged in the next turn of the loop, and then it exits by itself; killing it a turn later
        # lets that acknowledgement leave first.
        failure = InitFailure(error_type or "Runtime.Unknown", body)
        self._cancel_timer()
        self._loop.call_soon(self._loop.call_soon, self._init_failed, failure)

    # --- SnapStart

    @property
    def snapshot(self) -> Snapshot | None:
        """What the environment was restored from, or has become."""
        return self._snap_start.snapshot if self._snap_start is not None else None

    def _is_stopped(self) -> bool:
        return self.state is State.STOPPED

    async def _find_snapshot(self, side: SnapStartSide) -> bool:
        try:
            return await side.find_snapshot()
        except BaseException:
            self.stop()
            raise

    def _snapshot_taken(self, taken: asyncio.Future[str]) -> None:
        """INIT -> READY, of an environment that takes no work: others start from it."""
        if self.state not in (State.STARTING, State.INIT) or taken.cancelled():
            return
        self._cancel_timer()
        self._reporter.drain()
        self._log.end_of_invocation()
        self._reporter.init_finished((time.monotonic() - self._began) * 1000)
        self._log.deliver()
        self.state = State.READY
        if self._sandbox is not None:
            self._sandbox.work_ends()
        self._owner.environment_ready(self)

    def _begin_restore(self) -> None:
        assert self._snap_start is not None
        self._snap_start.begin_restore()
        self._reporter.restore_started(self._prepared.runtime_version)
        self._timer = self._loop.call_later(self._config.restore_timeout_s, self._restore_timed_out)

    def runtime_may_be_restored(self, connection: RuntimeApiConnection) -> None:
        """The init phase is over; the restore phase begins, if there is no snapshot in between.

        An init that is a part of an invocation goes on: the time is the invocation's.
        """
        side = self._snap_start
        if side is None or side.restoring or self.state not in (State.STARTING, State.INIT):
            raise Refused(403, "InvalidStateTransition", "State transition is not allowed")
        if side.makes_snapshot:
            self._initialised(connection)
            return
        if self._work is None:
            self._cancel_timer()
            self._reporter.drain()
            self._reporter.init_finished((time.monotonic() - self._began) * 1000)
            self._begin_restore()
        connection.reply(200, b"", b"")

    def restore_failed(self, body: bytes, error_type: str | None) -> None:
        self.init_failed(body, error_type or "Runtime.AfterRestoreError")

    def _restore_timed_out(self) -> None:
        self._init_failed(InitFailure(TIMED_OUT, b"", "timeout"))

    # --- init

    def _variables(self, runtime_api: str) -> dict[str, str]:
        return environment_variables(
            self.version,
            runtime_api=runtime_api,
            log_stream=self._log.stream,
            credentials=self._credential_variables(runtime_api),
            executor_variables=self._prepared.variables,
            endpoint_url=self._config.current_endpoint_url(),
            initialization_type=self.initialization_type,
        )

    def _credential_variables(self, runtime_api: str) -> Mapping[str, str]:
        # SDKs take them from addresses of the machine itself only; another executor's listener may have another.
        if self._snap_start is not None and runtime_api.startswith("127."):
            return self._snap_start.credentials.variables(runtime_api)
        return self._credentials(self.version)

    @property
    def _init_timeout_s(self) -> float:
        if self.initialization_type == "on-demand":
            return self._config.init_timeout_s
        return max(self._config.provisioned_init_timeout_s, self.version.timeout_s)

    @property
    def _phase(self) -> str:
        return "init" if self._work is None else "invoke"

    def _initialised(self, connection: RuntimeApiConnection) -> None:
        self._init_duration_ms = (time.monotonic() - self._began) * 1000
        if self._extensions is not None:
            self._extensions.initialised(self._init_duration_ms, self._phase)
        if self._snap_start is not None and self._snap_start.restoring:
            self._init_duration_ms = None
            self._reporter.restored(self._snap_start.restored())
        self._reporter.drain()
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
            self._hand_over(connection, self._work)

    def _init_timed_out(self) -> None:
        message = f"Init phase timed out after {self._init_timeout_s:.2f} seconds"
        self._init_failed(InitFailure(TIMED_OUT, error_body(TIMED_OUT, message), "timeout"))

    def _init_failed(self, failure: InitFailure) -> None:
        if self.state is State.STOPPED:
            return
        self._reporter.drain()
        self._log.end_of_invocation()
        if self._extensions is not None:
            self._extensions.write_states()
        if self._snap_start is not None and self._snap_start.restoring:
            error = failure.error_type if failure.status == "error" else None
            self._reporter.restored(self._snap_start.restore_ms, failure.status, error)
            failure = self._snap_start.failure(failure)
        else:
            self._reporter.init_failed((time.monotonic() - self._began) * 1000, self._phase, failure)
        if self._work is not None:
            self._init_duration_ms = None
            self._fail(self._work, failure.error_type, failure.payload)
            self.stop(_reason(failure.status))
        else:
            self.stop(_reason(failure.status))
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
        work.duration_ms = duration_ms = (time.monotonic() - self._began) * 1000
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
        )
        if self._snap_start is not None:
            self._reporter.due = self._snap_start.add_to(self._reporter.due)
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
        whole_ms = (time.monotonic() - self._began) * 1000
        if self._counted is not None and self._reporter.due is not None:
            self._counted.add("PostRuntimeExtensionsDuration", max(0.0, whole_ms - self._reporter.due.duration_ms))
        self._reporter.amend(whole_ms, status, error_type)
        self._reporter.write_due()

    async def _collect(self, stream: StreamedResponse, work: Work, result: InvocationResult) -> None:
        """A streaming handler, a caller that wants it whole: `work.answer` follows the end of the stream."""
        payload = await stream.read_all()
        if result.function_error is None:
            result.payload = payload
        work.answer(result)

    def _stream_ended(self, error_type: str | None, details: bytes) -> None:
        work, stream = self._work, self._stream
        if work is None or stream is None or stream.result is None:
            return
        if error_type is not None:
            stream.result.function_error = UNHANDLED
            stream.result.payload = decoded(details) or error_body(error_type, "", False)
        status = "success" if error_type is None else "timeout" if error_type == TIMED_OUT else "error"
        self._complete(work, status, error_type)
        if work.invocation.want_log_tail:
            stream.result.log_tail = self._close_tail()
        work.finish()
        self._report_later(work)

    def _timed_out(self) -> None:
        self._tell_failure()
        work = self._work
        if work is None:
            return
        timeout_s = self.version.timeout_s
        request_id = work.invocation.request_id
        self._reporter.timed_out(request_id)
        message = f"RequestId: {request_id} Error: Task timed out after {timeout_s:.2f} seconds"
        payload = error_body(TIMED_OUT, message)
        self._break(work, TIMED_OUT, payload, "timeout")

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
        payload = error_body(error_type, f"RequestId: {request_id} Error: {message}")
        if request_id:
            self._reporter.fault(request_id, message, error_type)
        if self.state in (State.STARTING, State.INIT):
            self._init_failed(InitFailure(error_type, payload))
        elif self._work is not None:
            self._break(self._work, error_type, payload, "error")
        else:
            self._write_whole_report(status="error", error_type=error_type)
            self.stop("failure")

    def _exited(self, exited: asyncio.Future[ExitStatus]) -> None:
        if self.state is State.STOPPED or exited.cancelled():
            return
        self._tell_failure()
        status = exited.result()
        reason = exit_reason(status)
        if self.state in (State.STARTING, State.INIT):
            error_type = "Runtime.InvalidEntrypoint" if status.entry_point_error else "Runtime.ExitError"
            request_id = self._work.invocation.request_id if self._work else ""
            message = f"RequestId: {request_id} Error: {reason}"
            failure = InitFailure(reported_type(status, error_type), error_body(error_type, message))
            self._init_failed(failure)
        elif self._work is not None:
            request_id = self._work.invocation.request_id
            self._reporter.fault(request_id, reason, "Runtime.ExitError")
            payload = error_body("Runtime.ExitError", f"RequestId: {request_id} Error: {reason}")
            self._break(self._work, reported_type(status, "Runtime.ExitError"), payload, "error")
        else:
            self.stop("failure")

    def _break(self, work: Work, error_type: str, payload: bytes, status: str) -> None:
        """The invocation ends with its environment."""
        if self._stream is not None:
            self._stream.fail(error_type, payload)
        else:
            self._fail(work, error_type, payload, status)
        self.stop(_reason(status))

    def _extension_side(self) -> ExtensionSide:
        """Made at once when there are external extensions, else when an internal one shows up."""
        side = self._extensions
        if side is None:
            side = self._extensions = ExtensionSide(
                self,
                self.version,
                self._prepared.extensions,
                self._reporter.platform,
                self.initialization_type,
                self._log,
            )
            self._reporter.platform = side.platform
            if self._sandbox is not None:
                side.sandbox_started(self._sandbox)
            if self.state not in (State.STARTING, State.INIT):
                side.close()
        return side

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _reason(status: str) -> str:
    """The shutdownReason after an invocation or init with this outcome."""
    return "timeout" if status == "timeout" else "failure"
