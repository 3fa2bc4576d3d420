"""The life of an execution environment on managed instances, which takes several invocations at once.

https://docs.aws.amazon.com/lambda/latest/dg/lambda-managed-instances-execution-environment.html
"""

from __future__ import annotations

import asyncio
import enum
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from lambda_runtime.concurrent_invocations import EXITED, TIMED_OUT, ConcurrentInvocations
from lambda_runtime.config import RuntimeConfig
from lambda_runtime.errors import EnvironmentNotStarted
from lambda_runtime.executors.base import ExitStatus, PreparedVersion, RuntimeExecutor, Sandbox, SandboxSpec
from lambda_runtime.extension_side import ExtensionSide
from lambda_runtime.failures import InitFailure, error_body, exit_reason, reported_type
from lambda_runtime.logs import EnvironmentLog, LogSink, new_log_stream
from lambda_runtime.platform_events import InvokeReport, JsonPlatformLog
from lambda_runtime.reporter import EnvironmentReporter
from lambda_runtime.runtime_api.connection import RuntimeApiConnection
from lambda_runtime.runtime_api.extensions import ExtensionsRouter
from lambda_runtime.runtime_api.invocation import next_headers
from lambda_runtime.runtime_api.routes import Refused, ResponseStream, RuntimeApiRouter
from lambda_runtime.runtime_api.server import RuntimeApiServer
from lambda_runtime.types import FunctionVersion, InvocationResult
from lambda_runtime.variables import environment_variables, extension_variables
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


