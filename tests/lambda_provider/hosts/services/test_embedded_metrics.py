"""Metrics in log events."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from lambda_provider.hosts.services.embedded_metrics import metrics_of

SECOND = {"Name": "second", "Unit": "Milliseconds", "StorageResolution": 1}


def document(*, at: float | None = None, **root: Any) -> dict[str, Any]:
    directive = {
        "Namespace": "Shop",
        "Dimensions": [["service"], [], ["service", "region"]],
        "Metrics": [{"Name": "first"}, SECOND],
    }
    about = {"Timestamp": int((at or time.time()) * 1000), "CloudWatchMetrics": [directive]}
    return {"_aws": about, "service": "orders", "first": 1, "second": [2.5, 3], **root}


def test_each_metric_is_in_each_dimension_set_that_has_its_values() -> None:
    moment = time.time() - 60
    [(namespace, data)] = metrics_of(json.dumps(document(at=moment)))
    assert namespace == "Shop"
    service = [{"Name": "service", "Value": "orders"}]
    assert [(each["MetricName"], each["Values"], each["Unit"], each["Dimensions"]) for each in data] == [
        ("first", [1.0], "None", service),
        ("first", [1.0], "None", []),
        ("second", [2.5, 3.0], "Milliseconds", service),
        ("second", [2.5, 3.0], "Milliseconds", []),
    ]
    times = {each["Timestamp"].replace(tzinfo=UTC) for each in data}
    assert times == {datetime.fromtimestamp(int(moment * 1000) / 1000, UTC)}


def test_what_node_writes_before_an_object_is_no_part_of_it() -> None:
    line = f"2026-01-02T03:04:05.678Z\t1b2c3d4e-0000-4000-8000-000000000000\tINFO\t{json.dumps(document())}\n"
    assert [namespace for namespace, _ in metrics_of(line)] == ["Shop"]


@pytest.mark.parametrize(
    "message",
    [
        "a line",
        '{"_aws": {"CloudWatchMetrics": []}',
        '["CloudWatchMetrics"]',
        '{"_aws": "CloudWatchMetrics", "CloudWatchMetrics": 1}',
        json.dumps(document()) + " more",
        "before " + json.dumps(document()),
        json.dumps({"message": document()}),
        json.dumps(document(_aws={"CloudWatchMetrics": document()["_aws"]["CloudWatchMetrics"]})),
        json.dumps(document(at=time.time() - 15 * 24 * 3600)),
        json.dumps(document(at=time.time() + 3 * 3600)),
        json.dumps(document(first="1", second=[1, None])),
        json.dumps(document(first=10**400, second=[float("nan")])),
        json.dumps(document()).replace('"Timestamp": ', '"Timestamp": 1' + "0" * 400),
        json.dumps(document(first="none")).replace('"Milliseconds"', "7"),
        '{"CloudWatchMetrics": ' + "[" * 100_000,
        json.dumps(document(first=True, second=[])),
        json.dumps(document(first=float("nan"), second=[1] * 101)),
    ],
)
def test_other_events_have_no_metrics(message: str) -> None:
    assert list(metrics_of(message)) == []
