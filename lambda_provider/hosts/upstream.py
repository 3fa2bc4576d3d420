"""A small HTTP/1.1 client on the event loop: keep-alive, streaming both ways, back-pressure; for one server that is ours."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import cast

import httptools

Header = tuple[bytes, bytes]

_HIGH_WATER_BYTES = 256 * 1024
_IDLE_CONNECTIONS = 32


class UpstreamError(Exception):
    """The server ended the connection, or did not speak HTTP, before the response was complete."""


class UpstreamResponse:
    """A response whose head has arrived. Iterate over it for the body; `close()` gives the connection back, or ends it."""

    def __init__(self, upstream: Upstream, connection: _Connection, upload: asyncio.Task[None] | None) -> None:
        self.status = connection.status
        self.headers: Sequence[Header] = connection.headers
        self._upstream = upstream
        self._connection = connection
        self._upload = upload

    @property
    def request_is_sent(self) -> bool:
        """False while a body is still being sent, although the answer has begun."""
        return self._upload is None or self._upload.done()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while chunk := await self._connection.read():
            yield chunk

    async def read(self) -> bytes:
        """The whole body."""
        return b"".join([chunk async for chunk in self])

    def close(self) -> None:
        """Always call this; a connection whose exchange is not complete both ways is not used again."""
        upload = self._upload
        if upload is not None and (not upload.done() or upload.cancelled() or upload.exception() is not None):
            upload.cancel()
            self._connection.abort()
        self._upstream.release(self._connection)


class Upstream:
    """Connections to one address. Touched only on one loop."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._idle: list[_Connection] = []

    async def request(
        self,
        method: bytes,
        target: bytes,
        headers: Sequence[Header],
        body: bytes | AsyncIterator[bytes] = b"",
        *,
        chunked: bool = False,
    ) -> UpstreamResponse:
        """Send a request and wait for the head of the response.

        `headers` are sent as they are: for a body that is an iterator they hold its `Content-Length`, or `chunked` is true and
        this adds `Transfer-Encoding`. Raises `UpstreamError`, `OSError` (cannot connect), and what the iterator raises.
        """
        while True:
            reused = bool(self._idle)
            connection = self._idle.pop() if reused else await self._connect()
            try:
                return await self._exchange(connection, method, target, headers, body, chunked)
            except UpstreamError:
                # A kept connection may have been closed while the request was on its way: once more on a new one.
                if not (reused and isinstance(body, bytes) and not connection.answered):
                    raise
            except BaseException:
                connection.abort()
                raise

    async def _exchange(
        self,
        connection: _Connection,
        method: bytes,
        target: bytes,
        headers: Sequence[Header],
        body: bytes | AsyncIterator[bytes],
        chunked: bool,
    ) -> UpstreamResponse:
        head = bytearray(b"%b %b HTTP/1.1\r\n" % (method, target))
        for name, value in headers:
            head += b"%b: %b\r\n" % (name, value)
        head += b"transfer-encoding: chunked\r\n\r\n" if chunked else b"\r\n"
        answer = connection.expect(bodyless=method == b"HEAD")
        if isinstance(body, bytes):
            connection.transport.write(bytes(head) + body)
            await answer
            return UpstreamResponse(self, connection, None)
        connection.transport.write(bytes(head))
        upload = asyncio.ensure_future(connection.upload(body, chunked))
        try:
            # The answer may come before the whole body is sent (an error), and a broken upload has no answer.
            await asyncio.wait({answer, upload}, return_when=asyncio.FIRST_COMPLETED)
            if upload.done():
                upload.result()
            await answer
        except BaseException:
            upload.cancel()
            answer.cancel()
            raise
        return UpstreamResponse(self, connection, upload)

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: _Connection(self._idle), self._host, self._port)
        return connection

    def release(self, connection: _Connection) -> None:
        """Keep the connection for the next request if this exchange is complete and the server lets us."""
        if connection.reusable and len(self._idle) < _IDLE_CONNECTIONS:
            self._idle.append(connection)
        else:
            connection.abort()

    def close(self) -> None:
        """End the connections that nobody uses."""
        while self._idle:
            self._idle.pop().abort()


class _Connection(asyncio.Protocol):
    """One connection, one exchange at a time: `expect()`, write, `read()` until empty."""

    transport: asyncio.Transport

    def __init__(self, idle: list[_Connection]) -> None:
        self._idle = idle
        self._parser: httptools.HttpResponseParser | None = None
        self._answer: asyncio.Future[None] | None = None
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        self._chunks: deque[bytes] = deque()
        self._buffered = 0
        self._bodyless = False
        self._complete = True
        self._keep_alive = True
        self._lost: UpstreamError | None = None
        self._paused = False
        self.status = 0
        self.headers: list[Header] = []

    @property
    def answered(self) -> bool:
        """Something of the response has arrived."""
        return self.status != 0

    @property
    def reusable(self) -> bool:
        """The exchange is complete and the connection open."""
        return self._complete and self._keep_alive and self._lost is None and not self._chunks

    def expect(self, *, bodyless: bool) -> asyncio.Future[None]:
        """Begin an exchange; the future is done when the head of the response is here."""
        self._parser = httptools.HttpResponseParser(self)
        self._answer = asyncio.get_running_loop().create_future()
        self._bodyless = bodyless
        self._complete = False
        self.status = 0
        self.headers = []
        if self._lost is not None:
            self._answer.set_exception(self._lost)
        return self._answer

    async def upload(self, body: AsyncIterator[bytes], chunked: bool) -> None:
        """Send a body chunk by chunk, no faster than the server takes it."""
        async for chunk in body:
            if chunk:
                self.transport.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk)
            if self._writer is not None:
                await self._writer
            if self._lost is not None:
                raise self._lost
        if chunked:
            self.transport.write(b"0\r\n\r\n")

    async def read(self) -> bytes:
        """The next piece of the body; empty at its end. Raises `UpstreamError` if it ends too early."""
        while not self._chunks:
            if self._complete:
                return b""
            if self._lost is not None:
                raise self._lost
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._buffered = 0
        if self._paused and self._lost is None:
            self._paused = False
            self.transport.resume_reading()
        return data

    def abort(self) -> None:
        """End the connection now."""
        self._keep_alive = False
        self.transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not subclasses of asyncio's.
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._parser is None:
            self.abort()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(UpstreamError(f"not HTTP: {error}"))
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self in self._idle:
            self._idle.remove(self)
        self._fail(UpstreamError(f"connection ended{f': {exc}' if exc else ''}"))

    def pause_writing(self) -> None:
        self._writer = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        if self._writer is not None:
            _wake(self._writer)
            self._writer = None

    # httptools callbacks

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        self.status = self._parser.get_status_code()
        self._keep_alive = self._parser.should_keep_alive()
        if self._answer is not None:
            _wake(self._answer)
        if self._bodyless:
            # The parser would wait for the body that Content-Length promises to other methods.
            self._parser = None
            self.on_message_complete()

    def on_body(self, body: bytes) -> None:
        self._chunks.append(body)
        self._buffered += len(body)
        if self._buffered > _HIGH_WATER_BYTES and not self._paused:
            self._paused = True
            self.transport.pause_reading()
        _wake(self._reader)

    def on_message_complete(self) -> None:
        self._complete = True
        _wake(self._reader)

    def _fail(self, error: UpstreamError) -> None:
        if self._lost is None:
            self._lost = error
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(self._lost)
        _wake(self._reader)
        self.resume_writing()


def _wake(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)