class ManagedEnvironment:
    """One sandbox whose runtime has several workers, each of which asks for an invocation of its own.

        STARTING -> READY      a worker asked for the first time, and all extensions are ready
        any state -> STOPPED   (stop, init failure, end of the runtime, crash of an extension)

    How many invocations it takes is what the runtime asks for: as many as workers wait. The time limit is that of each
    invocation: one that takes too long has failed, but its worker goes on, and what it answers in the end is dropped. A worker
    that ends takes only its own invocation along.

    Owned by its manager, touched only on the runtime loop; hence no locks. `stop()` may be called in any state, twice; it never
    raises and leaves no process, timer or listener.
    """

    def __init__(
        self,
        prepared: PreparedVersion,
        executor: RuntimeExecutor,
        config: RuntimeConfig,
        owner: ManagedOwner,
        log_sink: LogSink,
        credentials: Callable[[FunctionVersion], Mapping[str, str]],
        shutdowns: set[asyncio.Task[None]],
    ) -> None:
        self.version = prepared.version
        self.phase = Phase.STARTING
        self.idle_since = 0.0
        self.max_response_bytes = config.max_response_bytes
        self._prepared = prepared
        self._executor = executor
        self._config = config
        self._owner = owner
        self._credentials = credentials
        self._shutdowns = shutdowns
        self._loop = asyncio.get_running_loop()
        self._server = RuntimeApiServer(RuntimeApiRouter(self, ExtensionsRouter(self._extension_side)))
        self._sandbox: Sandbox | None = None
        self._waiting: list[RuntimeApiConnection] = []
        self._invocations = ConcurrentInvocations(self.version, config, self._ended)
        self._seen = 0
        """The most workers that were there at once."""
        self._ready_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._began = 0.0
        self._told_initialised = False
        self._keeps_connections = (self.version.runtime or "").startswith(_KEEP_CONNECTIONS)
        stream = new_log_stream(self.version, time.time())
        self.id = stream[-32:]
        self._log = EnvironmentLog(self.version, stream, log_sink, self._loop)
        # Functions on managed instances always log in JSON: only that tells whose line is whose.
        self._reporter = EnvironmentReporter(
            self.version, self._log, JsonPlatformLog(self.version.system_log_level or "INFO", INITIALIZATION_TYPE)
        )
        self._extensions: ExtensionSide | None = None
        if prepared.extensions:
            self._extension_side()

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
        limit_s = max(self._config.provisioned_init_timeout_s, self.version.timeout_s)
        self._timer = self._loop.call_later(limit_s, self._init_timed_out, limit_s)
        self._reporter.init_started(self._prepared.runtime_version, self._prepared.warnings)
        try:
            runtime_api = await self._server.open(self._executor.runtime_api_host(self._prepared))
            spec = SandboxSpec(self.id, runtime_api, self._variables(runtime_api), self._log.output)
            if self._extensions is not None:
                spec.extension_variables = extension_variables(spec.variables)
                spec.on_extension_output = self._log.extension_output
                spec.on_extension_exit = self._extensions.group.process_ended
            sandbox = await self._executor.start_sandbox(self._prepared, spec)
        except OSError as error:
            self.stop()
            raise EnvironmentNotStarted(f"cannot start an execution environment: {error}") from error
        except BaseException:
            self.stop()
            raise
        self._sandbox = self._reporter.sandbox = sandbox
        self._server.admit(sandbox.admits)
        if self.phase is Phase.READY and not self._invocations:
            sandbox.work_ends()
        sandbox.exited.add_done_callback(self._exited)
        if self._extensions is not None:
            self._extensions.sandbox_started(sandbox)
        if self.phase is Phase.STOPPED:
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
        if self._extensions is not None and self._extensions.any and self._sandbox is not None:
            phase = self._extensions.shut_down(self._sandbox, reason, self._config.shutdown_timeout_s, self._close)
            task = self._loop.create_task(phase)
            self._shutdowns.add(task)
            task.add_done_callback(self._shutdowns.discard)
        else:
            self._close()
        self._owner.environment_stopped(self)

    def deliver_log(self) -> None:
        """Hand over what was written to the log so far, instead of in a moment."""
        self._reporter.drain()
        self._log.deliver()

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
            self._extensions.initialised((time.monotonic() - self._began) * 1000, "init")
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
            self._init_failed(InitFailure(error_type, error_body(error_type, f"RequestId:  Error: {message}")))
        elif self.phase is Phase.READY:
            self._fail_all(error_type, message)
            self.stop("failure")

    # --- inside

    def _variables(self, runtime_api: str) -> dict[str, str]:
        variables = environment_variables(
            self.version,
            runtime_api=runtime_api,
            log_stream=self._log.stream,
            credentials=self._credentials(self.version),
            executor_variables=self._prepared.variables,
            endpoint_url=self._config.current_endpoint_url(),
            initialization_type=INITIALIZATION_TYPE,
        )
        return {**variables, "AWS_LAMBDA_MAX_CONCURRENCY": str(self.version.max_concurrency)}

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

    def _init_timed_out(self, limit_s: float) -> None:
        message = f"Init phase timed out after {limit_s:.2f} seconds"
        self._init_failed(InitFailure(TIMED_OUT, error_body(TIMED_OUT, message), "timeout"))

    def _init_failed(self, failure: InitFailure) -> None:
        if self.phase is not Phase.STARTING:
            return
        self._reporter.drain()
        self._log.end_of_invocation()
        if self._extensions is not None:
            self._extensions.write_states()
        self._reporter.init_failed((time.monotonic() - self._began) * 1000, "init", failure)
        self.stop("timeout" if failure.status == "timeout" else "failure")
        self._owner.environment_init_failed(self, failure)

    def _exited(self, exited: asyncio.Future[ExitStatus]) -> None:
        if self.phase is Phase.STOPPED or exited.cancelled():
            return
        status, reason = exited.result(), exit_reason(exited.result())
        if self.phase is Phase.STARTING:
            error_type = "Runtime.InvalidEntrypoint" if status.entry_point_error else EXITED
            body = error_body(error_type, f"RequestId:  Error: {reason}")
            self._init_failed(InitFailure(reported_type(status, error_type), body))
        else:
            self._fail_all(EXITED, reason, reported_type(status, EXITED))
            self.stop("failure")

    def _extension_side(self) -> ExtensionSide:
        """Made at once when there are external extensions, else when an internal one shows up."""
        side = self._extensions
        if side is None:
            platform = self._reporter.platform
            side = self._extensions = ExtensionSide(
                self, self.version, self._prepared.extensions, platform, INITIALIZATION_TYPE, self._log
            )
            self._reporter.platform = side.platform
            if self._sandbox is not None:
                side.sandbox_started(self._sandbox)
            if self.phase is not Phase.STARTING:
                side.close()
        return side

    def _close(self) -> None:
        """Leave no process and no listener."""
        self._reporter.drain()
        if self._sandbox is not None:
            self._sandbox.kill()
        self._server.close(self._sandbox.exited if self._sandbox is not None else None)
        self._reporter.close()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
