"""The proxy in front of an upstream of the test's own, without moto."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from lambda_provider.hosts.proxy import MotoProxy
from lambda_provider.hosts.upstream import Upstream

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]
SCOPE = {"type": "http", "method": "GET", "path": "/b/k", "raw_path": b"/b/k", "query_string": b"", "headers": []}


class Ready:
    async def ready(self) -> None:
        pass


@asynccontextmanager
async def proxy_to(serve: Serve) -> AsyncIterator[MotoProxy]:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    upstream = Upstream("127.0.0.1", server.sockets[0].getsockname()[1])
    async with server:
        yield MotoProxy(cast(Any, Ready()), upstream, cast(Any, None))
        upstream.close()


async def read_head(reader: asyncio.StreamReader) -> None:
    await reader.readuntil(b"\r\n\r\n")


async def test_a_client_that_leaves_during_a_download_ends_it() -> None:
    ended = asyncio.Event()

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(HEAD)
        try:
            while True:
                writer.write(b"1000\r\n" + bytes(0x1000) + b"\r\n")
                await writer.drain()
        except ConnectionError:
            ended.set()

    some_arrived = asyncio.Event()
    parts = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> dict[str, Any]:
        if parts:
            return parts.pop()
        await some_arrived.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message.get("body"):
            some_arrived.set()
        await asyncio.sleep(0)

    async with asyncio.timeout(30), proxy_to(endless) as proxy:
        await proxy(dict(SCOPE), receive, send)
        await ended.wait()


async def test_a_connection_whose_upload_broke_off_is_not_used_again(caplog: pytest.LogCaptureFixture) -> None:
    """The upstream answers before it has the body, and the client leaves while it still sends."""
    connections = 0

    async def early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await read_head(reader)
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        await reader.read()
        writer.close()

    answered = asyncio.Event()
    left = asyncio.Event()
    parts: list[dict[str, Any]] = [{"type": "http.request", "body": b"x", "more_body": True}]

    async def receive() -> dict[str, Any]:
        if parts:
            return parts.pop()
        await answered.wait()
        left.set()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        answered.set()
        await left.wait()

    async with asyncio.timeout(30), proxy_to(early) as proxy:
        for _ in range(2):
            await proxy({**SCOPE, "method": "PUT", "headers": [(b"content-length", b"100")]}, receive, send)
            parts.append({"type": "http.request", "body": b"x", "more_body": True})
    assert connections == 2
    assert "never retrieved" not in caplog.text
