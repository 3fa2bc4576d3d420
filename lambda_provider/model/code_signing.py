"""Whose code a function takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lambda_provider.context import partition_of
from lambda_provider.model.configuration import present

WARN = "Warn"
ENFORCE = "Enforce"


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeSigningConfig:
    """A code signing configuration. `name` is its id, `csc-` and 17 characters; `publishers` are ARNs of signing profiles.

    `policy` says what happens to code that none of them signed: Warn lets it pass, Enforce refuses it.
    """

    account_id: str
    region: str
    name: str
    sequence: int
    publishers: tuple[str, ...]
    last_modified: str
    policy: str = WARN
    description: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def arn(self) -> str:
        partition = partition_of(self.region)
        return f"arn:{partition}:lambda:{self.region}:{self.account_id}:code-signing-config:{self.name}"

    def describe(self) -> dict[str, Any]:
        """CodeSigningConfig as the API has it."""
        return present(
            CodeSigningConfigId=self.name,
            CodeSigningConfigArn=self.arn,
            Description=self.description,
            AllowedPublishers={"SigningProfileVersionArns": list(self.publishers)},
            CodeSigningPolicies={"UntrustedArtifactOnDeployment": self.policy},
            LastModified=self.last_modified,
        )
