"""The listener of one environment."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from lambda_runtime.runtime_api.connection import Router, RuntimeApiConnection

_LOG = logging.getLogger(__name__)

Address = tuple[str, int]
Admits = Callable[[Address, Address], bool | None]
"""Whether a connection from the first address to the second comes from inside of the environment; None if its maker has gone."""


class RuntimeApiServer:
    """Listens on a port of its own, so that an environment is known by where it connects to.

    Every runtime client can use it: some cut `AWS_LAMBDA_RUNTIME_API` at the colon, which rules out telling environments
    apart by path. Where environments share a network, others can connect, too: each connection is therefore checked once, when
    it is made, and nothing is read from it before `admit` has said who may come in.
    """

    def __init__(self, router: Router) -> None:
        self._router = router
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Transport] = set()
        self._admits: Admits | None = None
        self._early: list[asyncio.Transport] = []
        self._warned = False

    async def open(self, host: str) -> str:
        """Listen on a free port of `host`; returns `host:port`."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._accept, host, 0, backlog=16)
        port = self._server.sockets[0].getsockname()[1]
        return f"{host}:{port}"

    def admit(self, admits: Admits) -> None:
        """Let in who belongs to the sandbox, which has been started now."""
        self._admits = admits
        early, self._early = self._early, []
        for transport in early:
            if self._check(transport):
                transport.resume_reading()

    def close(self, after: asyncio.Future[Any] | None = None) -> None:
        """Answer nothing more, let nobody in, and drop connections and port, now or `after` the sandbox's end.

        What is inside may go on to try until it has ended, and whoever got the port meanwhile would hear it. It does not see
        its connections close either: runtime clients would complain about that in the function's log. May be called twice.
        """
        self._admits, self._warned = _nobody, True
        for transport in self._connections:
            if transport.is_reading():
                transport.pause_reading()
        if after is None or after.done():
            self._give_up()
        else:
            after.add_done_callback(self._give_up)

    def _give_up(self, _: object = None) -> None:
        for transport in list(self._connections):
            transport.abort()
        self._connections.clear()
        if self._server is not None:
            self._server.close()
            self._server = None

    def connected(self, transport: asyncio.Transport) -> None:
        """Somebody has connected; nothing was read yet."""
        self._connections.add(transport)
        if self._admits is None:
            transport.pause_reading()
            self._early.append(transport)
        else:
            self._check(transport)

    def disconnected(self, transport: asyncio.Transport) -> None:
        """That connection is closed."""
        self._connections.discard(transport)

    def _check(self, transport: asyncio.Transport) -> bool:
        if transport.is_closing():
            return False
        peer, local = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        admitted = self._admits(peer[:2], local[:2]) if self._admits is not None and peer is not None else None
        if admitted:
            return True
        if admitted is False and not self._warned:
            self._warned = True  # Once: a function that tries all ports must not fill the log.
            _LOG.warning(
                "A connection to the Runtime API at %s:%s came from outside of its environment: refused", *local
            )
        transport.abort()
        return False

    def _accept(self) -> RuntimeApiConnection:
        return _TrackedConnection(self._router, self)


def _nobody(peer: Address, local: Address) -> bool:
    return False


class _TrackedConnection(RuntimeApiConnection):
    __slots__ = ("_server",)

    def __init__(self, router: Router, server: RuntimeApiServer) -> None:
        super().__init__(router)
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self._transport is not None:
            self._server.connected(self._transport)

    def connection_lost(self, error: Exception | None) -> None:
        if self._transport is not None:
            self._server.disconnected(self._transport)
        super().connection_lost(error)
