"""The metrics that a mapping asks for (MetricsConfig), for CloudWatch.

Names and meaning: https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html#event-source-mapping-metrics;
their dimension is the mapping's UUID.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from lambda_provider.model.event_source_mapping import EventSourceMapping
from lambda_runtime.clock import Clock
from lambda_runtime.metrics import FLUSH_INTERVAL_S, NAMESPACE

POLLED = "PolledEventCount"
FILTERED_OUT = "FilteredOutEventCount"
INVOKED = "InvokedEventCount"
FAILED_INVOKE = "FailedInvokeEventCount"
DROPPED = "DroppedEventCount"
DELIVERED_ON_FAILURE = "OnFailureDestinationDeliveredEventCount"
DELETED = "DeletedEventCount"
MAX_LAG = "MaxOffsetLag"
SUM_LAG = "SumOffsetLag"

METRICS_OF: Mapping[str, frozenset[str]] = {
    "EventCount": frozenset({POLLED, FILTERED_OUT, INVOKED, FAILED_INVOKE, DROPPED, DELIVERED_ON_FAILURE, DELETED}),
    "ErrorCount": frozenset({"PollingErrorCount", "InvokeErrorCount", "SchemaRegistryErrorCount", "CommitErrorCount"}),
    "KafkaMetrics": frozenset({MAX_LAG, SUM_LAG}),
}
"""What a value of MetricsConfig asks for."""

_MEASURED = METRICS_OF["KafkaMetrics"]
"""Their 0 is a value like others: an alarm on a lag has to see that it is over."""


class Counts:
    """Counts of all mappings, handed over at the latest after 5 seconds, and by `flush` at once. Touched only on the loop."""

    def __init__(self, put_metric_data: Callable[..., None], clock: Clock) -> None:
        self._put = put_metric_data
        self._clock = clock
        self._counted: dict[tuple[str, str], dict[tuple[str, str, int], list[float]]] = {}
        """Account and region -> (UUID, metric, minute) -> the values."""
        self._timer: asyncio.TimerHandle | None = None

    def counter(self, mapping: EventSourceMapping) -> Callable[[str, float], None]:
        """What counts for a mapping: nothing for the metrics that it did not ask for."""
        wanted = frozenset().union(*(METRICS_OF.get(name, frozenset()) for name in mapping.settings.metrics or ()))

        def count(metric: str, value: float) -> None:
            if metric in wanted and (value or metric in _MEASURED):
                self._add(mapping, metric, value)

        return count

    def flush(self) -> None:
        """Hand over what was counted so far."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        counted, self._counted = self._counted, {}
        for (account_id, region), values in counted.items():
            self._put(account_id=account_id, region=region, namespace=NAMESPACE, metrics=_data(values))

    def _add(self, mapping: EventSourceMapping, metric: str, value: float) -> None:
        values = self._counted.setdefault((mapping.account_id, mapping.region), {})
        values.setdefault((mapping.name, metric, int(self._clock.now() // 60)), []).append(value)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_INTERVAL_S, self.flush)


def _data(values: Mapping[tuple[str, str, int], Sequence[float]]) -> list[dict[str, Any]]:
    return [
        {
            "MetricName": metric,
            "Dimensions": [{"Name": "EventSourceMappingUUID", "Value": uuid}],
            "Timestamp": datetime.fromtimestamp(minute * 60, UTC),
            "Unit": "Count",
            "StatisticValues": {
                "SampleCount": len(counted),
                "Sum": sum(counted),
                "Minimum": min(counted),
                "Maximum": max(counted),
            },
        }
        for (uuid, metric, minute), counted in values.items()
    ]
