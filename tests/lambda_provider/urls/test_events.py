"""Payload format 2.0; headers and paths as they are recorded (test_lambda_url_echo_http_fixture_default)."""

from __future__ import annotations

import base64
import json
import re

import pytest

from lambda_provider.urls.events import event_of
from lambda_provider.urls.requests import UrlRequest

from .conftest import HOST, request


def event(asked: UrlRequest, **values):
    made = event_of(
        asked,
        **{
            "url_id": "abc",
            "domain": HOST,
            "path": asked.path,
            "request_id": "some-id",
            "trace_header": "Root=1-2-3",
            **values,
        },
    )
    return json.loads(made)


def test_an_event_has_what_awss_has_and_no_more():
    made = event(request("POST", "/my/path", b"Hello", user_agent="agent", content_type="text/plain"))
    context = made["requestContext"]
    assert list(made) == [
        "version", "routeKey", "rawPath", "rawQueryString", "headers", "requestContext", "body", "isBase64Encoded",
    ]  # fmt: skip
    assert (made["version"], made["routeKey"], made["rawPath"], made["rawQueryString"]) == (
        "2.0",
        "$default",
        "/my/path",
        "",
    )
    assert (made["body"], made["isBase64Encoded"]) == ("Hello", False)
    assert re.fullmatch(r"\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000", context.pop("time"))
    assert isinstance(context.pop("timeEpoch"), int)
    assert context == {
        "accountId": "anonymous",
        "apiId": "abc",
        "domainName": HOST,
        "domainPrefix": "abc",
        "http": {
            "method": "POST",
            "path": "/my/path",
            "protocol": "HTTP/1.1",
            "sourceIp": "127.0.0.1",
            "userAgent": "agent",
        },
        "requestId": "some-id",
        "routeKey": "$default",
        "stage": "$default",
    }


def test_the_path_is_decoded_once_and_the_query_is_as_it_came():
    made = event(request(path="/pa2%25Fth/%C3%BC", query="q=query&multi=foo&multi=%2Fbar&empty="))
    assert made["rawPath"] == made["requestContext"]["http"]["path"] == "/pa2%Fth/ü"
    assert made["rawQueryString"] == "q=query&multi=foo&multi=%2Fbar&empty="
    assert made["queryStringParameters"] == {"q": "query", "multi": "foo,/bar", "empty": ""}


def test_headers_are_joined_by_commas_and_those_of_the_connection_are_gone():
    asked = request(connection="keep-alive", transfer_encoding="chunked", x_one="1", extra_headers="With WeiRd CapS")
    asked.headers = [*asked.headers, ("x-one", "2")]
    asked.body = b"12345"
    assert event(asked)["headers"] == {
        "host": HOST,
        "content-length": "5",
        "x-one": "1,2",
        "extra-headers": "With WeiRd CapS",
        "x-amzn-tls-cipher-suite": "TLS_AES_128_GCM_SHA256",
        "x-amzn-tls-version": "TLSv1.3",
        "x-amzn-trace-id": "Root=1-2-3",
        "x-forwarded-for": "127.0.0.1",
        "x-forwarded-port": "4566",
        "x-forwarded-proto": "http",
    }


def test_cookies_have_a_member_of_their_own():
    asked = request(cookie="a=b; c=d")
    asked.headers = [*asked.headers, ("cookie", "e=f")]
    made = event(asked)
    assert made["cookies"] == ["a=b", "c=d", "e=f"]
    assert "cookie" not in made["headers"]


@pytest.mark.parametrize(
    ("content_type", "body", "encoded"),
    [
        ("application/json", b"{}", False),
        ("application/json; charset=utf-8", b"{}", False),
        ("text/html", "ü".encode(), False),
        ("application/problem+json", b"{}", False),
        ("image/svg+xml", b"<svg/>", False),
        ("application/x-www-form-urlencoded", b"a=b", True),
        ("multipart/form-data; boundary=x", b"--x--", True),
        ("image/png", b"\x89PNG", True),
        ("text/plain", b"\xff\xfe", True),
    ],
)
def test_a_body_that_is_not_text_is_in_base64(content_type, body, encoded):
    made = event(request("POST", body=body, content_type=content_type))
    assert made["isBase64Encoded"] is encoded
    assert (base64.b64decode(made["body"]) if encoded else made["body"].encode()) == body


def test_a_caller_who_signed_is_named():
    made = event(request(), account_id="111111111111", iam={"accessKey": "k"})
    assert made["requestContext"]["accountId"] == "111111111111"
    assert made["requestContext"]["authorizer"] == {"iam": {"accessKey": "k"}}
    assert made["requestContext"]["authentication"] is None
