"""`AWS::Lambda::*` that are functions, or of which functions are made: what templates say, in calls of the Lambda API.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/AWS_Lambda.html: what each type is referred to by, which
attributes it has, and which properties cannot be changed.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import WaiterError

from lambda_provider.hosts.services.cfnresponse import helper_for
from lambda_provider.hosts.services.link import link
from lambda_provider.hosts.services.resources import Resource, until
from lambda_provider.validation.names import MAX_NAME_LENGTH

_WAIT = {"Delay": 0.1, "MaxAttempts": 6000}
_BESIDE = (
    "Code",
    "Tags",
    "ReservedConcurrentExecutions",
    "RuntimeManagementConfig",
    "RecursiveLoop",
    "FunctionScalingConfig",
    "CodeSigningConfigArn",
    "PublishToLatestPublished",
)
"""Properties of a function that are not of its configuration."""
_CODE = ("Architectures", "PackageType")
_EMPTY: dict[str, Any] = {
    "Description": "",
    "Environment": {"Variables": {}},
    "Layers": [],
    "MemorySize": 128,
    "Timeout": 3,
    "DeadLetterConfig": {},
    "TracingConfig": {"Mode": "PassThrough"},
    "VpcConfig": {"SubnetIds": [], "SecurityGroupIds": []},
    "FileSystemConfigs": [],
    "EphemeralStorage": {"Size": 512},
    "KMSKeyArn": "",
    "ImageConfig": {},
    "SnapStart": {"ApplyOn": "None"},
}
"""What a property that is taken out of a template goes back to."""


class Function(Resource):
    """A function, Active before anything that refers to it is made."""

    TYPE = "AWS::Lambda::Function"
    NAME = "FunctionName"
    FIXED = ("FunctionName", "PackageType", "TenancyConfig")
    ATTRIBUTES = ("Arn", "SnapStartResponse", "SnapStartResponse.ApplyOn", "SnapStartResponse.OptimizationStatus")

    def __init__(self, place: Any, name: str, properties: Mapping[str, Any]) -> None:
        # What CloudFormation makes up ends in 12 random characters, which stay when the name is cut to what Lambda takes.
        made_up = self.NAME not in properties and len(name) > MAX_NAME_LENGTH
        super().__init__(place, name[: MAX_NAME_LENGTH - 13] + name[-13:] if made_up else name, properties)

    def create(self) -> None:
        extra = {"FunctionName": self.name, "Code": code_of(self.properties), "Tags": self.tags()}
        parameters = self.request(
            "CreateFunction", extra, leave=[name for name in _BESIDE if name != "CodeSigningConfigArn"]
        )
        made = self.client.create_function(**parameters)
        self._describe(made)
        try:
            self._wait("function_active_v2")
            link().tag(made["FunctionArn"], self.place.system_tags())
            self._set_beside({})
        except BaseException:
            # A resource whose creation failed has no name by which the stack could delete it.
            self.client.delete_function(FunctionName=self.name)
            raise

    def update(self, before: Mapping[str, Any]) -> None:
        if any(self.properties.get(name) != before.get(name) for name in ("Code", "Architectures")):
            code = code_of(self.properties)
            if "Architectures" in self.properties:
                code["Architectures"] = self.properties["Architectures"]
            self.client.update_function_code(FunctionName=self.name, **code)
            self._wait("function_updated_v2")
        left = (*_BESIDE, *_CODE, "FunctionName")
        gone = {name: _EMPTY[name] for name in _EMPTY if name in before and name not in self.properties}
        configuration = self.request("UpdateFunctionConfiguration", gone, {"FunctionName": self.name}, leave=left)
        after = {name: value for name, value in self.properties.items() if name not in left}
        if after != {name: value for name, value in before.items() if name not in left}:
            self.client.update_function_configuration(**configuration)
            self._wait("function_updated_v2")
        self._set_beside(before)
        old, new = self.tags(before), self.tags()
        if dropped := [key for key in old if key not in new]:
            self.client.untag_resource(Resource=self.attributes["Arn"], TagKeys=dropped)
        if new and old != new:
            self.client.tag_resource(Resource=self.attributes["Arn"], Tags=new)

    def remove(self) -> None:
        self.client.delete_function(FunctionName=self.name)

    def _describe(self, configuration: Mapping[str, Any]) -> None:
        snap_start = configuration.get("SnapStart") or {"ApplyOn": "None", "OptimizationStatus": "Off"}
        self.attributes = {"Arn": configuration["FunctionArn"], "SnapStartResponse": snap_start} | {
            f"SnapStartResponse.{name}": value for name, value in snap_start.items()
        }

    def _wait(self, waiter: str) -> None:
        try:
            self.client.get_waiter(waiter).wait(FunctionName=self.name, WaiterConfig=_WAIT)
        except WaiterError as error:
            told = self.client.get_function_configuration(FunctionName=self.name)
            why = told.get("StateReason") or told.get("LastUpdateStatusReason") or str(error)
            raise ValueError(why) from error

    def _set_beside(self, before: Mapping[str, Any]) -> None:
        """What is set by operations of its own, where it differs."""
        changed = {name for name in _BESIDE if self.properties.get(name) != before.get(name)}
        client, name = self.client, self.name
        if "ReservedConcurrentExecutions" in changed:
            reserved = self.properties.get("ReservedConcurrentExecutions")
            if reserved is None:
                client.delete_function_concurrency(FunctionName=name)
            else:
                client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=int(reserved))
        if "RuntimeManagementConfig" in changed:
            management = self.properties.get("RuntimeManagementConfig") or {"UpdateRuntimeOn": "Auto"}
            client.put_runtime_management_config(FunctionName=name, **management)
        if "RecursiveLoop" in changed:
            loop = self.properties.get("RecursiveLoop") or "Terminate"
            client.put_function_recursion_config(FunctionName=name, RecursiveLoop=loop)
        if "CodeSigningConfigArn" in changed and before:
            arn = self.properties.get("CodeSigningConfigArn")
            if arn is None:
                client.delete_function_code_signing_config(FunctionName=name)
            else:
                client.put_function_code_signing_config(FunctionName=name, CodeSigningConfigArn=arn)


def code_of(properties: Mapping[str, Any]) -> dict[str, Any]:
    """The code of a function as the API takes it. Inline code is text, which becomes the file `index` of an archive."""
    code = dict(properties.get("Code") or {})
    if "ZipFile" not in code:
        return code
    runtime = str(properties.get("Runtime", ""))
    text = code["ZipFile"]
    files = {f"index.{'js' if runtime.startswith('nodejs') else 'py'}": text, **helper_for(runtime, text)}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, content)
    code["ZipFile"] = buffer.getvalue()
    return code


class Version(Resource):
    """A version, published of what the function is when the stack comes to it."""

    TYPE = "AWS::Lambda::Version"
    FIXED = ("*",)
    ATTRIBUTES = ("Version", "FunctionArn")

    def create(self) -> None:
        leave = ("ProvisionedConcurrencyConfig", "RuntimePolicy", "FunctionScalingConfig")
        made = self.client.publish_version(**self.request("PublishVersion", leave=leave))
        arn, number = made["FunctionArn"], made["Version"]
        self.physical_resource_id = arn
        self.attributes = {"Version": number, "FunctionArn": arn}
        self.client.get_waiter("published_version_active").wait(
            FunctionName=self.properties["FunctionName"], Qualifier=number, WaiterConfig=_WAIT
        )
        if policy := self.properties.get("RuntimePolicy"):
            self.client.put_runtime_management_config(FunctionName=arn.rpartition(":")[0], Qualifier=number, **policy)
        provision(self.client, arn.rpartition(":")[0], number, self.properties)

    def remove(self) -> None:
        function, _, number = self.physical_resource_id.rpartition(":")
        self.client.delete_function(FunctionName=function, Qualifier=number)


class Alias(Resource):
    """An alias, with its weights and its provisioned concurrency."""

    TYPE = "AWS::Lambda::Alias"
    FIXED = ("Name", "FunctionName")
    ATTRIBUTES = ("AliasArn",)

    def create(self) -> None:
        made = self.client.create_alias(**self._parameters("CreateAlias"))
        self.physical_resource_id = made["AliasArn"]
        self.attributes = {"AliasArn": made["AliasArn"]}
        provision(self.client, *self._names(), self.properties)

    def update(self, before: Mapping[str, Any]) -> None:
        gone = {"Description": ""} if "Description" in before and "Description" not in self.properties else {}
        parameters = {"RoutingConfig": {"AdditionalVersionWeights": {}}, **gone, **self._parameters("UpdateAlias")}
        self.client.update_alias(**parameters)
        if self.properties.get("ProvisionedConcurrencyConfig") != before.get("ProvisionedConcurrencyConfig"):
            if before.get("ProvisionedConcurrencyConfig") and not self.properties.get("ProvisionedConcurrencyConfig"):
                function, alias = self._names()
                self.client.delete_provisioned_concurrency_config(FunctionName=function, Qualifier=alias)
            provision(self.client, *self._names(), self.properties)

    def remove(self) -> None:
        function, alias = self._names()
        self.client.delete_alias(FunctionName=function, Name=alias)

    def _names(self) -> tuple[str, str]:
        function, _, alias = self.physical_resource_id.rpartition(":")
        return function, alias

    def _parameters(self, operation: str) -> dict[str, Any]:
        routing = self.properties.get("RoutingConfig")
        weights = {
            each["FunctionVersion"]: float(each["FunctionWeight"])
            for each in (routing or {}).get("AdditionalVersionWeights") or ()
        }
        extra = {"RoutingConfig": {"AdditionalVersionWeights": weights}} if routing else {}
        return self.request(operation, extra, leave=("ProvisionedConcurrencyConfig", "RoutingConfig"))


def provision(client: Any, function: str, qualifier: str, properties: Mapping[str, Any]) -> None:
    """Give a version or an alias its provisioned concurrency, and wait for it."""
    wanted = (properties.get("ProvisionedConcurrencyConfig") or {}).get("ProvisionedConcurrentExecutions")
    if wanted is None:
        return
    client.put_provisioned_concurrency_config(
        FunctionName=function, Qualifier=qualifier, ProvisionedConcurrentExecutions=int(wanted)
    )
    until(
        lambda: (
            client.get_provisioned_concurrency_config(FunctionName=function, Qualifier=qualifier)["Status"]
            != "IN_PROGRESS"
        ),
        "provisioned concurrency is allocated",
    )


class Permission(Resource):
    """A statement of a function's policy."""

    TYPE = "AWS::Lambda::Permission"
    FIXED = ("*",)
    ATTRIBUTES = ("Id",)

    def create(self) -> None:
        self.client.add_permission(**self.request("AddPermission", {"StatementId": self.name}))
        self.attributes = {"Id": self.name}

    def remove(self) -> None:
        self.client.remove_permission(FunctionName=self.properties["FunctionName"], StatementId=self.name)


