"""SNS subscriptions of functions: the event as SNS makes it, handed over asynchronously.

https://docs.aws.amazon.com/lambda/latest/dg/with-sns.html and https://docs.aws.amazon.com/sns/latest/dg/sns-dead-letter-queues.html
"""

from __future__ import annotations

import json
import logging
from functools import cache
from typing import Any

from lambda_provider.hosts.services.link import Origin, dump, link
from lambda_provider.hosts.services.patches import replace

logger = logging.getLogger(__name__)

PRINCIPAL = "sns.amazonaws.com"


def install() -> None:
    """Have moto's SNS deliver to our functions."""
    from moto.sns import models

    def for_functions(publish: Any) -> Any:
        def publish_to(
            self: Any,
            message: str,
            message_id: str,
            subject: str | None = None,
            message_attributes: dict[str, Any] | None = None,
            **more: Any,
        ) -> None:
            if self.protocol == "lambda":
                _deliver(self, message, message_id, subject, message_attributes, more.get("message_structure"))
            else:
                publish(self, message, message_id, subject=subject, message_attributes=message_attributes, **more)

        return publish_to

    @cache
    def one_key(make: Any) -> Any:
        return make(None)

    # Making a key takes a tenth of a second; one signs for every subscription.
    replace(models.Subscription, "private_key", "self", lambda make: lambda self: one_key(make))
    replace(models.Subscription, "publish", "self message message_id subject message_attributes", for_functions)


def _deliver(
    subscription: Any,
    message: str,
    message_id: str,
    subject: str | None,
    attributes: dict[str, Any] | None,
    structure: str | None,
) -> None:
    matcher = subscription._filter_policy_matcher
    if matcher is not None and not matcher.matches(attributes, message):
        return
    if structure == "json":
        message = subscription._parse_message_structure(message, subscription.protocol)
    event = event_of(subscription.arn, subscription.get_post_data(message, message_id, subject, attributes))
    origin = Origin(account_id=subscription.topic.account_id, service=PRINCIPAL, arn=subscription.topic.arn)
    if not link().send(subscription.endpoint, event, origin):
        _to_dead_letter_queue(subscription, event)


def event_of(subscription_arn: str, message: dict[str, Any]) -> dict[str, Any]:
    """The event for one message, of what an HTTP subscriber is sent. Two members have other names there."""
    region = subscription_arn.split(":")[3]
    unsubscribe = f"https://sns.{region}.amazonaws.com/?Action=Unsubscribe&SubscriptionArn={subscription_arn}"
    attributes = {
        name: {"Type": attribute["Type"], "Value": _text(attribute["Value"])}
        for name, attribute in (message.get("MessageAttributes") or {}).items()
    }
    return {
        "Records": [
            {
                "EventSource": "aws:sns",
                "EventVersion": "1.0",
                "EventSubscriptionArn": subscription_arn,
                "Sns": {
                    "Type": message["Type"],
                    "MessageId": message["MessageId"],
                    "TopicArn": message["TopicArn"],
                    "Subject": message.get("Subject"),
                    "Message": message["Message"],
                    "Timestamp": message["Timestamp"],
                    "SignatureVersion": message["SignatureVersion"],
                    "Signature": message["Signature"],
                    "SigningCertUrl": message["SigningCertURL"],
                    "UnsubscribeUrl": unsubscribe,
                    "MessageAttributes": attributes,
                },
            }
        ]
    }


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _to_dead_letter_queue(subscription: Any, event: dict[str, Any]) -> None:
    policy = subscription.attributes.get("RedrivePolicy")
    if not policy:
        return
    queue_arn = json.loads(policy)["deadLetterTargetArn"] if isinstance(policy, str) else policy["deadLetterTargetArn"]
    _, _, _, region, account_id, name = queue_arn.split(":")
    client = link().client("sqs", account_id, region)
    client.send_message(QueueUrl=client.get_queue_url(QueueName=name)["QueueUrl"], MessageBody=dump(event).decode())
