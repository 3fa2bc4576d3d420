from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterator

import pytest

from lambda_runtime.executors.docker.output import AttachedOutput


def frame(data: bytes) -> bytes:
    """As an engine sends what was written to standard output."""
    return struct.pack(">BxxxL", 1, len(data)) + data


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    here, there = socket.socketpair()
    with here, there:
        yield here, there


async def test_a_line_that_comes_in_pieces_is_handed_over_in_one(ends: tuple[socket.socket, socket.socket]) -> None:
    got: list[bytes] = []
    here, there = ends
    output = AttachedOutput(here, got.append)
    there.sendall(b"".join(map(frame, (b"one\nse", b"en ", b"7", b"\nlast"))))
    there.close()
    await asyncio.wait_for(output.ended, 30)
    assert b"".join(got) == b"one\nseen 7\nlast"
    assert b"seen 7\n" in got


async def test_what_has_no_end_is_handed_over_when_nothing_follows(ends: tuple[socket.socket, socket.socket]) -> None:
    here, there = ends
    arrived: asyncio.Queue[bytes] = asyncio.Queue()
    output = AttachedOutput(here, arrived.put_nowait)
    there.sendall(frame(b"prompt> "))
    assert await asyncio.wait_for(arrived.get(), 30) == b"prompt> "
    assert not output.ended.done()
    there.close()
    await asyncio.wait_for(output.ended, 30)
