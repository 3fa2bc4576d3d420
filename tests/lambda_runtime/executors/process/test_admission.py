"""Whoever is inside of an environment reaches its Runtime API, however many connect, fork and end at the same time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from lambda_runtime.runtime_api.server import RuntimeApiServer

from ...fakes import Answers

EVALUATES = """
def handler(event, context):
    return eval(event)
"""
CONNECTS = """
import os, socket, struct, threading
REQUEST = b"GET /anything HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n"

def ask(address, port=0, reset=False):
    \"\"\"Whether a new connection is answered.\"\"\"
    with socket.socket() as connection:
        if port:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            connection.bind(("127.0.0.1", port))
        connection.connect(address)
        connection.sendall(REQUEST)
        try:
            answered = connection.recv(100).startswith(b"HTTP/1.1 200")
        except ConnectionError:
            answered = False
        if reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return answered

def reserved():
    \"\"\"A socket with a port that whoever asks for any is not given, and from which we connect all the same.\"\"\"
    unused = socket.socket()
    unused.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    unused.bind(("127.0.0.1", 0))
    return unused

def in_orphan(address):
    \"\"\"Connect from a process whose parent has ended.\"\"\"
    reader, writer = os.pipe()
    if os.fork() == 0:
        if os.fork() == 0:
            os.write(writer, b"y" if ask(address) else b"n")
        os._exit(0)
    os.close(writer)
    answer = os.read(reader, 1)
    os.close(reader)
    os.wait()
    return answer == b"y"

def refused(host, port, times):
    \"\"\"How many of the connections were not answered, by how they were made.\"\"\"
    address, counts = (host, port), {}
    mine = reserved()
    ways = {
        "threads": lambda: ask(address),
        "more threads": lambda: ask(address),
        "one port again and again": lambda: ask(address, mine.getsockname()[1], reset=True),
    }
    def work(name):
        counts[name] = sum(not ways[name]() for _ in range(times))
    threads = [threading.Thread(target=work, args=(name,)) for name in ways]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    mine.close()
    counts["orphans"] = sum(not in_orphan(address) for _ in range(times // 4))
    return counts
"""


@pytest.fixture
async def server() -> AsyncIterator[RuntimeApiServer]:
    server = RuntimeApiServer(Answers())
    yield server
    server.close()


@pytest.mark.parametrize("start", ["started", "restored"])
async def test_a_process_inside_is_never_refused(
    isolated: Any, server: RuntimeApiServer, start: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Environments of the zygote are known by their user, where each has one; the others by who has the socket open."""
    if start == "started":
        environment = await isolated.run(CONNECTS + EVALUATES)
    else:
        environment = await (await isolated.take(CONNECTS)).restore()
    host, port = (await server.open("127.0.0.1")).split(":")
    server.admit(environment.sandbox.admits)
    done = asyncio.Event()
    others = [asyncio.create_task(_start_and_end(isolated, done)) for _ in range(2)]
    with caplog.at_level(logging.WARNING):
        counts = await environment.invoke(f"refused({host!r}, {port}, 200)")
    done.set()
    await asyncio.gather(*others)
    assert counts == {"threads": 0, "more threads": 0, "one port again and again": 0, "orphans": 0}
    assert caplog.records == []


async def test_others_are_always_refused(isolated: Any, server: RuntimeApiServer) -> None:
    taken = await isolated.take(CONNECTS)
    mine, other = await taken.restore(), await isolated.run(CONNECTS + EVALUATES)
    host, port = (await server.open("127.0.0.1")).split(":")
    server.admit(mine.sandbox.admits)
    for stranger in (other, await taken.restore()):
        counts = await stranger.invoke(f"refused({host!r}, {port}, 20)")
        assert counts == {"threads": 20, "more threads": 20, "one port again and again": 20, "orphans": 5}
    assert await mine.invoke(f"ask(({host!r}, {port}))")


async def _start_and_end(machine: Any, done: asyncio.Event) -> None:
    """Other environments come and go, so that the lists of processes change all the time."""
    prepared = await machine.prepare(EVALUATES)
    while not done.is_set():
        environment = await machine.start(prepared)
        await environment.api.first_next.wait()
        environment.sandbox.kill()
        await asyncio.shield(environment.sandbox.exited)
