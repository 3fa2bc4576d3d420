"""Resource-based policies of functions and layer versions: who may do what with a resource."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lambda_provider.context import partition_of

MAX_POLICY_SIZE = 20_480
"""Bytes of a policy's text ("Function resource-based policy: 20 KB", lambda/latest/dg/gettingstarted-limits.html)."""

POLICY_LANGUAGE = "2012-10-17"

Statement = Mapping[str, Any]
"""A statement of the IAM policy language as JSON has it, its members in the order in which they are shown."""

_ACCOUNT = re.compile(r"[0-9]{12}")
_IDENTITY = re.compile(r"arn:(?P<partition>aws[a-z-]*):(?:iam|sts)::[0-9]{12}:(?:root|(?!group/)[a-z-]+/.+)")
_SERVICE = re.compile(r"(?:[a-z0-9-]+\.)+(?:amazonaws\.com(?:\.cn)?|amazonaws\.eu|amazon\.com)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A resource-based policy. `version` and `id` are None for a document that was put without them."""

    revision_id: str
    statements: tuple[Statement, ...]
    version: str | None = POLICY_LANGUAGE
    id: str | None = "default"

    def find(self, statement_id: str) -> Statement | None:
        """The statement of that id."""
        return next((statement for statement in self.statements if statement.get("Sid") == statement_id), None)

    def adding(self, statement: Statement, revision_id: str) -> Policy:
        """The policy with one more statement, behind the others."""
        return replace(self, statements=(*self.statements, statement), revision_id=revision_id)

    def without(self, statement_id: str, revision_id: str) -> Policy:
        """The policy without the statement of that id. Nothing is left of a policy without statements: ask for that."""
        kept = tuple(statement for statement in self.statements if statement.get("Sid") != statement_id)
        return replace(self, statements=kept, revision_id=revision_id)

    @property
    def text(self) -> str:
        """The document as the API has it: compact JSON."""
        head = {"Version": self.version, "Id": self.id}
        return policy_text(
            {**{name: value for name, value in head.items() if value is not None}, "Statement": list(self.statements)}
        )

    @property
    def size(self) -> int:
        """Bytes of the document."""
        return len(self.text.encode())


def policy_text(document: Mapping[str, Any]) -> str:
    """A policy, or a statement of one, as the API has it in strings: compact JSON."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False)


def allow(
    *,
    statement_id: str,
    principal: str | Mapping[str, str],
    action: str,
    resource: str,
    conditions: Mapping[str, Mapping[str, str]] | None = None,
) -> Statement:
    """The statement that AddPermission and AddLayerVersionPermission make.

    `principal` is in the form of the policy language (`"*"`, `{"AWS": arn}`, `{"Service": name}`); `resource` an ARN.
    `conditions` maps operators to keys and values; operators and conditions that are empty are left out.
    """
    statement: dict[str, Any] = {
        "Sid": statement_id,
        "Effect": "Allow",
        "Principal": principal,
        "Action": action,
        "Resource": resource,
    }
    if present := {operator: dict(keys) for operator, keys in (conditions or {}).items() if keys}:
        statement["Condition"] = present
    return statement


def principal_of(text: str, region: str) -> str | dict[str, str] | None:
    """What a permission's principal is in the policy language; None for what cannot be one.

    Everybody, an account (its root in the partition of the region), an IAM or STS identity of that partition, or a service
    (the Alexa services are in `amazon.com`). Whether an identity exists is not asked.
    """
    if text == "*":
        return text
    if _ACCOUNT.fullmatch(text):
        return account_principal(text, region)
    identity = _IDENTITY.fullmatch(text)
    if identity is not None and identity["partition"] == partition_of(region):
        return {"AWS": text}
    return {"Service": text} if _SERVICE.fullmatch(text) else None


def account_principal(account_id: str, region: str) -> dict[str, str]:
    """An account as a principal: its root, in the partition of the policy's region."""
    return {"AWS": f"arn:{partition_of(region)}:iam::{account_id}:root"}
