"""Requests to a running gateway with the standard library alone: importing an SDK would take longer than the request."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

from lambda_provider.commands import CommandError


class Endpoint:
    """A gateway, seen from one account and region. Signatures are not checked there, so none is made."""

    def __init__(self, url: str, *, account: str = "000000000000", region: str = "us-east-1") -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise CommandError(f"{url!r} is not a URL like http://127.0.0.1:4566")
        self.url = url
        self._connect = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self._host, self._port = parts.hostname, parts.port
        self._account, self._region = account, region

    def request(
        self, service: str, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[HTTPResponse, bytes]:
        """Send a request and read the whole response. `service` is a signing name, or empty for the gateway itself.

        Raises CommandError when nothing answers.
        """
        sent = dict(headers or {})
        if service:
            sent["Authorization"] = (
                f"AWS4-HMAC-SHA256 Credential={self._account}/20240101/{self._region}/{service}/aws4_request, "
                "SignedHeaders=host, Signature=0"
            )
        connection = self._connect(self._host, self._port)
        try:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            return response, response.read()
        except (OSError, HTTPException) as error:
            reason = getattr(error, "strerror", None) or error
            raise CommandError(f"no gateway at {self.url}: {reason}; start one with `lambda-provider start`") from error
        finally:
            connection.close()

    def get_json(self, path: str) -> Any:
        """What the gateway itself answers at a path under `/_lambda/`."""
        response, body = self.request("", "GET", path)
        if response.status != 200:
            raise CommandError(f"{self.url}{path} answered {response.status}; is it a lambda-provider?")
        return json.loads(body)

    def call_json(self, service: str, target: str, request: Mapping[str, Any]) -> Any:
        """An operation of a service with AWS's JSON protocol, `target` being `PREFIX.Operation`."""
        headers = {"X-Amz-Target": target, "Content-Type": "application/x-amz-json-1.1"}
        response, body = self.request(service, "POST", "/", json.dumps(request).encode(), headers)
        if response.status != 200:
            raise AwsError.of(response, body)
        return json.loads(body)


class AwsError(CommandError):
    """An error that a service answered; `code` is AWS's."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code

    @classmethod
    def of(cls, response: HTTPResponse, body: bytes) -> AwsError:
        """The error in a response of the JSON protocols."""
        try:
            content = json.loads(body)
        except ValueError:
            content = {}
        if not isinstance(content, dict):
            content = {}
        code = response.headers.get("x-amzn-ErrorType") or content.get("__type") or str(response.status)
        message = content.get("message") or content.get("Message") or body[:500].decode("utf-8", "replace")
        return cls(code.partition(":")[0].rpartition("#")[2], message)
