"""What the platform itself writes to a function's log, as text lines or as JSON records.

Text forms as recorded (`TestLambdaFeatures::test_invocation_type_event_error`); JSON forms are the platform events of
https://docs.aws.amazon.com/lambda/latest/dg/telemetry-schema-reference.html, written to CloudWatch Logs by level as in
https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

UNNAMED = "Runtime.Unknown"
"""The error type of a failure for which the runtime names none: of errors that handlers return to AWS's client for Go."""
_OF_THE_PLATFORM = ("Runtime.", "Sandbox.", "Function.", "Extension.")
_LEVELS = {"DEBUG": 10, "INFO": 20, "WARN": 30}


@dataclass(frozen=True, slots=True)
class InvokeReport:
    """The figures of one invocation; durations in ms, memory in MiB."""

    request_id: str
    duration_ms: float
    memory_size_mib: int
    max_memory_mib: int | None
    init_duration_ms: float | None = None
    status: str = "success"
    error_type: str | None = None
    trace_header: str | None = None
    tenant_id: str | None = None
    restore_duration_ms: float | None = None
    """How long it took to start the environment from a snapshot, if it was for this invocation."""
    restored_in_ms: float = 0.0
    """The part of that in which the runtime was loaded and ran its hooks: it is billed."""
    in_init: bool = False
    """It ended in an initialisation that was a part of it."""

    def with_memory(self, max_memory_mib: int | None) -> InvokeReport:
        """The same report, with what the sandbox measured."""
        return replace(self, max_memory_mib=max_memory_mib)

    def metrics(self) -> dict[str, Any]:
        """The `metrics` of platform.report."""
        found: dict[str, Any] = {
            "durationMs": round(self.duration_ms, 3),
            "billedDurationMs": self.billed_duration_ms,
            "memorySizeMB": self.memory_size_mib,
            "maxMemoryUsedMB": self.max_memory_mib or 0,
        }
        if self.init_duration_ms is not None:
            found["initDurationMs"] = round(self.init_duration_ms, 3)
        if self.restore_duration_ms is not None:
            found["restoreDurationMs"] = round(self.restore_duration_ms, 3)
            found["billedRestoreDurationMs"] = self.billed_restore_ms
        return found

    @property
    def handler_failed(self) -> bool:
        """The code itself answered with an error; the platform has nothing to add to that in a text log (recorded)."""
        kind = self.error_type or UNNAMED
        of_handler = kind == UNNAMED or not kind.startswith(_OF_THE_PLATFORM)
        return self.status == "error" and not self.in_init and of_handler

    @property
    def told_error(self) -> str | None:
        """The type of the failure, unless the status says it already."""
        return None if self.status == "timeout" else self.error_type

    @property
    def billed_duration_ms(self) -> int:
        """Whole milliseconds, rounded up; the init phase is billed too (since August 2025 for every package type).

        So are the hooks after a restore: https://docs.aws.amazon.com/lambda/latest/dg/snapstart-monitoring.html.
        """
        return math.ceil(self.duration_ms + (self.init_duration_ms or 0)) + self.billed_restore_ms

    @property
    def billed_restore_ms(self) -> int:
        """Whole milliseconds of the restore that are billed."""
        return math.ceil(self.restored_in_ms)


