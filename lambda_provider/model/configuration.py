"""The configuration of a function: what PublishVersion copies, and what makes two versions differ."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lambda_provider.context import partition_of


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Object:
    """A version of an object in a bucket that keeps versions."""

    bucket: str
    key: str
    version: str

    def describe(self) -> dict[str, Any]:
        """ResolvedS3Object."""
        return {"S3Bucket": self.bucket, "S3Key": self.key, "S3ObjectVersion": self.version}


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """The code of a version: an archive that the archive store keeps, or a container image in a registry.

    `sha256` is the hex digest of the zip file, or of the image's manifest; `size` the bytes of the zip file, 0 for an image,
    and `unzipped_size` those of the files in it. `signing_profile_version_arn` is who signed it, if it is trusted.
    `s3_object` is where it stays when Lambda is to keep no copy of its own. `folder` is a folder of this machine that takes
    the place of an archive (docs/configuration.md, "Hot reload"); `sha256` is that of its path then. `image_found`: the host's
    ECR had the image, so `sha256` is really its digest, and this image is meant whatever its tag says later.
    """

    sha256: str
    size: int = 0
    unzipped_size: int = 0
    image_uri: str | None = None
    image_found: bool = False
    source_kms_key_arn: str | None = None
    signing_profile_version_arn: str | None = None
    s3_object: S3Object | None = None
    folder: str | None = None

    @property
    def stored_size(self) -> int:
        """Bytes that count towards the account's code storage: none of what stays in a bucket of the account's own.

        AWS Lambda Developer Guide, "Self-managed S3 code storage".
        """
        return 0 if self.s3_object else self.size

    @property
    def resolved_image_uri(self) -> str | None:
        """The image by its digest, in the repository that `image_uri` names."""
        if self.image_uri is None:
            return None
        head, slash, last = self.image_uri.partition("@")[0].rpartition("/")
        return f"{head}{slash}{last.partition(':')[0]}@sha256:{self.sha256}"

    @property
    def api_sha256(self) -> str:
        """CodeSha256 as the API has it: base64 for an archive, hex for an image (recorded: test_lambda_image_crud)."""
        return self.sha256 if self.image_uri else base64.b64encode(bytes.fromhex(self.sha256)).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggingSettings:
    """Where the logs of a function go and what is in them. Levels exist for the JSON format only."""

    log_group: str
    log_format: str = "Text"
    application_log_level: str | None = None
    system_log_level: str | None = None

    def updated(self, request: Mapping[str, Any]) -> LoggingSettings:
        """These settings with the members of a LoggingConfig applied.

        A member that was not sent keeps its value. With JSON a level that nobody chose is INFO, with Text there are none
        (recorded: TestLoggingConfig).
        """
        log_format = request.get("LogFormat", self.log_format)
        json_format = log_format == "JSON"
        application = request.get("ApplicationLogLevel", self.application_log_level)
        system = request.get("SystemLogLevel", self.system_log_level)
        return LoggingSettings(
            log_group=request.get("LogGroup", self.log_group),
            log_format=log_format,
            application_log_level=(application or "INFO") if json_format else None,
            system_log_level=(system or "INFO") if json_format else None,
        )

    def describe(self) -> dict[str, Any]:
        """LoggingConfig."""
        return present(
            LogFormat=self.log_format,
            ApplicationLogLevel=self.application_log_level,
            SystemLogLevel=self.system_log_level,
            LogGroup=self.log_group,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class VpcSettings:
    """The network that a function is attached to. `vpc_id` follows from the subnets; empty when there are none."""

    subnet_ids: tuple[str, ...] = ()
    security_group_ids: tuple[str, ...] = ()
    ipv6_allowed: bool = False
    vpc_id: str = ""

    def describe(self) -> dict[str, Any]:
        """VpcConfigResponse."""
        return {
            "SubnetIds": list(self.subnet_ids),
            "SecurityGroupIds": list(self.security_group_ids),
            "VpcId": self.vpc_id,
            "Ipv6AllowedForDualStack": self.ipv6_allowed,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSettings:
    """What a function changes about its container image. None leaves the image's own value."""

    command: tuple[str, ...] | None = None
    entry_point: tuple[str, ...] | None = None
    working_directory: str | None = None

    def describe(self) -> dict[str, Any]:
        """ImageConfigResponse."""
        image_config = present(
            EntryPoint=list(self.entry_point) if self.entry_point is not None else None,
            Command=list(self.command) if self.command is not None else None,
            WorkingDirectory=self.working_directory,
        )
        return {"ImageConfig": image_config}


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerReference:
    """A layer version that a function uses, in the function's order. Hash and sizes in bytes are those of its archive."""

    arn: str
    sha256: str
    size: int
    unzipped_size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionConfiguration:
    """Code and configuration, without name, version or state. Equal values run alike.

    Times are in seconds, sizes in MiB, as the API has them. `kept` holds members of the API that are stored and answered but
    that nothing here reads yet, by their API name.
    """

    code: Code
    role: str
    logging: LoggingSettings
    package_type: str = "Zip"
    runtime: str | None = None
    handler: str | None = None
    description: str = ""
    timeout_s: int = 3
    memory_mib: int = 128
    ephemeral_storage_mib: int = 512
    architecture: str = "x86_64"
    environment: Mapping[str, str] | None = None
    tracing_mode: str = "PassThrough"
    snap_start: str = "None"
    vpc: VpcSettings | None = None
    layers: tuple[LayerReference, ...] = ()
    dead_letter_target_arn: str | None = None
    kms_key_arn: str | None = None
    file_systems: tuple[Mapping[str, Any], ...] = ()
    image: ImageSettings | None = None
    kept: Mapping[str, Any] = field(default_factory=dict)

    def describe(self, *, region: str) -> dict[str, Any]:
        """The members of the API's FunctionConfiguration that come from here; absent where AWS leaves them out."""
        return present(
            Runtime=self.runtime,
            Role=self.role,
            Handler=self.handler,
            CodeSize=self.code.size,
            Description=self.description,
            Timeout=self.timeout_s,
            MemorySize=self.memory_mib,
            CodeSha256=self.code.api_sha256,
            SigningProfileVersionArn=self.code.signing_profile_version_arn,
            VpcConfig=self.vpc.describe() if self.vpc else None,
            DeadLetterConfig={"TargetArn": self.dead_letter_target_arn} if self.dead_letter_target_arn else None,
            Environment={"Variables": dict(self.environment)} if self.environment is not None else None,
            KMSKeyArn=self.kms_key_arn,
            TracingConfig={"Mode": self.tracing_mode},
            Layers=[{"Arn": layer.arn, "CodeSize": layer.size} for layer in self.layers] or None,
            FileSystemConfigs=[dict(file_system) for file_system in self.file_systems] or None,
            PackageType=self.package_type,
            ImageConfigResponse=self.image.describe() if self.image else None,
            Architectures=[self.architecture],
            EphemeralStorage={"Size": self.ephemeral_storage_mib},
            SnapStart={"ApplyOn": self.snap_start, "OptimizationStatus": "Off"},
            RuntimeVersionConfig={"RuntimeVersionArn": self.runtime_version_arn(region)} if self.runtime else None,
            LoggingConfig=self.logging.describe(),
            **self.kept,
        )

    @property
    def tenant_isolated(self) -> bool:
        """Every tenant has execution environments of its own, and every invoke names its tenant."""
        return "TenancyConfig" in self.kept

    @property
    def capacity_provider_arn(self) -> str | None:
        """The capacity provider whose instances the function runs on, or None for Lambda's own."""
        config = self.kept.get("CapacityProviderConfig")
        arn: str | None = config and config["LambdaManagedInstancesCapacityProviderConfig"]["CapacityProviderArn"]
        return arn

    @property
    def max_concurrency(self) -> int | None:
        """How many invocations an environment on managed instances takes at once, or None on Lambda's own.

        What is not set depends on the runtime and on the vCPUs, of which there is one for 2 GiB of memory unless another ratio
        is set: Developer Guide, "Lambda Managed Instances runtimes" and the pages of the runtimes.
        """
        member = self.kept.get("CapacityProviderConfig")
        if member is None:
            return None
        config = member["LambdaManagedInstancesCapacityProviderConfig"]
        if (concurrency := config.get("PerExecutionEnvironmentMaxConcurrency")) is not None:
            return int(concurrency)
        cpus = self.memory_mib / 1024 / config.get("ExecutionEnvironmentMemoryGiBPerVCpu", 2)
        runtime = self.runtime or ""
        each = next((count for name, count in _CONCURRENCY_BY_RUNTIME if runtime.startswith(name)), 1)
        return max(1, int(each * cpus))

    def runtime_version_arn(self, region: str) -> str:
        """The build of the runtime that is used: AWS names it by a hash; here one exists for each runtime and architecture."""
        build = hashlib.sha256(f"{self.runtime}/{self.architecture}".encode()).hexdigest()
        return f"arn:{partition_of(region)}:lambda:{region}::runtime:{build}"


_CONCURRENCY_BY_RUNTIME = (("python", 16), ("nodejs", 64), ("java", 32), ("dotnet", 32))
"""Invocations at once for each vCPU."""


def present(**members: Any) -> dict[str, Any]:
    """The members that have a value; None means that the API leaves the member out."""
    return {name: value for name, value in members.items() if value is not None}
