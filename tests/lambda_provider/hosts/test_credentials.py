"""Access keys and the accounts in them."""

from __future__ import annotations

from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st

from lambda_provider.hosts.credentials import (
    RoleSession,
    access_key_of,
    account_of,
    issue_credentials,
    session_of,
    session_token_of,
)

SESSION = RoleSession("arn:aws:iam::111111111111:role/path/r", "a-function", "eu-west-1")


@given(st.from_regex(r"[0-9]{12}", fullmatch=True))
def test_an_issued_key_carries_its_account(account: str) -> None:
    key = issue_credentials(account, SESSION).access_key_id
    assert len(key) == 20
    assert key.startswith("ASIA")
    assert account_of(key) == account


def test_issued_credentials_differ_each_time() -> None:
    issued = [issue_credentials("111111111111", SESSION) for _ in range(3000)]
    for part in ("access_key_id", "secret_access_key", "session_token"):
        assert len({getattr(item, part) for item in issued}) == 3000


@given(st.text(min_size=1), st.from_regex(r"[a-zA-Z0-9-_]{2,64}", fullmatch=True), st.sampled_from(["us-east-1", "x"]))
def test_a_session_token_carries_the_role_and_how_it_was_assumed(role_arn: str, name: str, region: str) -> None:
    session = RoleSession(role_arn, name, region)
    issued = issue_credentials("111111111111", session)
    assert session_of(issued.access_key_id, issued.session_token) == session
    assert quote(issued.session_token, safe="") == issued.session_token
    assert session_token_of(issued.session_token, "") == issued.session_token
    assert session_token_of("", f"a=b&X-Amz-Security-Token={issued.session_token}&c=d") == issued.session_token


def test_a_session_token_is_of_no_use_with_another_key() -> None:
    one, other = (issue_credentials("111111111111", SESSION) for _ in range(2))
    assert session_of(other.access_key_id, one.session_token) is None
    changed = one.session_token[:-1] + ("A" if one.session_token[-1] != "A" else "Q")
    for token in (changed, one.session_token[4:], "IQoJb3JpZ2luX2VjEXAMPLE", "a", "ü", ""):
        assert session_of(one.access_key_id, token) is None


def test_twelve_digits_are_an_account() -> None:
    assert account_of("123456789012") == "123456789012"
    assert account_of("12345678901") is None
    assert account_of("١٢٣٤٥٦٧٨٩٠١٢") is None


def test_a_changed_key_and_keys_of_others_are_unknown() -> None:
    key = issue_credentials("111111111111", SESSION).access_key_id
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
