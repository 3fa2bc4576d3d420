"""Resources of stacks that moto makes itself: their names, and changes that moto forgets or makes by starting over.

CloudFormation names what a template does not name, and a resource keeps its name for as long as it lives
(https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-properties-name.html). Moto has a name for each step, does
not tell all of its resources, and gives some of them names that their services do not take.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

from lambda_provider.hosts.services.dynamic_references import resolve
from lambda_provider.hosts.services.link import link
from lambda_provider.hosts.services.patches import replace
from lambda_provider.hosts.services.resources import Place, Resource

_KEPT = ("AWS::Events::Rule", "AWS::ECR::Repository", "AWS::S3::Bucket", "AWS::SNS::Topic", "AWS::SSM::Parameter")
"""Types that moto changes under the name that they are told, or without a name not at all."""

_LONGEST = {
    "AWS::Events::Rule": 64,
    "AWS::IAM::Role": 64,
    "AWS::Kinesis::Stream": 128,
    "AWS::S3::Bucket": 63,
    "AWS::SNS::Topic": 256,
    "AWS::SQS::Queue": 80,
    "AWS::StepFunctions::StateMachine": 80,
}
"""How many characters the names of services have at most, by their API references."""


def install(parsing: Any) -> None:
    """Have moto name resources as CloudFormation does, and change topics and buses instead of making others."""
    from moto.events.models import EventBus
    from moto.sns.models import Topic

    def naming(original: Any) -> Any:
        def parse_resource_and_generate_name(logical_id: str, resource_json: Any, resources_map: Any) -> Any:
            found = original(logical_id, resource_json, resources_map)
            if not found:
                return found
            client = partial(_client, resources_map._account_id, resources_map._region_name)
            found[1]["Properties"] = resolve(found[1]["Properties"], client)
            if issubclass(found[0], Resource):
                return found
            kind, (made_by, document, generated) = resource_json["Type"], found
            told, properties = parsing.resource_name_property_from_type(kind), document["Properties"]
            if not told or told in properties:
                return found
            names = vars(resources_map).setdefault("cf_names", {})
            if resources_map._parsed_resources.get(logical_id) is None:
                names[logical_id] = properties[told] = name_of(kind, generated, logical_id, properties)
            elif kind in _KEPT and logical_id in names:
                properties[told] = names[logical_id]
            return made_by, document, properties.get(told, generated)

        return parse_resource_and_generate_name

    replace(parsing, "parse_resource_and_generate_name", "logical_id resource_json resources_map", naming)
    for kind, change in ((Topic, _change_topic), (EventBus, _change_bus)):
        _keep(kind, change)


def name_of(kind: str, generated: str, logical_id: str, properties: Mapping[str, Any]) -> str:
    """The name that CloudFormation gives a resource; `generated` is `STACK-LOGICALID-SUFFIX`, and too long for some services."""
    begin, _, suffix = generated.rpartition("-")
    if kind == "AWS::ECR::Repository":
        return generated.lower()
    if kind == "AWS::SSM::Parameter":
        return f"CFN-{logical_id}-{suffix}"
    fifo = ".fifo" if {str(properties.get(name)).lower() for name in ("FifoQueue", "FifoTopic")} & {"true"} else ""
    end = f"-{suffix}{fifo}"
    return f"{begin[: _LONGEST.get(kind, 255) - len(end)]}{end}"


def physical_id(resource: Any) -> None:
    """Give a resource that has none in moto what `Ref` answers of it: its name."""
    if not hasattr(resource, "physical_resource_id") and isinstance(getattr(resource, "name", None), str):
        resource.physical_resource_id = resource.name


def complete_queue(resource: Any, properties: Mapping[str, Any], before: Mapping[str, Any], place: Place) -> None:
    """Change what moto's update of a queue leaves as it was."""
    client = link().client("sqs", place.account_id, place.region)
    names = client.meta.service_model.shape_for("QueueAttributeName").enum
    wanted = {name: value for name, value in properties.items() if name in names and value != before.get(name)}
    gone = {name: "" for name in ("RedrivePolicy", "RedriveAllowPolicy") if name in before and name not in properties}
    wanted.pop("FifoQueue", None)
    if not before or not (wanted or gone):
        return
    texts = {name: _text(value) for name, value in wanted.items()} | gone
    client.set_queue_attributes(QueueUrl=resource.physical_resource_id, Attributes=texts)


def _client(account_id: str, region: str, service: str) -> Any:
    return link().client(service, account_id, region)


def _keep(kind: Any, change: Any) -> None:
    """Have a type of moto that deletes and makes anew for each update change what is there, as long as the name is the same."""

    def keeping(original: Any) -> Any:
        def update_from_cloudformation_json(
            cls: Any,
            original_resource: Any,
            new_resource_name: str,
            cloudformation_json: Any,
            account_id: str,
            region_name: str,
        ) -> Any:
            if new_resource_name != original_resource.name:
                return original(cls, original_resource, new_resource_name, cloudformation_json, account_id, region_name)
            change(original_resource, cloudformation_json["Properties"])
            return original_resource

        return update_from_cloudformation_json

    replace(
        kind, "update_from_cloudformation_json", "cls original_resource new_resource_name cloudformation_json", keeping
    )


def _change_topic(topic: Any, properties: Mapping[str, Any]) -> None:
    topic.display_name = properties.get("DisplayName", "")
    topic.kms_master_key_id = properties.get("KmsMasterKeyId", "")
    topic.content_based_deduplication = properties.get("ContentBasedDeduplication") in (True, "true")
    topic._tags = {tag["Key"]: tag["Value"] for tag in properties.get("Tags") or ()}
    backend = topic.sns_backend
    there, _ = backend.list_subscriptions_by_topic(topic_arn=topic.arn)
    known = {(each.protocol, each.endpoint) for each in there}
    for each in properties.get("Subscription") or ():
        if (each["Protocol"], each["Endpoint"]) not in known:
            backend.subscribe(topic.arn, each["Endpoint"], each["Protocol"])


def _change_bus(bus: Any, properties: Mapping[str, Any]) -> None:
    bus.description = properties.get("Description")
    bus.kms_key_identifier = properties.get("KmsKeyIdentifier")
    bus.dead_letter_config = properties.get("DeadLetterConfig")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else json.dumps(value)
