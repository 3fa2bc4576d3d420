"""Who may talk to the Runtime API of an environment."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from lambda_runtime.runtime_api.server import Address, RuntimeApiServer

from .fakes import Answers

REQUEST = b"GET /anything HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def answers() -> Answers:
    return Answers()


@pytest.fixture
async def server(answers: Answers) -> AsyncIterator[RuntimeApiServer]:
    server = RuntimeApiServer(answers)
    yield server
    server.close()


class Client:
    """One connection that has sent a request."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.address: Address = writer.get_extra_info("sockname")
        self.server: Address = writer.get_extra_info("peername")
        self._reader, self._writer = reader, writer

    @classmethod
    async def connect(cls, address: str) -> Client:
        host, _, port = address.partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(REQUEST)
        return cls(reader, writer)

    async def status(self) -> bytes:
        """Of the answer; b"" when the connection is closed instead."""
        try:
            line = await self._reader.readline()
        except ConnectionError:
            line = b""
        finally:
            self._writer.close()
        return line[9:12]


async def test_a_connection_waits_until_it_is_known_who_belongs_here(
    server: RuntimeApiServer, answers: Answers
) -> None:
    address = await server.open("127.0.0.1")
    client = await Client.connect(address)
    answer = asyncio.create_task(client.status())
    done, _ = await asyncio.wait([answer], timeout=0.1)
    assert not done and not answers.asked
    asked: list[tuple[Address, Address]] = []

    def admits(peer: Address, local: Address) -> bool:
        asked.append((peer, local))
        return True

    server.admit(admits)
    assert await answer == b"200"
    assert asked == [(client.address, client.server)]


async def test_a_stranger_is_refused_before_anything_is_read(
    server: RuntimeApiServer, answers: Answers, caplog: pytest.LogCaptureFixture
) -> None:
    address = await server.open("127.0.0.1")
    early = await Client.connect(address)
    friends: set[Address] = set()
    server.admit(lambda peer, local: peer in friends)
    assert await early.status() == b""
    assert [await (await Client.connect(address)).status() for _ in range(3)] == [b""] * 3
    assert answers.asked == []
    assert [record.message for record in caplog.records] == [
        f"A connection to the Runtime API at {address} came from outside of its environment: refused"
    ], "once, however often it is tried"


async def test_who_has_gone_before_it_was_asked_who_it_was_is_not_reported(
    server: RuntimeApiServer, answers: Answers, caplog: pytest.LogCaptureFixture
) -> None:
    address = await server.open("127.0.0.1")
    server.admit(lambda peer, local: None)
    assert await (await Client.connect(address)).status() == b""
    assert not answers.asked and not caplog.records


async def test_each_connection_is_checked(server: RuntimeApiServer) -> None:
    address = await server.open("127.0.0.1")
    verdicts = iter([True, False, True])
    server.admit(lambda peer, local: next(verdicts))
    assert [await (await Client.connect(address)).status() for _ in range(3)] == [b"200", b"", b"200"]


async def test_a_client_that_left_while_it_waited_is_forgotten(server: RuntimeApiServer, answers: Answers) -> None:
    address = await server.open("127.0.0.1")
    _, writer = await asyncio.open_connection(*address.split(":"))
    writer.close()
    await writer.wait_closed()
    other = await Client.connect(address)
    server.admit(lambda peer, local: True)
    assert await other.status() == b"200"


async def test_the_port_is_kept_until_nobody_inside_can_try_it_any_more(
    server: RuntimeApiServer, answers: Answers, caplog: pytest.LogCaptureFixture
) -> None:
    address = await server.open("127.0.0.1")
    server.admit(lambda peer, local: True)
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    server.close(ended)
    assert await (await Client.connect(address)).status() == b""
    assert not answers.asked and not caplog.records
    ended.set_result(None)
    await asyncio.sleep(0)
    with pytest.raises(ConnectionRefusedError):
        await Client.connect(address)


async def test_a_connection_stays_open_and_unanswered_until_the_sandbox_has_ended(
    server: RuntimeApiServer, answers: Answers
) -> None:
    address = await server.open("127.0.0.1")
    server.admit(lambda peer, local: True)
    reader, writer = await asyncio.open_connection(*address.split(":"))
    writer.write(REQUEST)
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    server.close(ended)
    asked = len(answers.asked)
    writer.write(REQUEST)
    rest = asyncio.create_task(reader.read())
    done, _ = await asyncio.wait([rest], timeout=0.1)
    assert not done and len(answers.asked) == asked
    ended.set_result(None)
    with contextlib.suppress(ConnectionError):
        await rest
    writer.close()
