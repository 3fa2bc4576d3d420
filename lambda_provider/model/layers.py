"""Layers: numbered archives that functions have unpacked below `/opt`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from lambda_provider.context import partition_of
from lambda_provider.model.configuration import Code, present
from lambda_provider.model.policy import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerVersion:
    """One version of a layer: nothing of it changes but its policy.

    None for runtimes and architectures is "not said", which the API answers without the member; an empty list is one
    (recorded: test_layer_s3_content, test_layer_exceptions). `created` is ISO 8601 with milliseconds.
    """

    number: int
    code: Code
    created: str
    description: str = ""
    runtimes: tuple[str, ...] | None = None
    architectures: tuple[str, ...] | None = None
    license_info: str | None = None
    policy: Policy | None = None

    def matches(self, runtime: str | None, architecture: str | None) -> bool:
        """Whether it says of itself that it is compatible with these; None asks for nothing.

        Lists show only what "indicates" compatibility (ListLayers in the API reference). Nothing else depends on it: a
        function may have a layer that does not name its runtime or architecture.
        """
        return (runtime is None or runtime in (self.runtimes or ())) and (
            architecture is None or architecture in (self.architectures or ())
        )

    def describe_in_list(self, layer: Layer) -> dict[str, Any]:
        """LayerVersionsListItem."""
        return present(
            LayerVersionArn=layer.version_arn(self.number),
            Version=self.number,
            Description=self.description,
            CreatedDate=self.created,
            CompatibleArchitectures=list(self.architectures) if self.architectures is not None else None,
            CompatibleRuntimes=list(self.runtimes) if self.runtimes is not None else None,
            LicenseInfo=self.license_info,
        )

    def describe(self, layer: Layer, location: str) -> dict[str, Any]:
        """GetLayerVersionResponse. `location` is a URL at which the archive can be downloaded."""
        content = present(
            Location=location,
            CodeSha256=self.code.api_sha256,
            CodeSize=self.code.size,
            ResolvedS3Object=self.code.s3_object.describe() if self.code.s3_object else None,
        )
        return {"Content": content, "LayerArn": layer.arn, **self.describe_in_list(layer)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """The versions of a layer that are not deleted, by their number, oldest first.

    A layer stays when its last version is deleted: numbers below `next_version` were published here, and are not used
    again. `sequence` is the position in the order of creation within the region.
    """

    account_id: str
    region: str
    name: str
    sequence: int = 0
    next_version: int = 1
    versions: dict[str, LayerVersion] = field(default_factory=dict)

    @property
    def arn(self) -> str:
        """The ARN of the layer; one without an account is AWS's own."""
        if not self.account_id:
            return f"arn:{partition_of(self.region)}:lambda:::awslayer:{self.name}"
        return f"arn:{partition_of(self.region)}:lambda:{self.region}:{self.account_id}:layer:{self.name}"

    def version_arn(self, number: int) -> str:
        """The ARN of a version; AWS's own layers have none."""
        return f"{self.arn}:{number}" if self.account_id else self.arn

    def version(self, number: int) -> LayerVersion | None:
        """The version of that number, unless it is deleted."""
        return self.versions.get(str(number))

    def newest(self, runtime: str | None, architecture: str | None) -> LayerVersion | None:
        """The newest version that says it is compatible with these."""
        return next((each for each in reversed(self.versions.values()) if each.matches(runtime, architecture)), None)

    @property
    def next_number(self) -> int:
        """The number of the version that is published next; what was fetched from elsewhere has numbers, too."""
        return max([self.next_version, *(version.number + 1 for version in self.versions.values())])

    def with_version(self, version: LayerVersion) -> Layer:
        """The layer with one more version, or with another value of one that it has."""
        versions = {**self.versions, str(version.number): version}
        return replace(self, versions={number: versions[number] for number in sorted(versions, key=int)})

    def publishing(self, version: LayerVersion) -> Layer:
        """The layer with a version that is published here."""
        return replace(self.with_version(version), next_version=version.number + 1)

    def without_version(self, number: int) -> Layer:
        """The layer without a version."""
        return replace(self, versions={key: each for key, each in self.versions.items() if key != str(number)})

    @property
    def code_size(self) -> int:
        """Bytes that count towards the account's code storage."""
        return sum(version.code.stored_size for version in self.versions.values())

    def archives(self) -> dict[str, int]:
        """The archives of the versions: bytes by SHA-256."""
        return {version.code.sha256: version.code.size for version in self.versions.values()}
