"""AWS Signature Version 4 of requests to function URLs, in the Authorization header or in a presigned query.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html. What is signed is worked out here;
whose secret makes the same signature is known to whoever issued the key (`callers`).
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from calendar import timegm
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote

from botocore.utils import normalize_url_path

from lambda_provider.api import InvalidSignatureException
from lambda_provider.api.errors import IncompleteSignatureException
from lambda_provider.urls.requests import UrlRequest
from lambda_provider.wire.credentials import ALGORITHM, SERVICE

MAX_AGE_S = 300
"""How far the time of a signature may be from ours: five minutes, either way."""

MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and "
    "signing method. Consult the service documentation for details."
)

_PART = re.compile(r"\s*(Credential|SignedHeaders|Signature)=([^,\s]+)\s*(?:,|$)")
_TIME = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature as it came, and the text that it should be of."""

    access_key_id: str
    session_token: str
    scope: str
    """`DATE/REGION/SERVICE/aws4_request`."""
    text: str
    signature: str

    @property
    def region(self) -> str:
        """The region that the request was signed for."""
        return self.scope.split("/")[1]

    def is_made_with(self, secret_access_key: str) -> bool:
        """Whether this secret makes this signature of this text."""
        key = f"AWS4{secret_access_key}".encode()
        for part in self.scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        return hmac.compare_digest(
            hmac.digest(key, self.text.encode(), "sha256").hex().encode(), self.signature.encode()
        )


def signature_of(request: UrlRequest, region: str) -> Signature | None:
    """The signature of a request; None for one that has none.

    Raises IncompleteSignatureException and InvalidSignatureException, in AWS's words, for one that cannot be right whatever
    the secret: parts that are missing, another service or region, a time that is long ago.
    """
    authorization = request.header("authorization")
    query = dict(parse_qsl(request.query, keep_blank_values=True))
    if authorization.startswith(ALGORITHM):
        parts = dict(_PART.findall(authorization[len(ALGORITHM) :]))
        when, token, lifetime_s = request.header("x-amz-date"), request.header("x-amz-security-token"), MAX_AGE_S
    elif query.get("X-Amz-Algorithm") == ALGORITHM:
        parts = {name: query.get(f"X-Amz-{name}", "") for name in ("Credential", "SignedHeaders", "Signature")}
        when, token = query.get("X-Amz-Date", ""), query.get("X-Amz-Security-Token", "")
        expires = query.get("X-Amz-Expires", "")
        lifetime_s = int(expires) if expires.isdecimal() and len(expires) < 7 else 0
    else:
        return None
    for name in ("Credential", "SignedHeaders", "Signature"):
        if not parts.get(name):
            raise IncompleteSignatureException(f"Authorization header requires '{name}' parameter.")
    access_key_id, _, scope = parts["Credential"].partition("/")
    _check_scope(scope, when, region)
    _check_time(when, lifetime_s)
    canonical = _canonical_request(request, parts["SignedHeaders"].split(";"))
    text = "\n".join((ALGORITHM, when, scope, hashlib.sha256(canonical.encode()).hexdigest()))
    return Signature(access_key_id, token, scope, text, parts["Signature"])


def _check_scope(scope: str, when: str, region: str) -> None:
    parts = scope.split("/")
    if len(parts) != 4:
        raise IncompleteSignatureException(
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term"
        )
    if parts[1] != region:
        raise InvalidSignatureException(f"Credential should be scoped to a valid Region, not '{parts[1]}'.")
    if parts[2] != SERVICE or parts[3] != "aws4_request":
        raise InvalidSignatureException(f"Credential should be scoped to correct service: '{SERVICE}'.")
    if not when.startswith(parts[0]):
        raise InvalidSignatureException(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP."
        )


def _check_time(when: str, lifetime_s: int) -> None:
    try:
        signed_at = timegm(time.strptime(when, _TIME))
    except ValueError as error:
        raise IncompleteSignatureException(
            "Authorization header requires existence of an 'X-Amz-Date' header."
        ) from error
    now = time.time()
    if signed_at - MAX_AGE_S > now:
        raise InvalidSignatureException(f"Signature not yet current: {when} is still later than {_text(now)}")
    if now - signed_at > lifetime_s:
        raise InvalidSignatureException(f"Signature expired: {when} is now earlier than {_text(now - lifetime_s)}")


def _text(moment: float) -> str:
    return time.strftime(_TIME, time.gmtime(moment))


def _canonical_request(request: UrlRequest, signed_headers: list[str]) -> str:
    names = [name.lower() for name in signed_headers]
    if "host" not in names:
        raise InvalidSignatureException(MISMATCH)
    headers = request.joined
    lines = "".join(f"{name}:{_trimmed(name, headers, request)}\n" for name in names)
    return "\n".join(
        (
            request.method,
            quote(normalize_url_path(request.path), safe="/~"),
            _canonical_query(request.query),
            lines,
            ";".join(names),
            # Of the body as it came: a payload that was not signed is none that Lambda takes.
            hashlib.sha256(request.body).hexdigest(),
        )
    )


def _trimmed(name: str, headers: Mapping[str, str], request: UrlRequest) -> str:
    values = [value for each, value in request.headers if each == name]
    return ",".join(" ".join(value.split()) for value in values)


def _canonical_query(query: str) -> str:
    pairs = (
        (quote(name, safe="-_.~"), quote(value, safe="-_.~"))
        for name, value in parse_qsl(query.replace("+", "%20"), keep_blank_values=True)
        if name != "X-Amz-Signature"
    )
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))
