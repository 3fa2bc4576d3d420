"""What a function answered to a request at its URL, as an HTTP response.

lambda/latest/dg/urls-invocation.html, "Response payload format"; recorded: test_lambda_url_invocation[*].
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from lambda_provider.wire.http import HttpResponse

Headers = list[tuple[str, str]]

JSON = "application/json"
BODYLESS = frozenset((204, 205, 304))
"""Statuses of responses that have no body (RFC 9110, 6.4.1)."""

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

# What AWS's own front answers about itself: a function's value is kept under another name.
_REMAPPED = frozenset(
    ("authorization", "connection", "content-length", "date", "host", "server", "user-agent", "www-authenticate")
)
_REMAPPED |= {"x-amzn-requestid"}
_DROPPED = frozenset(("keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"))


class MalformedResponse(Exception):
    """The function's answer is not what a function URL understands; the caller gets a 502."""


class BrokenResponse(Exception):
    """A function failed in the middle of its response; the connection ends without the end of the body."""


def response_of(payload: bytes) -> HttpResponse:
    """The response that a payload stands for: what it says if it has a `statusCode`, else 200 with the JSON as it is.

    Raises MalformedResponse.
    """
    try:
        answer = json.loads(payload)
    except ValueError as error:
        raise MalformedResponse("the payload is not JSON") from error
    if isinstance(answer, dict) and "statusCode" in answer:
        return _structured(answer)
    if isinstance(answer, str):
        body = answer.encode("utf-8", "replace")
    else:
        body = json.dumps(answer, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")
    return HttpResponse(200, [("Content-Type", JSON)], body)


def head_of(answer: Mapping[str, Any], content_type: str) -> tuple[int, Headers]:
    """Status and headers of an answer with a `statusCode`: `headers`, and a Set-Cookie for each of `cookies`.

    `multiValueHeaders` is of another payload format and not looked at. `content_type` is for an answer that names none.
    """
    headers = list(_function_headers(_mapping(answer, "headers")))
    if not any(name.lower() == "content-type" for name, _ in headers):
        headers.append(("Content-Type", content_type))
    cookies = answer.get("cookies")
    if cookies is not None and not isinstance(cookies, list):
        raise MalformedResponse("cookies are not a list")
    headers += [("Set-Cookie", _value(cookie)) for cookie in cookies or ()]
    return _status(answer.get("statusCode", 200)), headers


def _structured(answer: Mapping[str, Any]) -> HttpResponse:
    status, headers = head_of(answer, JSON)
    return HttpResponse(status, headers, b"" if status in BODYLESS else _body(answer))


def _body(answer: Mapping[str, Any]) -> bytes:
    body = answer.get("body")
    if body is None:
        return b""
    if not isinstance(body, str):
        raise MalformedResponse("the body is not a string")
    if answer.get("isBase64Encoded") in (None, False):
        return body.encode("utf-8", "replace")
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedResponse("the body is not Base64") from error


def _status(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise MalformedResponse("statusCode is not a number")
    try:
        status = int(value)
    except ValueError as error:
        raise MalformedResponse("statusCode is not a number") from error
    if not 200 <= status <= 599:
        raise MalformedResponse("statusCode is none of a final response")
    return status


def _mapping(answer: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = answer.get(name)
    if value is not None and not isinstance(value, dict):
        raise MalformedResponse(f"{name} is not an object")
    return value or {}


def _function_headers(headers: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    for name, value in headers.items():
        if value is None or name.lower() in _DROPPED:
            continue
        if not _NAME.fullmatch(name):
            raise MalformedResponse(f"no header can be called {name!r}")
        yield (f"x-amzn-Remapped-{name}" if name.lower() in _REMAPPED else name), _value(value)


def _value(value: Any) -> str:
    if isinstance(value, dict | list):
        raise MalformedResponse("the value of a header is not a string")
    text = value if isinstance(value, str) else json.dumps(value)
    if not text.isprintable() and any(character in text for character in "\r\n\0"):
        raise MalformedResponse("the value of a header has several lines")
    # The wire layer writes Latin-1: other characters go as the bytes that they are in UTF-8.
    return text if text.isascii() else text.encode("utf-8", "replace").decode("latin-1")
