"""What extensions are told of an environment: the events of the Telemetry API and of the older Logs API.

Records as in https://docs.aws.amazon.com/lambda/latest/dg/telemetry-schema-reference.html (schema versions 2022-07-01 and later)
and https://docs.aws.amazon.com/lambda/latest/dg/runtimes-logs-api.html (2020-08-15 and 2021-03-18).
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

from lambda_runtime.logs import LogEntry
from lambda_runtime.platform_events import (
    InvokeReport,
    PlatformLog,
    extension_record,
    init_record,
    of_tenant,
    restore_record,
    timestamp,
    tracing,
)
from lambda_runtime.subscriptions import Event, Subscription, SubscriptionRequest
from lambda_runtime.types import FunctionVersion

TELEMETRY, LOGS = "telemetry", "logs"
STRUCTURED_SINCE = "2022-12-13"
"""From this schema version on the JSON lines of a function that logs in JSON are records, not strings."""
RUNTIME_DONE_SINCE = "2021-03-18"
"""The schema version of the Logs API that has platform.runtimeDone."""

_EARLY_EVENTS = 1000


class TelemetryPlatformLog:
    """The platform log of an environment with extensions: writes the lines of `inner` and tells subscribers the same.

    Extensions subscribe while the environment initialises, some after events of interest: events are kept until
    `close_subscriptions`, and a new subscriber gets them first. Touched only on the runtime loop.
    """

    def __init__(
        self, inner: AnyPlatformLog, version: FunctionVersion, initialization_type: str, address: Callable[[], str]
    ) -> None:
        self._inner = inner
        self._version = version
        self._initialization_type = initialization_type
        self._address = address
        self._loop = asyncio.get_running_loop()
        self._early: list[Event] | None = []
        self._subscriptions: dict[str, Subscription] = {}
        self._began = 0.0
        self._responded: float | None = None
        self._produced_bytes: int | None = None
        self._runtime_done = ""
        self._initialised = False
        self._init_reported = False

    def __getattr__(self, name: str) -> Any:
        """Lines of which no event is made."""
        return getattr(self._inner, name)

    # --- subscribers

    def subscribe(self, name: str, request: SubscriptionRequest) -> None:
        """Send an extension what it asked for, from the beginning. A second request replaces the first and repeats nothing."""
        old = self._subscriptions.get(name)
        if old is not None:
            old.change(request)
            return
        subscription = self._subscriptions[name] = Subscription(request, self._render, self._address, self._loop)
        for event in self._early or ():
            subscription.add(event)

    def subscribed_to(self, name: str) -> str | None:
        """The API by which an extension is subscribed."""
        subscription = self._subscriptions.get(name)
        return subscription.request.api if subscription is not None else None

    @property
    def closed(self) -> bool:
        """Whether the time to subscribe is over."""
        return self._early is None

    def close_subscriptions(self) -> None:
        """The environment is initialised."""
        self._early = None

    async def flush(self, timeout_s: float) -> None:
        """Deliver what is buffered now, and return when it is there or the time is up."""
        if self._subscriptions:
            await asyncio.wait([each.flush() for each in self._subscriptions.values()], timeout=timeout_s)

    def close(self) -> None:
        """Deliver nothing more. May be called twice."""
        self._early = None
        for subscription in self._subscriptions.values():
            subscription.close()

    # --- what happens in every environment (the interface of PlatformLog)

    def init_start(self, moment: float, runtime_version: str, runtime_arn: str, version: str) -> str | None:
        record = {
            "initializationType": self._initialization_type,
            "phase": "init",
            **self._instance(runtime_version, runtime_arn),
        }
        self._emit(moment, "platform.initStart", record)
        return self._inner.init_start(moment, runtime_version, runtime_arn, version)

    def init_report(self, moment: float, duration_ms: float, phase: str, status: str, error: str | None) -> str | None:
        self.runtime_initialised(moment, phase, status, error)
        self.initialised(moment, duration_ms, phase, status, error)
        return self._inner.init_report(moment, duration_ms, phase, status, error)

    def restore_started(self, moment: float, runtime_version: str, runtime_arn: str, version: str) -> str | None:
        self._emit(moment, "platform.restoreStart", self._instance(runtime_version, runtime_arn))
        return self._inner.restore_started(moment, runtime_version, runtime_arn, version)

    def restored(self, moment: float, duration_ms: float, status: str, error: str | None) -> str | None:
        report = restore_record(duration_ms, status, error)
        outcome = {name: value for name, value in report.items() if name != "metrics"}
        self._emit(moment, "platform.restoreRuntimeDone", outcome)
        self._emit(moment, "platform.restoreReport", report)
        return self._inner.restored(moment, duration_ms, status, error)

    def start(
        self, moment: float, request_id: str, version: str, trace_header: str | None, tenant_id: str | None = None
    ) -> str | None:
        self._began, self._responded, self._produced_bytes = moment, None, None
        self._runtime_done = ""  # An event that is retried keeps its request id.
        record = _with_trace({"requestId": request_id, "version": version, **of_tenant(tenant_id)}, trace_header)
        self._emit(moment, "platform.start", record, {"requestId": request_id, "version": version})
        return self._inner.start(moment, request_id, version, trace_header, tenant_id)

    def fault(self, moment: float, request_id: str, message: str, error_type: str) -> str | None:
        text = f"RequestId: {request_id} Error: {message}\n{error_type}"
        self._tell(Event("platform", moment, None, ("platform.fault", text)))
        return self._inner.fault(moment, request_id, message, error_type)

    def end(self, moment: float, report: InvokeReport) -> str | None:
        self.runtime_done(moment, report)
        self._tell(Event("platform", moment, None, ("platform.end", {"requestId": report.request_id})))
        return self._inner.end(moment, report)

    def report(self, moment: float, report: InvokeReport) -> str | None:
        record = _with_trace(
            {"requestId": report.request_id, "metrics": report.metrics(), **_outcome(report)}, report.trace_header
        )
        self._emit(moment, "platform.report", record, {"requestId": report.request_id, "metrics": report.metrics()})
        return self._inner.report(moment, report)

    def extension(self, moment: float, name: str, state: str, events: Sequence[str], error: str | None) -> str | None:
        record = extension_record(name, state, events, error)
        self._emit(moment, "platform.extension", record, record)
        return self._inner.extension(moment, name, state, events, error)

    def subscription(self, moment: float, api: str, name: str, types: Sequence[str]) -> str | None:
        item = (f"platform.{api}Subscription", {"name": name, "state": "Subscribed", "types": list(types)})
        self._tell(Event("platform", moment, item, item))
        return self._inner.subscription(moment, api, name, types)

    def timed_out(self, moment: float, request_id: str, timeout_s: float) -> str | None:
        return self._inner.timed_out(moment, request_id, timeout_s)

    def preview(self, moment: float, report: InvokeReport) -> tuple[str | None, str | None]:
        """The lines at the end of an invocation, before it has ended for the extensions."""
        return self._inner.end(moment, report), self._inner.report(moment, report)

    # --- what only subscribers get to know

    def runtime_initialised(self, moment: float, phase: str, status: str = "success", error: str | None = None) -> None:
        """The runtime asked for its first event, or never will: platform.initRuntimeDone, once."""
        if self._initialised:
            return
        self._initialised = True
        record = {"initializationType": self._initialization_type, "phase": phase, "status": status}
        if error:
            record["errorType"] = error
        self._emit(moment, "platform.initRuntimeDone", record)

    def initialised(
        self, moment: float, duration_ms: float, phase: str, status: str = "success", error: str | None = None
    ) -> None:
        """The runtime and all extensions are ready, or will never be: platform.initReport, once."""
        if self._init_reported:
            return
        self._init_reported = True
        record = init_record(self._initialization_type, duration_ms, phase, status, error)
        self._emit(moment, "platform.initReport", record)

    def responded(self, produced_bytes: int) -> None:
        """The function answered."""
        self._responded = time.time()
        self._produced_bytes = produced_bytes

    def runtime_done(self, moment: float, report: InvokeReport) -> None:
        """The runtime is done with an invocation, however that ended: platform.runtimeDone, once."""
        if report.request_id == self._runtime_done:
            return
        self._runtime_done = report.request_id
        metrics: dict[str, Any] = {"durationMs": round(report.duration_ms, 3)}
        if self._produced_bytes is not None:
            metrics["producedBytes"] = self._produced_bytes
        record: dict[str, Any] = {"requestId": report.request_id, "metrics": metrics, **_outcome(report)}
        if self._responded is not None:
            record["spans"] = [
                _span("responseLatency", self._began, self._responded),
                _span("responseDuration", self._responded, self._responded),
                _span("runtimeOverhead", self._responded, moment),
            ]
        status = "failure" if report.status == "error" else report.status
        item = ("platform.runtimeDone", _with_trace(record, report.trace_header))
        old = ("platform.runtimeDone", {"requestId": report.request_id, "status": status})
        self._tell(Event("platform", moment, item, old, RUNTIME_DONE_SINCE))

    def output(self, stream: str, entries: Sequence[LogEntry]) -> None:
        """The function or an extension (`stream`) wrote something."""
        if self._early is None and not self._subscriptions:
            return
        for moment_ms, message in entries:
            item = (stream, message.removesuffix("\n"))
            self._tell(Event(stream, moment_ms / 1000, item, item))

    # --- inside

    def _instance(self, runtime_version: str, runtime_arn: str) -> dict[str, Any]:
        version = self._version
        return {
            "runtimeVersion": runtime_version,
            "runtimeVersionArn": runtime_arn,
            "functionName": version.function_name,
            "functionVersion": version.version,
            "instanceMaxMemory": version.memory_mib * 1024 * 1024,
        }

    def _emit(self, moment: float, kind: str, record: Any, old: Any = None) -> None:
        self._tell(Event("platform", moment, (kind, record), None if old is None else (kind, old)))

    def _tell(self, event: Event) -> None:
        if self._early is not None and len(self._early) < _EARLY_EVENTS:
            self._early.append(event)
        for subscription in self._subscriptions.values():
            subscription.add(event)

    def _render(self, event: Event, request: SubscriptionRequest) -> bytes | None:
        """An event as one subscriber sees it, or None if it is not for it."""
        if event.stream not in request.types:
            return None
        item = event.telemetry if request.api == TELEMETRY else event.logs
        if item is None or (request.api == LOGS and request.schema_version < event.logs_since):
            return None
        kind, record = item
        if self._version.log_format == "JSON" and kind == "function" and request.schema_version >= STRUCTURED_SINCE:
            record = _structured(record)
        return json.dumps(
            {"time": timestamp(event.moment), "type": kind, "record": record}, separators=(",", ":")
        ).encode()


def _with_trace(record: dict[str, Any], trace_header: str | None) -> dict[str, Any]:
    if found := tracing(trace_header):
        record["tracing"] = found
    return record


def _outcome(report: InvokeReport) -> dict[str, str]:
    error = {"errorType": report.told_error} if report.told_error else {}
    return {"status": report.status, **error, **of_tenant(report.tenant_id)}


def _span(name: str, begin: float, end: float) -> dict[str, Any]:
    return {"name": name, "start": timestamp(begin), "durationMs": round(max(0.0, end - begin) * 1000, 3)}


def _structured(line: str) -> Any:
    try:
        found = json.loads(line)
    except ValueError:
        return line
    return found if isinstance(found, dict) else line


AnyPlatformLog = PlatformLog | TelemetryPlatformLog
