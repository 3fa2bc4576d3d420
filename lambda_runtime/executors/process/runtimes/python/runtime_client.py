"""A stand-in for awslambdaric's compiled module `runtime_client`, for interpreters that it is not compiled for.

Same functions, arguments and results; one kept-alive connection to the Runtime API. Runs in CPython 3.8 or newer.
"""

from __future__ import annotations

import os
import socket
from typing import BinaryIO

_NAMES = {
    name.lower(): name
    for name in (
        "Lambda-Runtime-Aws-Request-Id",
        "Lambda-Runtime-Trace-Id",
        "Lambda-Runtime-Invoked-Function-Arn",
        "Lambda-Runtime-Deadline-Ms",
        "Lambda-Runtime-Client-Context",
        "Lambda-Runtime-Cognito-Identity",
        "Lambda-Runtime-Aws-Tenant-Id",
        "Lambda-Runtime-Invocation-Id",
        "Content-Type",
    )
}
_PREFIX = "/2018-06-01/runtime/invocation/"


class _Connection:
    """HTTP/1.1 to one host, as much as the Runtime API needs: every answer has a Content-Length."""

    def __init__(self, address: str, user_agent: str) -> None:
        host, _, port = address.rpartition(":")
        self._address = (host, int(port))
        self._fixed = f"Host: {address}\r\nUser-Agent: {user_agent}\r\n"
        self._socket: socket.socket | None = None
        self._reader: BinaryIO | None = None

    def request(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        """Send a request; returns status, headers with lower-case names, and body.

        A kept connection that turns out to be closed is renewed once.
        """
        lines = [f"{method} {path} HTTP/1.1\r\n{self._fixed}Content-Length: {len(body)}\r\n"]
        lines += [f"{name}: {value}\r\n" for name, value in headers.items()]
        message = "".join([*lines, "\r\n"]).encode("utf-8") + body
        if self._socket is not None:
            try:
                return self._exchange(message)
            except (ConnectionError, EOFError):
                self._close()
        return self._exchange(message)

    def _exchange(self, message: bytes) -> tuple[int, dict[str, str], bytes]:
        if self._socket is None or self._reader is None:
            self._socket = (
                socket.socket()
            )  # Not create_connection: asking the resolver for a number costs a millisecond.
            self._socket.connect(self._address)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._reader = self._socket.makefile("rb")
        self._socket.sendall(message)
        status = int(self._line(self._reader).split(b" ", 2)[1])
        headers = {}
        while line := self._line(self._reader):
            name, _, value = line.decode("utf-8", "replace").partition(":")
            headers[name.lower()] = value.strip()
        length = int(headers.get("content-length", "0"))
        body = self._reader.read(length)
        if len(body) < length:
            raise EOFError("the Runtime API closed the connection")
        if headers.get("connection", "").lower() == "close":
            self._close()
        return status, headers, body

    @staticmethod
    def _line(reader: BinaryIO) -> bytes:
        line = reader.readline()
        if not line.endswith(b"\n"):
            raise EOFError("the Runtime API closed the connection")
        return line.rstrip(b"\r\n")

    def _close(self) -> None:
        for file in (self._reader, self._socket):
            if file is not None:
                file.close()
        self._reader = self._socket = None


_connection = _Connection("127.0.0.1:9001", "")


def initialize_client(user_agent: str) -> None:
    """Remember where the Runtime API is; connects at the first request."""
    global _connection
    _connection = _Connection(os.environ.get("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001"), user_agent)


def next() -> tuple[bytes, dict[str, str | None]]:
    """Wait for an invocation; returns (body, headers). Raises RuntimeError when the Runtime API refuses."""
    status, headers, body = _connection.request("GET", _PREFIX + "next", {}, b"")
    if status != 200:
        raise RuntimeError(f"Failed to get next: {status}")
    return body, {name: headers.get(lower) for lower, name in _NAMES.items()}


def post_invocation_result(
    invoke_id: str, result_data: bytes, content_type: str, invocation_id: str | None = None
) -> None:
    """Answer an invocation."""
    headers = {"Content-Type": content_type}
    _post(invoke_id, "/response", headers, result_data, invocation_id)


def post_error(invoke_id: str, error_response_data: str, xray_fault: str, invocation_id: str | None = None) -> None:
    """Answer an invocation with an error: JSON text, and the same for X-Ray."""
    headers = {"Content-Type": "application/json", "Lambda-Runtime-Function-Error-Type": "Unhandled"}
    if xray_fault:
        headers["Lambda-Runtime-Function-XRay-Error-Cause"] = xray_fault.replace("\r", " ").replace("\n", " ")
    _post(invoke_id, "/error", headers, error_response_data.encode(), invocation_id)


def _post(invoke_id: str, path: str, headers: dict[str, str], body: bytes, invocation_id: str | None) -> None:
    if invocation_id:
        headers["Lambda-Runtime-Invocation-Id"] = invocation_id
    status, _, _ = _connection.request("POST", _PREFIX + invoke_id + path, headers, body)
    if status // 100 != 2:
        raise RuntimeError(f"Failed to post invocation {path.strip('/')}: {status}")
