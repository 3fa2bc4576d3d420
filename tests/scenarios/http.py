"""Requests byte by byte, as no client library would send them, and what comes back."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PATIENCE_S = 40.0
FUNCTIONS = "/2015-03-31/functions"


@dataclass(frozen=True)
class Answer:
    """What the gateway answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def error(self) -> str:
        """The code of an AWS error, or an empty string."""
        return self.headers.get("x-amzn-errortype", "").partition(":")[0]

    @property
    def message(self) -> str:
        content = json.loads(self.body)
        return str(content.get("message") or content.get("Message") or "")


def signed(scope: str = "000000000000/20260101/us-east-1/lambda/aws4_request") -> str:
    """An Authorization header with this credential scope; signatures are not checked."""
    return f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host;x-amz-date, Signature={'0' * 64}"


def request(method: str, path: str, body: bytes | str = b"", headers: Mapping[str, str] | None = None) -> bytes:
    """The bytes of a request with a right Content-Length, unless `headers` has another one."""
    content = body.encode() if isinstance(body, str) else body
    lines = {"Host": "localhost", "Authorization": signed(), "Content-Length": str(len(content)), **(headers or {})}
    head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value)
    return head.encode("latin-1") + b"\r\n" + content


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)


def read(connection: socket.socket) -> Answer | None:
    """The next answer; None if the gateway closed the connection instead."""
    response = http.client.HTTPResponse(connection)
    try:
        response.begin()
        body = response.read()
    except (http.client.BadStatusLine, ConnectionResetError):
        return None
    finally:
        response.close()
    answer = Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, body)
    assert b"Traceback" not in body, body
    assert b'.py", line' not in body, body
    return answer


def exchange(port: int, *parts: bytes, hang_up: bool = False) -> Answer | None:
    """Send these bytes over a connection of their own, and read the answer. `hang_up` ends our side after them."""
    with connect(port) as connection:
        try:
            for part in parts:
                connection.sendall(part)
            if hang_up:
                connection.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            pass  # The gateway had enough; it may have said why.
        return read(connection)


def refusal(port: int, data: bytes) -> Answer:
    """The answer to bytes that must be refused: a 4xx with AWS's error headers, and a JSON message."""
    answer = exchange(port, data)
    assert answer is not None, "closed without an answer"
    assert 400 <= answer.status < 500, answer
    assert answer.error, answer
    assert answer.message or answer.body == b"{}", answer
    return answer


def health(port: int) -> dict[str, Any]:
    """`GET /_lambda/health`."""
    answer = exchange(port, request("GET", "/_lambda/health", headers={"Authorization": ""}))
    assert answer is not None
    content: dict[str, Any] = json.loads(answer.body)
    return content
