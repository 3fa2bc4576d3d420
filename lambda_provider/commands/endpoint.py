"""Requests to a running gateway with the standard library alone: importing an SDK would take longer than the request."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection, IncompleteRead
from typing import IO, Any
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
            raise self._unreachable(error) from error
        finally:
            connection.close()

    def download(self, path: str, file: IO[bytes]) -> None:
        """Write into a file what the gateway itself answers at a path under `/_lambda/`."""
        connection = self._connect(self._host, self._port)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            if response.status != 200:
                raise CommandError(_message(self.url, path, response, response.read()))
            shutil.copyfileobj(response, file)
            if response.length:
                raise IncompleteRead(b"", response.length)
        except (OSError, HTTPException) as error:
            raise self._unreachable(error) from error
        finally:
            connection.close()

    def post_json(self, path: str, body: bytes) -> Any:
        """What the gateway itself answers to a POST under `/_lambda/`. Raises CommandError with its message for an error."""
        response, answer = self.request("", "POST", path, body)
        if response.status >= 300:
            raise CommandError(_message(self.url, path, response, answer))
        return json.loads(answer)

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

    def _unreachable(self, error: Exception) -> CommandError:
        reason = getattr(error, "strerror", None) or error
        return CommandError(f"no gateway at {self.url}: {reason}; start one with `lambda-provider start`")


def _message(url: str, path: str, response: HTTPResponse, body: bytes) -> str:
    """The message of an answer of the gateway itself that is an error."""
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return f"{url}{path.partition('?')[0]} answered {response.status}; is it a lambda-provider?"


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
