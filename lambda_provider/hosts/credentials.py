"""Which account an access key belongs to, and access keys for functions from which the account can be read.

A key that we issue carries its account, so nothing has to be remembered: every process of the host can read it, and a key
outlives a restart. It looks like a temporary key of AWS (`ASIA` and 16 characters of base32): 40 bits of account id, 20
random bits, and a check sum of 20 bits that tells our keys from others.
"""

from __future__ import annotations

import base64
import secrets
from functools import lru_cache
from urllib.parse import parse_qs
from zlib import crc32

from lambda_provider.asgi import credential_scope
from lambda_provider.host import FunctionCredentials

_PREFIX = "ASIA"
_KEY_LENGTH = 20
_CHECK_BITS = 20
_RANDOM_BITS = 20


def issue_credentials(account_id: str) -> FunctionCredentials:
    """New temporary credentials that `account_of` maps to `account_id` (12 digits)."""
    content = int(account_id) << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS)
    number = content << _CHECK_BITS | _check_sum(content)
    return FunctionCredentials(
        access_key_id=_PREFIX + base64.b32encode(number.to_bytes(10, "big")).decode(),
        secret_access_key=secrets.token_urlsafe(30),
        session_token=secrets.token_urlsafe(96),
    )


@lru_cache(maxsize=4096)
def account_of(access_key_id: str) -> str | None:
    """The account of a key: a key of 12 digits is the account itself; one of ours carries it; otherwise None."""
    if len(access_key_id) == 12 and access_key_id.isascii() and access_key_id.isdigit():
        return access_key_id
    if len(access_key_id) != _KEY_LENGTH or not access_key_id.startswith(_PREFIX):
        return None
    try:
        number = int.from_bytes(base64.b32decode(access_key_id[len(_PREFIX) :]), "big")
    except ValueError:
        return None
    content = number >> _CHECK_BITS
    account = content >> _RANDOM_BITS
    if number & ((1 << _CHECK_BITS) - 1) != _check_sum(content) or account >= 10**12:
        return None
    return f"{account:012d}"


def access_key_of(authorization: str, query: str) -> str | None:
    """The access key of a request, from the `Authorization` header (SigV4, or `AWS KEY:…` of SigV2) or a presigned query."""
    scope = credential_scope(authorization, query)
    if scope:
        return scope.partition("/")[0] or None
    if authorization.startswith("AWS "):
        return authorization[4:].partition(":")[0].strip() or None
    if "AWSAccessKeyId=" in query:
        return parse_qs(query).get("AWSAccessKeyId", [""])[0] or None
    return None


def _check_sum(content: int) -> int:
    return crc32(b"lambda-provider" + content.to_bytes(8, "big")) & ((1 << _CHECK_BITS) - 1)
