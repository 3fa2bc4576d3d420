"""What is written to a pipe without end leaves the loop to others."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator

import pytest

from lambda_runtime.executors.pipes import ReadEnd

MOST_BYTES = 8 * 1024 * 1024


@pytest.fixture
def endless() -> Iterator[int]:
    """The read end of a pipe that is never empty for long."""
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(read_end, False)
    writer = subprocess.Popen(["yes"], stdout=write_end)
    os.close(write_end)
    yield read_end
    writer.kill()
    writer.wait()


class Reader:
    def __init__(self) -> None:
        self.bytes = 0
        self.enough = asyncio.Event()

    def take(self, data: bytes) -> None:
        """A slow reader; who would never come back from reading fails here."""
        self.bytes += len(data)
        data.split(b"\n")
        if self.bytes > MOST_BYTES:
            raise AssertionError("others never had their turn")
        self.enough.set()


async def test_others_have_their_turn_while_somebody_writes_without_end(endless: int) -> None:
    reader = Reader()
    read_end = ReadEnd(asyncio.get_running_loop(), endless, reader.take)
    turns = 0
    while reader.bytes < MOST_BYTES // 8:
        reader.enough.clear()
        await asyncio.wait_for(reader.enough.wait(), 30)
        turns += 1
    read_end.close()
    assert turns >= MOST_BYTES // 8 // (64 * 1024)


async def test_what_was_written_is_drained_and_not_what_is_written_meanwhile(endless: int) -> None:
    reader = Reader()
    read_end = ReadEnd(asyncio.get_running_loop(), endless, reader.take)
    await asyncio.wait_for(reader.enough.wait(), 30)
    before = reader.bytes
    for _ in range(4):
        read_end.drain()
    assert reader.bytes - before <= 4 * 64 * 1024
    read_end.close()
    read_end.drain()


async def test_all_that_was_written_is_drained_in_its_order() -> None:
    read, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    parts: list[bytes] = []
    read_end = ReadEnd(asyncio.get_running_loop(), read, parts.append)
    read_end.drain()
    text = b"".join(b"%06d\n" % number for number in range(9_000))
    assert os.write(write, text) == len(text)
    read_end.drain()
    assert b"".join(parts) == text
    os.close(write)
    read_end.drain()
    read_end.close()
    read_end.close()
    assert b"".join(parts) == text
