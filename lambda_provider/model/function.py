"""A function with its versions and aliases."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from lambda_provider.context import partition_of
from lambda_provider.model.concurrency import FunctionScaling, ProvisionedConcurrency
from lambda_provider.model.configuration import FunctionConfiguration, present
from lambda_provider.model.event_invoke_config import EventInvokeConfig
from lambda_provider.model.policy import Policy
from lambda_provider.model.runtime_management import RuntimeManagement
from lambda_provider.model.url import FunctionUrl

LATEST = "$LATEST"
LATEST_PUBLISHED = "$LATEST.PUBLISHED"
"""On managed instances, the newest published version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Where a version is on its way to being able to run.

        Pending -> Active | Failed        and for an Active one that is updated: InProgress -> Successful | Failed

    The members are those of FunctionConfiguration. A version that was just created has no last update.
    """

    state: str
    state_reason: str | None = None
    state_reason_code: str | None = None
    last_update: str | None = None
    last_update_reason: str | None = None
    last_update_reason_code: str | None = None
    snapshot: bool = False
    """Environments of the version start from a snapshot."""

    @classmethod
    def creating(cls) -> Status:
        """A new version that is being prepared."""
        return cls(state="Pending", state_reason="The function is being created.", state_reason_code="Creating")

    @classmethod
    def restoring(cls) -> Status:
        """A version that was loaded from storage and is being prepared again."""
        return cls(state="Pending", state_reason="The function is being restored.", state_reason_code="Restoring")

    @classmethod
    def active(cls) -> Status:
        """A version that can run."""
        return cls(state="Active", last_update="Successful")

    @classmethod
    def failed(cls, code: str, reason: str) -> Status:
        """A version that cannot run. `code` is a StateReasonCode of the model."""
        return cls(
            state="Failed",
            state_reason=reason,
            state_reason_code=code,
            last_update="Failed",
            last_update_reason=reason,
            last_update_reason_code=code,
        )

    def updating(self) -> Status:
        """The status while a change is being prepared; one that never ran is created anew.

        AWS gives the reason of a creation for an update, too (recorded: test_lambda_handler_update).
        """
        if self.state != "Active":
            return Status.creating()
        return Status(
            state="Active",
            last_update="InProgress",
            last_update_reason="The function is being created.",
            last_update_reason_code="Creating",
        )

    def prepared(self, *, snapshot: bool = False) -> Status:
        """The status after preparation succeeded."""
        return replace(Status.active(), snapshot=snapshot)

    def preparation_failed(self, code: str, reason: str) -> Status:
        """The status after preparation failed: an Active version goes on running what it ran before."""
        if self.state != "Active":
            return Status.failed(code, reason)
        return Status(
            state="Active",
            last_update="Failed",
            last_update_reason=reason,
            last_update_reason_code=code,
        )

    @property
    def settled(self) -> bool:
        """Nothing is under way."""
        return self.state != "Pending" and self.last_update != "InProgress"

    def describe(self) -> dict[str, str]:
        """State and LastUpdateStatus with their reasons."""
        return present(
            State=self.state,
            StateReason=self.state_reason,
            StateReasonCode=self.state_reason_code,
            LastUpdateStatus=self.last_update,
            LastUpdateStatusReason=self.last_update_reason,
            LastUpdateStatusReasonCode=self.last_update_reason_code,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """`$LATEST`, or a published version: an immutable snapshot of code and configuration.

    `description` is the one given to PublishVersion, which stands for that of the configuration; keeping it apart makes
    "nothing changed since the last version" an equality of configurations. `last_modified` is ISO 8601 with milliseconds.
    """

    number: str
    configuration: FunctionConfiguration
    revision_id: str
    last_modified: str
    status: Status
    description: str | None = None

    @property
    def snap_start(self) -> bool:
        """Whether its environments are to start from a snapshot."""
        return self.number != LATEST and self.configuration.snap_start == "PublishedVersions"

    def describe(self, function: Function, arn: str) -> dict[str, Any]:
        """FunctionConfiguration. `arn` is the function's ARN in the form in which the caller is to see it."""
        return self._describe_common(function, arn) | self.status.describe() | {"State": function.state_of(self)}

    def describe_in_list(self, function: Function, arn: str) -> dict[str, Any]:
        """FunctionConfiguration as lists have it: without state and runtime version (recorded: test_list_functions)."""
        members = self._describe_common(function, arn)
        members.pop("RuntimeVersionConfig", None)
        return members

    def _describe_common(self, function: Function, arn: str) -> dict[str, Any]:
        members = {
            "FunctionName": function.name,
            "FunctionArn": arn,
            "LastModified": self.last_modified,
            "Version": self.number,
            "RevisionId": self.revision_id,
            **self.configuration.describe(region=function.region),
        }
        if self.description is not None:
            members["Description"] = self.description
        if self.snap_start and self.status.snapshot:
            members["SnapStart"]["OptimizationStatus"] = "On"
        if "RuntimeVersionConfig" in members:
            members["RuntimeVersionConfig"] = {"RuntimeVersionArn": function.runtime_version_arn(self)}
        return members


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """A name for a version, or for two with a share of the invokes for the second.

    `weights` maps a version to its share, above 0 and at most 1, of the invokes; the rest goes to `version`.
    """

    name: str
    version: str
    revision_id: str
    description: str = ""
    weights: Mapping[str, float] = field(default_factory=dict)

    def describe(self, function_arn: str) -> dict[str, Any]:
        """AliasConfiguration; RoutingConfig only if there is one."""
        return present(
            AliasArn=f"{function_arn}:{self.name}",
            Name=self.name,
            FunctionVersion=self.version,
            Description=self.description,
            RoutingConfig={"AdditionalVersionWeights": dict(self.weights)} if self.weights else None,
            RevisionId=self.revision_id,
        )

    def refers_to(self, version: str) -> bool:
        """Whether some invokes of the alias go to that version."""
        return version == self.version or version in self.weights


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionSettings:
    """What belongs to a function rather than to one of its versions.

    `sequence` is the position in the order of creation within the region. `next_version` is the number that the next
    published version gets; numbers are not used again after a version is deleted.
    """

    name: str
    account_id: str
    region: str
    sequence: int = 0
    next_version: int = 1
    tags: Mapping[str, str] = field(default_factory=dict)
    reserved_concurrency: int | None = None
    code_signing_config_arn: str | None = None
    recursive_loop: str = "Terminate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A function: its settings, `$LATEST`, and by name its published versions (in order) and aliases.

    Each part is a record of its own in durable storage, so a change writes what it changed. What else belongs to a
    function and is keyed by a qualifier (policies, URLs, invoke configurations) is another mapping here.
    """

    settings: FunctionSettings
    latest: Version
    versions: dict[str, Version] = field(default_factory=dict)
    aliases: dict[str, Alias] = field(default_factory=dict)
    urls: dict[str, FunctionUrl] = field(default_factory=dict)
    event_invoke_configs: dict[str, EventInvokeConfig] = field(default_factory=dict)
    runtime_management: dict[str, RuntimeManagement] = field(default_factory=dict)
    policies: dict[str, Policy] = field(default_factory=dict)
    provisioned: dict[str, ProvisionedConcurrency] = field(default_factory=dict)
    scaling: dict[str, FunctionScaling] = field(default_factory=dict)
    arn: str = field(init=False)

    def __post_init__(self) -> None:
        settings = self.settings
        prefix = f"arn:{partition_of(settings.region)}:lambda:{settings.region}:{settings.account_id}"
        object.__setattr__(self, "arn", f"{prefix}:function:{settings.name}")

    @property
    def name(self) -> str:
        return self.settings.name

    @property
    def account_id(self) -> str:
        return self.settings.account_id

    @property
    def region(self) -> str:
        return self.settings.region

    def version(self, number: str) -> Version | None:
        """`$LATEST` or a published version by its number."""
        return self.latest if number == LATEST else self.versions.get(number)

    def find(self, qualifier: str | None) -> Version | None:
        """The version that a qualifier names: a number, `$LATEST`, an alias (its main version), or None for `$LATEST`."""
        if qualifier is None or qualifier == LATEST:
            return self.latest
        if (version := self.versions.get(qualifier)) is not None:
            return version
        alias = self.aliases.get(qualifier)
        return self.version(alias.version) if alias is not None else None

    def all_versions(self) -> Iterator[Version]:
        """`$LATEST`, then the published versions in the order in which they were published."""
        yield self.latest
        yield from self.versions.values()

    def state_of(self, version: Version) -> str:
        """The state of a version: one that is scaled to no environment at all is Deactivated."""
        scaling = self.scaling_of(version)
        return "Deactivated" if scaling is not None and scaling.deactivates else version.status.state

    @property
    def latest_published(self) -> Version | None:
        """The newest published version."""
        return next(reversed(self.versions.values()), None)

    def scaling_of(self, version: Version) -> FunctionScaling | None:
        """The bounds that were set for a version, by its number or as the newest one."""
        if not self.scaling:
            return None
        own = self.scaling.get(version.number)
        return self.scaling.get(LATEST_PUBLISHED) if own is None and version is self.latest_published else own

    def qualified_arn(self, qualifier: str | None) -> str:
        """The ARN with that qualifier, or without one."""
        return self.arn if qualifier is None else f"{self.arn}:{qualifier}"

    def runtime_version_arn(self, version: Version) -> str:
        """The build of the runtime that a version uses: the one that was chosen for it, or the one there is."""
        managed = self.runtime_management.get(version.number)
        chosen = managed.runtime_version_arn if managed is not None else None
        return chosen or version.configuration.runtime_version_arn(self.region)

    def archives(self) -> dict[str, int]:
        """The code and layer archives that the versions use: bytes by SHA-256."""
        sizes: dict[str, int] = {}
        for version in self.all_versions():
            configuration = version.configuration
            if configuration.package_type == "Zip" and configuration.code.folder is None:
                sizes[configuration.code.sha256] = configuration.code.size
            sizes.update({layer.sha256: layer.size for layer in configuration.layers})
        return sizes

    def code_size(self) -> int:
        """Bytes that count towards the account's code storage: those of every version, shared or not.

        Each published version counts (recorded: test_account_settings_total_code_size_config_update).
        """
        return sum(version.configuration.code.stored_size for version in self.all_versions())
