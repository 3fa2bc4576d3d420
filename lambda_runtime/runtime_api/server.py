"""The listener of one environment."""

from __future__ import annotations

import asyncio

from lambda_runtime.runtime_api.connection import Router, RuntimeApiConnection


class RuntimeApiServer:
    """Listens on a port of its own, so that who connects is known to be of this environment.

    Every runtime client can use it: some cut `AWS_LAMBDA_RUNTIME_API` at the colon, which rules out telling environments
    apart by path.
    """

    def __init__(self, router: Router) -> None:
        self._router = router
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Transport] = set()

    async def open(self, host: str) -> str:
        """Listen on a free port of `host`; returns `host:port`."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._accept, host, 0, backlog=16)
        port = self._server.sockets[0].getsockname()[1]
        return f"{host}:{port}"

    def close(self) -> None:
        """Stop listening and drop the connections. May be called twice."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for transport in list(self._connections):
            transport.abort()
        self._connections.clear()

    def _accept(self) -> RuntimeApiConnection:
        return _TrackedConnection(self._router, self._connections)


class _TrackedConnection(RuntimeApiConnection):
    __slots__ = ("_connections",)

    def __init__(self, router: Router, connections: set[asyncio.Transport]) -> None:
        super().__init__(router)
        self._connections = connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self._transport is not None:
            self._connections.add(self._transport)

    def connection_lost(self, error: Exception | None) -> None:
        if self._transport is not None:
            self._connections.discard(self._transport)
        super().connection_lost(error)
