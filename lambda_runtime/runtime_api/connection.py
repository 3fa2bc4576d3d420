"""One HTTP/1.1 connection from inside an environment.

The Runtime API is on the way of every invoke, twice. A general server costs more than the invoke itself, so this one does
what runtime clients need and no more: requests one after the other on a kept-alive connection, bodies handed on as they
arrive, an answer that may come much later (`GET next`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, cast

import httptools


class Exchange(Protocol):
    """What becomes of one request. The router makes one as soon as the request line and headers are there."""

    def body(self, chunk: bytes) -> None:
        """A piece of the request body arrived."""
        ...

    def end(self, trailers: list[tuple[bytes, bytes]]) -> None:
        """The request is complete; answer it with `connection.reply`, now or later."""
        ...

    def aborted(self) -> None:
        """The connection was lost before `end`, or before the answer was written."""
        ...


class Router(Protocol):
    """Decides what a request is."""

    def __call__(
        self, connection: RuntimeApiConnection, method: bytes, path: bytes, headers: dict[bytes, bytes]
    ) -> Exchange: ...


_REASONS = {200: b"OK", 202: b"Accepted", 400: b"Bad Request", 403: b"Forbidden", 404: b"Not Found"}
_REASONS |= {405: b"Method Not Allowed", 413: b"Payload Too Large", 500: b"Internal Server Error"}


class RuntimeApiConnection(asyncio.Protocol):
    """Parses requests and writes responses. Touched only on the runtime loop."""

    __slots__ = (
        "_acknowledgement",
        "_exchange",
        "_headers",
        "_keep_alive",
        "_parser",
        "_router",
        "_trailers",
        "_transport",
        "_url",
        "on_lost",
    )

    def __init__(self, router: Router) -> None:
        self._router = router
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._exchange: Exchange | None = None
        self._keep_alive = True
        self._acknowledgement: bytes | None = None
        self.on_lost: Callable[[], None] | None = None
        """Called when the connection is closed, whatever is under way on it."""
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._trailers: list[tuple[bytes, bytes]] | None = None

    # --- what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its base class

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._close()
        except httptools.HttpParserError:
            self.reply(400, b"", b'{"errorMessage":"Malformed HTTP request","errorType":"InvalidRequest"}')
            self._close()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.aborted()
        if self.on_lost is not None:
            self.on_lost()

    # --- what httptools calls

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers = {}
        self._trailers = None

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._trailers is None:
            self._headers[name.lower()] = value
        else:
            self._trailers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._trailers = []
        self._keep_alive = self._parser.should_keep_alive()
        path = self._url.partition(b"?")[0]
        self._exchange = self._router(self, self._parser.get_method(), path, self._headers)
        if b"expect" in self._headers and self._transport is not None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, chunk: bytes) -> None:
        if self._exchange is not None:
            self._exchange.body(chunk)

    def on_message_complete(self) -> None:
        if self._exchange is not None:
            self._exchange.end(self._trailers or [])

    # --- what exchanges call

    def reply(self, status: int, headers: bytes, body: bytes) -> None:
        """Write a whole response. `headers` are complete lines, each ended by CRLF. Ignored when the client is gone."""
        self._write_acknowledgement()
        self._exchange = None
        if self._transport is not None:
            reason = _REASONS.get(status, b"")
            if not self._keep_alive:
                headers += b"Connection: close\r\n"
            head = b"HTTP/1.1 %d %b\r\nContent-Type: application/json\r\n%bContent-Length: %d\r\n\r\n"
            self._transport.write(head % (status, reason, headers, len(body)) + body)
            if not self._keep_alive:
                self._close()

    def acknowledge(self, body: bytes) -> None:
        """Reply 202 when the loop has done what is waiting already: the caller's answer leaves before the runtime's.

        A client that has sent its next request in the meantime still gets the two answers in their order.
        """
        self._acknowledgement = body
        asyncio.get_running_loop().call_soon(self._write_acknowledgement)

    def _write_acknowledgement(self) -> None:
        body, self._acknowledgement = self._acknowledgement, None
        if body is not None:
            self.reply(202, b"", body)

    def pause(self) -> None:
        """Read no more from this client for now: its reader is slower than it is."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        if self._transport is not None:
            self._transport.resume_reading()

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()
