"""Cross-origin requests, answered from the URL's own Cors settings.

A preflight is answered without the function. Other responses get the configured headers beside those that the function sent,
duplicates included (lambda/latest/dg/urls-configuration.html, "Cross-origin resource sharing (CORS)").
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lambda_provider.operations.conditions import wildcard_match
from lambda_provider.urls.requests import UrlRequest

Headers = list[tuple[str, str]]


def is_preflight(request: UrlRequest) -> bool:
    """Whether a browser asks beforehand (https://fetch.spec.whatwg.org/#cors-preflight-request)."""
    return (
        request.method == "OPTIONS" and "origin" in request.joined and "access-control-request-method" in request.joined
    )


def preflight_headers(cors: Mapping[str, Any], request: UrlRequest) -> Headers:
    """What a preflight is answered; nothing about an origin that is not allowed."""
    headers = _origin_headers(cors, request)
    if not headers:
        return []
    for setting, asked in (("AllowMethods", "method"), ("AllowHeaders", "headers")):
        if allowed := cors.get(setting):
            wanted = request.header(f"access-control-request-{asked}")
            # With credentials `*` is no wildcard to browsers.
            value = wanted if "*" in allowed and cors.get("AllowCredentials") else ",".join(allowed)
            headers.append((f"Access-Control-{setting.replace('Allow', 'Allow-')}", value))
    if "MaxAge" in cors:
        headers.append(("Access-Control-Max-Age", str(cors["MaxAge"])))
    return headers


def response_headers(cors: Mapping[str, Any], request: UrlRequest) -> Headers:
    """What is added to the response to any other request."""
    headers = _origin_headers(cors, request)
    if headers and (exposed := cors.get("ExposeHeaders")):
        headers.append(("Access-Control-Expose-Headers", ",".join(exposed)))
    return headers


def _origin_headers(cors: Mapping[str, Any], request: UrlRequest) -> Headers:
    origin = request.header("origin")
    if not origin or not any(wildcard_match(allowed, origin) for allowed in cors.get("AllowOrigins", ())):
        return []
    # The origin itself, even where all are allowed (https://github.com/aws-powertools/powertools-lambda-python/issues/4163).
    headers = [("Access-Control-Allow-Origin", origin), ("Vary", "Origin")]
    if cors.get("AllowCredentials"):
        headers.append(("Access-Control-Allow-Credentials", "true"))
    return headers
