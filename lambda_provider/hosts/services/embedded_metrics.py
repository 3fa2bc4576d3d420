"""Metrics in log events: CloudWatch's embedded metric format, in which Powertools and others write them to standard output.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html. What is
not as it says is a log event like others.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from lambda_provider.hosts.services.patches import replace

_MARK = '"CloudWatchMetrics"'
"""In every event that has metrics: the others are not parsed."""
_PREFIX = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z\t[^\t]*\t[A-Z]+\t(?=\{)")
"""What Node.js functions that log text have before an object that they wrote by `console.log`."""
_MAX_DIMENSIONS = 30
_MAX_METRICS = 100
_MAX_VALUES = 100
# Of PutMetricData (AmazonCloudWatch/latest/APIReference/API_MetricDatum.html): how old and how far ahead data may be.
_OLDEST_S = 14 * 24 * 3600.0
_NEWEST_S = 2 * 3600.0


def install() -> None:
    """Have moto's Logs hand the metrics of events to moto's CloudWatch."""
    from moto.cloudwatch.models import cloudwatch_backends
    from moto.logs.models import LogStream

    def _extracted(put: Any) -> Any:
        def put_log_events(self: Any, log_events: list[dict[str, Any]]) -> Any:
            token = put(self, log_events)
            for event in log_events:
                for namespace, data in metrics_of(event["message"]):
                    cloudwatch_backends[self.account_id][self.region].put_metric_data(namespace, data)
            return token

        return put_log_events

    replace(LogStream, "put_log_events", "self log_events", _extracted)


def metrics_of(message: str) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The namespaces that a log event has metrics of, each with its data in the shape of PutMetricData."""
    if _MARK not in message:
        return
    try:
        root = json.loads(_PREFIX.sub("", message, count=1))
    except (ValueError, RecursionError):
        return
    about = root.get("_aws") if isinstance(root, dict) else None
    if not isinstance(about, dict) or (moment := _moment(about.get("Timestamp"))) is None:
        return
    for directive in _list(about.get("CloudWatchMetrics")):
        if isinstance(directive, dict) and isinstance(namespace := directive.get("Namespace"), str) and namespace:
            data = [{**datum, "Timestamp": moment} for datum in _data(root, directive)]
            if data:
                yield namespace, data


def _data(root: Mapping[str, Any], directive: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What a directive refers to: each of its metrics in each of its dimension sets."""
    found = (_dimensions(root, names) for names in _list(directive.get("Dimensions")))
    sets = [dimensions for dimensions in found if dimensions is not None]
    for definition in _list(directive.get("Metrics"))[:_MAX_METRICS]:
        if not isinstance(definition, dict) or not isinstance(name := definition.get("Name"), str):
            continue
        if not isinstance(unit := definition.get("Unit", "None"), str):
            continue
        target = root.get(name)
        values: list[Any] = target if isinstance(target, list) else [target]
        if not values or len(values) > _MAX_VALUES or not all(_is_number(value) for value in values):
            continue
        for dimensions in sets:
            yield {
                "MetricName": name,
                "Dimensions": dimensions,
                "Values": [float(value) for value in values],
                "Unit": unit,
            }


def _dimensions(root: Mapping[str, Any], names: Any) -> list[dict[str, str]] | None:
    """The dimensions of a set, None for a set that the event has not all values of."""
    if not isinstance(names, list) or len(names) > _MAX_DIMENSIONS:
        return None
    if not all(isinstance(name, str) and isinstance(root.get(name), str) for name in names):
        return None
    return [{"Name": name, "Value": root[name]} for name in names]


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else []


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # JSON bounds no integer.
        return False


def _moment(timestamp_ms: Any) -> datetime | None:
    """The time as moto has it, in UTC without saying so; None if CloudWatch would not take data of that time."""
    if not _is_number(timestamp_ms) or not -_OLDEST_S <= timestamp_ms / 1000 - time.time() <= _NEWEST_S:
        return None
    return datetime.fromtimestamp(timestamp_ms / 1000, UTC).replace(tzinfo=None)
