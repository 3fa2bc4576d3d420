"""Where the code of a function can be downloaded: presigned URLs on the gateway.

GetFunction answers a URL that works without credentials for ten minutes, as AWS's does. It looks like one of S3's; the
signature is ours, with a key that lives as long as the process.
"""

from __future__ import annotations

import calendar
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from urllib.parse import parse_qs, quote, unquote, urlencode

PATH_PREFIX = "/_lambda/code/"
VALID_S = 600


class LocationError(Exception):
    """A URL that gives no code: `code` is the one that S3 would answer, with `status`."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class CodeLocations:
    """Makes and verifies the URLs of one provider."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._key = secrets.token_bytes(32)
        self._now = now

    def make(self, endpoint_url: str, *, account_id: str, region: str, name: str, sha256: str) -> str:
        """The URL of an archive. `name` is for people to read: the function or layer that it belongs to."""
        path = f"{PATH_PREFIX}{account_id}/{region}/{quote(name, safe='')}-{sha256}"
        moment = time.gmtime(self._now())
        query = urlencode(
            {
                "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
                "X-Amz-Date": time.strftime("%Y%m%dT%H%M%SZ", moment),
                "X-Amz-SignedHeaders": "host",
                "X-Amz-Expires": str(VALID_S),
                "X-Amz-Credential": f"lambda/{time.strftime('%Y%m%d', moment)}/{region}/s3/aws4_request",
            }
        )
        return f"{endpoint_url.rstrip('/')}{path}?{query}&X-Amz-Signature={self._sign(path, query)}"

    def verify(self, path: str, query: str) -> str:
        """The SHA-256 of the archive that a URL stands for. Raises LocationError."""
        signed, _, signature = query.partition("&X-Amz-Signature=")
        if not hmac.compare_digest(signature.encode(), self._sign(path, signed).encode()):
            raise LocationError(403, "SignatureDoesNotMatch", "The request signature does not match.")
        values = {name: value[0] for name, value in parse_qs(signed).items()}
        issued = _seconds(values["X-Amz-Date"])
        if self._now() >= issued + int(values["X-Amz-Expires"]):
            raise LocationError(403, "AccessDenied", "Request has expired")
        return unquote(path).rpartition("-")[2]

    def _sign(self, path: str, query: str) -> str:
        return hmac.digest(self._key, f"{path}?{query}".encode(), hashlib.sha256).hex()


def _seconds(date: str) -> float:
    return calendar.timegm(time.strptime(date, "%Y%m%dT%H%M%SZ"))