class LayerVersion(Resource):
    """A version of a layer; its name is the logical id if the template gives it none."""

    TYPE = "AWS::Lambda::LayerVersion"
    NAME = "LayerName"
    FIXED = ("*",)
    ATTRIBUTES = ("LayerVersionArn",)

    def create(self) -> None:
        name = self.properties.get("LayerName") or self.place.logical_id or self.name
        made = self.client.publish_layer_version(**self.request("PublishLayerVersion", {"LayerName": name}))
        self.physical_resource_id = made["LayerVersionArn"]
        self.attributes = {"LayerVersionArn": made["LayerVersionArn"]}

    def remove(self) -> None:
        layer, _, number = self.physical_resource_id.rpartition(":")
        self.client.delete_layer_version(LayerName=layer, VersionNumber=int(number))


class LayerVersionPermission(Resource):
    """A statement of a layer version's policy."""

    TYPE = "AWS::Lambda::LayerVersionPermission"
    FIXED = ("*",)
    ATTRIBUTES = ("Id",)

    def create(self) -> None:
        extra = {**self._version(), "StatementId": self.name}
        self.client.add_layer_version_permission(
            **self.request("AddLayerVersionPermission", extra, leave=("LayerVersionArn",))
        )
        self.physical_resource_id = f"{self.properties['LayerVersionArn']}#{self.name}"
        self.attributes = {"Id": self.name}

    def remove(self) -> None:
        self.client.remove_layer_version_permission(**self._version(), StatementId=self.name)

    def _version(self) -> dict[str, Any]:
        layer, _, number = self.properties["LayerVersionArn"].rpartition(":")
        return {"LayerName": layer, "VersionNumber": int(number)}


RESOURCES: tuple[type[Resource], ...] = (
    Function,
    Version,
    Alias,
    Permission,
    LayerVersion,
    LayerVersionPermission,
)
