"""One request of a WSGI server, answered by an ASGI application on an event loop in another thread.

Only the server's thread touches what the server gave it: the loop asks it for the next part of the body, and gives it the parts
of the response, which the server sends as they come.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import queue
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from lambda_provider.hosts.loop_thread import LoopThread

Message = MutableMapping[str, Any]
Part = tuple[bytes, bool]
Application = Callable[[Message, Callable[[], Any], Callable[[Message], Any]], Any]
StartResponse = Callable[..., Any]

_READ_BYTES = 64 * 1024
_PARTS_AHEAD = 16
"""How many parts of a response may wait for the server to send them."""
# PEP 3333: what is about the connection is the server's.
_HOP_BY_HOP = frozenset((b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade"))


class IncompleteResponse(Exception):
    """The application ended before its response was complete: the server has to break the connection off."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The loop wants the next part of the request's body, and whether more follows; None is a client that is gone."""

    part: asyncio.Future[Part | None]


@dataclass(frozen=True, slots=True)
class _Ended:
    """The application is done, well or not."""

    error: BaseException | None


class Exchange:
    """A request and its response. `begin` waits for the head of the response; then iterate for the body, and `close`."""

    def __init__(self, thread: LoopThread, application: Application, environ: Mapping[str, Any]) -> None:
        self._loop = thread.loop
        self._body = _body_of(environ)
        self._to_server: queue.SimpleQueue[Message | _Wanted | _Ended] = queue.SimpleQueue()
        self._room = asyncio.Semaphore(_PARTS_AHEAD)
        self._body_is_read = False
        self._gone = asyncio.Event()
        self._complete = False
        self._running: concurrent.futures.Future[None] = thread.submit(self._run(application, scope_of(environ)))
        self._running.add_done_callback(self._ended)

    def begin(self, start_response: StartResponse) -> None:
        """Wait for the head, and hand it to the server. Raises what the application raises before that."""
        head = self._next()
        if head is None:
            raise IncompleteResponse("there is no response")
        status = head["status"]
        phrase = HTTPStatus(status).phrase if status in HTTPStatus.__members__.values() else "Unknown"
        headers = [
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in head["headers"]
            if name.lower() not in _HOP_BY_HOP
        ]
        start_response(f"{status} {phrase}", headers)

    def __iter__(self) -> Iterator[bytes]:
        while not self._complete:
            message = self._next()
            if message is None:
                raise IncompleteResponse("the response broke off")
            self._complete = not message.get("more_body", False)
            self._tell(self._room.release)
            if body := message.get("body", b""):
                yield body

    def close(self) -> None:
        """The server is done with the response; if that is not complete, the client is gone. Servers call it always."""
        if not self._running.done():
            self._tell(self._gone.set)

    # In the server's thread

    def _next(self) -> Message | None:
        """The next message of the application; None if it ended without one. Reads the body when the loop wants that."""
        while True:
            item = self._to_server.get()
            if isinstance(item, _Wanted):
                self._read(item.part)
            elif isinstance(item, _Ended):
                if item.error is not None:
                    raise item.error
                return None
            else:
                return item

    def _read(self, wanted: asyncio.Future[Part | None]) -> None:
        part = None
        try:
            part = next(self._body, (b"", False))
        finally:
            # What goes wrong is the server's to handle; the application only hears that the client is gone.
            self._tell(_give, wanted, part)

    def _tell(self, call: Callable[..., None], *arguments: Any) -> None:
        with contextlib.suppress(RuntimeError):  # The loop has ended, and with it who would hear it.
            self._loop.call_soon_threadsafe(call, *arguments)

    # On the loop

    async def _run(self, application: Application, scope: Message) -> None:
        await application(scope, self._receive, self._send)

    def _ended(self, running: concurrent.futures.Future[None]) -> None:
        # A loop that ends cancels its tasks; the server must not wait for them.
        self._to_server.put(_Ended(None if running.cancelled() else running.exception()))

    async def _receive(self) -> Message:
        if self._body_is_read:
            await self._gone.wait()
            return {"type": "http.disconnect"}
        wanted: asyncio.Future[Part | None] = self._loop.create_future()
        self._to_server.put(_Wanted(wanted))
        part = await wanted
        if part is None:
            self._body_is_read = True
            self._gone.set()
            return {"type": "http.disconnect"}
        body, more = part
        self._body_is_read = not more
        return {"type": "http.request", "body": body, "more_body": more}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.body":
            await self._room.acquire()
        self._to_server.put(message)


def scope_of(environ: Mapping[str, Any]) -> Message:
    """The request as an ASGI scope."""
    root_path = environ.get("SCRIPT_NAME", "")
    path = root_path + environ.get("PATH_INFO", "")
    headers = [
        (name[5:].replace("_", "-").lower().encode("latin-1"), value.encode("latin-1"))
        for name, value in environ.items()
        if name.startswith("HTTP_")
    ]
    for name, header in (("CONTENT_TYPE", b"content-type"), ("CONTENT_LENGTH", b"content-length")):
        if environ.get(name):
            headers.append((header, environ[name].encode("latin-1")))
    port = environ.get("SERVER_PORT", "")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": environ.get("SERVER_PROTOCOL", "HTTP/1.1").partition("/")[2],
        "method": environ["REQUEST_METHOD"],
        "scheme": environ.get("wsgi.url_scheme", "http"),
        "path": path.encode("latin-1").decode("utf-8", "replace"),
        "raw_path": _raw_path(environ, path.encode("latin-1")),
        "root_path": root_path.encode("latin-1").decode("utf-8", "replace"),
        "query_string": environ.get("QUERY_STRING", "").encode("latin-1"),
        "headers": headers,
        "server": (environ["SERVER_NAME"], int(port)) if port.isdigit() else None,
        "client": (environ["REMOTE_ADDR"], int(environ.get("REMOTE_PORT") or 0))
        if environ.get("REMOTE_ADDR")
        else None,
    }


def _raw_path(environ: Mapping[str, Any], path: bytes) -> bytes:
    """The path as it stood on the wire. WSGI has it decoded; most servers have the other one under a name of their own."""
    for name in ("REQUEST_URI", "RAW_URI"):
        raw = str(environ.get(name, "")).partition("?")[0]
        if raw.startswith("/") and unquote_to_bytes(raw) == path:
            return raw.encode("latin-1")
    return quote(path, safe="/~:@!$&'()*+,;=").encode("ascii")


def _body_of(environ: Mapping[str, Any]) -> Iterator[Part]:
    source = environ["wsgi.input"]
    if environ.get("wsgi.input_terminated") and not environ.get("CONTENT_LENGTH"):
        while part := source.read(_READ_BYTES):
            yield part, True
        return
    left = int(environ.get("CONTENT_LENGTH") or 0)
    while left > 0:
        part = source.read(min(left, _READ_BYTES))
        if not part:
            raise ConnectionResetError("the request body ended early")
        left -= len(part)
        yield part, left > 0


def _give(wanted: asyncio.Future[Part | None], part: Part | None) -> None:
    if not wanted.done():
        wanted.set_result(part)
