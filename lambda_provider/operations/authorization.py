"""Whether a resource-based policy lets somebody do something.

`decide` is the evaluation alone, for whoever has policies and a request: invokes by services, function URLs, layers. `Authorizer`
applies it to invokes, and exists only where `LAMBDA_ENFORCE_PERMISSIONS` is on.

Identity-based policies are not evaluated: a caller of the function's own account may do what no policy denies, and a caller of
another account is taken to have the permission of its own account that AWS wants besides
(https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic-cross-account.html).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from lambda_provider.api.errors import AccessDeniedException
from lambda_provider.context import Caller, RequestContext, partition_of
from lambda_provider.host import Host, ServiceUnavailable
from lambda_provider.model.function import LATEST, Function
from lambda_provider.model.policy import Policy, Statement
from lambda_provider.operations import conditions
from lambda_provider.validation.names import FunctionId

INVOKE = "lambda:InvokeFunction"
_ACTIONS = {"InvokeAsync": "lambda:InvokeAsync"}
_ORGANIZATION = "aws:principalorgid"


class Decision(Enum):
    """What policies say to a request."""

    ALLOWED = "allowed"
    DENIED = "denied"
    """A statement denies it: nothing else can allow it."""

    NOT_ALLOWED = "not allowed"
    """No statement speaks of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRequest:
    """Somebody wants to do something with a resource.

    `action` is `lambda:…`, `resource` the ARN as it was asked for. `keys` are condition keys beside those that follow from the
    caller, in lower case (`lambda:functionurlauthtype`).
    """

    caller: Caller
    action: str
    resource: str
    keys: Mapping[str, str] = field(default_factory=dict)

    def condition_keys(self) -> dict[str, str]:
        """All condition keys that are known, in lower case."""
        caller = self.caller
        known = {
            "aws:principalaccount": caller.account_id,
            "aws:principalarn": caller.arn,
            "aws:principalservicename": caller.service,
            "aws:principalisawsservice": str(caller.service is not None).lower(),
            "aws:sourcearn": caller.source_arn,
            "aws:sourceaccount": caller.source_account,
        }
        return {key: value for key, value in known.items() if value is not None} | dict(self.keys)


def decide(policies: Iterable[Policy], request: AccessRequest) -> Decision:
    """What the policies of a resource, together, say to a request. A statement that denies wins over all others."""
    keys = request.condition_keys()
    decision = Decision.NOT_ALLOWED
    for policy in policies:
        for statement in policy.statements:
            denies = statement["Effect"] == "Deny"
            if _speaks_of(statement, request, keys, denies=denies):
                if denies:
                    return Decision.DENIED
                decision = Decision.ALLOWED
    return decision


def policies_of(function: Function, qualifier: str | None) -> Iterator[Policy]:
    """The policies that can speak of a function under a qualifier: its own, and that of the function.

    The function's can name its versions and aliases, with a wildcard as a rule; a permission that was added to the function
    names the function alone (lambda/latest/dg/access-control-resource-based.html).
    """
    names = (LATEST,) if qualifier is None else (qualifier, LATEST)
    yield from (function.policies[name] for name in dict.fromkeys(names) if name in function.policies)


class Authorizer:
    """Refuses invokes that AWS would refuse for want of a permission in the function's policy."""

    def __init__(self, host: Host) -> None:
        self._host = host

    async def require_invoke(self, context: RequestContext, function: Function | None, identity: FunctionId) -> None:
        """Raise AccessDeniedException unless the caller may invoke the function under that qualifier.

        Before anybody learns whether the function exists: without one there is no policy that allows anything.
        """
        caller = context.caller or Caller(account_id=context.account_id)
        policies = list(policies_of(function, identity.qualifier)) if function is not None else []
        own = caller.service is None and caller.account_id == identity.account_id
        if own and not policies:
            return
        keys = await self._organization(caller, context.region) if _ask_for_organization(policies) else {}
        action = _ACTIONS.get(context.operation, INVOKE)
        request = AccessRequest(caller=caller, action=action, resource=identity.qualified_arn, keys=keys)
        decision = decide(policies, request)
        if decision is Decision.DENIED or (decision is Decision.NOT_ALLOWED and not own):
            raise access_denied(request, decision, context.region)

    async def _organization(self, caller: Caller, region: str) -> dict[str, str]:
        if caller.account_id is None:
            return {}
        found = await asyncio.to_thread(self._organization_id, caller.account_id, region)
        return {_ORGANIZATION: found} if found else {}

    def _organization_id(self, account_id: str, region: str) -> str | None:
        try:
            client = self._host.connect_to("organizations", account_id=account_id, region=region)
            organization_id: str = client.describe_organization()["Organization"]["Id"]
        except (ServiceUnavailable, ClientError, BotoCoreError):
            # No such service, no organization, or not reachable: the account is in none that could be named.
            return None
        return organization_id


