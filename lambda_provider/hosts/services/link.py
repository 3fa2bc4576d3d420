"""In moto's process: the way to the gateway, in which functions are made and run."""

from __future__ import annotations

import base64
import json
import logging
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import quote

from lambda_provider.hosts.clients import make_client

logger = logging.getLogger(__name__)

_URL, _TOKEN, _FUNCTION_URL = "LAMBDA_PROVIDER_GATEWAY", "LAMBDA_PROVIDER_TOKEN", "LAMBDA_PROVIDER_FUNCTION_ENDPOINT"
INVOKE_PATH = "/_lambda/invoke/"
TAG_PATH = "/_lambda/tag/"
TOKEN = "x-lambda-token"
KIND = "x-amz-invocation-type"
SERVICE = "x-lambda-service"
"""The principal of a service (`s3.amazonaws.com`); without it the caller is the account in `SOURCE_ACCOUNT`."""
SOURCE_ARN = "x-lambda-source-arn"
SOURCE_ACCOUNT = "x-lambda-source-account"
CLIENT_CONTEXT = "x-amz-client-context"
FUNCTION_ERROR = "x-amz-function-error"
EXECUTED_VERSION = "x-amz-executed-version"

_TIMEOUT_S = 16 * 60.0
"""A function may take 15 minutes."""
_CONNECTIONS = 100


@dataclass(frozen=True, slots=True)
class Way:
    """Where the gateway is, what it wants to see, and where functions see it."""

    url: str
    token: str
    function_endpoint_url: str

    def as_environment(self) -> dict[str, str]:
        """For the environment of a child; the shell of nobody else sees it."""
        return {_URL: self.url, _TOKEN: self.token, _FUNCTION_URL: self.function_endpoint_url}

    @classmethod
    def from_environment(cls) -> Way:
        """What the gateway told this process. Taken away there, so that nothing that moto starts sees it."""
        return cls(os.environ[_URL], os.environ.pop(_TOKEN, ""), os.environ[_FUNCTION_URL])


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Who runs a function: a service, by its principal, for a resource; or, without one, an identity of an account."""

    account_id: str
    service: str | None = None
    arn: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What an invoke came to. `error` is the code of AWS's error if Lambda refused it, with `message`.

    `function_error` is set if the function failed; `payload` is then its error.
    """

    status: int
    payload: bytes
    function_error: str | None = None
    error: str | None = None
    message: str = ""
    request_id: str = ""


class Request(threading.local):
    """What this thread is answering."""

    trace_header: str | None = None


request = Request()
"""Set for each request that moto gets, so that what follows from it is known to follow from it."""


class Link:
    """Calls the gateway. Methods block, and may be called from any thread."""

    def __init__(self, way: Way) -> None:
        import urllib3

        self.way = way
        self._pool = urllib3.PoolManager(maxsize=_CONNECTIONS, retries=False)
        self._clients: dict[tuple[str, ...], Any] = {}
        self._lock = threading.Lock()

    def client(self, service: str, account_id: str, region: str, **config: Any) -> Any:
        """A botocore client of the gateway in an account and region, kept for the next caller. `config` is botocore's."""
        key = (service, account_id, region, repr(config))
        with self._lock:
            if key not in self._clients:
                once = {"read_timeout": _TIMEOUT_S, "retries": {"total_max_attempts": 1}, **config}
                self._clients[key] = make_client(service, account_id, region, self.way.url, **once)
            return self._clients[key]

    def invoke(
        self,
        function_arn: str,
        payload: Any,
        origin: Origin,
        *,
        kind: str = "RequestResponse",
        client_context: str | None = None,
        timeout_s: float = _TIMEOUT_S,
    ) -> Answer:
        """Run a function, or with the kind `Event` have it run, or with `DryRun` only ask whether it would.

        `payload` is bytes, or what becomes JSON. Raises nothing that Lambda can answer, and
        urllib3's TimeoutError when `timeout_s` is over.
        """
        body = payload if isinstance(payload, bytes) else dump(payload)
        headers = {
            TOKEN: self.way.token,
            KIND: kind,
            SOURCE_ACCOUNT: origin.account_id,
            "content-type": "application/octet-stream",
        }
        optional = {
            SERVICE: origin.service,
            SOURCE_ARN: origin.arn,
            CLIENT_CONTEXT: client_context,
            "x-amzn-trace-id": request.trace_header,
        }
        headers.update({name: value for name, value in optional.items() if value is not None})
        url = self.way.url + INVOKE_PATH + quote(function_arn, safe="")
        response = self._pool.request("POST", url, body=body, headers=headers, timeout=timeout_s)
        found: Mapping[str, str] = response.headers
        request_id = found.get("x-amzn-requestid", "")
        if response.status >= 300:
            told = json.loads(response.data or b"{}")
            message = told.get("Message") or told.get("message") or ""
            return Answer(
                response.status, b"", error=found.get("x-amzn-errortype", ""), message=message, request_id=request_id
            )
        return Answer(response.status, response.data, found.get(FUNCTION_ERROR), request_id=request_id)

    def tag(self, arn: str, tags: Mapping[str, str]) -> None:
        """Give a resource of Lambda tags that only services may give: those that begin with `aws:`."""
        if not tags:
            return
        url = self.way.url + TAG_PATH + quote(arn, safe="")
        response = self._pool.request("POST", url, body=dump(tags), headers={TOKEN: self.way.token})
        if response.status >= 300:
            raise RuntimeError(f"{arn} could not be tagged: {response.data.decode('utf-8', 'replace')}")

    def send(self, function_arn: str, event: Any, origin: Origin) -> bool:
        """Hand an event over that nobody waits for. What Lambda refuses is logged, and False."""
        answer = self.invoke(function_arn, event, origin, kind="Event")
        if answer.error is None:
            return True
        logger.warning(
            "%s could not hand an event to %s: %s: %s",
            origin.service or origin.account_id,
            function_arn,
            answer.error,
            answer.message,
        )
        return False


@cache
def link() -> Link:
    """The one way of this process."""
    return Link(Way.from_environment())


def dump(value: Any) -> bytes:
    """Compact JSON, as AWS sends it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def encoded(content: bytes) -> str:
    """Base64 as text."""
    return base64.b64encode(content).decode()
