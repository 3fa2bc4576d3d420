"""How a parcel reaches a queue, a topic, a bucket or an event bus: through the host, by the target's ARN."""

from __future__ import annotations

from typing import Any

from lambda_provider.context import DEFAULT_REGION
from lambda_provider.delivery.records import Parcel
from lambda_provider.host import Host

EVENT_SOURCE = "lambda"
"""The `source` of EventBridge events, by which rules in use select them; the page says `aws.lambda` of late, but sources that
begin with `aws.` are refused by PutEvents, which is the operation that the function's role needs."""


class NotDelivered(Exception):
    """The target did not take the parcel, and will not."""


class Senders:
    """Sends parcels. Methods block and may be called from any thread.

    The host's client is that of the target's own account and region. Raises NotDelivered, ServiceUnavailable, and botocore's
    exceptions.
    """

    def __init__(self, host: Host) -> None:
        self._host = host

    def send(self, target_arn: str, parcel: Parcel) -> None:
        """Deliver to any kind of target except functions."""
        parts = target_arn.split(":", 5)
        kind = parts[2] if len(parts) == 6 else ""
        send = {"sqs": self._send_message, "sns": self._publish, "s3": self._put_object, "events": self._put_event}.get(
            kind
        )
        if send is None:
            raise NotDelivered(f"{target_arn} is not a target that Lambda can send to")
        _, _, _, region, account_id, resource = parts
        source = parcel.source.split(":")
        client = self._host.connect_to(
            kind, account_id=account_id or source[4], region=region or source[3] or DEFAULT_REGION
        )
        send(client, target_arn, resource, parcel)

    def _send_message(self, client: Any, arn: str, name: str, parcel: Parcel) -> None:
        parameters: dict[str, Any] = {}
        if parcel.trace_header:
            trace = {"StringValue": parcel.trace_header, "DataType": "String"}
            parameters["MessageSystemAttributes"] = {"AWSTraceHeader": trace}
        if parcel.attributes:
            parameters["MessageAttributes"] = _attributes(parcel)
        # The URL is asked for each time: the host may give another one to a queue that was made anew.
        url = client.get_queue_url(QueueName=name)["QueueUrl"]
        client.send_message(QueueUrl=url, MessageBody=parcel.body, **parameters)

    def _publish(self, client: Any, arn: str, name: str, parcel: Parcel) -> None:
        parameters = {"MessageAttributes": _attributes(parcel)} if parcel.attributes else {}
        client.publish(TopicArn=arn, Message=parcel.body, **parameters)

    def _put_object(self, client: Any, arn: str, bucket: str, parcel: Parcel) -> None:
        client.put_object(
            Bucket=bucket, Key=parcel.object_key, Body=parcel.body.encode(), ContentType="application/json"
        )

    def _put_event(self, client: Any, arn: str, bus: str, parcel: Parcel) -> None:
        entry = {
            "Source": EVENT_SOURCE,
            "DetailType": parcel.detail_type,
            "Detail": parcel.body,
            "EventBusName": bus.removeprefix("event-bus/"),
            "Resources": [arn, parcel.source],
        }
        if parcel.trace_header:
            entry["TraceHeader"] = parcel.trace_header
        answer = client.put_events(Entries=[entry])
        if answer.get("FailedEntryCount"):
            refused = answer["Entries"][0]
            raise NotDelivered(f"{refused.get('ErrorCode')}: {refused.get('ErrorMessage')}")


def _attributes(parcel: Parcel) -> dict[str, dict[str, str]]:
    return {name: {"DataType": type_, "StringValue": value} for name, (type_, value) in parcel.attributes.items()}
