"""Which account an access key belongs to, and credentials for functions from which account and role can be read.

Credentials that we issue carry what they stand for, so nothing has to be remembered: every process of the host can read them,
and they outlive a restart. The key looks like a temporary key of AWS (`ASIA` and 16 characters of base32): 40 bits of account
id, a serial number of 20 bits, and a check sum of 20 bits that tells our keys from others. The session token holds the
assumed role, and a check sum that binds it to its key. The secret follows from both, for whoever checks signatures.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import secrets
from dataclasses import astuple, dataclass
from functools import lru_cache
from urllib.parse import parse_qs
from zlib import crc32

from lambda_provider.asgi import credential_scope
from lambda_provider.host import FunctionCredentials

_PREFIX = "ASIA"
_KEY_LENGTH = 20
_CHECK_BITS = 20
_SERIAL_BITS = 20
_DIGEST_BYTES = 15

# Counted, not drawn: two environments that got one key would be taken for each other.
_serials = itertools.count(secrets.randbits(_SERIAL_BITS))


@dataclass(frozen=True, slots=True)
class RoleSession:
    """A role as somebody assumed it: `arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION`. `region` is where that was."""

    role_arn: str
    session_name: str
    region: str


def issue_credentials(account_id: str, session: RoleSession) -> FunctionCredentials:
    """New temporary credentials that `account_of` maps to `account_id` (12 digits), and `session_of` to `session`."""
    content = int(account_id) << _SERIAL_BITS | next(_serials) & ((1 << _SERIAL_BITS) - 1)
    number = content << _CHECK_BITS | _check_sum(content)
    access_key_id = _PREFIX + base64.b32encode(number.to_bytes(10, "big")).decode()
    written = json.dumps(astuple(session), separators=(",", ":")).encode()
    session_token = base64.urlsafe_b64encode(_digest(access_key_id, written) + written).decode().rstrip("=")
    return FunctionCredentials(access_key_id, secret_of(access_key_id, session_token), session_token)


def secret_of(access_key_id: str, session_token: str) -> str:
    """The secret access key that was issued with the two."""
    digest = hashlib.blake2b(session_token.encode(), key=access_key_id.encode(), digest_size=30).digest()
    return base64.urlsafe_b64encode(digest).decode()


def session_of(access_key_id: str, session_token: str) -> RoleSession | None:
    """The role that credentials of ours stand for; None for those of others, and for a token of another key."""
    try:
        content = base64.urlsafe_b64decode(session_token + "=" * (-len(session_token) % 4))
    except ValueError:
        return None
    digest, written = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    if digest != _digest(access_key_id, written):
        return None
    return RoleSession(*json.loads(written))


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
    account = content >> _SERIAL_BITS
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


def session_token_of(token_header: str, query: str) -> str:
    """The session token of a request, from its `X-Amz-Security-Token` header or a presigned query; empty if it has none."""
    if token_header or "X-Amz-Security-Token=" not in query:
        return token_header
    return parse_qs(query).get("X-Amz-Security-Token", [""])[0]


def _digest(access_key_id: str, written: bytes) -> bytes:
    return hashlib.blake2b(
        access_key_id.encode() + written, digest_size=_DIGEST_BYTES, person=b"lambda-provider"
    ).digest()


def _check_sum(content: int) -> int:
    return crc32(b"lambda-provider" + content.to_bytes(8, "big")) & ((1 << _CHECK_BITS) - 1)
