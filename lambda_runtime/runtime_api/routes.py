"""The endpoints of the Runtime API (version 2018-06-01) and who answers them.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html. Error bodies are `{"errorMessage": …, "errorType": …}`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Protocol

from lambda_runtime.runtime_api.connection import Exchange, Router, RuntimeApiConnection

Headers = dict[bytes, bytes]
Trailers = list[tuple[bytes, bytes]]

ERROR_TYPE_HEADER = b"lambda-runtime-function-error-type"
ERROR_BODY_HEADER = b"lambda-runtime-function-error-body"
RESPONSE_MODE_HEADER = b"lambda-runtime-function-response-mode"

_ACCEPTED = b'{"status":"OK"}\n'
_PREFIX = b"/2018-06-01/runtime/"


class Refused(Exception):
    """The request does not fit the environment's state; becomes a 4xx for the runtime client."""

    def __init__(self, status: int, error_type: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.error_type = error_type

    @property
    def body(self) -> bytes:
        members = {"errorMessage": str(self), "errorType": self.error_type}
        return json.dumps(members, separators=(",", ":")).encode() + b"\n"


class ResponseStream(Protocol):
    """Takes a response that the function writes piece by piece."""

    def feed(self, chunk: bytes) -> None: ...
    def finish(self, error_type: str | None, error_body: bytes | None) -> None: ...
    def broken(self) -> None: ...


class RuntimeEvents(Protocol):
    """The environment, as the Runtime API sees it. Methods raise `Refused` when they come at the wrong time."""

    max_response_bytes: int

    def runtime_waits(self, connection: RuntimeApiConnection) -> None:
        """`GET next`: the runtime is initialised, or done with the last invocation."""
        ...

    def runtime_gone(self, connection: RuntimeApiConnection) -> None:
        """The connection on which the runtime waited was closed."""
        ...

    def runtime_responded(self, request_id: bytes, body: bytes, content_type: bytes | None) -> None:
        """`POST response` with a whole body."""
        ...

    def runtime_streams(
        self, request_id: bytes, content_type: bytes | None, connection: RuntimeApiConnection
    ) -> ResponseStream:
        """`POST response` in streaming mode: the body follows in pieces."""
        ...

    def response_too_large(self, request_id: bytes) -> None:
        """`POST response` with a body above the limit."""
        ...

    def runtime_failed(self, request_id: bytes, body: bytes, error_type: str | None) -> None:
        """`POST error`: the handler raised."""
        ...

    def init_failed(self, body: bytes, error_type: str | None) -> None:
        """`POST init/error`."""
        ...

    def runtime_may_be_restored(self, connection: RuntimeApiConnection) -> None:
        """`GET restore/next`: the runtime of a version with SnapStart is initialised; answered when it is restored."""
        ...

    def restore_failed(self, body: bytes, error_type: str | None) -> None:
        """`POST restore/error`: a hook after the restore failed."""
        ...


class RuntimeApiRouter:
    """Makes the exchange for each request of one environment; `others` those for requests that are not of the Runtime API."""

    def __init__(self, events: RuntimeEvents, others: Router | None = None) -> None:
        self._events = events
        self._others = others

    def __call__(self, connection: RuntimeApiConnection, method: bytes, path: bytes, headers: Headers) -> Exchange:
        if not path.startswith(_PREFIX):
            if self._others is not None:
                return self._others(connection, method, path, headers)
            return _Refusal(connection, _NOT_FOUND)
        name = path[len(_PREFIX) :]
        if name == b"invocation/next":
            if method != b"GET":
                return _Refusal(connection, _WRONG_METHOD)
            return _Next(connection, self._events, self._events.runtime_waits)
        if name == b"restore/next" and method == b"GET":
            return _Next(connection, self._events, self._events.runtime_may_be_restored)
        if method != b"POST":
            return _Refusal(connection, _WRONG_METHOD if name == b"init/error" else _NOT_FOUND)
        if name == b"init/error":
            return _Post(connection, headers, self._init_error, None)
        if name == b"restore/error":
            return _Post(connection, headers, self._restore_error, None)
        parts = name.split(b"/")
        if len(parts) == 3 and parts[0] == b"invocation":
            request_id = parts[1]
            if parts[2] == b"response":
                if headers.get(RESPONSE_MODE_HEADER, b"").lower() == b"streaming":
                    return _Streamed(connection, headers, self._events, request_id)
                return _Post(connection, headers, self._response(request_id), self._too_large(request_id), self._limit)
            if parts[2] == b"error":
                return _Post(connection, headers, self._error(request_id), None)
        return _Refusal(connection, _NOT_FOUND)

    @property
    def _limit(self) -> int:
        return self._events.max_response_bytes

    def _init_error(self, body: bytes, headers: Headers) -> None:
        self._events.init_failed(body, _text(headers.get(ERROR_TYPE_HEADER)))

    def _restore_error(self, body: bytes, headers: Headers) -> None:
        self._events.restore_failed(body, _text(headers.get(ERROR_TYPE_HEADER)))

    def _response(self, request_id: bytes) -> Callable[[bytes, Headers], None]:
        return lambda body, headers: self._events.runtime_responded(request_id, body, headers.get(b"content-type"))

    def _too_large(self, request_id: bytes) -> Callable[[], None]:
        return lambda: self._events.response_too_large(request_id)

    def _error(self, request_id: bytes) -> Callable[[bytes, Headers], None]:
        return lambda body, headers: self._events.runtime_failed(
            request_id, body, _text(headers.get(ERROR_TYPE_HEADER))
        )


_WRONG_METHOD = Refused(405, "MethodNotAllowed", "Method not allowed")
_NOT_FOUND = Refused(404, "NotFound", "No such endpoint")


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "replace")


