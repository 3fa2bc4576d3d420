"""What CloudWatch is told about functions: counted as it happens, handed over in batches.

Names, units and statistics: https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html and
https://docs.aws.amazon.com/lambda/latest/dg/monitoring-concurrency.html; dimensions:
https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-view.html.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from lambda_runtime.types import FunctionVersion

NAMESPACE = "AWS/Lambda"
FLUSH_INTERVAL_S = 5.0
"""How long counts are collected before they are handed over, when nobody asks for them earlier."""
RUNNING_INTERVAL_S = 60.0
"""How often concurrency is told while nothing begins or ends."""

MetricSink = Callable[[str, str, Sequence[Mapping[str, Any]]], None]
"""Takes metrics in the shape of PutMetricData: `sink(account id, region, data)`. Called on the loop; returns at once."""

_Key = tuple[str, str, str]
"""Metric name, where it counts (see `_names`), executed version; the last two may be empty."""

_UNITS = {
    "Duration": "Milliseconds",
    "AsyncEventAge": "Milliseconds",
    "IteratorAge": "Milliseconds",
    "PostRuntimeExtensionsDuration": "Milliseconds",
    "UrlRequestLatency": "Milliseconds",
    # A share of the provisioned concurrency, from 0 to 1.
    "ProvisionedConcurrencyUtilization": "None",
}


_OF_URLS = frozenset(("UrlRequestCount", "Url4xxCount", "Url5xxCount", "UrlRequestLatency"))
"""Told by function, URL and executed version, `$LATEST` too, and not for the account
(https://docs.aws.amazon.com/lambda/latest/dg/urls-monitoring.html)."""


class Statistic:
    """A number of values as CloudWatch takes them: how many, their sum, the lowest and the highest."""

    __slots__ = ("count", "high", "low", "total")

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0
        self.low = float("inf")
        self.high = 0.0

    def add(self, value: float) -> None:
        """Count one value of at least 0."""
        self.count += 1
        self.total += value
        if value < self.low:
            self.low = value
        if value > self.high:
            self.high = value

    def add_marks(self, count: int, marked: int) -> None:
        """Count so many values, of which `marked` are 1 and the others 0."""
        if count:
            self.merge(count, marked, 1.0 if marked == count else 0.0, 1.0 if marked else 0.0)

    def merge(self, count: int, total: float, low: float, high: float) -> None:
        """Count what another one counted."""
        self.count += count
        self.total += total
        self.low = min(self.low, low)
        self.high = max(self.high, high)


class Gauge:
    """How many invocations run at once, and the most since the last look."""

    __slots__ = ("active", "peak", "series")

    def __init__(self) -> None:
        self.active = 0
        self.peak = 0
        self.series = 0
        """How many series count here; without any, the gauge goes when it has come to rest."""

    def take_peak(self) -> int:
        """The most that ran at once since the last call."""
        peak, self.peak = self.peak, self.active
        return peak


class Series:
    """The counts of one version under one of its names: what is counted on the way of an invoke, as cheap as can be.

    An invocation counts in the minute in which it began: `moment` is the first of the minute that is counted now.
    """

    __slots__ = (
        "_metrics",
        "duration",
        "errors",
        "gauges",
        "invocations",
        "moment",
        "others",
        "resource",
        "version",
    )

    def __init__(self, metrics: Metrics, version: FunctionVersion, resource: str, gauges: tuple[Gauge, ...]) -> None:
        self.version = version
        self.resource = resource
        self._metrics = metrics
        self.gauges = gauges
        self.clear()

    def clear(self) -> None:
        """Begin anew: nothing was counted."""
        self.moment = 0.0
        self.invocations = 0
        self.errors = 0
        self.duration = Statistic()
        self.others: dict[str, Statistic] = {}

    def began(self) -> None:
        """An invocation has a slot."""
        for gauge in self.gauges:
            gauge.active = active = gauge.active + 1
            if active > gauge.peak:
                gauge.peak = active
        if not self.moment:
            self._metrics.collect(self, time.time())

    def ended(self, duration_ms: float | None, failed: bool) -> None:
        """Its slot is free again. `duration_ms` is None for one that did not run."""
        for gauge in self.gauges:
            gauge.active -= 1
        if duration_ms is None:
            return
        began = time.time() - duration_ms / 1000
        if began // 60 != self.moment // 60:
            self._metrics.collect(self, began)
        self.invocations += 1
        self.duration.add(duration_ms)
        if failed:
            self.errors += 1

    def add(self, name: str, value: float = 1.0) -> None:
        """Count a value of another metric, now."""
        now = time.time()
        if now // 60 != self.moment // 60:
            self._metrics.collect(self, now)
        statistic = self.others.get(name)
        if statistic is None:
            statistic = self.others[name] = Statistic()
        statistic.add(value)

    def provisioned(self, *, used: bool, in_use: int, capacity: int) -> None:
        """An invocation of a version with provisioned concurrency began, on that or, as spillover, on demand."""
        self.add("ProvisionedConcurrencyInvocations" if used else "ProvisionedConcurrencySpilloverInvocations")
        self.add("ProvisionedConcurrentExecutions", in_use)
        if capacity:
            self.add("ProvisionedConcurrencyUtilization", in_use / capacity)


class Metrics:
    """Counts by series, merged into AWS's dimensions when they are handed over.

    Handed over at the latest `FLUSH_INTERVAL_S` after the first count, and by `flush` at once. Touched only on the runtime loop;
    hence no locks. `unreserved` tells, for an account and region, the most unreserved concurrency that was in use since it was
    last asked, and how much is claimed by reserves and provisioned concurrency.
    """

    def __init__(self, sink: MetricSink, unreserved: Callable[[str, str], tuple[int, int]]) -> None:
        self._sink = sink
        self._unreserved = unreserved
        self._series: dict[str, dict[str, Series]] = {}
        """By the ARN of the version, and the one that was invoked."""
        self._gauges: dict[tuple[str, str], dict[str, Gauge]] = {}
        self._open: list[Series] = []
        self._data: dict[tuple[str, str], dict[int, _Minute]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def series(self, version: FunctionVersion, invoked_arn: str) -> Series:
        """The counts of a version under the name by which it was invoked, made at the first call."""
        known = self._series.setdefault(version.arn, {})
        series = known.get(invoked_arn)
        if series is None:
            resource = invoked_arn.split(":function:", 1)[-1]
            gauges = self._gauges.setdefault((version.account_id, version.region), {})
            shared = tuple(gauges.setdefault(name, Gauge()) for name in _names(version.function_name, resource))
            for gauge in shared:
                gauge.series += 1
            series = known[invoked_arn] = Series(self, version, resource, shared)
        series.version = version
        return series

    @property
    def active(self) -> int:
        """Invocations that began and have not ended."""
        return sum(gauges[""].active for gauges in self._gauges.values())

    def forget(self, version_arn: str) -> None:
        """A version is gone: what was counted for it is still handed over, nothing is kept."""
        for series in self._series.pop(version_arn, {}).values():
            for gauge in series.gauges:
                gauge.series -= 1

    def collect(self, series: Series, moment: float) -> None:
        """What a series has counted is of another minute than what it is about to count, which is that of `moment`."""
        if series.moment:
            self._merge(series)
        else:
            self._open.append(series)
        series.clear()
        series.moment = moment
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_INTERVAL_S, self.flush)

    def flush(self) -> None:
        """Hand over everything that was counted so far."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for series in self._open:
            self._merge(series)
            series.clear()
        self._open.clear()
        self._sample_concurrency()
        data, self._data = self._data, {}
        for (account_id, region), minutes in data.items():
            self._sink(account_id, region, [datum for minute in minutes.values() for datum in minute.data()])
        if self._timer is None and any(gauges[""].active for gauges in self._gauges.values()):
            self._timer = asyncio.get_running_loop().call_later(RUNNING_INTERVAL_S, self.flush)

    def close(self) -> None:
        """Hand over what there is, for the last time."""
        self.flush()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _minute(self, account_id: str, region: str, moment: float) -> _Minute:
        minutes = self._data.setdefault((account_id, region), {})
        minute = minutes.setdefault(int(moment // 60), _Minute(moment))
        minute.moment = min(minute.moment, moment)
        return minute

    def _merge(self, series: Series) -> None:
        version = series.version
        minute = self._minute(version.account_id, version.region, series.moment)
        counted = dict(series.others)
        throttles = counted.pop("Throttles", None)
        if series.invocations:
            counted["Invocations"] = _marks(series.invocations, series.invocations)
            counted["Errors"] = _marks(series.invocations, series.errors)
            counted["Duration"] = series.duration
        if series.invocations or throttles:
            # Told as 0 with every invocation, like Errors, so that a graph has no gaps.
            throttled = throttles.count if throttles else 0
            counted["Throttles"] = _marks(series.invocations + throttled, throttled)
        places = _places(version, series.resource)
        for name, statistic in counted.items():
            for place in _url_places(version, series.resource) if name in _OF_URLS else places:
                minute.statistic((name, *place)).merge(statistic.count, statistic.total, statistic.low, statistic.high)

    def _sample_concurrency(self) -> None:
        now = time.time()
        for (account_id, region), gauges in self._gauges.items():
            if not gauges[""].peak:
                continue
            minute = self._minute(account_id, region, now)
            for name, gauge in list(gauges.items()):
                if peak := gauge.take_peak():
                    minute.statistic(("ConcurrentExecutions", name, "")).add(peak)
                if name and not gauge.series and not gauge.active:
                    del gauges[name]
            unreserved, claimed = self._unreserved(account_id, region)
            minute.statistic(("UnreservedConcurrentExecutions", "", "")).add(unreserved)
            minute.statistic(("ClaimedAccountConcurrency", "", "")).add(unreserved + claimed)


class _Minute:
    """What was counted in one minute of one account and region."""

    __slots__ = ("_statistics", "moment")

    def __init__(self, moment: float) -> None:
        self.moment = moment
        self._statistics: dict[_Key, Statistic] = {}

    def statistic(self, key: _Key) -> Statistic:
        return self._statistics.setdefault(key, Statistic())

    def data(self) -> Iterable[Mapping[str, Any]]:
        """The members of PutMetricData's MetricData."""
        timestamp = datetime.fromtimestamp(self.moment, UTC)
        for (name, place, executed_version), statistic in self._statistics.items():
            yield {
                "MetricName": name,
                "Dimensions": _dimensions(place, executed_version),
                "Timestamp": timestamp,
                "Unit": _UNITS.get(name, "Count"),
                "StatisticValues": {
                    "SampleCount": statistic.count,
                    "Sum": statistic.total,
                    "Minimum": statistic.low,
                    "Maximum": statistic.high,
                },
            }


def _marks(count: int, marked: int) -> Statistic:
    statistic = Statistic()
    statistic.add_marks(count, marked)
    return statistic


def _names(function_name: str, resource: str) -> tuple[str, str, str]:
    """Where an invocation counts: the account (""), the function (`/fn`), the name it was invoked by (`fn`, `fn:live`)."""
    return "", f"/{function_name}", resource


def _places(version: FunctionVersion, resource: str) -> list[tuple[str, str]]:
    places = [(name, "") for name in _names(version.function_name, resource)]
    qualifier = resource.partition(":")[2]
    if qualifier and qualifier != version.version:
        # By an alias: which version it led to tells two of a weighted alias apart.
        places.append((resource, version.version))
    return places


def _url_places(version: FunctionVersion, resource: str) -> list[tuple[str, str]]:
    return [(f"/{version.function_name}", ""), (resource, ""), (resource, version.version)]


def _dimensions(place: str, executed_version: str) -> list[Mapping[str, str]]:
    if not place:
        return []
    function, _, _ = place.removeprefix("/").partition(":")
    values = {"FunctionName": function}
    if not place.startswith("/"):
        values["Resource"] = place
    if executed_version:
        values["ExecutedVersion"] = executed_version
    return [{"Name": name, "Value": value} for name, value in values.items()]
