"""What durability costs, and how long 10,000 functions take to be saved and loaded; rows of `bench.py`.

s   creating functions, and accepting asynchronous events, with a state directory against without one
t   many functions: their state directory, export and import as one file, a start with them, and what they take in memory
"""

from __future__ import annotations

import asyncio
import base64
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import uvloop

CONNECTIONS = 8


class Sender(asyncio.Protocol):
    """One kept-alive connection that sends one request after the other, and counts on answers with 2xx."""

    def __init__(self, requests: Iterable[bytes], done: asyncio.Future[None]) -> None:
        self.requests, self.done = iter(requests), done
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.send()

    def send(self) -> None:
        request = next(self.requests, None)
        if request is None:
            self.done.set_result(None)
            self.transport.close()
        else:
            self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, separator, body = self.buffer.partition(b"\r\n\r\n")
        if not separator or len(body) < int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]):
            return
        if not head.startswith(b"HTTP/1.1 2"):
            self.done.set_exception(RuntimeError(self.buffer.decode("utf-8", "replace")))
            self.transport.close()
            return
        self.buffer = b""
        self.send()


def send_all(port: int, requests: list[bytes]) -> float:
    """Requests a second."""

    async def run() -> float:
        loop = asyncio.get_running_loop()
        began = time.perf_counter()
        waiting = []
        for number in range(CONNECTIONS):
            done: asyncio.Future[None] = loop.create_future()
            waiting.append(done)
            mine = requests[number::CONNECTIONS]
            await loop.create_connection(lambda mine=mine, done=done: Sender(mine, done), "127.0.0.1", port)
        await asyncio.gather(*waiting)
        return len(requests) / (time.perf_counter() - began)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run())


def creation(name: str, runtime: str, code: bytes) -> bytes:
    """A CreateFunction request."""
    body = json.dumps(
        {
            "FunctionName": name, "Runtime": runtime, "Handler": "index.handler",
            "Role": "arn:aws:iam::000000000000:role/bench", "Code": {"ZipFile": base64.b64encode(code).decode()},
        }
    ).encode()  # fmt: skip
    head = f"POST /2015-03-31/functions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def costs(bench: Any, count: int, rounds: int, runtime: str) -> None:
    """s: two gateways side by side, measured in turn."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        ports = {
            kind: stack.enter_context(bench.gateway(*arguments))[0]
            for kind, arguments in (("in memory", ()), ("durable", ("--state-dir", folder)))
        }
        rates: dict[str, dict[str, list[float]]] = {}
        code = bench.archive("index.py", bench.HANDLERS["python"][1])
        for port in ports.values():
            send_all(port, [creation("events", runtime, code)])
        for turn in range(rounds + 1):
            for kind, port in ports.items():
                same = [creation(f"same-{turn}-{number}", runtime, code) for number in range(count)]
                own = [
                    creation(f"own-{turn}-{number}", runtime, bench.archive("index.py", f"# {turn} {number}"))
                    for number in range(count)
                ]
                event = bench.post(bench.invoke_path("events"), port, "X-Amz-Invocation-Type: Event")
                for what, requests in (
                    ("creations of functions with the same code", same),
                    ("creations of functions with code of their own", own),
                    ("asynchronous events accepted", [event] * count * 3),
                ):
                    bench_rate = send_all(port, requests)
                    until_idle(port)
                    if turn:  # The first one warms up.
                        rates.setdefault(what, {}).setdefault(kind, []).append(bench_rate)
        for what, found in rates.items():
            memory, durable = (statistics.median(found[kind]) for kind in ("in memory", "durable"))
            bench.row(f"s  {what}, in memory", f"{memory:,.0f} /s")
            bench.row(f"s  {what}, durable", f"{durable:,.0f} /s", f"memory/durable = {memory / durable:.2f}")


def health(port: int) -> dict[str, Any]:
    connection = HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/_lambda/health")
    answer: dict[str, Any] = json.load(connection.getresponse())
    connection.close()
    return answer


def until_idle(port: int) -> None:
    """Return when every version is prepared and the queue is empty."""
    while (found := health(port))["preparing_versions"] or found["queued_events"]:
        time.sleep(0.1)


def many(bench: Any, count: int, runtime: str) -> None:
    """t: `count` functions, each with code of its own."""

    def timed(work: Callable[[], Any]) -> float:
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    def command(*arguments: str) -> None:
        command = [sys.executable, "-m", "lambda_provider.cli", "state", *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def mib(*paths: Path) -> str:
        return f"{sum(path.stat().st_size for path in paths if path.is_file()) / 2**20:8.1f} MiB"

    with tempfile.TemporaryDirectory() as folder:
        directory, file, other = Path(folder, "state"), Path(folder, "file"), Path(folder, "other")
        requests = [
            creation(f"many-{number}", runtime, bench.archive("index.py", f"{bench.HANDLERS['python'][1]}# {number}"))
            for number in range(count)
        ]
        what = f"{count:,} functions"
        with bench.gateway("--state-dir", str(directory)) as (port, _, pid):
            bench.row(f"t  {what} are created, {CONNECTIONS} connections", f"{count / send_all(port, requests):8.2f} s")
            until_idle(port)
            bench.row(f"t  gateway resident, {what} created", f"{bench.resident_mib(pid):8.1f} MiB")
            bench.row(
                f"t  export of {what}",
                bench.seconds(timed(lambda: command("export", str(file), "--endpoint-url", url(port)))),
            )
        bench.row("t  their state directory", mib(*directory.rglob("*")))
        bench.row("t  their file", mib(file))
        with bench.gateway("--state-dir", str(directory)) as (port, ready, pid):
            invoke = bench.post(bench.invoke_path(f"many-{count - 1}"), port)
            first = bench.load(port, invoke, 1, 1)[0][0]
            bench.row(f"t  gateway with {what} ready after", bench.seconds(ready))
            bench.row("t  first invoke of the last of them, at once", bench.ms(first))
            began = time.perf_counter()
            until_idle(port)
            bench.row("t  all of them Active, from ready", bench.seconds(time.perf_counter() - began + first))
            bench.row(f"t  gateway resident, {what} loaded", f"{bench.resident_mib(pid):8.1f} MiB")
        with bench.gateway("--state-dir", str(other)) as (port, _, _):
            took = timed(lambda: command("import", str(file), "--endpoint-url", url(port)))
            bench.row(f"t  import of {what}", bench.seconds(took))


def url(port: int) -> str:
    return f"http://127.0.0.1:{port}"
