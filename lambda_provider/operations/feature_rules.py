"""Which settings of a function go together.

Most rules are sentences of the Developer Guide, named below; AWS's words are recorded or reported for some of them, the
others are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lambda_provider.api import InvalidParameterValueException
from lambda_provider.model.configuration import FunctionConfiguration
from lambda_provider.validation.runtimes import supports_snapstart

# On Lambda's own instances; managed instances take the values of the model ("Lambda quotas").
MAX_MEMORY_MIB = 10_240
MAX_TIMEOUT_S = 900
MAX_EPHEMERAL_STORAGE_MIB = 10_240
SNAPSTART_EPHEMERAL_STORAGE_MIB = 512
MANAGED_INSTANCES_MIN_MEMORY_MIB = 2048

# API reference of DurableConfig and the Developer Guide, "Configure Lambda durable functions".
DURABLE_DEFAULTS = {"RetentionPeriodInDays": 14, "ExecutionTimeout": 86_400}


def require_coherent(configuration: FunctionConfiguration) -> None:
    """Raise InvalidParameterValueException for the first pair of settings that AWS does not take together."""
    _check_quotas(configuration)
    _check_file_systems(configuration)
    _check_image_settings(configuration)
    _check_snap_start(configuration)
    _check_capacity_provider(configuration)
    if configuration.tenant_isolated and configuration.snap_start != "None":
        # "Tenant isolation", limitations.
        raise _refused("SnapStart is not supported for functions with tenant isolation enabled.")


def check_logging(member: Mapping[str, Any], log_format: str) -> None:
    """Raise if a LoggingConfig has levels and the function logs as text: "log-level filtering needs JSON".

    `log_format` is that of the function if the member has none. The words: https://github.com/aws/aws-cdk/pull/28045.
    """
    has_level = member.get("ApplicationLogLevel") or member.get("SystemLogLevel")
    if has_level and member.get("LogFormat", log_format) != "JSON":
        raise _refused(
            'LogLevel is not supported when LogFormat is set to "Text". '
            'Remove LogLevel from your request or change the LogFormat to "Json" and try again.'
        )


def check_immutable(old: FunctionConfiguration, request: Mapping[str, Any]) -> None:
    """Raise if an update would give a function what it can have from its creation only."""
    if "CapacityProviderConfig" in request and old.capacity_provider_arn is None:
        raise _refused("CapacityProviderConfig isn't supported for Lambda Default functions.")
    if "DurableConfig" in request and "DurableConfig" not in old.kept:
        raise _refused("DurableConfig can be set only when a function is created.")


def _check_quotas(configuration: FunctionConfiguration) -> None:
    if configuration.capacity_provider_arn is not None:
        if configuration.memory_mib < MANAGED_INSTANCES_MIN_MEMORY_MIB:
            raise _refused(_out_of_range("MemorySize", "greater", MANAGED_INSTANCES_MIN_MEMORY_MIB))
        return
    if configuration.memory_mib > MAX_MEMORY_MIB:
        raise _refused(_out_of_range("MemorySize", "less", MAX_MEMORY_MIB))
    if configuration.timeout_s > MAX_TIMEOUT_S:
        raise _refused(_out_of_range("Timeout", "less", MAX_TIMEOUT_S))
    if configuration.ephemeral_storage_mib > MAX_EPHEMERAL_STORAGE_MIB:
        raise _refused(_out_of_range("EphemeralStorage.Size", "less", MAX_EPHEMERAL_STORAGE_MIB))


def _check_file_systems(configuration: FunctionConfiguration) -> None:
    for file_system in configuration.file_systems:
        arn = file_system["Arn"]
        # The words: https://github.com/aws-cloudformation/cfn-lint/pull/4408.
        if configuration.vpc is None or not configuration.vpc.subnet_ids:
            raise _refused(f"Function must be configured to execute in a VPC to reference access point {arn}.")
        if "S3FilesConfig" in file_system and ":s3files:" not in arn:
            # API reference of FileSystemConfig.
            raise _refused(f"S3FilesConfig is valid only for Amazon S3 Files access points, not for {arn}.")


def _check_image_settings(configuration: FunctionConfiguration) -> None:
    if configuration.package_type == "Zip" and configuration.image is not None:
        raise _refused("Please don't provide ImageConfig when the intended function PackageType is Zip.")


def _check_snap_start(configuration: FunctionConfiguration) -> None:
    """Supported features and limitations of "Improving startup performance with Lambda SnapStart"."""
    if configuration.snap_start == "None":
        return
    runtime = configuration.runtime
    if runtime is not None and not supports_snapstart(runtime):
        raise _refused(f"{runtime} is not supported for SnapStart enabled functions.")
    if configuration.ephemeral_storage_mib > SNAPSTART_EPHEMERAL_STORAGE_MIB:
        raise _refused(
            f"Ephemeral storage greater than {SNAPSTART_EPHEMERAL_STORAGE_MIB} MB "
            "is not supported for SnapStart enabled functions."
        )
    if configuration.file_systems:
        raise _refused("File systems are not supported for SnapStart enabled functions.")


def _check_capacity_provider(configuration: FunctionConfiguration) -> None:
    """Limitations of "Lambda Managed Instances"."""
    if configuration.capacity_provider_arn is None:
        return
    if configuration.snap_start != "None":
        raise _refused("SnapStart is not supported for functions with a capacity provider.")
    if configuration.tenant_isolated:
        raise _refused("Tenant isolation is not supported for functions with a capacity provider.")


def _out_of_range(member: str, direction: str, bound: int) -> str:
    return f"'{member}' value failed to satisfy constraint: Member must have value {direction} than or equal to {bound}"


def _refused(message: str) -> InvalidParameterValueException:
    return InvalidParameterValueException(message)
