"""The HTTP server of the gateway: uvicorn, its socket and its signals, on the one event loop that also runs the data plane."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator

import uvicorn
import uvloop
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

logger = logging.getLogger(__name__)

GRACE_S = 5
"""How long requests that are under way may take once the gateway was told to stop."""
_FORCED_EXIT_AFTER_S = 5.0
_KEEP_ALIVE_S = 75
MAX_HEAD_BYTES = 256 * 1024
"""Of a request line with its headers. A client context alone may have 3,583 bytes, a proxied URL much more."""
_TLS_HANDSHAKE = 0x16
_HEAD_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class GatewayProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1, with a bound on the request line and headers: its parser collects them without end."""

    _head_bytes: int | None = 0
    """Bytes received of a head that is not complete; None within a body."""

    def data_received(self, data: bytes) -> None:
        if data[0] == _TLS_HANDSHAKE and self._head_bytes == 0:
            # Docker tries TLS with every registry before it goes without: nothing to warn of.
            logger.debug("a client wanted TLS, which is not spoken here")
            self.send_400_response("Invalid HTTP request received.")
            return
        super().data_received(data)
        if self._head_bytes is not None and self.parser is not None and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self.transport.write(_HEAD_TOO_LARGE)
                self.transport.close()

    def on_message_begin(self) -> None:
        self._head_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._head_bytes = None
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._head_bytes = 0


class GatewayServer(uvicorn.Server):
    """uvicorn's server, with our signals and a call when it accepts requests.

    uvicorn would end the process by the signal that stopped it, before sandboxes and moto are ended.
    """

    def __init__(self, application: Callable[..., object], on_ready: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                application,
                http=GatewayProtocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=_KEEP_ALIVE_S,
                timeout_graceful_shutdown=GRACE_S,
            )
        )
        self._on_ready = on_ready

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_ready()

    def stop(self) -> None:
        """Stop accepting and let what runs finish within `GRACE_S`; the second call does not wait."""
        self.force_exit = self.should_exit
        self.should_exit = True


def stop_on_signals(server: GatewayServer) -> None:
    """SIGINT and SIGTERM stop the server; a second one forces it, and the process if even that takes too long."""
    loop = asyncio.get_running_loop()

    def stop(number: signal.Signals) -> None:
        if server.should_exit:
            logger.warning("%s again: not waiting for requests that are under way", number.name)
            loop.call_later(_FORCED_EXIT_AFTER_S, os._exit, 128 + number)
        server.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; `port` 0 takes a free one. Raises OSError with what to do when it cannot be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise OSError(f"cannot listen on {host}: {error.strerror or error}") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise OSError(
            error.errno, f"cannot listen on {host} port {port}: {error.strerror}; choose another with --port"
        ) from error
    return listener


def url_of(listener: socket.socket, host: str) -> str:
    """The URL under which a client on this machine reaches the listener."""
    port = listener.getsockname()[1]
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(host)
        if address.is_unspecified:
            host = "127.0.0.1" if address.version == 4 else "::1"
        if ":" in host:
            host = f"[{host}]"
    return f"http://{host}:{port}"


def new_event_loop() -> asyncio.AbstractEventLoop:
    """The loop that everything of the gateway runs on."""
    return uvloop.new_event_loop()
