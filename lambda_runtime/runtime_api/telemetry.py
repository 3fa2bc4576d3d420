"""What an extension asks for when it subscribes to telemetry.

https://docs.aws.amazon.com/lambda/latest/dg/telemetry-api-reference.html and
https://docs.aws.amazon.com/lambda/latest/dg/runtimes-logs-api.html#runtimes-logs-api-ref.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from lambda_runtime.runtime_api.routes import Refused
from lambda_runtime.subscriptions import SubscriptionRequest

_VERSIONS = {
    "telemetry": ("2022-07-01", "2022-12-13", "2025-01-29"),
    "logs": ("2020-08-15", "2021-03-18"),
}
_TYPES = ("platform", "function", "extension")
_HOSTS = ("sandbox", "sandbox.localdomain")
_RESERVED_PORT = 9001
_BOUNDS = {"maxItems": (1_000, 10_000), "maxBytes": (262_144, 1_048_576), "timeoutMs": (25, 30_000)}
_DEFAULTS = {"maxItems": 10_000, "maxBytes": 262_144, "timeoutMs": 1_000}


def parse_subscription(api: str, body: bytes) -> SubscriptionRequest:
    """The request in `body` to subscribe by `api` (`telemetry` or `logs`).

    Raises Refused with AWS's ValidationError, which names all that is wrong:
    `URI port is not provided; types should not be empty`.
    """
    problems: list[str] = []
    try:
        request = json.loads(body)
    except ValueError:
        request = None
    if not isinstance(request, dict):
        raise _invalid(api, ["the request is not a JSON object"])
    versions = _VERSIONS[api]
    version: Any = request.get("schemaVersion", versions[0] if api == "logs" else None)
    if version not in versions:
        problems.append(f"schemaVersion should be one of {', '.join(versions)}")
    port, path, method = _destination(request.get("destination"), problems)
    types = request.get("types")
    if not isinstance(types, list) or not types:
        problems.append("types should not be empty")
        types = []
    problems += [f"unknown type {kind!r}" for kind in types if kind not in _TYPES]
    buffering = _buffering(request.get("buffering"), problems)
    if problems:
        raise _invalid(api, problems)
    return SubscriptionRequest(
        api,
        version,
        tuple(dict.fromkeys(types)),
        port,
        path,
        method,
        buffering["maxItems"],
        buffering["maxBytes"],
        buffering["timeoutMs"],
    )


def _destination(destination: Any, problems: list[str]) -> tuple[int, str | None, str]:
    """Port, path (None for TCP) and method."""
    if not isinstance(destination, Mapping):
        problems.append("destination is not provided")
        return 0, None, ""
    protocol, text = destination.get("protocol"), destination.get("URI", "")
    method = destination.get("method", "POST")
    if protocol not in ("HTTP", "TCP"):
        problems.append("protocol should be HTTP or TCP")
    if method not in ("POST", "PUT"):
        problems.append("method should be POST or PUT")
    if not isinstance(text, str) or not text:
        problems.append("URI is not provided")
        return 0, None, method
    # A destination of TCP is written `tcp://sandbox:8080`, and as `sandbox:8080`.
    uri = urlsplit(text if "://" in text else f"//{text}")
    try:
        port = uri.port
    except ValueError:
        port = None
    if uri.scheme not in ("http" if protocol == "HTTP" else "tcp", "") or (protocol == "HTTP" and not uri.scheme):
        problems.append(f"URI scheme does not fit the protocol {protocol}")
    if uri.hostname not in _HOSTS:
        problems.append("URI host should be sandbox.localdomain or sandbox")
    if port is None:
        problems.append("URI port is not provided")
    elif port == _RESERVED_PORT:
        problems.append(f"URI port {port} is reserved")
    path = (uri.path or "/") + (f"?{uri.query}" if uri.query else "")
    return port or 0, path if protocol == "HTTP" else None, method


def _buffering(buffering: Any, problems: list[str]) -> dict[str, int]:
    values = dict(_DEFAULTS)
    if buffering is None:
        return values
    if not isinstance(buffering, Mapping):
        problems.append("buffering should be an object")
        return values
    for name, (least, most) in _BOUNDS.items():
        value = buffering.get(name, values[name])
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            problems.append(f"{name} should be between {least} and {most}")
        else:
            values[name] = value
    return values


def _invalid(api: str, problems: list[str]) -> Refused:
    return Refused(400, "ValidationError" if api == "telemetry" else "Logs.ValidationError", "; ".join(problems))
