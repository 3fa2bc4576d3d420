"""Secrets of AWS Secrets Manager that a mapping's SourceAccessConfigurations name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from lambda_provider.event_sources.source import (
    AUTHENTICATION_ERROR,
    AUTHORIZATION_ERROR,
    NOT_VALID,
    EventSource,
    SourceProblem,
)
from lambda_provider.host import ServiceUnavailable

_DENIED = frozenset({"AccessDenied", "AccessDeniedException"})


@dataclass(frozen=True, slots=True)
class Credentials:
    """Name and password; the latter is not shown."""

    username: str
    password: str = field(repr=False)


async def basic_credentials(source: EventSource, type_: str = "BASIC_AUTH") -> Credentials | None:
    """The `username` and `password` of the secret of that type, or None if the mapping has none. Raises SourceProblem."""
    secret = await secret_of(source, type_)
    if secret is None:
        return None
    username, password = secret.get("username"), secret.get("password")
    if not isinstance(username, str) or not isinstance(password, str):
        raise SourceProblem(
            f"the secret of {type_} has no username and password: it has {sorted(secret)}", reason=AUTHENTICATION_ERROR
        )
    return Credentials(username, password)


async def secret_of(source: EventSource, type_: str) -> Mapping[str, Any] | None:
    """The secret that the mapping's access configuration of a type names, an object of JSON; None if there is no such one.

    Read anew at each call, because secrets are rotated. Raises SourceProblem.
    """
    arn = next((each.uri for each in source.settings.access or () if each.type == type_), None)
    return None if arn is None else await read_secret(source, arn)


async def read_secret(source: EventSource, arn: str) -> Mapping[str, Any]:
    """The secret of an ARN, an object of JSON. Raises SourceProblem."""
    try:
        client = await source.call(source.client, "secretsmanager")
        answer = await source.call(client.get_secret_value, SecretId=arn)
    except (ClientError, BotoCoreError, ServiceUnavailable, OSError) as error:
        denied = isinstance(error, ClientError) and error.response.get("Error", {}).get("Code") in _DENIED
        raise SourceProblem(
            f"the secret {arn} cannot be read: {error}", reason=AUTHORIZATION_ERROR if denied else NOT_VALID
        ) from error
    try:
        secret = json.loads(answer.get("SecretString") or answer["SecretBinary"])
    except (KeyError, ValueError):
        secret = None
    if not isinstance(secret, dict):
        raise SourceProblem(f"the secret {arn} is not an object of JSON", reason=AUTHENTICATION_ERROR)
    return secret