class _Refusal:
    """Reads the request to its end and refuses it."""

    __slots__ = ("_connection", "_refused")

    def __init__(self, connection: RuntimeApiConnection, refused: Refused) -> None:
        self._connection = connection
        self._refused = refused

    def body(self, chunk: bytes) -> None:
        pass

    def end(self, trailers: Trailers) -> None:
        self._connection.reply(self._refused.status, b"", self._refused.body)

    def aborted(self) -> None:
        pass


class _Next:
    """`GET invocation/next` and `GET restore/next`: answered by the environment when there is work, or it is restored."""

    __slots__ = ("_connection", "_ended", "_events", "_wait")

    def __init__(
        self,
        connection: RuntimeApiConnection,
        events: RuntimeEvents,
        wait: Callable[[RuntimeApiConnection], None],
    ) -> None:
        self._connection = connection
        self._events = events
        self._wait = wait
        self._ended = False

    def body(self, chunk: bytes) -> None:
        pass

    def end(self, trailers: Trailers) -> None:
        self._ended = True
        try:
            self._wait(self._connection)
        except Refused as refused:
            self._connection.reply(refused.status, b"", refused.body)

    def aborted(self) -> None:
        if self._ended:
            self._events.runtime_gone(self._connection)


class _Post:
    """A request with a body that is taken whole, up to a limit, and acknowledged."""

    __slots__ = ("_chunks", "_connection", "_deliver", "_headers", "_limit", "_size", "_too_large")

    def __init__(
        self,
        connection: RuntimeApiConnection,
        headers: Headers,
        deliver: Callable[[bytes, Headers], None],
        too_large: Callable[[], None] | None,
        limit: int = 6 * 1024 * 1024,
    ) -> None:
        self._connection = connection
        self._headers = headers
        self._deliver = deliver
        self._too_large = too_large
        self._limit = limit
        self._size = 0
        self._chunks: list[bytes] = []

    def body(self, chunk: bytes) -> None:
        self._size += len(chunk)
        if self._size <= self._limit:
            self._chunks.append(chunk)
        else:
            self._chunks.clear()

    def end(self, trailers: Trailers) -> None:
        try:
            if self._size > self._limit:
                if self._too_large is not None:
                    self._too_large()
                text = f"Exceeded maximum allowed payload size ({self._limit} bytes)."
                raise Refused(413, "RequestEntityTooLarge", text)
            chunks = self._chunks
            self._deliver(chunks[0] if len(chunks) == 1 else b"".join(chunks), self._headers)
        except Refused as refused:
            self._connection.reply(refused.status, b"", refused.body)
        else:
            self._connection.acknowledge(_ACCEPTED)

    def aborted(self) -> None:
        pass


class _Streamed:
    """`POST response` in streaming mode; an error in mid-stream comes as HTTP trailers."""

    __slots__ = ("_connection", "_refused", "_stream")

    def __init__(
        self, connection: RuntimeApiConnection, headers: Headers, events: RuntimeEvents, request_id: bytes
    ) -> None:
        self._connection = connection
        self._refused: Refused | None = None
        self._stream: ResponseStream | None = None
        try:
            self._stream = events.runtime_streams(request_id, headers.get(b"content-type"), connection)
        except Refused as refused:
            self._refused = refused

    def body(self, chunk: bytes) -> None:
        if self._stream is not None:
            self._stream.feed(chunk)

    def end(self, trailers: Trailers) -> None:
        if self._refused is not None or self._stream is None:
            refused = self._refused or _NOT_FOUND
            self._connection.reply(refused.status, b"", refused.body)
            return
        found = dict(trailers)
        self._stream.finish(_text(found.get(ERROR_TYPE_HEADER)), found.get(ERROR_BODY_HEADER))
        self._connection.acknowledge(_ACCEPTED)

    def aborted(self) -> None:
        if self._stream is not None:
            self._stream.broken()
