"""Metrics of mappings."""

from __future__ import annotations

from typing import Any

from lambda_provider.event_sources.counts import DELETED, MAX_LAG, POLLED, Counts
from lambda_runtime.clock import ManualClock

from ..fakes import ACCOUNT, REGION
from .fakes import mapping


class Sink:
    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []

    def __call__(self, **parameters: Any) -> None:
        self.calls.append(parameters)


async def test_counts_of_a_minute_go_together() -> None:
    sink, clock = Sink(), ManualClock()
    counts = Counts(sink, clock)
    count = counts.counter(mapping(metrics=("EventCount",)))
    count(POLLED, 3)
    count(POLLED, 1)
    count(DELETED, 0)
    clock.advance(60)
    count(POLLED, 2)
    counts.flush()
    (call,) = sink.calls
    assert (call["account_id"], call["region"], call["namespace"]) == (ACCOUNT, REGION, "AWS/Lambda")
    first, second = call["metrics"]
    assert first["MetricName"] == "PolledEventCount"
    assert first["Dimensions"] == [{"Name": "EventSourceMappingUUID", "Value": mapping().name}]
    assert first["StatisticValues"] == {"SampleCount": 2, "Sum": 4, "Minimum": 1, "Maximum": 3}
    assert second["StatisticValues"]["Sum"] == 2
    counts.flush()
    assert len(sink.calls) == 1


async def test_a_mapping_that_asks_for_nothing_counts_nothing() -> None:
    sink = Sink()
    counts = Counts(sink, ManualClock())
    counts.counter(mapping())(POLLED, 3)
    counts.counter(mapping(metrics=("ErrorCount",)))(POLLED, 3)
    counts.flush()
    assert sink.calls == []


async def test_a_lag_of_nothing_is_told() -> None:
    """An alarm on it would not end otherwise."""
    sink = Sink()
    counts = Counts(sink, ManualClock())
    count = counts.counter(mapping(metrics=("KafkaMetrics", "EventCount")))
    count(MAX_LAG, 0)
    count(POLLED, 0)
    counts.flush()
    [call] = sink.calls
    [metric] = call["metrics"]
    assert (metric["MetricName"], metric["StatisticValues"]["Maximum"]) == ("MaxOffsetLag", 0)
