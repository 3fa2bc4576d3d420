"""Authorizers of API Gateway that are functions.

https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-use-lambda-authorizer.html and
https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-lambda-authorizer.html
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lambda_provider.hosts.services.link import Origin, link
from lambda_provider.operations.conditions import wildcard_match

_INVOKE = "execute-api:Invoke"


class Refused(Exception):
    """The request does not get through: what API Gateway answers."""

    def __init__(self, status: int, text: str | None, error: str, key: str = "message") -> None:
        super().__init__(text)
        self.status, self.text, self.error, self.key = status, text, error, key


@dataclass(frozen=True, slots=True)
class Caller:
    """Who was let through, as functions see it in `requestContext.authorizer`."""

    principal_id: str | None
    context: Mapping[str, Any]


def unauthorized() -> Refused:
    """There is nothing by which the caller could be known, or the authorizer says so."""
    return Refused(401, "Unauthorized", "UnauthorizedException")


def ask(function_arn: str, event: Mapping[str, Any], method_arn: str, *, simple: bool = False) -> Caller:
    """Let the authorizer function decide. Raises Refused."""
    account_id = method_arn.split(":")[4]
    origin = Origin(account_id=account_id, service="apigateway.amazonaws.com", arn=method_arn)
    answer = link().invoke(function_arn, event, origin)
    broken = Refused(500, None, "AuthorizerConfigurationException")
    if answer.error is not None:
        raise broken
    result = json.loads(answer.payload or b"null")
    if answer.function_error is not None:
        # A function that fails with this very word says that the token is no good.
        if isinstance(result, dict) and result.get("errorMessage") == "Unauthorized":
            raise unauthorized()
        raise broken
    if not isinstance(result, dict):
        raise broken
    if simple:
        if result.get("isAuthorized") is not True:
            raise Refused(403, "Forbidden", "ForbiddenException")
        return Caller(None, result.get("context") or {})
    document = result.get("policyDocument")
    if not isinstance(document, dict) or "principalId" not in result:
        raise broken
    _require(document, method_arn)
    return Caller(result["principalId"], result.get("context") or {})


def _require(document: Mapping[str, Any], method_arn: str) -> None:
    allowed = denied = False
    statements = document.get("Statement") or []
    for statement in statements if isinstance(statements, list) else [statements]:
        covers = any(
            wildcard_match(each.lower(), _INVOKE.lower()) for each in _listed(statement.get("Action"))
        ) and any(wildcard_match(each, method_arn) for each in _listed(statement.get("Resource")))
        allowed |= covers and statement.get("Effect") == "Allow"
        denied |= covers and statement.get("Effect") == "Deny"
    text = "User is not authorized to access this resource"
    if denied:
        raise Refused(
            403, f"{text} with an explicit deny in an identity-based policy", "AccessDeniedException", "Message"
        )
    if not allowed:
        raise Refused(403, text, "AccessDeniedException", "Message")


def token_event(header: str, value: str | None, expression: str | None, method_arn: str) -> dict[str, Any]:
    """The event for an authorizer of the type TOKEN. Raises Refused when there is no token, or not such a one."""
    if not value or (expression and not re.fullmatch(expression, value)):
        raise unauthorized()
    return {"type": "TOKEN", "methodArn": method_arn, "authorizationToken": value}


def claims_of(token: str | None) -> dict[str, Any]:
    """The claims of a JSON Web Token, whose signature is not checked. Raises Refused for what is none."""
    parts = (token or "").removeprefix("Bearer ").removeprefix("bearer ").strip().split(".")
    if len(parts) != 3:
        raise unauthorized()
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        raise unauthorized() from None
    if not isinstance(claims, dict):
        raise unauthorized()
    return claims


def _listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value] if value else []