def timestamp(moment: float) -> str:
    """An ISO 8601 UTC timestamp with milliseconds, as in AWS's log lines."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class TextPlatformLog:
    """Platform lines of functions with `LogFormat: Text`. A method returns the message of one log event."""

    def init_start(self, moment: float, runtime_version: str, runtime_arn: str, version: str) -> str | None:
        return f"INIT_START Runtime Version: {runtime_version}\tRuntime Version ARN: {runtime_arn}\n"

    def init_succeeded(self, moment: float, duration_ms: float, phase: str) -> Sequence[str | None]:
        return ()  # the REPORT of the first invocation says it

    def init_report(self, moment: float, duration_ms: float, phase: str, status: str, error: str | None) -> str | None:
        text = f"INIT_REPORT Init Duration: {duration_ms:.2f} ms\tPhase: {phase}\tStatus: {status}"
        return f"{text}\tError Type: {error}\n" if error else text + "\n"

    def restore_started(self, moment: float, runtime_version: str, runtime_arn: str, version: str) -> str | None:
        return f"RESTORE_START Runtime Version: {runtime_version}\tRuntime Version ARN: {runtime_arn}\n"

    def restored(self, moment: float, duration_ms: float, status: str, error: str | None) -> str | None:
        text = f"RESTORE_REPORT Restore Duration: {duration_ms:.2f} ms"
        if status != "success":
            text += f"\tStatus: {status}"
        return f"{text}\tError Type: {error}\n" if error else text + "\n"

    def start(
        self, moment: float, request_id: str, version: str, trace_header: str | None, tenant_id: str | None = None
    ) -> str | None:
        return f"START RequestId: {request_id} Version: {version}\n"

    def fault(self, moment: float, request_id: str, message: str, error_type: str) -> str | None:
        return f"RequestId: {request_id} Error: {message}\n{error_type}\n"

    def timed_out(self, moment: float, request_id: str, timeout_s: float) -> str | None:
        return f"{timestamp(moment)} {request_id} Task timed out after {timeout_s:.2f} seconds\n\n"

    def end(self, moment: float, report: InvokeReport) -> str | None:
        return f"END RequestId: {report.request_id}\n"

    def report(self, moment: float, report: InvokeReport) -> str | None:
        parts = [
            f"REPORT RequestId: {report.request_id}",
            f"Duration: {report.duration_ms:.2f} ms",
            f"Billed Duration: {report.billed_duration_ms} ms",
            f"Memory Size: {report.memory_size_mib} MB",
            f"Max Memory Used: {report.max_memory_mib or 0} MB",
        ]
        if report.init_duration_ms is not None:
            parts.append(f"Init Duration: {report.init_duration_ms:.2f} ms")
        if report.restore_duration_ms is not None:
            parts.append(f"Restore Duration: {report.restore_duration_ms:.2f} ms")
            parts.append(f"Billed Restore Duration: {report.billed_restore_ms} ms")
        text = "\t".join(parts) + "\t"
        if report.status != "success" and not report.handler_failed:
            text += f"Status: {report.status}"  # No tab behind it.
            if report.told_error:
                text += f"\tError Type: {report.told_error}"
        if trace := _sampled_trace(report.trace_header):
            text += f"\nXRAY TraceId: {trace['Root']}\tSegmentId: {trace.get('Parent', '')}\tSampled: true\t"
        return text + "\n"

    def extension(self, moment: float, name: str, state: str, events: Sequence[str], error: str | None) -> str | None:
        text = f"EXTENSION\tName: {name}\tState: {state}\tEvents: [{', '.join(events)}]"
        return f"{text}\tError Type: {error}\n" if error else text + "\n"

    def subscription(self, moment: float, api: str, name: str, types: Sequence[str]) -> str | None:
        listed = ", ".join(kind.capitalize() for kind in types)
        return f"{api.upper()}\tName: {name}\tState: Subscribed\tTypes: [{listed}]\n"


class JsonPlatformLog:
    """Platform events of functions with `LogFormat: JSON`, filtered by the system log level."""

    def __init__(self, system_log_level: str = "INFO", initialization_type: str = "on-demand") -> None:
        self._initialization_type = initialization_type
        self._threshold = _LEVELS.get(system_log_level, 20)

    def _event(self, level: str, moment: float, kind: str, record: dict[str, Any]) -> str | None:
        if _LEVELS[level] < self._threshold:
            return None
        return json.dumps({"time": timestamp(moment), "type": kind, "record": record}, separators=(",", ":")) + "\n"

    def init_start(self, moment: float, runtime_version: str, runtime_arn: str, version: str) -> str | None:
        record = {
            "initializationType": self._initialization_type,
            "phase": "init",
            "runtimeVersion": runtime_version,
            "runtimeVersionArn": runtime_arn,
            "functionVersion": version,
        }
        return self._event("INFO", moment, "platform.initStart", record)

    def init_succeeded(self, moment: float, duration_ms: float, phase: str) -> Sequence[str | None]:
        done = {"initializationType": self._initialization_type, "phase": phase, "status": "success"}
        return (
            self._event("DEBUG", moment, "platform.initRuntimeDone", done),
            self.init_report(moment, duration_ms, phase, "success", None),
        )

    def init_report(self, moment: float, duration_ms: float, phase: str, status: str, error: str | None) -> str | None:
        record = init_record(self._initialization_type, duration_ms, phase, status, error)
        level = "WARN" if status != "success" else "DEBUG" if self._initialization_type == "on-demand" else "INFO"
        return self._event(level, moment, "platform.initReport", record)

    def restore_started(self, moment: float, runtime_version: str, runtime_arn: str, version: str) -> str | None:
        record = {"runtimeVersion": runtime_version, "runtimeVersionArn": runtime_arn, "functionVersion": version}
        return self._event("INFO", moment, "platform.restoreStart", record)

    def restored(self, moment: float, duration_ms: float, status: str, error: str | None) -> str | None:
        level = "INFO" if status == "success" else "WARN"
        return self._event(level, moment, "platform.restoreReport", restore_record(duration_ms, status, error))

    def start(
        self, moment: float, request_id: str, version: str, trace_header: str | None, tenant_id: str | None = None
    ) -> str | None:
        record: dict[str, Any] = {"requestId": request_id, "version": version, **of_tenant(tenant_id)}
        if found := tracing(trace_header):
            record["tracing"] = found
        return self._event("INFO", moment, "platform.start", record)

    def fault(self, moment: float, request_id: str, message: str, error_type: str) -> str | None:
        return None  # the record's errorType says it

    def timed_out(self, moment: float, request_id: str, timeout_s: float) -> str | None:
        return None

    def end(self, moment: float, report: InvokeReport) -> str | None:
        record: dict[str, Any] = {"requestId": report.request_id, "status": report.status}
        if report.told_error:
            record["errorType"] = report.told_error
        record["metrics"] = {"durationMs": round(report.duration_ms, 3)}
        record.update(of_tenant(report.tenant_id))
        level = "DEBUG" if report.status == "success" else "WARN"
        return self._event(level, moment, "platform.runtimeDone", record)

    def report(self, moment: float, report: InvokeReport) -> str | None:
        record: dict[str, Any] = {"requestId": report.request_id, "metrics": report.metrics()}
        if found := tracing(report.trace_header):
            record["tracing"] = found
        record["status"] = report.status
        if report.told_error:
            record["errorType"] = report.told_error
        record.update(of_tenant(report.tenant_id))
        return self._event("INFO" if report.status == "success" else "WARN", moment, "platform.report", record)

    def extension(self, moment: float, name: str, state: str, events: Sequence[str], error: str | None) -> str | None:
        return self._event("INFO", moment, "platform.extension", extension_record(name, state, events, error))

    def subscription(self, moment: float, api: str, name: str, types: Sequence[str]) -> str | None:
        record = {"name": name, "state": "Subscribed", "types": list(types)}
        return self._event("INFO", moment, f"platform.{api}Subscription", record)


def init_record(
    initialization_type: str, duration_ms: float, phase: str, status: str, error: str | None
) -> dict[str, Any]:
    """The record of `platform.initReport`."""
    outcome = {"initializationType": initialization_type, "phase": phase, "status": status}
    return {**outcome, "metrics": {"durationMs": round(duration_ms, 3)}, **({"errorType": error} if error else {})}


def restore_record(duration_ms: float, status: str, error: str | None) -> dict[str, Any]:
    """The record of `platform.restoreReport`."""
    outcome = {"status": status, **({"errorType": error} if error else {})}
    return {**outcome, "metrics": {"durationMs": round(duration_ms, 3)}}


def extension_record(name: str, state: str, events: Sequence[str], error: str | None) -> dict[str, Any]:
    """The record of `platform.extension`."""
    record: dict[str, Any] = {"name": name, "state": state, "events": list(events)}
    if error:
        record["errorType"] = error
    return record


def of_tenant(tenant_id: str | None) -> dict[str, str]:
    """What the records of an invocation say of its tenant: lambda/latest/dg/tenant-isolation-monitor.html."""
    return {} if tenant_id is None else {"tenantId": tenant_id}


PlatformLog = TextPlatformLog | JsonPlatformLog


def _fields(trace_header: str | None) -> dict[str, str]:
    if not trace_header:
        return {}
    return dict(part.split("=", 1) for part in trace_header.split(";") if "=" in part)


def _sampled_trace(trace_header: str | None) -> dict[str, str] | None:
    fields = _fields(trace_header)
    return fields if fields.get("Sampled") == "1" and "Root" in fields else None


def tracing(trace_header: str | None) -> dict[str, str] | None:
    """The `TraceContext` of an invocation whose trace is sampled."""
    fields = _sampled_trace(trace_header)
    if fields is None:
        return None
    return {"spanId": fields.get("Parent", ""), "type": "X-Amzn-Trace-Id", "value": trace_header or ""}
