"""Resources that connect functions with other services, as far as moto's CloudFormation lacks them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar

from lambda_provider.hosts.services.link import link
from lambda_provider.hosts.services.moto_resources import complete_queue
from lambda_provider.hosts.services.resources import Place, Resource


class Subscription(Resource):
    """A subscription of a topic."""

    TYPE = "AWS::SNS::Subscription"
    SERVICE = "sns"
    FIXED = ("TopicArn", "Protocol", "Endpoint")
    ATTRIBUTES = ("Arn",)

    def create(self) -> None:
        names = {name: self.properties[name] for name in self.FIXED if name in self.properties}
        made = self.client.subscribe(**names, ReturnSubscriptionArn=True, Attributes=self._settings())
        self.physical_resource_id = made["SubscriptionArn"]
        self.attributes = {"Arn": made["SubscriptionArn"]}

    def update(self, before: Mapping[str, Any]) -> None:
        settings = self._settings()
        for name in ("FilterPolicy", "FilterPolicyScope", "RawMessageDelivery", "RedrivePolicy", "DeliveryPolicy"):
            if name in settings or name in before:
                self.client.set_subscription_attributes(
                    SubscriptionArn=self.physical_resource_id, AttributeName=name, AttributeValue=settings.get(name, "")
                )

    def remove(self) -> None:
        self.client.unsubscribe(SubscriptionArn=self.physical_resource_id)

    def _settings(self) -> dict[str, str]:
        names = ("FilterPolicy", "FilterPolicyScope", "RawMessageDelivery", "RedrivePolicy", "DeliveryPolicy")
        return {name: _text(self.properties[name]) for name in names if name in self.properties}


class SubscriptionFilter(Resource):
    """Lines of a log group that go somewhere."""

    TYPE = "AWS::Logs::SubscriptionFilter"
    SERVICE = "logs"
    NAME = "FilterName"
    FIXED = ("FilterName", "LogGroupName")

    def create(self) -> None:
        self._put()

    def update(self, before: Mapping[str, Any]) -> None:
        self._put()

    def remove(self) -> None:
        self.client.delete_subscription_filter(logGroupName=self.properties["LogGroupName"], filterName=self.name)

    def _put(self) -> None:
        optional = {"roleArn": self.properties["RoleArn"]} if "RoleArn" in self.properties else {}
        self.client.put_subscription_filter(
            logGroupName=self.properties["LogGroupName"],
            filterName=self.name,
            filterPattern=self.properties.get("FilterPattern", ""),
            destinationArn=self.properties["DestinationArn"],
            **optional,
        )


class Schedule(Resource):
    """A schedule of EventBridge Scheduler."""

    TYPE = "AWS::Scheduler::Schedule"
    SERVICE = "scheduler"
    NAME = "Name"
    FIXED = ("Name", "GroupName")
    ATTRIBUTES = ("Arn",)

    def create(self) -> None:
        made = self.client.create_schedule(**self.request("CreateSchedule", {"Name": self.name}))
        self.attributes = {"Arn": made["ScheduleArn"]}

    def update(self, before: Mapping[str, Any]) -> None:
        self.client.update_schedule(**self.request("UpdateSchedule", {"Name": self.name}))

    def remove(self) -> None:
        group = {"GroupName": self.properties["GroupName"]} if "GroupName" in self.properties else {}
        self.client.delete_schedule(Name=self.name, **group)


class PolicyOf(Resource):
    """A policy that is set on other resources, one after the other."""

    PROPERTY: ClassVar[str]

    def create(self) -> None:
        for each in self.properties.get(self.PROPERTY) or ():
            self.put(each, json.dumps(self.properties["PolicyDocument"]))

    def update(self, before: Mapping[str, Any]) -> None:
        for each in before.get(self.PROPERTY) or ():
            if each not in self.properties[self.PROPERTY]:
                self.put(each, "")
        self.create()

    def remove(self) -> None:
        for each in self.properties.get(self.PROPERTY) or ():
            self.put(each, "")

    def put(self, target: str, policy: str) -> None:
        """Set the policy of one, or take it away."""
        raise NotImplementedError


class QueuePolicy(PolicyOf):
    """Who may send to queues."""

    TYPE = "AWS::SQS::QueuePolicy"
    SERVICE = "sqs"
    PROPERTY = "Queues"

    def put(self, target: str, policy: str) -> None:
        self.client.set_queue_attributes(QueueUrl=target, Attributes={"Policy": policy})


class TopicPolicy(PolicyOf):
    """Who may publish to topics."""

    TYPE = "AWS::SNS::TopicPolicy"
    SERVICE = "sns"
    PROPERTY = "Topics"

    def put(self, target: str, policy: str) -> None:
        if policy:
            self.client.set_topic_attributes(TopicArn=target, AttributeName="Policy", AttributeValue=policy)


class BucketPolicy(Resource):
    """Who may use a bucket."""

    TYPE = "AWS::S3::BucketPolicy"
    SERVICE = "s3"
    FIXED = ("Bucket",)

    def create(self) -> None:
        policy = json.dumps(self.properties["PolicyDocument"])
        self.client.put_bucket_policy(Bucket=self.properties["Bucket"], Policy=policy)

    def update(self, before: Mapping[str, Any]) -> None:
        self.create()

    def remove(self) -> None:
        self.client.delete_bucket_policy(Bucket=self.properties["Bucket"])


def complete(kind: str, resource: Any, properties: Mapping[str, Any], before: Mapping[str, Any], place: Place) -> None:
    """What moto leaves out of resources that it makes itself: notifications of buckets, changes of queues."""
    if kind == "AWS::SQS::Queue":
        complete_queue(resource, properties, before, place)
    name = "NotificationConfiguration"
    if kind == "AWS::S3::Bucket" and properties.get(name) != before.get(name):
        link().client("s3", place.account_id, place.region).put_bucket_notification_configuration(
            Bucket=resource.physical_resource_id,
            NotificationConfiguration=notifications_of(properties.get(name) or {}),
        )


def notifications_of(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """`NotificationConfiguration` of a bucket in a template, as the API has it."""
    kinds = (
        ("LambdaConfigurations", "LambdaFunctionConfigurations", "Function", "LambdaFunctionArn"),
        ("QueueConfigurations", "QueueConfigurations", "Queue", "QueueArn"),
        ("TopicConfigurations", "TopicConfigurations", "Topic", "TopicArn"),
    )
    found: dict[str, Any] = {}
    for ours, theirs, target, arn in kinds:
        for each in configuration.get(ours) or ():
            entry: dict[str, Any] = {arn: each[target], "Events": [each["Event"]]}
            if rules := ((each.get("Filter") or {}).get("S3Key") or {}).get("Rules"):
                entry["Filter"] = {"Key": {"FilterRules": rules}}
            found.setdefault(theirs, []).append(entry)
    if (configuration.get("EventBridgeConfiguration") or {}).get("EventBridgeEnabled") in (True, "true"):
        found["EventBridgeConfiguration"] = {}
    return found


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else json.dumps(value)


RESOURCES: tuple[type[Resource], ...] = (
    Subscription,
    SubscriptionFilter,
    Schedule,
    QueuePolicy,
    TopicPolicy,
    BucketPolicy,
)