def access_denied(request: AccessRequest, decision: Decision, region: str) -> AccessDeniedException:
    """AWS's words for a request that is refused (IAM user guide, troubleshoot_access-denied.html)."""
    caller = request.caller
    who = caller.arn or caller.service or f"arn:{partition_of(region)}:iam::{caller.account_id}:root"
    why = (
        "with an explicit deny in a resource-based policy"
        if decision is Decision.DENIED
        else f"because no resource-based policy allows the {request.action} action"
    )
    return AccessDeniedException(
        f"User: {who} is not authorized to perform: {request.action} on resource: {request.resource} {why}"
    )


def _ask_for_organization(policies: Iterable[Policy]) -> bool:
    return any(_ORGANIZATION in policy.text.lower() for policy in policies)


def _speaks_of(statement: Statement, request: AccessRequest, keys: Mapping[str, str], *, denies: bool) -> bool:
    return (
        _element(statement, "Action", lambda pattern: _action_matches(pattern, request.action))
        and _element(statement, "Resource", lambda pattern: conditions.wildcard_match(pattern, request.resource))
        and _principal(statement, request.caller, denies=denies)
        and conditions.holds(statement.get("Condition", {}), keys)
    )


def _element(statement: Statement, name: str, matches: Callable[[str], bool]) -> bool:
    """Whether an element, or its negation, covers the request."""
    if name in statement:
        return any(map(matches, _listed(statement[name])))
    return not any(map(matches, _listed(statement[f"Not{name}"])))


def _action_matches(pattern: str, action: str) -> bool:
    return conditions.wildcard_match(pattern.lower(), action.lower())


def _principal(statement: Statement, caller: Caller, *, denies: bool) -> bool:
    # Where only the account of a caller is known, the doubt is in the caller's favour.
    if "Principal" in statement:
        return _is_among(statement["Principal"], caller, lenient=not denies)
    return not _is_among(statement["NotPrincipal"], caller, lenient=denies)


def _is_among(principal: Any, caller: Caller, *, lenient: bool) -> bool:
    if isinstance(principal, str):
        return principal == "*"
    return any(
        (kind == "AWS" and name == "*") or _is(kind, name, caller, lenient=lenient)
        for kind, names in principal.items()
        for name in _listed(names)
    )


def _is(kind: str, name: str, caller: Caller, *, lenient: bool) -> bool:
    """Whether a principal is the caller.

    Of most callers a host knows the account and not which identity it is. Where that decides, `lenient` takes it for the one.
    """
    if kind == "Service":
        return caller.service is not None and conditions.wildcard_match(name, caller.service)
    if kind != "AWS" or caller.account_id is None or caller.service is not None:
        return False
    if name == caller.account_id:
        return True
    parts = name.split(":", 5)
    if len(parts) < 6 or parts[4] != caller.account_id:
        return False
    if parts[5] == "root":
        return True
    if caller.arn is None:
        return lenient
    return name == caller.arn or (parts[5].startswith("role/") and _role_of(caller.arn) == parts[5].rpartition("/")[2])


def _role_of(arn: str) -> str | None:
    """The name of the role of an assumed-role session: `arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION`."""
    resource = arn.split(":", 5)[-1].split("/")
    return resource[1] if resource[0] == "assumed-role" and len(resource) > 1 else None


def _listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]
