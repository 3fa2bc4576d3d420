"""`AWS::Lambda::*` around functions: mappings, URLs, configurations; in calls of the Lambda API.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/AWS_Lambda.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from lambda_provider.hosts.services.link import link
from lambda_provider.hosts.services.resources import Resource, until


class EventSourceMapping(Resource):
    """A mapping of an event source to a function."""

    TYPE = "AWS::Lambda::EventSourceMapping"
    FIXED = (
        "EventSourceArn",
        "StartingPosition",
        "StartingPositionTimestamp",
        "SelfManagedEventSource",
        "AmazonManagedKafkaEventSourceConfig",
        "SelfManagedKafkaEventSourceConfig",
    )
    ATTRIBUTES = ("Id", "EventSourceMappingArn")

    def create(self) -> None:
        made = self.client.create_event_source_mapping(**self._parameters("CreateEventSourceMapping", Tags=self.tags()))
        self.physical_resource_id = made["UUID"]
        self.attributes = {"Id": made["UUID"], "EventSourceMappingArn": made["EventSourceMappingArn"]}
        self._settle("Creating")
        link().tag(made["EventSourceMappingArn"], self.place.system_tags())

    def update(self, before: Mapping[str, Any]) -> None:
        empty: dict[str, Any] = {
            "FilterCriteria": {},
            "DestinationConfig": {},
            "FunctionResponseTypes": [],
            "ScalingConfig": {},
        }
        gone = {name: value for name, value in empty.items() if name in before and name not in self.properties}
        parameters = self._parameters("UpdateEventSourceMapping", UUID=self.physical_resource_id, **gone)
        self.client.update_event_source_mapping(**parameters)
        self._settle("Updating")

    def remove(self) -> None:
        self.client.delete_event_source_mapping(UUID=self.physical_resource_id)
        try:
            self._settle("Deleting")
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise

    def _parameters(self, operation: str, **extra: Any) -> dict[str, Any]:
        leave = ["Tags", *(self.FIXED if operation.startswith("Update") else ())]
        managed = self.properties.get("SelfManagedEventSource")
        if managed and "SelfManagedEventSource" not in leave:
            servers = (
                managed["Endpoints"].get("KafkaBootstrapServers") or managed["Endpoints"]["KAFKA_BOOTSTRAP_SERVERS"]
            )
            extra["SelfManagedEventSource"] = {"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": servers}}
        return self.request(operation, extra, leave=leave)

    def _settle(self, passing: str) -> None:
        states = (passing, "Enabling", "Disabling")
        until(
            lambda: self.client.get_event_source_mapping(UUID=self.physical_resource_id)["State"] not in states,
            f"the event source mapping is no longer {passing}",
        )


class Url(Resource):
    """A function URL."""

    TYPE = "AWS::Lambda::Url"
    FIXED = ("TargetFunctionArn", "Qualifier")
    ATTRIBUTES = ("FunctionUrl", "FunctionArn")

    def create(self) -> None:
        made = self.client.create_function_url_config(**self._parameters("CreateFunctionUrlConfig"))
        self.physical_resource_id = made["FunctionArn"]
        self.attributes = {"FunctionUrl": made["FunctionUrl"], "FunctionArn": made["FunctionArn"]}

    def update(self, before: Mapping[str, Any]) -> None:
        gone: dict[str, Any] = {"Cors": {}} if "Cors" in before and "Cors" not in self.properties else {}
        self.client.update_function_url_config(**self._parameters("UpdateFunctionUrlConfig", **gone))

    def remove(self) -> None:
        self.client.delete_function_url_config(**self._target())

    def _target(self) -> dict[str, Any]:
        qualifier = self.properties.get("Qualifier")
        return {"FunctionName": self.properties["TargetFunctionArn"], **({"Qualifier": qualifier} if qualifier else {})}

    def _parameters(self, operation: str, **extra: Any) -> dict[str, Any]:
        return self.request(operation, self._target(), extra, leave=("TargetFunctionArn",))


class EventInvokeConfig(Resource):
    """What becomes of asynchronous events of a function."""

    TYPE = "AWS::Lambda::EventInvokeConfig"
    FIXED = ("FunctionName", "Qualifier")

    def create(self) -> None:
        self.client.put_function_event_invoke_config(**self.request("PutFunctionEventInvokeConfig"))

    def update(self, before: Mapping[str, Any]) -> None:
        self.create()

    def remove(self) -> None:
        names = {name: self.properties[name] for name in self.FIXED if name in self.properties}
        self.client.delete_function_event_invoke_config(**names)


class CodeSigningConfig(Resource):
    """Who must have signed the code of functions."""

    TYPE = "AWS::Lambda::CodeSigningConfig"
    ATTRIBUTES = ("CodeSigningConfigArn", "CodeSigningConfigId")

    def create(self) -> None:
        parameters = self.request("CreateCodeSigningConfig", {"Tags": self.tags()}, leave=("Tags",))
        made = self.client.create_code_signing_config(**parameters)["CodeSigningConfig"]
        self.physical_resource_id = made["CodeSigningConfigArn"]
        self.attributes = {name: made[name] for name in self.ATTRIBUTES}
        link().tag(made["CodeSigningConfigArn"], self.place.system_tags())

    def update(self, before: Mapping[str, Any]) -> None:
        arn = {"CodeSigningConfigArn": self.physical_resource_id}
        self.client.update_code_signing_config(**self.request("UpdateCodeSigningConfig", arn, leave=("Tags",)))

    def remove(self) -> None:
        self.client.delete_code_signing_config(CodeSigningConfigArn=self.physical_resource_id)


class CapacityProvider(Resource):
    """Instances on which functions run."""

    TYPE = "AWS::Lambda::CapacityProvider"
    NAME = "CapacityProviderName"
    FIXED = ("*",)
    ATTRIBUTES = ("Arn", "State")

    def create(self) -> None:
        extra = {"CapacityProviderName": self.name, "Tags": self.tags()}
        made = self.client.create_capacity_provider(**self.request("CreateCapacityProvider", extra, leave=("Tags",)))[
            "CapacityProvider"
        ]
        self.attributes = {"Arn": made["CapacityProviderArn"], "State": made["State"]}

    def remove(self) -> None:
        self.client.delete_capacity_provider(CapacityProviderName=self.name)


RESOURCES: tuple[type[Resource], ...] = (
    EventSourceMapping,
    Url,
    EventInvokeConfig,
    CodeSigningConfig,
    CapacityProvider,
)
