"""The one port at which everything in the cluster reaches the gateway."""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import socket
from collections.abc import Callable
from pathlib import Path

from lambda_runtime.executors.process.peers import Address

_DOMAIN = "lambda.internal"
_HEAD_LIMIT_S = 10.0
_CHUNK_BYTES = 1 << 18
_HOST = re.compile(rb"\r\nhost:[ \t]*([0-9a-f]{32})\." + _DOMAIN.encode() + rb"(?::\d+)?[ \t]*\r\n", re.IGNORECASE)


class Pass:
    """What somebody in the cluster calls us by, and may reach by that name.

    The name is a secret of 128 bits. Runtime clients send it with every request, as HTTP's Host, and know nothing of it; a client
    that cannot send headers of ours, and all of AWS's cannot, can be told from others so wherever it runs and whatever network
    hides its address.
    """

    def __init__(self, close: Callable[[Pass], None]) -> None:
        self.token = secrets.token_hex(16)
        self.used = asyncio.Event()
        """Somebody came with it."""
        self.target: Address | None = None
        self.files: dict[str, Path] = {}
        """What can be fetched with it, by path."""
        self._close = close

    @property
    def host(self) -> str:
        """The name; who uses it needs it in /etc/hosts."""
        return f"{self.token}.{_DOMAIN}"

    def close(self) -> None:
        """Nobody is let in with it any more. May be called twice."""
        self._close(self)


class Gate:
    """A listener that passes connections on to the Runtime API of the environment whose name they begin with, and serves files.

    Only the first request of a connection is looked at: all of them go where that one goes. On the loop only.
    """

    def __init__(self) -> None:
        self._passes: dict[str, Pass] = {}
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._made: set[Address] = set()

    async def open(self, host: str, port: int) -> int:
        """Listen; a free port for 0. Raises OSError."""
        self._server = await asyncio.start_server(self._accept, host, port, backlog=512)
        return int(self._server.sockets[0].getsockname()[1])

    def close(self) -> None:
        """Stop listening and drop what is under way. May be called twice."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self._passes.clear()
        for task in list(self._tasks):
            task.cancel()

    def issue(self, target: Address | None = None) -> Pass:
        """Let somebody in."""
        made = Pass(lambda closed: self._withdraw(closed))
        made.target = target
        self._passes[made.token] = made
        return made

    def made(self, peer: Address) -> bool:
        """Whether a connection from this address is one that was let in here."""
        return peer in self._made

    def _withdraw(self, closed: Pass) -> None:
        self._passes.pop(closed.token, None)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            async with asyncio.timeout(_HEAD_LIMIT_S):
                head = await reader.readuntil(b"\r\n\r\n")
            found = _HOST.search(head)
            admitted = self._passes.get(found[1].decode().lower()) if found is not None else None
            if admitted is None:
                return
            admitted.used.set()
            if admitted.target is not None:
                await self._pass_on(head, reader, writer, admitted.target)
            else:
                await _serve(writer, admitted.files.get(head.split(b" ", 2)[1].decode("latin-1")))
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # Either end may go at any time; a stranger who says nothing, or too much, is not answered.
        finally:
            writer.transport.abort()

    async def _pass_on(
        self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: Address
    ) -> None:
        # With its protocol named, or asyncio does not switch Nagle's algorithm off, and a body waits 40 ms behind its head.
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as connection:
            connection.setblocking(False)
            connection.bind((target[0], 0))
            own: Address = connection.getsockname()
            self._made.add(own)  # Before it is connected, because the other end asks at once.
            try:
                await asyncio.get_running_loop().sock_connect(connection, target)
                far_reader, far_writer = await asyncio.open_connection(sock=connection.dup())
                try:
                    far_writer.write(head)
                    ways = [
                        asyncio.ensure_future(_copy(reader, far_writer)),
                        asyncio.ensure_future(_copy(far_reader, writer)),
                    ]
                    try:
                        # An end that closes closes for both: no runtime client sends and then only listens.
                        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                    finally:
                        for way in ways:
                            way.cancel()
                        await asyncio.gather(*ways, return_exceptions=True)
                    with contextlib.suppress(OSError):
                        await writer.drain()
                        writer.close()
                        await writer.wait_closed()
                finally:
                    far_writer.transport.abort()
            finally:
                self._made.discard(own)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_CHUNK_BYTES):
        writer.write(data)
        await writer.drain()


async def _serve(writer: asyncio.StreamWriter, path: Path | None) -> None:
    if path is None:
        writer.write(b"HTTP/1.0 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    else:
        size = (await asyncio.to_thread(path.stat)).st_size
        writer.write(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % size)
        with path.open("rb") as file:
            while data := await asyncio.to_thread(file.read, _CHUNK_BYTES):
                writer.write(data)
                await writer.drain()
    await writer.drain()
    writer.close()
    await writer.wait_closed()
