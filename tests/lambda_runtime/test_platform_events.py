"""Platform lines and records."""

from __future__ import annotations

import json

from lambda_runtime.platform_events import InvokeReport, JsonPlatformLog, TextPlatformLog


def report(**changes: object) -> InvokeReport:
    return InvokeReport(
        **{"request_id": "r", "duration_ms": 2.004, "memory_size_mib": 128, "max_memory_mib": 36, **changes}
    )


def test_text_report_as_recorded() -> None:
    assert TextPlatformLog().report(0, report()) == (
        "REPORT RequestId: r\tDuration: 2.00 ms\tBilled Duration: 3 ms\tMemory Size: 128 MB\tMax Memory Used: 36 MB\t\n"
    )


def test_first_report_has_the_init_duration_and_bills_it() -> None:
    text = TextPlatformLog().report(0, report(init_duration_ms=110.1))
    assert "Billed Duration: 113 ms" in text and text.endswith("\tInit Duration: 110.10 ms\t\n")


def test_failed_report_has_status_and_error_type() -> None:
    text = TextPlatformLog().report(0, report(status="error", error_type="Runtime.ExitError"))
    assert text.endswith("\tStatus: error\tError Type: Runtime.ExitError\n")


def test_report_of_a_timeout_has_the_status_alone() -> None:
    timeout = report(status="timeout", error_type="Sandbox.Timedout")
    assert TextPlatformLog().report(0, timeout).endswith("\tMax Memory Used: 36 MB\tStatus: timeout\n")
    assert "errorType" not in json.loads(JsonPlatformLog().report(0, timeout))["record"]


def test_error_of_the_handler_itself_is_not_in_the_text_report() -> None:
    for error_type in ("CustomException", "Runtime.Unknown", None):
        assert "Status" not in TextPlatformLog().report(0, report(status="error", error_type=error_type))


def test_sampled_trace_is_in_the_report() -> None:
    text = TextPlatformLog().report(0, report(trace_header="Root=1-a-b;Parent=c;Sampled=1"))
    assert text.endswith("36 MB\t\nXRAY TraceId: 1-a-b\tSegmentId: c\tSampled: true\t\n")
    text = TextPlatformLog().report(0, report(status="timeout", trace_header="Root=1-a-b;Parent=c;Sampled=1"))
    assert "36 MB\tStatus: timeout\nXRAY TraceId: 1-a-b" in text


def test_json_report_follows_the_telemetry_schema() -> None:
    event = json.loads(JsonPlatformLog().report(0.5, report(init_duration_ms=1.5)))
    assert event == {
        "time": "1970-01-01T00:00:00.500Z",
        "type": "platform.report",
        "record": {
            "requestId": "r",
            "metrics": {
                "durationMs": 2.004,
                "billedDurationMs": 4,
                "memorySizeMB": 128,
                "maxMemoryUsedMB": 36,
                "initDurationMs": 1.5,
            },
            "status": "success",
        },
    }


def test_system_log_level_filters_platform_events() -> None:
    warn, debug = JsonPlatformLog("WARN"), JsonPlatformLog("DEBUG")
    assert warn.start(0, "r", "1", None) is None
    assert warn.report(0, report()) is None
    assert warn.report(0, report(status="timeout")) is not None
    assert JsonPlatformLog().end(0, report()) is None
    assert json.loads(debug.end(0, report()))["type"] == "platform.runtimeDone"


def test_an_init_that_failed_is_a_warning_and_one_that_was_not_on_demand_is_told() -> None:
    assert JsonPlatformLog("WARN").init_report(0, 1.0, "init", "error", "Runtime.Unknown") is not None
    assert JsonPlatformLog("INFO").init_succeeded(0, 1.0, "init") == (None, None)
    done, reported = (json.loads(line or "") for line in JsonPlatformLog("DEBUG").init_succeeded(0, 1.0, "init"))
    assert done == {
        "time": "1970-01-01T00:00:00.000Z",
        "type": "platform.initRuntimeDone",
        "record": {"initializationType": "on-demand", "phase": "init", "status": "success"},
    }
    assert (reported["type"], reported["record"]["metrics"]) == ("platform.initReport", {"durationMs": 1.0})
    done, reported = JsonPlatformLog("INFO", "provisioned-concurrency").init_succeeded(0, 1.0, "init")
    assert done is None and json.loads(reported or "")["record"]["initializationType"] == "provisioned-concurrency"
    assert TextPlatformLog().init_succeeded(0, 1.0, "init") == ()


def test_lines_of_extensions() -> None:
    text = TextPlatformLog()
    ready = text.extension(0.0, "ext", "Ready", ["INVOKE", "SHUTDOWN"], None)
    assert ready == "EXTENSION\tName: ext\tState: Ready\tEvents: [INVOKE, SHUTDOWN]\n"
    failed = text.extension(0.0, "ext", "LaunchError", [], "PermissionDenied")
    assert failed == "EXTENSION\tName: ext\tState: LaunchError\tEvents: []\tError Type: PermissionDenied\n"
    subscribed = text.subscription(0.0, "telemetry", "ext", ["platform", "function"])
    assert subscribed == "TELEMETRY\tName: ext\tState: Subscribed\tTypes: [Platform, Function]\n"


def test_records_of_extensions() -> None:
    log = JsonPlatformLog()
    failed = json.loads(log.extension(0.0, "ext", "InitError", ["INVOKE"], "Fatal.X") or "")
    record = {"name": "ext", "state": "InitError", "events": ["INVOKE"], "errorType": "Fatal.X"}
    assert (failed["type"], failed["record"]) == ("platform.extension", record)
    subscribed = json.loads(log.subscription(0.0, "logs", "ext", ["function"]) or "")
    assert subscribed["type"] == "platform.logsSubscription"
    assert subscribed["record"] == {"name": "ext", "state": "Subscribed", "types": ["function"]}


def test_records_of_an_invocation_name_its_tenant() -> None:
    log = JsonPlatformLog("DEBUG")
    lines = [
        log.start(0, "r", "1", None, "blue"),
        log.end(0, report(tenant_id="blue")),
        log.report(0, report(tenant_id="blue")),
    ]
    assert [json.loads(line)["record"].get("tenantId") for line in lines] == ["blue"] * 3
    assert "tenantId" not in log.start(0, "r", "1", None)
    assert "blue" not in TextPlatformLog().start(0, "r", "1", None, "blue")
