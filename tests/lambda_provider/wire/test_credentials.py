from __future__ import annotations

import pytest

from lambda_provider.api import IncompleteSignatureException, InvalidSignatureException
from lambda_provider.wire.credentials import credential_scope

SCOPE = "AKID/20260101/eu-west-1/lambda/aws4_request"


def signed(credential: str) -> dict[str, str]:
    return {"authorization": f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature=0"}


def test_scope_of_the_authorization_header() -> None:
    assert credential_scope(signed(SCOPE), {}) == ("AKID", "eu-west-1")


def test_scope_without_blanks_after_the_commas() -> None:
    headers = {"authorization": f"AWS4-HMAC-SHA256 Credential={SCOPE},SignedHeaders=host,Signature=0"}
    assert credential_scope(headers, {}) == ("AKID", "eu-west-1")


def test_scope_of_a_presigned_url() -> None:
    assert credential_scope({}, {"X-Amz-Credential": [SCOPE]}) == ("AKID", "eu-west-1")


def test_unsigned_request_has_no_scope() -> None:
    assert credential_scope({}, {}) is None


@pytest.mark.parametrize(
    ("authorization", "says"),
    [
        ("Bearer token", "missing equal-sign"),
        ("", "missing equal-sign"),
        ("AWS AKID:signature", "missing equal-sign"),
        ("AWS4-HMAC-SHA256", "requires 'Credential' parameter"),
        ("AWS4-HMAC-SHA256 SignedHeaders=host", "requires 'Credential' parameter"),
        ("AWS4-HMAC-SHA256 Credential=AKID", "exactly 5 slash-delimited elements"),
        (f"AWS4-HMAC-SHA256 Credential={SCOPE}/more", "exactly 5 slash-delimited elements"),
        ("AWS4-HMAC-SHA256 Credential=/20260101/eu-west-1/lambda/aws4_request", "access key id"),
    ],
)
def test_what_is_no_credential_is_an_incomplete_signature(authorization, says) -> None:
    with pytest.raises(IncompleteSignatureException, match=says):
        credential_scope({"authorization": authorization}, {})


@pytest.mark.parametrize(
    ("credential", "says"),
    [
        ("AKID/2026-01-01/eu-west-1/lambda/aws4_request", "Date in Credential scope"),
        ("AKID/20260101//lambda/aws4_request", "valid Region"),
        ("AKID/20260101/../lambda/aws4_request", "valid Region"),
        ("AKID/20260101/eu west/lambda/aws4_request", "valid Region"),
        ("AKID/20260101/eu-west-1/s3/aws4_request", "correct service: 'lambda'"),
        ("AKID/20260101/eu-west-1/lambda/aws3_request", "valid terminator: 'aws4_request'"),
    ],
)
def test_scope_for_something_else_is_an_invalid_signature(credential, says) -> None:
    with pytest.raises(InvalidSignatureException, match=says):
        credential_scope(signed(credential), {})


def test_secrets_of_other_schemes_are_not_echoed() -> None:
    with pytest.raises(IncompleteSignatureException) as caught:
        credential_scope({"authorization": "Bearer my-secret"}, {})
    assert "my-secret" not in str(caught.value)
