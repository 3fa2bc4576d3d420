from __future__ import annotations

import pytest

from lambda_provider.urls.cors import is_preflight, preflight_headers, response_headers

from .conftest import request

SETTINGS = {
    "AllowOrigins": ["https://www.example.com", "http://localhost:60905"],
    "AllowMethods": ["GET", "POST"],
    "AllowHeaders": ["Date", "X-Custom-Header"],
    "ExposeHeaders": ["Keep-Alive"],
    "MaxAge": 86400,
    "AllowCredentials": True,
}


def preflight(origin: str = "https://www.example.com", **headers: str):
    return request("OPTIONS", origin=origin, access_control_request_method="POST", **headers)


def test_a_preflight_asks_for_a_method_from_an_origin():
    assert is_preflight(preflight())
    assert not is_preflight(request("OPTIONS", origin="https://www.example.com"))
    assert not is_preflight(request("OPTIONS", access_control_request_method="POST"))
    assert not is_preflight(request("GET", origin="x", access_control_request_method="POST"))


def test_a_preflight_is_told_what_is_allowed():
    assert preflight_headers(SETTINGS, preflight()) == [
        ("Access-Control-Allow-Origin", "https://www.example.com"),
        ("Vary", "Origin"),
        ("Access-Control-Allow-Credentials", "true"),
        ("Access-Control-Allow-Methods", "GET,POST"),
        ("Access-Control-Allow-Headers", "Date,X-Custom-Header"),
        ("Access-Control-Max-Age", "86400"),
    ]


@pytest.mark.parametrize("origin", ["https://example.com", "http://www.example.com", "null"])
def test_another_origin_is_told_nothing(origin):
    assert preflight_headers(SETTINGS, preflight(origin)) == []
    assert response_headers(SETTINGS, request(origin=origin)) == []


def test_every_origin_is_answered_by_its_name():
    assert response_headers({"AllowOrigins": ["*"]}, request(origin="http://x")) == [
        ("Access-Control-Allow-Origin", "http://x"),
        ("Vary", "Origin"),
    ]


def test_with_credentials_a_wildcard_becomes_what_was_asked_for():
    settings = {"AllowOrigins": ["*"], "AllowMethods": ["*"], "AllowHeaders": ["*"]}
    asked = preflight(access_control_request_headers="x-a,x-b")
    without, granted = dict(preflight_headers(settings, asked)), {**settings, "AllowCredentials": True}
    assert (without["Access-Control-Allow-Methods"], without["Access-Control-Allow-Headers"]) == ("*", "*")
    with_credentials = dict(preflight_headers(granted, asked))
    assert with_credentials["Access-Control-Allow-Methods"] == "POST"
    assert with_credentials["Access-Control-Allow-Headers"] == "x-a,x-b"


def test_a_response_exposes_headers_and_says_nothing_to_who_names_no_origin():
    assert ("Access-Control-Expose-Headers", "Keep-Alive") in response_headers(
        SETTINGS, request(origin="http://localhost:60905")
    )
    assert response_headers(SETTINGS, request()) == []
