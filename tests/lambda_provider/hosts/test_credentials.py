"""Access keys and the accounts in them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lambda_provider.hosts.credentials import access_key_of, account_of, issue_credentials


@given(st.from_regex(r"[0-9]{12}", fullmatch=True))
def test_an_issued_key_carries_its_account(account: str) -> None:
    key = issue_credentials(account).access_key_id
    assert len(key) == 20
    assert key.startswith("ASIA")
    assert account_of(key) == account


def test_issued_credentials_differ_each_time() -> None:
    assert issue_credentials("111111111111") != issue_credentials("111111111111")


def test_twelve_digits_are_an_account() -> None:
    assert account_of("123456789012") == "123456789012"
    assert account_of("12345678901") is None
    assert account_of("١٢٣٤٥٦٧٨٩٠١٢") is None


def test_a_changed_key_and_keys_of_others_are_unknown() -> None:
    key = issue_credentials("111111111111").access_key_id
    changed = key[:-1] + ("A" if key[-1] != "A" else "B")
    for other in (changed, "ASIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLE", "ASIA" + "1" * 16, "test", ""):
        assert account_of(other) is None


def test_the_access_key_is_found_in_every_kind_of_signature() -> None:
    scope = "AKID/20240101/us-east-1/s3/aws4_request"
    assert access_key_of(f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0", "") == "AKID"
    assert access_key_of("", "X-Amz-Credential=" + scope.replace("/", "%2F") + "&X-Amz-Expires=3600") == "AKID"
    assert access_key_of("AWS AKID:c2lnbmF0dXJl", "") == "AKID"
    assert access_key_of("", "AWSAccessKeyId=AKID&Signature=0") == "AKID"
    assert access_key_of("Bearer token", "list-type=2") is None
