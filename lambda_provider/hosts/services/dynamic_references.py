"""`{{resolve:…}}` in properties of resources: what stands in a parameter of Systems Manager, or in a secret.

https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/dynamic-references.html. They are looked up when a resource is made
or changed; a template whose references did not change changes nothing, whatever they lead to by then.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

Client = Callable[[str], Any]
"""A client of a service, in the account and region of the stack."""

_REFERENCE = re.compile(r"\{\{resolve:(ssm|ssm-secure|secretsmanager):([^{}]+)\}\}")
_ARN_PARTS = 7


def resolve(value: Any, client: Client) -> Any:
    """A property with its references replaced, however deep they are.

    Raises botocore's ClientError for what is not there, and ValueError for a reference that cannot be read.
    """
    if isinstance(value, dict):
        return {name: resolve(each, client) for name, each in value.items()}
    if isinstance(value, list):
        return [resolve(each, client) for each in value]
    if not isinstance(value, str) or "{{resolve:" not in value:
        return value
    return _REFERENCE.sub(lambda match: _looked_up(match[1], match[2], client), value)


def _looked_up(service: str, key: str, client: Client) -> str:
    if service == "secretsmanager":
        return _secret(key, client)
    # NAME or NAME:VERSION, in which a name may be a path.
    return str(client("ssm").get_parameter(Name=key, WithDecryption=True)["Parameter"]["Value"])


def _secret(key: str, client: Client) -> str:
    """`SECRET:SecretString:JSON-KEY:VERSION-STAGE:VERSION-ID`, of which all but the secret may be missing."""
    parts = key.split(":")
    length = _ARN_PARTS if parts[0] == "arn" else 1
    secret, rest = ":".join(parts[:length]), [*parts[length:], "", "", "", ""]
    what, member, stage, version = rest[:4]
    if what not in ("", "SecretString"):
        raise ValueError(
            f"Incorrect format is used in the following secrets manager reference: {{{{resolve:secretsmanager:{key}}}}}"
        )
    named = {name: value for name, value in (("VersionStage", stage), ("VersionId", version)) if value}
    text = str(client("secretsmanager").get_secret_value(SecretId=secret, **named)["SecretString"])
    if not member:
        return text
    try:
        found = json.loads(text)[member]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"Could not find a value associated with JSONKey in SecretString: {secret}") from error
    return found if isinstance(found, str) else json.dumps(found)
