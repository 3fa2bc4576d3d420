"""Subscription filters of CloudWatch Logs: the lines that match go to a function, compressed.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/SubscriptionFilters.html and
https://docs.aws.amazon.com/lambda/latest/dg/services-cloudwatchlogs.html
"""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from typing import Any

from lambda_provider.context import partition_of
from lambda_provider.hosts.services import embedded_metrics
from lambda_provider.hosts.services.link import Origin, dump, encoded, link
from lambda_provider.hosts.services.patches import replace

_MAX_EVENTS_BYTES = 4 * 1024 * 1024
"""Of what is compressed into one event; an asynchronous event has 1 MB at most when it is encoded."""


def install() -> None:
    """Have moto's Logs tell our functions."""
    from moto.logs import models
    from moto.logs.exceptions import InvalidParameterException
    from moto.logs.utils import EventMessageFilter

    def _delivered(send: Any) -> Any:
        def _send_log_events(
            self: Any, service: str, destination_arn: str, filter_name: str, log_events: list[dict[str, Any]]
        ) -> None:
            if service != "lambda":
                send(self, service, destination_arn, filter_name, log_events)
                return
            pattern = self.log_group.subscription_filters[filter_name].filter_pattern
            matches = EventMessageFilter(pattern or "").matches
            if kept := [event for event in log_events if matches(event["message"])]:
                _deliver(self, destination_arn, filter_name, kept)

        return _send_log_events

    def _checked(put: Any) -> Any:
        def put_subscription_filter(
            self: Any, log_group_name: str, filter_name: str, filter_pattern: str, destination_arn: str, role_arn: str
        ) -> None:
            if destination_arn.split(":")[2:3] == ["lambda"] and log_group_name in self.groups:
                origin = _origin(self.account_id, self.region_name, log_group_name)
                if link().invoke(destination_arn, b"{}", origin, kind="DryRun").error is not None:
                    raise InvalidParameterException(
                        "Could not execute the lambda function. Make sure you have given CloudWatch Logs permission to "
                        "execute your function."
                    )
            put(self, log_group_name, filter_name, filter_pattern, destination_arn, role_arn)

        return put_subscription_filter

    parameters = "log_group_name filter_name filter_pattern destination_arn role_arn"
    replace(models.LogStream, "_send_log_events", "self service destination_arn filter_name log_events", _delivered)
    replace(models.LogsBackend, "put_subscription_filter", f"self {parameters}", _checked)
    embedded_metrics.install()


def _origin(account_id: str, region: str, log_group: str) -> Origin:
    arn = f"arn:{partition_of(region)}:logs:{region}:{account_id}:log-group:{log_group}:*"
    return Origin(account_id=account_id, service="logs.amazonaws.com", arn=arn)


def _deliver(stream: Any, function_arn: str, filter_name: str, events: Sequence[dict[str, Any]]) -> None:
    origin = _origin(stream.account_id, stream.region, stream.log_group.name)
    for batch in _batches(events):
        document = {
            "messageType": "DATA_MESSAGE",
            "owner": stream.account_id,
            "logGroup": stream.log_group.name,
            "logStream": stream.log_stream_name,
            "subscriptionFilters": [filter_name],
            "logEvents": [{**event, "id": f"{event['id']:056d}"} for event in batch],
        }
        link().send(function_arn, event_of(document), origin)


def event_of(document: dict[str, Any]) -> dict[str, Any]:
    """The event around what a subscription delivers: JSON, compressed with gzip, in base64."""
    return {"awslogs": {"data": encoded(gzip.compress(dump(document)))}}


def _batches(events: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    batches: list[list[dict[str, Any]]] = [[]]
    size = 0
    for event in events:
        size += len(event["message"])
        if size > _MAX_EVENTS_BYTES and batches[-1]:
            batches.append([])
            size = len(event["message"])
        batches[-1].append(event)
    return batches
