"""The gateway's own address, where containers can reach it: a gateway that listens on this machine's loopback is relayed."""

from __future__ import annotations

import asyncio

_CHUNK_BYTES = 1 << 16


class Relay:
    """Passes connections on to an address that only this machine can reach. On the loop only."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._from_this_machine = False

    async def open(self, host: str, *, from_this_machine: bool = False) -> int:
        """Listen on a free port of `host`; the port. Other machines are let in unless told otherwise."""
        self._from_this_machine = from_this_machine
        self._server = await asyncio.start_server(self._accept, host, 0)
        return int(self._server.sockets[0].getsockname()[1])

    def close(self) -> None:
        """Stop listening and drop what is under way. May be called twice."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in list(self._tasks):
            task.cancel()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._from_this_machine and writer.get_extra_info("peername")[0] != writer.get_extra_info("sockname")[0]:
            writer.transport.abort()
            return
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(_pass_on(reader, far_writer))
                both.create_task(_pass_on(far_reader, writer))
        except* (OSError, asyncio.IncompleteReadError):
            pass  # Either end may go at any time; the other one sees its connection closed.
        finally:
            writer.transport.abort()
            far_writer.transport.abort()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_CHUNK_BYTES):
        writer.write(data)
        await writer.drain()
    # The other direction may still have an answer to carry.
    if writer.can_write_eof():
        writer.write_eof()
