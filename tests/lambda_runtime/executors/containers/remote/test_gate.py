"""Who is let in by the one port of the cluster, and where they get."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lambda_runtime.executors.containers.remote.gate import Gate

Address = tuple[str, int]


@pytest.fixture
async def gate() -> AsyncIterator[Gate]:
    gate = Gate()
    yield gate
    gate.close()


async def ask(port: int, host: str, path: str = "/") -> bytes:
    """All that comes back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nAccept: */*\r\nhost: {host}\r\n\r\n".encode())
        async with asyncio.timeout(30):
            return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


async def test_a_connection_goes_where_its_name_belongs_and_is_known_there(gate: Gate) -> None:
    port = await gate.open("127.0.0.1", 0)
    known: list[bool] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        known.append(gate.made(writer.get_extra_info("peername")))
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"answered " + head.split(b" ")[1])
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as listener:
        target: Address = listener.sockets[0].getsockname()
        mine = gate.issue(target)
        assert await ask(port, f"{mine.host}:{port}", "/next") == b"answered /next"
        assert await ask(port, mine.host.upper()) == b"answered /"
        assert mine.used.is_set()
        stranger_reader, stranger = await asyncio.open_connection(*target)
        stranger.write(b"GET /next HTTP/1.1\r\n\r\n")
        await stranger_reader.read()
        stranger.close()
        assert known == [True, True, False]


@pytest.mark.parametrize("host", ["", "127.0.0.1", "0" * 32 + ".lambda.internal", "x.lambda.internal"])
async def test_who_knows_no_name_gets_no_answer(gate: Gate, host: str) -> None:
    port = await gate.open("127.0.0.1", 0)
    gate.issue(("127.0.0.1", port))
    assert await ask(port, host) == b""


async def test_a_name_that_was_given_back_opens_nothing(gate: Gate, tmp_path: Path) -> None:
    port = await gate.open("127.0.0.1", 0)
    (tmp_path / "code").write_bytes(b"x" * 600_000)
    mine = gate.issue()
    mine.files["/code"] = tmp_path / "code"
    head, _, body = (await ask(port, mine.host, "/code")).partition(b"\r\n\r\n")
    assert (head.split(b"\r\n")[0], len(body)) == (b"HTTP/1.0 200 OK", 600_000)
    assert (await ask(port, mine.host, "/../code")).startswith(b"HTTP/1.0 404 ")
    mine.close()
    mine.close()
    assert await ask(port, mine.host, "/code") == b""
