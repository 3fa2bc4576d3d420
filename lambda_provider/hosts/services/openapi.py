"""OpenAPI documents with the extensions of API Gateway.

https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-swagger-extensions.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_ANY = "x-amazon-apigateway-any-method"
INTEGRATION = "x-amazon-apigateway-integration"
AUTHORIZER = "x-amazon-apigateway-authorizer"
_VERBS = frozenset(("get", "put", "post", "delete", "options", "head", "patch", _ANY))


def operations_of(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """`(path, method, operation)` of an OpenAPI document."""
    for path, item in (document.get("paths") or {}).items():
        for verb, operation in item.items():
            if verb.lower() in _VERBS:
                yield path, "ANY" if verb == _ANY else verb.upper(), operation or {}


def schemes_of(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The security schemes of an OpenAPI document, version 2 or 3."""
    found = document.get("securityDefinitions") or (document.get("components") or {}).get("securitySchemes") or {}
    return dict(found)


def security_of(operation: Mapping[str, Any], document: Mapping[str, Any]) -> list[str]:
    """The names of the schemes that an operation wants."""
    wanted = operation.get("security", document.get("security")) or []
    return [name for each in wanted for name in each]


def capital(values: Mapping[str, Any]) -> dict[str, Any]:
    """Members as templates of CloudFormation write them, of members as OpenAPI documents do."""
    return {name[:1].upper() + name[1:]: value for name, value in values.items()}
