"""In moto's process: which metrics are there, and which data are of the metric that a reader of CloudWatch names?

A metric is its namespace, its name and exactly its dimensions
(https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch_concepts.html). Moto also takes those that have more
dimensions, so that what Lambda tells for a function, for its aliases and for the account would be added up, and it lists metrics
without dimensions, or with several, once for each datum.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, cast

_NO_DIMENSIONS = {"Name": "", "Value": ""}
"""Stands for having none, where moto takes none for any."""


class _View:
    """A CloudWatch backend of moto with other data."""

    def __init__(self, backend: Any, data: list[Any]) -> None:
        self._backend = backend
        self._data = data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def get_all_metrics(self) -> list[Any]:
        return self._data


def dimensions_of(dimensions: Sequence[Mapping[str, str]]) -> frozenset[tuple[str, str]]:
    """Dimensions in any order, to compare."""
    return frozenset((item["Name"], item.get("Value", "")) for item in dimensions)


def match_exactly() -> None:
    """Have moto's GetMetricStatistics and GetMetricData take only the data with the dimensions that are asked for."""
    from moto.cloudwatch.models import CloudWatchBackend, Dimension

    backend_class = cast(Any, CloudWatchBackend)
    get_statistics, get_data = backend_class.get_metric_statistics, backend_class.get_metric_data

    def get_metric_statistics(
        self: Any, namespace: str, metric_name: str, *arguments: Any, dimensions: Any = (), **more: Any
    ) -> Any:
        wanted = dimensions_of(dimensions or ())
        data = [
            datum
            for datum in self.get_all_metrics()
            if frozenset((item.name, item.value) for item in datum.dimensions) == wanted
        ]
        return get_statistics(_View(self, data), namespace, metric_name, *arguments, dimensions=[], **more)

    def get_metric_data(self: Any, queries: list[dict[str, Any]], *arguments: Any, **more: Any) -> Any:
        data = []
        for datum in self.get_all_metrics():
            if not datum.dimensions:
                datum = copy.copy(datum)
                datum.dimensions = [Dimension("", "")]
            data.append(datum)
        queries = copy.deepcopy(queries)
        for query in queries:
            if "MetricStat" in query and not query["MetricStat"]["Metric"].get("Dimensions"):
                query["MetricStat"]["Metric"]["Dimensions"] = [_NO_DIMENSIONS]
        return get_data(_View(self, data), queries, *arguments, **more)

    backend_class.get_metric_statistics = get_metric_statistics
    backend_class.get_metric_data = get_metric_data


def list_once() -> None:
    """Have moto's ListMetrics name each metric once, however many data it has, in the order of its first datum."""
    from moto.cloudwatch.models import CloudWatchBackend

    def get_filtered_metrics(self: Any, metric_name: str, namespace: str, dimensions: Any) -> list[Any]:
        metrics: dict[tuple[str, str, frozenset[tuple[str, str]]], Any] = {}
        for datum in self.get_all_metrics():
            names = frozenset((item.name, item.value) for item in datum.dimensions)
            if (datum.namespace, datum.name, names) not in metrics and datum.filter(
                namespace=namespace, name=metric_name, dimensions=dimensions
            ):
                metrics[datum.namespace, datum.name, names] = datum
        return list(metrics.values())

    cast(Any, CloudWatchBackend).get_filtered_metrics = get_filtered_metrics
