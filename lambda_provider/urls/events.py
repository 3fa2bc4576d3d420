"""The event of a request to a function URL: payload format 2.0.

lambda/latest/dg/urls-invocation.html, "Request payload format"; which headers AWS adds and takes away, and that the path is
decoded, is recorded (test_lambda_url_echo_http_fixture_default).
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote

from lambda_provider.urls.requests import UrlRequest

# About one connection, not about the request; a body in chunks is whole when the function sees it.
_NOT_PASSED_ON = frozenset(("connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "expect"))
_NOT_PASSED_ON |= {"cookie"}

# AWS ends TLS in front of every URL, so functions expect to read what was agreed on: here what a current client would get.
_TLS = {"x-amzn-tls-version": "TLSv1.3", "x-amzn-tls-cipher-suite": "TLS_AES_128_GCM_SHA256"}

_TEXT_TYPES = frozenset(("application/json", "application/xml", "application/javascript"))
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def event_of(
    request: UrlRequest,
    *,
    url_id: str,
    domain: str,
    path: str,
    request_id: str,
    trace_header: str,
    account_id: str = "anonymous",
    iam: Mapping[str, Any] | None = None,
) -> bytes:
    """The event as JSON. `path` is the path behind the URL, still encoded; `account_id` and `iam` are of who signed."""
    event = payload_of(
        request,
        raw_path=unquote(path),
        account_id=account_id,
        api_id=url_id,
        domain=domain,
        domain_prefix=url_id,
        request_id=request_id,
        trace_header=trace_header,
        signed={"authentication": None, "authorizer": {"iam": iam}} if iam is not None else {},
    )
    return json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")


def payload_of(
    request: UrlRequest,
    *,
    raw_path: str,
    account_id: str,
    api_id: str,
    domain: str,
    domain_prefix: str,
    request_id: str,
    trace_header: str,
    route_key: str = "$default",
    stage: str = "$default",
    signed: Mapping[str, Any],
    more: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Payload format 2.0, which function URLs and HTTP APIs of API Gateway have in common.

    `signed` is what the request context says of whoever asks, `more` the members that only APIs have.
    """
    now = time.time()
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": route_key,
        "rawPath": raw_path,
        "rawQueryString": request.query,
    }
    if cookies := cookies_of(request):
        event["cookies"] = cookies
    event["headers"] = headers_of(request, trace_header)
    if request.query:
        event["queryStringParameters"] = query_parameters(request.query)
    event["requestContext"] = {
        "accountId": account_id,
        "apiId": api_id,
        "domainName": domain,
        "domainPrefix": domain_prefix,
        "http": {
            "method": request.method,
            "path": raw_path,
            "protocol": request.protocol,
            "sourceIp": request.client,
            "userAgent": request.header("user-agent"),
        },
        "requestId": request_id,
        "routeKey": route_key,
        "stage": stage,
        "time": request_time(now),
        "timeEpoch": int(now * 1000),
        **signed,
    }
    if more:
        event |= more
    encoded = False
    if request.body:
        event["body"], encoded = body_of(request)
    event["isBase64Encoded"] = encoded
    return event


def headers_of(request: UrlRequest, trace_header: str) -> dict[str, str]:
    """The headers of a request as functions see them: by name, without cookies, with what AWS's own front adds."""
    kept = {name: value for name, value in request.joined.items() if name not in _NOT_PASSED_ON}
    if request.body:
        kept["content-length"] = str(len(request.body))
    before = kept.get("x-forwarded-for")
    _, _, port = request.header("host").rpartition(":")
    return {
        **kept,
        **_TLS,
        "x-amzn-trace-id": trace_header,
        "x-forwarded-for": f"{before}, {request.client}" if before else request.client,
        "x-forwarded-port": port if port.isdigit() else "443" if request.scheme == "https" else "80",
        "x-forwarded-proto": request.scheme,
    }


def cookies_of(request: UrlRequest) -> list[str]:
    """The cookies of a request, one by one."""
    lines = (value for name, value in request.headers if name == "cookie")
    return [cookie.strip() for line in lines for cookie in line.split(";") if cookie.strip()]


def query_parameters(query: str) -> dict[str, str]:
    """The parameters of a query by name, duplicates joined by commas."""
    parameters: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        parameters[name] = f"{parameters[name]},{value}" if name in parameters else value
    return parameters


def body_of(request: UrlRequest) -> tuple[str, bool]:
    """The body, and whether it is in Base64: all that is not text by its content type is, even a form."""
    kind = request.header("content-type").partition(";")[0].strip().lower()
    if not kind or kind.startswith("text/") or kind in _TEXT_TYPES or kind.endswith(("+json", "+xml")):
        try:
            return request.body.decode(), False
        except UnicodeDecodeError:
            pass
    return base64.b64encode(request.body).decode(), True


def request_time(now: float) -> str:
    """`05/Aug/2022:08:14:39 +0000`, whatever the locale."""
    moment = time.gmtime(now)
    return (
        f"{moment.tm_mday:02d}/{_MONTHS[moment.tm_mon - 1]}/{moment.tm_year}:{time.strftime('%H:%M:%S', moment)} +0000"
    )
