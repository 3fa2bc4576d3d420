"""Credentials of a function whose environments start from a snapshot: what is in its variables would be in the snapshot, too.

AWS SDKs ask for them where `AWS_CONTAINER_CREDENTIALS_FULL_URI` says, with `AWS_CONTAINER_AUTHORIZATION_TOKEN`:
https://docs.aws.amazon.com/lambda/latest/dg/snapstart-activate.html, and, for the form,
https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html.
"""

from __future__ import annotations

import hmac
import json
import secrets
import time
from collections.abc import Callable, Mapping

from lambda_runtime.platform_events import timestamp
from lambda_runtime.runtime_api.connection import Exchange, Router, RuntimeApiConnection
from lambda_runtime.runtime_api.routes import Headers, Refused, Trailers

PATH = "/2021-04-23/credentials"
_VALID_S = 6 * 3600


class CredentialsRouter:
    """Answers requests for credentials, new ones each time; `others` what else is not of the Runtime API."""

    __slots__ = ("_issue", "_others", "token")

    def __init__(self, issue: Callable[[], Mapping[str, str]], others: Router) -> None:
        """`issue` gives the variables `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`."""
        self._issue = issue
        self._others = others
        self.token = secrets.token_urlsafe(32)
        """What a request has to have as its Authorization."""

    def __call__(self, connection: RuntimeApiConnection, method: bytes, path: bytes, headers: Headers) -> Exchange:
        if path != PATH.encode():
            return self._others(connection, method, path, headers)
        return _Credentials(connection, self, method, headers)

    def variables(self, runtime_api: str) -> dict[str, str]:
        """What a function has in place of credentials; `runtime_api` is `host:port`."""
        uri = f"http://{runtime_api}{PATH}"
        return {"AWS_CONTAINER_CREDENTIALS_FULL_URI": uri, "AWS_CONTAINER_AUTHORIZATION_TOKEN": self.token}

    def answer(self, method: bytes, headers: Headers) -> bytes:
        """The credentials as JSON. Raises Refused."""
        if method != b"GET":
            raise Refused(405, "MethodNotAllowed", "Method not allowed")
        if not hmac.compare_digest(headers.get(b"authorization", b""), self.token.encode()):
            raise Refused(403, "AccessDenied", "The authorization token is not the one of this execution environment")
        issued = self._issue()
        return json.dumps(
            {
                "AccessKeyId": issued["AWS_ACCESS_KEY_ID"],
                "SecretAccessKey": issued["AWS_SECRET_ACCESS_KEY"],
                "Token": issued["AWS_SESSION_TOKEN"],
                "Expiration": timestamp(time.time() + _VALID_S),
            }
        ).encode()


class _Credentials:
    __slots__ = ("_connection", "_headers", "_method", "_router")

    def __init__(
        self, connection: RuntimeApiConnection, router: CredentialsRouter, method: bytes, headers: Headers
    ) -> None:
        self._connection = connection
        self._router = router
        self._method = method
        self._headers = headers

    def body(self, chunk: bytes) -> None:
        pass

    def end(self, trailers: Trailers) -> None:
        try:
            self._connection.reply(200, b"", self._router.answer(self._method, self._headers))
        except Refused as refused:
            self._connection.reply(refused.status, b"", refused.body)

    def aborted(self) -> None:
        pass
