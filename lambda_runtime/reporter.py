"""What the platform writes to the log of one environment: its inits, the start and end of invocations, reports and faults."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace

from lambda_runtime.executors.base import Sandbox
from lambda_runtime.failures import InitFailure
from lambda_runtime.logs import EnvironmentLog
from lambda_runtime.platform_events import InvokeReport
from lambda_runtime.telemetry import AnyPlatformLog
from lambda_runtime.types import FunctionVersion, Invocation


class EnvironmentReporter:
    """Writes platform events in their order with what the processes write, and keeps the report that is `due`.

    A report is written after the caller has its answer. `platform` decides the form (text, JSON, telemetry for subscribers).
    Owned by the ExecutionEnvironment, touched only on the runtime loop.
    """

    def __init__(self, version: FunctionVersion, log: EnvironmentLog, platform: AnyPlatformLog) -> None:
        self.platform = platform
        self.sandbox: Sandbox | None = None
        self.due: InvokeReport | None = None
        self._version = version
        self._log = log

    def drain(self) -> None:
        """Take in what the processes have written so far."""
        if self.sandbox is not None:
            self.sandbox.drain_output()

    # --- the init phase

    def init_started(self, runtime_version: str, warnings: Iterable[str]) -> None:
        """INIT_START, and what the user should know of how the version runs here."""
        arn, number = self._version.runtime_version_arn, self._version.version
        self._log.write(self.platform.init_start(time.time(), runtime_version, arn, number))
        for warning in warnings:
            self._log.write(f"[WARN] lambda-provider: {warning}\n")

    def initialised(self, duration_ms: float, phase: str) -> None:
        """The runtime and the extensions are ready for the first time: what JSON logs tell of that, behind what was printed."""
        self.drain()
        if self.sandbox is not None:
            # Nobody can ask any more when the first invocation ends the runtime: its report tells what the init needed.
            self.sandbox.max_memory_mib()
        for line in self.platform.init_succeeded(time.time(), duration_ms, phase):
            self._log.write(line)

    def init_failed(self, duration_ms: float, phase: str, failure: InitFailure) -> None:
        """INIT_REPORT, which is written for a failed init only."""
        error = failure.error_type if failure.status == "error" else None
        self._log.write(self.platform.init_report(time.time(), duration_ms, phase, failure.status, error))

    # --- SnapStart

    def init_finished(self, duration_ms: float) -> None:
        """INIT_REPORT of an init that does not belong to an invocation: it was for a snapshot."""
        self._log.write(self.platform.init_report(time.time(), duration_ms, "init", "success", None))

    def restore_started(self, runtime_version: str) -> None:
        """RESTORE_START."""
        arn, number = self._version.runtime_version_arn, self._version.version
        self._log.write(self.platform.restore_started(time.time(), runtime_version, arn, number))

    def restored(self, duration_ms: float, status: str = "success", error_type: str | None = None) -> None:
        """RESTORE_REPORT, however the restore ended."""
        self.drain()
        self._log.write(self.platform.restored(time.time(), duration_ms, status, error_type))

    # --- an invocation

    def started(self, invocation: Invocation, moment: float) -> None:
        """START, of the moment before the function got its event: what it writes comes behind."""
        self.expect(invocation)
        number = self._version.version
        line = self.platform.start(moment, invocation.request_id, number, invocation.trace_header, invocation.tenant_id)
        self._log.write(line, moment)

    def expect(self, invocation: Invocation) -> None:
        """What is written from now on belongs to this invocation, and so does the initialisation that was for it."""
        if invocation.want_log_tail:
            self._log.open_tail()
        else:
            self._log.drop_tail()

    def fault(self, request_id: str, message: str, error_type: str) -> None:
        """The platform ended an invocation: an exit, a crash of an extension."""
        self.drain()
        self._log.end_of_invocation()
        self._log.write(self.platform.fault(time.time(), request_id, message, error_type))

    def timed_out(self, request_id: str) -> None:
        """An invocation took too long."""
        self.drain()
        self._log.end_of_invocation()
        self._log.write(self.platform.timed_out(time.time(), request_id, self._version.timeout_s))

    def measure(self) -> InvokeReport | None:
        """The report that is due with what the sandbox knows; everything the processes wrote is in the log then."""
        report = self.due
        if report is not None and self.sandbox is not None:
            self.drain()
            report = report.with_memory(self.sandbox.max_memory_mib())
        self._log.end_of_invocation()
        return report

    def amend(self, duration_ms: float, status: str | None = None, error_type: str | None = None) -> None:
        """The invocation lasted longer than the function, whose extensions went on, and may have failed only then."""
        if self.due is not None:
            self.due = replace(self.due, duration_ms=duration_ms)
            if status is not None:
                self.due = replace(self.due, status=status, error_type=error_type)

    def write_due(self) -> None:
        """END and REPORT, if they are due, and off with the log."""
        report = self.measure() if self.due is not None else None
        if report is None:
            return
        self.due = None
        now = time.time()
        self._log.write(self.platform.end(now, report))
        self._log.write(self.platform.report(now, report))
        self._log.deliver()

    def tail(self, *lines: str | None) -> bytes:
        """The end of the log for the caller, as if `lines` had been written, too."""
        return self._log.close_tail(*lines)

    def close(self) -> None:
        """Write what is due and hand everything over."""
        self.drain()
        self.write_due()
        self._log.end_of_invocation()
        self._log.deliver()
