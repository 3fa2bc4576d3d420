"""Account and region of a request, from the credential scope of its signature (AWS Signature Version 4).

Signatures are not verified: any secret key will do. A scope that AWS would refuse to look at is refused in its words
(https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-troubleshooting.html).
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple

from lambda_provider.api.errors import IncompleteSignatureException, InvalidSignatureException
from lambda_provider.wire.router import Query

ALGORITHM = "AWS4-HMAC-SHA256"
SERVICE = "lambda"
_DATE = re.compile(r"[0-9]{8}")
_REGION = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


class CredentialScope(NamedTuple):
    """Who signed, and for which region."""

    access_key_id: str
    region: str


def credential_scope(headers: Mapping[str, str], query: Query) -> CredentialScope | None:
    """The scope in the Authorization header or in a presigned URL; None for a request that is not signed.

    Raises IncompleteSignatureException for a header without a credential of five parts, and InvalidSignatureException for a
    scope that is not Lambda's.
    """
    authorization = headers.get("authorization")
    if authorization is None:
        presigned = query.get("X-Amz-Credential")
        return _parse_scope(presigned[0]) if presigned else None
    if not authorization.startswith(ALGORITHM):
        raise IncompleteSignatureException(
            "Invalid key=value pair (missing equal-sign) in Authorization header "
            f"(hashed with SHA-256 and encoded with Base64): '{_digest(authorization)}'."
        )
    _, found, rest = authorization.partition("Credential=")
    if not found:
        raise IncompleteSignatureException(
            "Authorization header requires 'Credential' parameter. "
            f"(Hashed with SHA-256 and encoded with Base64) Authorization={_digest(authorization)}"
        )
    return _parse_scope(rest.partition(",")[0].rstrip())


@lru_cache(maxsize=1024)
def _parse_scope(credential: str) -> CredentialScope:
    parts = credential.split("/")
    if len(parts) != 5:
        raise IncompleteSignatureException(
            "Credential must have exactly 5 slash-delimited elements, "
            f"e.g. keyid/date/region/service/term, got '{credential}'"
        )
    access_key_id, date, region, service, terminator = parts
    if not access_key_id:
        raise IncompleteSignatureException("Credential must have a non-empty access key id.")
    if not _DATE.fullmatch(date):
        raise InvalidSignatureException(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP."
        )
    if not _REGION.fullmatch(region):
        raise InvalidSignatureException(f"Credential should be scoped to a valid Region, not '{region}'.")
    if service != SERVICE:
        raise InvalidSignatureException(f"Credential should be scoped to correct service: '{SERVICE}'.")
    if terminator != "aws4_request":
        raise InvalidSignatureException(
            f"Credential should be scoped with a valid terminator: 'aws4_request', not '{terminator}'."
        )
    return CredentialScope(access_key_id, region)


def _digest(authorization: str) -> str:
    return b64encode(sha256(authorization.encode("utf-8", "replace")).digest()).decode("ascii")
