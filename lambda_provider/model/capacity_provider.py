"""Instances of an account's own that functions run on (Lambda managed instances)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lambda_provider.context import partition_of
from lambda_provider.model.configuration import present


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacityProvider:
    """A capacity provider. The configuration fields hold members of the API as they are.

    Nothing has to be started for one, so a stored provider is Active; Pending and Deleting are what the calls that create and
    delete it answer.
    """

    account_id: str
    region: str
    name: str
    sequence: int
    last_modified: str
    vpc: Mapping[str, Any]
    operator_role_arn: str
    requirements: Mapping[str, Any]
    scaling: Mapping[str, Any]
    kms_key_arn: str | None = None
    propagate_tags: Mapping[str, Any] | None = None
    telemetry: Mapping[str, Any] | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def arn(self) -> str:
        partition = partition_of(self.region)
        return f"arn:{partition}:lambda:{self.region}:{self.account_id}:capacity-provider:{self.name}"

    def describe(self, state: str = "Active") -> dict[str, Any]:
        """CapacityProvider as the API has it."""
        return present(
            CapacityProviderArn=self.arn,
            State=state,
            VpcConfig=dict(self.vpc),
            PermissionsConfig={"CapacityProviderOperatorRoleArn": self.operator_role_arn},
            InstanceRequirements=dict(self.requirements),
            CapacityProviderScalingConfig=dict(self.scaling),
            KmsKeyArn=self.kms_key_arn,
            LastModified=self.last_modified,
            PropagateTags=dict(self.propagate_tags) if self.propagate_tags is not None else None,
            TelemetryConfig=dict(self.telemetry) if self.telemetry is not None else None,
        )
