"""How fast: ratios side by side in one run, so that the machine's mood cancels out.

a   an echo of 2 bytes by a bare ASGI application on the same server library
b   a warm Invoke of an echo function through the gateway, with the same raw keep-alive client
c   starting an interpreter as the runtime client needs it
d   a cold Invoke: the first one of a function that was just deployed
e   the gateway itself: time to ready, resident memory
f   the control plane with many functions against a few: get one, list a page, create one
g   asynchronous invokes: events accepted a second, and completed from the first to the last
h   a burst: 100 first invokes at once, each in an environment of its own
i   a streamed response: the time to its first byte, while the handler goes on
j   messages of a queue a second, from a full queue to an empty one
k   from sending a message to a queue at rest to its handler
l   the share of a processor that 100 mappings at rest take
m   records of a stream a second, from a mapping that is enabled to the last handler
n   from putting a record into a stream at rest to its handler
o   the share of a processor that 100 mappings of streams at rest take
p   `docker run --rm` of the image that the next three rows use, where a Docker engine answers
q   a cold Invoke, on both executors
r   a warm Invoke, on both executors
u   a burst of 50 first invokes at once, on both executors, and all of it gone again
s   what a state directory costs: functions created, and events accepted, without one against with one
t   many functions saved and loaded: seconds, MiB on disk and in memory
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import bench_docker
import bench_state
import bench_streams
import boto3
import uvloop
from bench_event_sources import TELLS_WHEN, delays, idle_share, messages_a_second

PAYLOAD = b"{}"
HOLD_S = 0.3
ECHO_APP = """
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    body = (await receive())["body"]
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})
"""
HANDLERS = {
    "python": ("index.py", "def handler(event, context):\n    return event\n", "index.handler"),
    "nodejs": ("index.mjs", "export const handler = async (event) => event;\n", "index.handler"),
    "provided": ("bootstrap", (Path(__file__).parent / "bootstrap_example.py").read_text(), "bootstrap"),
}


class Client(asyncio.Protocol):
    """One kept-alive connection that sends the same bytes again as soon as the answer is complete."""

    def __init__(self, request: bytes, count: int, done: asyncio.Future[None]) -> None:
        self.request, self.left, self.done = request, count, done
        self.times: list[float] = []
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.send()

    def send(self) -> None:
        self.sent = time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, separator, body = self.buffer.partition(b"\r\n\r\n")
        if not separator or len(body) < int(re.search(rb"(?i)content-length: (\d+)", head)[1]):
            return
        self.times.append(time.perf_counter() - self.sent)
        if not head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 202")):
            self.done.set_exception(RuntimeError(self.buffer.decode("utf-8", "replace")))
            return
        self.buffer = b""
        self.left -= 1
        if self.left:
            self.send()
        elif not self.done.done():
            self.done.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(RuntimeError("the connection was closed"))


def load(port: int, request: bytes, count: int, connections: int) -> tuple[list[float], float]:
    """Latencies in seconds and requests a second."""

    async def run() -> tuple[list[float], float]:
        loop = asyncio.get_running_loop()
        clients = []
        started = time.perf_counter()
        for _ in range(connections):
            client = Client(request, count // connections, loop.create_future())
            await loop.create_connection(lambda client=client: client, "127.0.0.1", port)
            clients.append(client)
        await asyncio.gather(*(client.done for client in clients))
        elapsed = time.perf_counter() - started
        for client in clients:
            client.transport.close()
        return [moment for client in clients for moment in client.times], count / elapsed

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run())


def post(path: str, port: int, *more: str) -> bytes:
    """A POST of `{}` with what a signed request's headers weigh, and further ones."""
    lines = [
        f"POST {path} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "User-Agent: Boto3/1.44.5 md/Botocore#1.44.5 ua/2.1 os/linux lang/python#3.11 cfg/retry-mode#legacy",
        "X-Amz-Date: 20260101T000000Z",
        "Authorization: AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/lambda/aws4_request, "
        "SignedHeaders=host;x-amz-date, Signature=" + "0" * 64,
        f"Content-Length: {len(PAYLOAD)}",
        *more,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + PAYLOAD


@contextmanager
def echo_server() -> Iterator[int]:
    """The bare ASGI application on uvicorn."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "echo_app.py").write_text(ECHO_APP)
        command = [
            sys.executable,
            "-m",
            "uvicorn",
            "echo_app:app",
            "--port",
            "0",
            "--no-access-log",
            "--app-dir",
            folder,
        ]
        process = subprocess.Popen(
            [*command, "--loop", "uvloop", "--http", "httptools"], stderr=subprocess.PIPE, text=True
        )
        try:
            for line in process.stderr:
                if found := re.search(r"running on http://[\d.]+:(\d+)", line):
                    break
            yield int(found[1])
        finally:
            process.terminate()
            process.wait()


@contextmanager
def gateway(*arguments: str) -> Iterator[tuple[int, float, int]]:
    """Our gateway: port, seconds to ready, process id."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "lambda_provider.cli", "start", "--port", "0", "--log-level", "error", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        ready = time.perf_counter() - started
        yield int(re.search(r":(\d+)", line)[1]), ready, process.pid
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def archive(name: str, text: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        info = zipfile.ZipInfo(name)
        info.external_attr = 0o755 << 16
        file.writestr(info, text)
    return buffer.getvalue()


def deploy(client, name: str, runtime: str, code: str | None = None) -> None:
    file, text, handler = HANDLERS[re.match("[a-z]+", runtime)[0]]
    text = code or text
    client.create_function(
        FunctionName=name, Runtime=runtime, Handler=handler, Role="arn:aws:iam::000000000000:role/bench",
        Code={"ZipFile": archive(file, text)}, Timeout=30,
    )  # fmt: skip
    client.get_waiter("function_active_v2").wait(FunctionName=name)


def invoke_path(name: str) -> str:
    return f"/2015-03-31/functions/{name}/invocations"


def command_time(command: list[str], repeat: int) -> float:
    times = []
    for _ in range(repeat):
        started = time.perf_counter()
        subprocess.run(command, check=True)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def cold(client, port: int, runtime: str, repeat: int) -> tuple[float, float]:
    """The very first invoke of a runtime, and the median of first invokes of further functions, in seconds."""
    names = [f"cold-{runtime.replace('.', '')}-{number}" for number in range(repeat + 1)]
    for name in names:
        deploy(client, name, runtime)
    times = [load(port, post(invoke_path(name), port), 1, 1)[0][0] for name in names]
    return times[0], statistics.median(times[1:])


def burst(client, port: int, runtime: str, count: int) -> float:
    """Seconds until `count` first invokes at once are answered by an environment each, beyond what the handler takes."""
    deploy(
        client,
        "burst",
        runtime,
        f"import time\ndef handler(event, context):\n    time.sleep({HOLD_S})\n    return event\n",
    )
    return max(load(port, post(invoke_path("burst"), port), count, count)[0]) - HOLD_S


def first_streamed_byte(client, port: int, runtime: str, repeat: int) -> float:
    """Seconds from a request to the first byte that the handler writes, warm; the handler ends much later."""
    code = (
        "export const handler = awslambda.streamifyResponse(async (event, stream) => {\n"
        f"  stream.write('first'); await new Promise(r => setTimeout(r, {HOLD_S * 1000})); stream.end('last');\n}});\n"
    )
    deploy(client, "stream", runtime, code)
    times = []
    for _ in range(repeat + 1):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            started = time.perf_counter()
            connection.sendall(post("/2021-11-15/functions/stream/response-streaming-invocations", port))
            received = b""
            while b"first" not in received:
                received += connection.recv(65536)
            times.append(time.perf_counter() - started)
            while b"InvokeComplete" not in received:
                received += connection.recv(65536)
    return statistics.median(times[1:])


def clients_of(port: int) -> Callable[[str], Any]:
    """Clients of AWS's services at a gateway, by the name of the service."""
    account = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
    return lambda service: boto3.client(service, endpoint_url=f"http://127.0.0.1:{port}", **account)


def events(count: int, runtime: str) -> None:
    """Asynchronous invokes of the echo function, with the queue in memory and with a state directory."""
    with tempfile.TemporaryDirectory() as folder:
        for kind, arguments in (("in memory", ()), ("durable", ("--state-dir", folder))):
            with gateway(*arguments) as (port, _, _):
                client = clients_of(port)("lambda")
                deploy(client, "events", runtime)
                request = post(invoke_path("events"), port, "X-Amz-Invocation-Type: Event")
                load(port, request, 200, 8)
                drain(port)
                started = time.perf_counter()
                _, accepted = load(port, request, count, 8)
                drain(port)
                row(f"g  events accepted, 8 connections, {kind}", f"{accepted:,.0f} /s")
                row(f"g  events completed, {kind}", f"{count / (time.perf_counter() - started):,.0f} /s")


def drain(port: int) -> None:
    """Return when the gateway has no event in its queue any more."""
    connection = HTTPConnection("127.0.0.1", port)
    while True:
        connection.request("GET", "/_lambda/health")
        if not json.load(connection.getresponse())["queued_events"]:
            break
        time.sleep(0.01)
    connection.close()


def resident_mib(pid: int) -> float:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) / 1024


class ControlPlane:
    """Calls of the control plane over one kept-alive connection, timed."""

    def __init__(self, port: int) -> None:
        self.connection = HTTPConnection("127.0.0.1", port)
        self.code = base64.b64encode(archive("index.py", HANDLERS["python"][1])).decode()

    def call(self, method: str, path: str, body: dict | None = None) -> float:
        """Seconds that one call took."""
        started = time.perf_counter()
        self.connection.request(method, path, json.dumps(body) if body else None)
        response = self.connection.getresponse()
        text = response.read()
        elapsed = time.perf_counter() - started
        if response.status >= 300:
            raise RuntimeError(f"{method} {path}: {response.status} {text.decode()}")
        return elapsed

    def create(self, number: int, runtime: str) -> float:
        body = {"FunctionName": f"many-{number}", "Runtime": runtime, "Handler": "index.handler"}
        body |= {"Role": "arn:aws:iam::000000000000:role/bench", "Code": {"ZipFile": self.code}}
        return self.call("POST", "/2015-03-31/functions", body)

    def wait_until_active(self, number: int) -> None:
        """Functions become active in the order in which they were created: after this one all are."""
        state = ""
        while state != "Active":
            self.connection.request("GET", f"/2015-03-31/functions/many-{number}/configuration")
            state = json.loads(self.connection.getresponse().read())["State"]

    def median(self, method: str, path: str, repeat: int = 200) -> float:
        return statistics.median(self.call(method, path) for _ in range(repeat))


def queues(runtime: str) -> None:
    """Event source mappings of SQS."""
    with gateway() as (port, _, pid):
        clients = clients_of(port)

        def tells_when(its_port: int) -> str:
            deploy(clients("lambda"), "tells", runtime, TELLS_WHEN.replace('os.environ["PORT"]', str(its_port)))
            return "tells"

        deploy(clients("lambda"), "echo", runtime)
        for size in (10, 1):
            found = messages_a_second(clients, "echo", 2000, size)
            row(f"j  messages of a queue, batches of {size}", f"{found:,.0f} /s")
        times = delays(clients, tells_when, 200)
        for name, share in (("p50", 0.5), ("p99", 0.99)):
            row(f"k  from sending a message to its handler, {name}", ms(percentile(times, share)))
        connection = HTTPConnection("127.0.0.1", port)
        connection.request("GET", "/_lambda/health")
        services = json.load(connection.getresponse())["services"]
        shares = idle_share(clients, "echo", [pid, services["moto"]["pid"]], 100, 20)
        for name, share in zip(("gateway", "moto"), shares, strict=True):
            row(f"l  100 mappings at rest, {name}", f"{share * 100:8.2f} %")


def streams(runtime: str) -> None:
    """Event source mappings of Kinesis."""
    with gateway() as (port, _, pid):
        clients = clients_of(port)

        def tells(its_port: int) -> str:
            name = f"tells-{its_port}"
            deploy(clients("lambda"), name, runtime, bench_streams.TELLS.replace('os.environ["PORT"]', str(its_port)))
            return name

        for size, factor, count in ((100, 1, 20_000), (100, 10, 20_000), (1, 1, 1_000), (1, 10, 1_000)):
            found = bench_streams.records_a_second(clients, tells, count, size, factor)
            row(f"m  records of a stream, batches of {size}, {factor} at once", f"{found:,.0f} /s")
        times = bench_streams.delays(clients, tells, 200)
        for name, share in (("p50", 0.5), ("p99", 0.99)):
            row(f"n  from putting a record to its handler, {name}", ms(percentile(times, share)))
        deploy(clients("lambda"), "echo", runtime)
        connection = HTTPConnection("127.0.0.1", port)
        connection.request("GET", "/_lambda/health")
        services = json.load(connection.getresponse())["services"]
        shares = bench_streams.idle_share(clients, "echo", [pid, services["moto"]["pid"]], 100, 20)
        for name, share in zip(("gateway", "moto"), shares, strict=True):
            row(f"o  100 mappings of streams at rest, {name}", f"{share * 100:8.2f} %")


def many_functions(count: int, runtime: str) -> None:
    """f: the same calls at 10 functions and at `count`, on a gateway of their own."""
    with gateway() as (port, _, pid):
        control = ControlPlane(port)
        found: dict[int, dict[str, float]] = {}
        created = 0
        for target in (10, count):
            times = []
            before, first = resident_mib(pid), created
            while created < target:
                times.append(control.create(created, runtime))
                created += 1
            control.wait_until_active(created - 1)
            memory_kib = (resident_mib(pid) - before) * 1024 / (created - first)
            found[target] = {
                "get one": control.median("GET", f"/2015-03-31/functions/many-{created // 2}"),
                "list a page": control.median("GET", "/2015-03-31/functions/?MaxItems=10"),
                "create one": statistics.median(times[-1000:]),
            }
        for what, few in found[10].items():
            many = found[count][what]
            row(f"f  {what}, 10 functions", ms(few))
            row(f"f  {what}, {count:,} functions", ms(many), f"many/few = {many / few:.2f}")
        row("f  memory a function", f"{memory_kib:8.1f} KiB")


def seconds(value: float) -> str:
    return f"{value:8.2f} s"


def ms(seconds: float) -> str:
    return f"{seconds * 1000:8.2f} ms"


def row(what: str, value: str, ratio: str = "") -> None:
    print(f"{what:<58} {value:>14}  {ratio}")


def percentile(times: list[float], share: float) -> float:
    return sorted(times)[min(len(times) - 1, int(len(times) * share))]


def interleaved(
    rounds: int, measure: dict[str, Callable[[], tuple[list[float], float]]]
) -> dict[str, tuple[list[float], float]]:
    """Run all measurements in turn, several times; latencies are joined, rates are the median."""
    found: dict[str, list[tuple[list[float], float]]] = {name: [] for name in measure}
    for _ in range(rounds):
        for name, run in measure.items():
            found[name].append(run())
    return {
        name: ([moment for times, _ in runs for moment in times], statistics.median(rate for _, rate in runs))
        for name, runs in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=2000, help="requests in a round (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each measurement (default %(default)s)")
    parser.add_argument("--cold", type=int, default=15, help="cold invokes of each runtime (default %(default)s)")
    parser.add_argument(
        "--functions", type=int, default=10_000, help="functions for parts f and t; 0 skips them (default %(default)s)"
    )
    options = parser.parse_args()
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    with echo_server() as echo_port, gateway() as (port, ready, pid):
        idle_mib = resident_mib(pid)
        client = clients_of(port)("lambda")
        deploy(client, "warm", python)
        echo, invoke = post("/", echo_port), post(invoke_path("warm"), port)
        load(port, invoke, 200, 8)
        load(echo_port, echo, 200, 8)
        one = interleaved(
            options.rounds,
            {
                "echo": lambda: load(echo_port, echo, options.requests, 1),
                "invoke": lambda: load(port, invoke, options.requests, 1),
            },
        )
        eight = interleaved(
            options.rounds,
            {
                "echo": lambda: load(echo_port, echo, options.requests, 8),
                "invoke": lambda: load(port, invoke, options.requests, 8),
            },
        )
        row("measured", "value", "ratio")
        for name, share in (("p50", 0.5), ("p99", 0.99)):
            a, b = (percentile(one[kind][0], share) for kind in ("echo", "invoke"))
            row(f"a  ASGI echo, {name}", ms(a))
            row(f"b  warm Invoke, {name}", ms(b), f"b/a = {b / a:.2f}")
        for name, found in (("1 connection", one), ("8 connections", eight)):
            a, b = found["echo"][1], found["invoke"][1]
            row(f"a  ASGI echo, {name}", f"{a:,.0f} /s")
            row(f"b  warm Invoke, {name}", f"{b:,.0f} /s", f"a/b = {a / b:.2f}")
        starts = {python: [sys.executable, "-c", "import awslambdaric.bootstrap"]}
        if shutil.which("node"):
            major = subprocess.run(["node", "-p", "process.versions.node"], capture_output=True, text=True, check=True)
            starts[f"nodejs{major.stdout.split('.')[0]}.x"] = ["node", "-e", "0"]
        system_python = shutil.which("python3", path="/usr/local/bin:/usr/bin:/bin")
        if system_python:
            starts["provided.al2023"] = [system_python, "-S", "-c", "import http.client"]
        for runtime, command in starts.items():
            c = command_time(command, options.cold)
            first, d = cold(client, port, runtime, options.cold)
            row(f"c  {Path(command[0]).name} {' '.join(command[1:])}", ms(c))
            row(f"d  cold Invoke, {runtime}", ms(d), f"d/c = {d / c:.2f}")
            row(f"   the very first one, {runtime}", ms(first))
        row("h  100 cold environments at once", ms(burst(client, port, python, 100)))
        for runtime in [each for each in starts if each.startswith("nodejs")]:
            row(f"i  first streamed byte, {runtime}", ms(first_streamed_byte(client, port, runtime, 10)))
        row("e  gateway ready after", ms(ready))
        row("e  gateway resident, fresh", f"{idle_mib:8.1f} MiB")
        row("e  gateway resident, after this run", f"{resident_mib(pid):8.1f} MiB")
    events(options.requests, python)
    queues(python)
    streams(python)
    bench_state.costs(sys.modules[__name__], 300, options.rounds, python)
    bench_docker.costs(sys.modules[__name__], options.requests, max(3, options.cold // 2))
    if options.functions:
        many_functions(options.functions, python)
        bench_state.many(sys.modules[__name__], options.functions, python)


if __name__ == "__main__":
    os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")
    main()
