"""The configuration members of CreateFunction and UpdateFunctionConfiguration: their rules, and how they are stored."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from lambda_provider.api import InvalidParameterValueException, ResourceNotFoundException
from lambda_provider.context import RequestContext
from lambda_provider.model.configuration import (
    Code,
    FunctionConfiguration,
    ImageSettings,
    LoggingSettings,
    VpcSettings,
)
from lambda_provider.operations.feature_rules import DURABLE_DEFAULTS, check_logging, require_coherent
from lambda_provider.operations.function_layers import FunctionLayers
from lambda_provider.operations.network import Networks
from lambda_provider.operations.targets import Targets
from lambda_provider.validation.runtimes import require_creatable

# AWS Lambda Developer Guide, "Using Lambda environment variables": defined runtime environment variables that are reserved.
RESERVED_VARIABLES = frozenset(
    {
        "_HANDLER",
        "_X_AMZN_TRACE_ID",
        "AWS_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_DEFAULT_REGION",
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_LAMBDA_RUNTIME_API",
        "AWS_REGION",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "LAMBDA_RUNTIME_DIR",
        "LAMBDA_TASK_ROOT",
    }
)

_KEPT = ("TenancyConfig", "CapacityProviderConfig", "DurableConfig", "RuntimeConfig", "AcceleratorConfig")


def _image_settings(member: Mapping[str, Any]) -> ImageSettings | None:
    settings = ImageSettings(
        command=tuple(member["Command"]) if member.get("Command") else None,
        entry_point=tuple(member["EntryPoint"]) if member.get("EntryPoint") else None,
        working_directory=member.get("WorkingDirectory") or None,
    )
    return settings if settings != ImageSettings() else None


_MEMBERS: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    "Role": ("role", str),
    "Runtime": ("runtime", str),
    "Handler": ("handler", str),
    "Description": ("description", str),
    "Timeout": ("timeout_s", int),
    "MemorySize": ("memory_mib", int),
    "Architectures": ("architecture", lambda names: names[0]),
    "Environment": ("environment", lambda member: member.get("Variables")),
    "EphemeralStorage": ("ephemeral_storage_mib", lambda member: member["Size"]),
    "TracingConfig": ("tracing_mode", lambda member: member.get("Mode", "PassThrough")),
    "SnapStart": ("snap_start", lambda member: member.get("ApplyOn", "None")),
    "DeadLetterConfig": ("dead_letter_target_arn", lambda member: member.get("TargetArn") or None),
    "KMSKeyArn": ("kms_key_arn", lambda arn: arn or None),
    "FileSystemConfigs": ("file_systems", tuple),
    "ImageConfig": ("image", _image_settings),
}


class ConfigurationRules(FunctionLayers, Networks, Targets):
    """Checks the configuration members of a request and makes a configuration of them."""

    def new_configuration(
        self, context: RequestContext, name: str, code: Code, request: Mapping[str, Any]
    ) -> FunctionConfiguration:
        """The configuration of a new function."""
        base = FunctionConfiguration(
            code=code,
            role=request["Role"],
            package_type=request.get("PackageType", "Zip"),
            logging=LoggingSettings(log_group=f"/aws/lambda/{name}"),
        )
        return self.configured(context, base, request)

    def configured(
        self, context: RequestContext, base: FunctionConfiguration, request: Mapping[str, Any]
    ) -> FunctionConfiguration:
        """`base` with the members of a request applied; a member that was not sent keeps its value.

        Raises AWS's error for the first member that breaks a rule.
        """
        require_package_rules(base.package_type, request)
        if "Runtime" in request:
            require_creatable(request["Runtime"])
        self._check_environment(request.get("Environment", {}).get("Variables") or {})
        changes = {name: convert(request[member]) for member, (name, convert) in _MEMBERS.items() if member in request}
        if "LoggingConfig" in request:
            check_logging(request["LoggingConfig"], base.logging.log_format)
            changes["logging"] = base.logging.updated(request["LoggingConfig"])
        if "Layers" in request:
            changes["layers"] = self.layers_of_function(context, request["Layers"], base.code)
        if "VpcConfig" in request:
            changes["vpc"] = self._vpc(context, base.vpc or VpcSettings(), request["VpcConfig"])
        if kept := {member: request[member] for member in _KEPT if member in request}:
            if "DurableConfig" in kept:
                kept["DurableConfig"] = {
                    **DURABLE_DEFAULTS,
                    **base.kept.get("DurableConfig", {}),
                    **kept["DurableConfig"],
                }
            changes["kept"] = {**base.kept, **kept}
        configuration = replace(base, **changes)
        require_coherent(configuration)
        self._check_references(context, configuration, request)
        return configuration

    def _check_references(
        self, context: RequestContext, configuration: FunctionConfiguration, request: Mapping[str, Any]
    ) -> None:
        """Raise unless what the request's members point at exists."""
        if "CapacityProviderConfig" in request:
            arn = configuration.capacity_provider_arn or ""
            provider = self.store.capacity_providers.get(context.account_id, context.region, arn.rpartition(":")[2])
            if provider is None or provider.arn != arn:
                raise ResourceNotFoundException(f"Capacity provider not found: {arn}")
        if "DeadLetterConfig" in request:
            self.check_dead_letter_target(context, configuration.dead_letter_target_arn)
        if "KMSKeyArn" in request and configuration.environment:
            self.check_key(context, configuration.kms_key_arn)

    def _check_environment(self, variables: Mapping[str, str]) -> None:
        if reserved := [name for name in variables if name in RESERVED_VARIABLES]:
            raise InvalidParameterValueException(
                "Lambda was unable to configure your environment variables because the environment variables you have "
                "provided contains reserved keys that are currently not supported for modification. "
                f"Reserved keys used in this request: {', '.join(reserved)}"
            )
        measured = json.dumps(variables, separators=(",", ":"), ensure_ascii=False)
        if len(measured.encode()) > self.config.environment_size:
            # Recorded: test_large_environment_fails_multiple_keys. AWS says 4KB.
            raise InvalidParameterValueException(
                "Lambda was unable to configure your environment variables because the environment variables you have "
                f"provided exceeded the {self.config.environment_size // 1024}KB limit. String measured: {measured}"
            )

    def _vpc(self, context: RequestContext, base: VpcSettings, member: Mapping[str, Any]) -> VpcSettings:
        subnets = tuple(member.get("SubnetIds", base.subnet_ids))
        groups = tuple(member.get("SecurityGroupIds", base.security_group_ids))
        return VpcSettings(
            subnet_ids=subnets,
            security_group_ids=groups,
            ipv6_allowed=member.get("Ipv6AllowedForDualStack", base.ipv6_allowed),
            vpc_id=self.vpc_of(context, subnets, groups),
        )


def require_package_rules(package_type: str, request: Mapping[str, Any]) -> None:
    """Raise if a request has members that a function of this package type cannot have."""
    if package_type == "Image" and not request.keys().isdisjoint(("Handler", "Runtime", "Layers")):
        raise InvalidParameterValueException(
            "Please don't provide Handler or Runtime or Layer when the intended function PackageType is Image."
        )


def require_zip_members(request: Mapping[str, Any]) -> None:
    """Raise unless CreateFunction has what a function from a deployment package must have."""
    if request.get("PackageType", "Zip") == "Zip" and not (request.get("Runtime") and request.get("Handler")):
        raise InvalidParameterValueException(
            "Runtime and Handler are mandatory parameters for functions created with deployment packages."
        )
