"""Signatures, held against those that botocore makes."""

from __future__ import annotations

import time
from urllib.parse import urlsplit

import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from lambda_provider.api import InvalidSignatureException
from lambda_provider.api.errors import IncompleteSignatureException, LambdaError
from lambda_provider.urls.callers import TestCallers, UnrecognizedClientException
from lambda_provider.urls.requests import UrlRequest
from lambda_provider.urls.signatures import signature_of

from .conftest import HOST

REGION = "eu-west-1"


def signed(
    method="GET",
    url="/",
    body=b"",
    *,
    key="111111111111",
    secret="test",
    token=None,
    region=REGION,
    service="lambda",
    presigned=0,
    **headers,
) -> UrlRequest:
    """A request as botocore signs it."""
    asked = AWSRequest(method, f"http://{HOST}{url}", headers={"Host": HOST, **headers}, data=body)
    credentials = Credentials(key, secret, token)
    if presigned:
        SigV4QueryAuth(credentials, service, region, expires=presigned).add_auth(asked)
    else:
        SigV4Auth(credentials, service, region).add_auth(asked)
    prepared = urlsplit(asked.prepare().url)
    path = url.partition("?")[0]
    return UrlRequest(
        method, path, prepared.query, [(name.lower(), value) for name, value in asked.headers.items()], body
    )


@pytest.mark.parametrize(
    "values",
    [
        {},
        {
            "method": "POST",
            "url": "/a/b",
            "body": b'{"x":1}',
            "Content-Type": "application/json",
            "X-Many": "a   b",
        },
        {"url": "/a%20b/%C3%BC/x~y"},
        {"url": "/?b=2&a=1&a=%2F&empty=&plus=%2B"},
        {"token": "a/token+with=signs"},
        {"url": "/x?y=z", "presigned": 60},
        {"url": "/x?y=z", "presigned": 60, "token": "a/token+with=signs"},
    ],
)
def test_what_botocore_signed_is_verified(values):
    # Signed here and not when tests are collected: that may be minutes before.
    signature = signature_of(signed(**values), REGION)
    assert signature is not None
    assert signature.access_key_id == "111111111111"
    assert signature.is_made_with("test")
    assert not signature.is_made_with("other")


@pytest.mark.parametrize(
    ("change", "value"),
    [("method", "DELETE"), ("path", "/other"), ("query", "a=b"), ("body", b"other")],
)
def test_a_request_that_was_changed_has_another_signature(change, value):
    asked = signed("POST", "/x?y=z", b"body")
    setattr(asked, change, value)
    signature = signature_of(asked, REGION)
    assert signature is not None
    assert not signature.is_made_with("test")


def test_a_header_that_is_signed_cannot_be_changed():
    asked = signed(**{"X-Many": "a"})
    asked.headers = [(name, "b" if name == "x-many" else value) for name, value in asked.headers]
    signature = signature_of(asked, REGION)
    assert signature is not None
    assert not signature.is_made_with("test")


def test_the_token_of_a_signature_is_known():
    assert signature_of(signed(token="token"), REGION).session_token == "token"


def test_no_signature_is_none():
    bearer = UrlRequest("GET", "/", "", [("host", HOST), ("authorization", "Bearer x")])
    assert signature_of(bearer, REGION) is None


@pytest.mark.parametrize(
    ("values", "error"),
    [({"region": "us-east-1"}, InvalidSignatureException), ({"service": "s3"}, InvalidSignatureException)],
)
def test_a_scope_of_something_else_is_refused(values, error):
    with pytest.raises(error):
        signature_of(signed(**values), REGION)


@pytest.mark.parametrize("part", ["Credential=", "SignedHeaders=", "Signature="])
def test_a_part_that_is_missing_is_named(part):
    asked = signed()
    asked.headers = [(name, value.replace(part, "X=")) for name, value in asked.headers]
    with pytest.raises(IncompleteSignatureException, match=part[:-1]):
        signature_of(asked, REGION)


def test_a_signature_grows_old(monkeypatch):
    asked, presigned, now = signed(), signed(presigned=60), time.time()
    monkeypatch.setattr(time, "time", lambda: now + 301)
    with pytest.raises(InvalidSignatureException, match="Signature expired"):
        signature_of(asked, REGION)
    with pytest.raises(InvalidSignatureException, match="Signature expired"):
        signature_of(presigned, REGION)
    monkeypatch.setattr(time, "time", lambda: now - 600)
    with pytest.raises(InvalidSignatureException, match="Signature not yet current"):
        signature_of(asked, REGION)


async def who(**values):
    return await TestCallers().authenticate(signature_of(signed(**values), REGION))


async def test_a_test_key_is_its_account_and_its_secret_is_test_or_itself():
    principal = await who()
    assert (principal.account_id, principal.arn) == ("111111111111", "arn:aws:iam::111111111111:root")
    assert (await who(key="testing", secret="testing")).account_id == "000000000000"


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"secret": "other"}, InvalidSignatureException),
        ({"key": "local", "secret": "other"}, InvalidSignatureException),
        ({"key": "AKIAIOSFODNN7EXAMPLE"}, UnrecognizedClientException),
    ],
)
async def test_other_signatures_are_refused_in_awss_words(values, error):
    with pytest.raises(error) as raised:
        await who(**values)
    assert isinstance(raised.value, LambdaError)
    assert raised.value.status_code == 403
