"""Policies that are put as whole documents: the grammar of the IAM policy language, as resource-based policies have it.

Lambda's words for a document that it does not take are not documented; those of IAM's own PutRolePolicy stand for them
(https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from lambda_provider.api import InvalidParameterValueException
from lambda_provider.model.policy import Policy, Statement, principal_of
from lambda_provider.operations.conditions import is_operator

_SYNTAX = "Syntax errors in policy."
_PRINCIPAL = "The provided principal was invalid. Please check the principal and try again."
_ELEMENTS = frozenset(
    ("Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition")
)
_VERSIONS = (None, "2012-10-17", "2008-10-17")
_ACTION = re.compile(r"\*|lambda:[a-zA-Z*?]+", re.IGNORECASE)
_RESOURCE = re.compile(r"\*|arn:[^:]*:[^:]*:.*", re.DOTALL)


def read_policy(text: str, region: str, revision_id: str) -> Policy:
    """The policy in a document of JSON. Raises InvalidParameterValueException for one that is not a policy."""
    document = _parse(text)
    if document.keys() - {"Version", "Id", "Statement"}:
        raise _invalid(_SYNTAX)
    version, policy_id, statements = document.get("Version"), document.get("Id"), document.get("Statement")
    if version not in _VERSIONS:
        raise _invalid("Policy document must be version 2012-10-17 or greater.")
    if policy_id is not None and not isinstance(policy_id, str):
        raise _invalid(_SYNTAX)
    if isinstance(statements, Mapping):
        statements = [statements]
    if not isinstance(statements, Sequence) or isinstance(statements, str) or not statements:
        raise _invalid(_SYNTAX)
    for statement in statements:
        _check_statement(statement, region)
    names = [statement["Sid"] for statement in statements if statement.get("Sid")]
    if len(names) != len(set(names)):
        raise _invalid("Statement IDs (SID) in a single policy must be unique.")
    return Policy(revision_id=revision_id, statements=tuple(statements), version=version, id=policy_id)


def _parse(text: str) -> Mapping[str, Any]:
    try:
        document = json.loads(text, parse_constant=_refuse_constant)
        # An escape such as \ud800 is JSON, but no text that could be stored.
        json.dumps(document, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        raise _invalid(_SYNTAX) from None
    if not isinstance(document, Mapping):
        raise _invalid(_SYNTAX)
    return document


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _check_statement(statement: Any, region: str) -> None:
    if not isinstance(statement, Mapping) or statement.keys() - _ELEMENTS:
        raise _invalid(_SYNTAX)
    if not isinstance(statement.get("Sid", ""), str) or statement.get("Effect") not in ("Allow", "Deny"):
        raise _invalid(_SYNTAX)
    _check_principal(_one_of(statement, "Principal", "Missing required field Principal"), region)
    for action in _texts(_one_of(statement, "Action", "Policy statement must contain actions.")):
        if not _ACTION.fullmatch(action):
            raise _invalid("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.")
    for resource in _texts(_one_of(statement, "Resource", "Policy statement must contain resources.")):
        if not _RESOURCE.fullmatch(resource):
            raise _invalid(f'Resource {resource} must be in ARN format or "*".')
    _check_condition(statement)


def _one_of(statement: Statement, element: str, missing: str) -> Any:
    """The value of an element or of its negation, of which there has to be one."""
    present = [name for name in (element, f"Not{element}") if name in statement]
    if not present:
        raise _invalid(missing)
    if len(present) > 1:
        raise _invalid(_SYNTAX)
    return statement[present[0]]


def _check_principal(principal: Any, region: str) -> None:
    if principal == "*":
        return
    if not isinstance(principal, Mapping) or not principal:
        raise _invalid(_PRINCIPAL)
    for kind, names in principal.items():
        for name in _texts(names):
            found = principal_of(name, region)
            if kind == "AWS":
                valid = found == "*" or (isinstance(found, dict) and "AWS" in found)
            elif kind == "Service":
                valid = isinstance(found, dict) and "Service" in found
            else:
                valid = kind in ("Federated", "CanonicalUser")
            if not valid:
                raise _invalid(_PRINCIPAL)


def _check_condition(statement: Statement) -> None:
    condition = statement.get("Condition", {})
    if not isinstance(condition, Mapping):
        raise _invalid(_SYNTAX)
    for operator, keys in condition.items():
        if not is_operator(operator):
            raise _invalid(f"Invalid Condition type : {operator}.")
        if not isinstance(keys, Mapping):
            raise _invalid(_SYNTAX)
        for key, values in keys.items():
            if ":" not in key:
                raise _invalid("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.")
            _scalars(values)


def _texts(value: Any) -> list[str]:
    """A string, or a list of at least one."""
    values = value if isinstance(value, list) else [value]
    if not values or not all(isinstance(item, str) for item in values):
        raise _invalid(_SYNTAX)
    return values


def _scalars(value: Any) -> None:
    for item in value if isinstance(value, list) else [value]:
        if not isinstance(item, (str, bool, int, float)):
            raise _invalid(_SYNTAX)


def _invalid(message: str) -> InvalidParameterValueException:
    return InvalidParameterValueException(message)
