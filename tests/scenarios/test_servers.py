"""Servers of others run us, or an application that mounts us: the same behaviour, a clean start and a clean end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .machine import free_port
from .rendezvous import Rendezvous

pytestmark = pytest.mark.scenario

ROLE = "arn:aws:iam::000000000000:role/lambda-role"
START_TIMEOUT_S = 60.0
END_TIMEOUT_S = 30.0

ENVIRONMENT = "import os\ndef handler(event, context):\n    return [event, os.environ.get('AWS_ENDPOINT_URL')]\n"

# A runtime of its own that streams: `one`, then whoever waits at the port in the event, then `two`.
STREAMS = """#!/usr/bin/env python3
import json, os, socket
HOST, PORT = os.environ["AWS_LAMBDA_RUNTIME_API"].split(":")
there = socket.create_connection((HOST, int(PORT)))
reader = there.makefile("rb")
def answer():
    reader.readline()
    headers = dict(line.decode().strip().lower().split(": ", 1) for line in iter(reader.readline, b"\\r\\n"))
    return headers, reader.read(int(headers["content-length"]))
while True:
    there.sendall(b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
    headers, event = answer()
    path = "/2018-06-01/runtime/invocation/" + headers["lambda-runtime-aws-request-id"] + "/response"
    there.sendall(("POST " + path + " HTTP/1.1\\r\\nHost: x\\r\\n"
        "Lambda-Runtime-Function-Response-Mode: streaming\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n3\\r\\none\\r\\n").encode())
    with socket.create_connection(("127.0.0.1", json.loads(event))) as meeting:
        meeting.recv(1)
    there.sendall(b"3\\r\\ntwo\\r\\n0\\r\\n\\r\\n")
    answer()
"""

STARLETTE = """
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from lambda_provider.asgi import create_app
emulated = create_app()
routes = [Mount("/aws", emulated), Route("/", lambda request: PlainTextResponse("outer"))]
app = Starlette(routes=routes, lifespan=emulated.lifespan)
forgetful = Starlette(routes=routes)
"""

FLASK = """
from flask import Flask
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.serving import run_simple
from lambda_provider.wsgi import create_app
app = Flask(__name__)
app.route("/")(lambda: "outer")
app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/aws": create_app()})
if __name__ == "__main__":
    import signal, sys
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    run_simple("127.0.0.1", int(sys.argv[1]), app, threaded=True)
"""

SERVERS = {
    "uvicorn": "uvicorn lambda_provider.asgi:app --port {port}",
    "uvicorn factory": "uvicorn --factory lambda_provider.asgi:create_app --port {port}",
    "uvicorn without lifespan": "uvicorn lambda_provider.asgi:app --lifespan off --port {port}",
    "hypercorn": "hypercorn lambda_provider.asgi:app -b 127.0.0.1:{port}",
    "starlette": "uvicorn outer:app --port {port}",
    "starlette without lifespan": "uvicorn outer:forgetful --port {port}",
    "gunicorn": "gunicorn lambda_provider.wsgi:app -b 127.0.0.1:{port} --threads 8",
    "gunicorn that forks": "gunicorn lambda_provider.wsgi:create_app() -b 127.0.0.1:{port} --threads 8 --preload",
    "gunicorn with flask": "gunicorn outer:app -b 127.0.0.1:{port} --threads 8",
    "waitress": "waitress --listen 127.0.0.1:{port} lambda_provider.wsgi:app",
    "werkzeug with flask": "outer {port}",
}


class Server:
    """A server in a child process, with a temporary directory of its own."""

    def __init__(self, kind: str, directory: Path, **settings: str) -> None:
        port = free_port()
        (directory / "outer.py").write_text(FLASK if "flask" in kind else STARLETTE)
        self.mounted = "flask" in kind or "starlette" in kind
        self.origin = f"http://127.0.0.1:{port}"
        self.url = self.origin + ("/aws/" if self.mounted else "")
        self.base = self.url.rstrip("/")
        self.temporary = directory / "tmp"
        self.temporary.mkdir()
        # Waitress leaves SIGTERM to Python, which ends the process at once; uvicorn gives it to itself before its loop ends.
        at_once = kind == "waitress" or "without lifespan" in kind
        self.signal = signal.SIGINT if at_once else signal.SIGTERM
        self.log = directory / "log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *SERVERS[kind].format(port=port).split()],
                cwd=directory,
                env={
                    **os.environ,
                    "PYTHONPATH": str(directory),
                    "TMPDIR": str(self.temporary),
                    "HOME": str(directory),
                    **settings,
                },
                stdout=log,
                stderr=log,
            )

    def wait_until_it_answers(self) -> None:
        until = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                urllib.request.urlopen(f"{self.base}/_lambda/health", timeout=START_TIMEOUT_S).close()
                return
            except OSError:
                assert self.process.poll() is None and time.monotonic() < until, self.log.read_text()
                time.sleep(0.02)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(self.signal)
            try:
                self.process.wait(END_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    running = Server(request.param, tmp_path)
    try:
        running.wait_until_it_answers()
        yield running
    finally:
        running.stop()


def descendants(pid: int) -> set[int]:
    parents: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            parents.setdefault(int(fields[1]), []).append(int(path.parent.name))
    found = {pid}
    waiting = [pid]
    while waiting:
        for child in parents.get(waiting.pop(), ()):
            found.add(child)
            waiting.append(child)
    return found


def alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def create(client: Any, archive: bytes, name: str, **parameters: Any) -> None:
    fine = {"Runtime": "python3.12", "Handler": "index.handler", "Role": ROLE}
    client.create_function(FunctionName=name, Code={"ZipFile": archive}, **(fine | parameters))
    client.get_waiter("function_active_v2").wait(FunctionName=name)


def test_a_server_runs_us(server: Server, client_for: Callable[..., Any], zip_of: Callable[..., bytes]) -> None:
    client = client_for(server.url, "lambda")
    create(client, zip_of({"index.py": ENVIRONMENT}), "f")

    # Names with what has to be encoded in a path arrive as they are.
    arn = client.get_function(FunctionName="arn:aws:lambda:us-east-1:000000000000:function:f")["Configuration"][
        "FunctionArn"
    ]
    tags = {"Resource": arn}
    client.tag_resource(Tags={"a": "b"}, **tags)
    assert client.list_tags(**tags)["Tags"] == {"a": "b"}

    payload = {"text": "x" * 300_000}
    answer = json.load(client.invoke(FunctionName="f", Payload=json.dumps(payload))["Payload"])
    assert answer == [payload, server.url]

    location = client.get_function(FunctionName="f")["Code"]["Location"]
    assert location.startswith(f"{server.base}/_lambda/code/")
    with urllib.request.urlopen(location) as code:
        assert code.read(2) == b"PK"

    create(
        client, zip_of({"bootstrap": STREAMS}, executable=("bootstrap",)), "s", Runtime="provided.al2023", Handler="x"
    )
    with Rendezvous() as place:
        stream = client.invoke_with_response_stream(FunctionName="s", Payload=str(place.port))["EventStream"]
        parts = (event["PayloadChunk"]["Payload"] for event in stream if "PayloadChunk" in event)
        assert next(parts) == b"one"
        place.await_guests(1)
        place.let_go()
        assert b"".join(parts) == b"two"

    before = descendants(server.process.pid)
    server.stop()
    until = time.monotonic() + END_TIMEOUT_S
    while left := [pid for pid in before if alive(pid)]:
        assert time.monotonic() < until, f"{left} go on without the server"
        time.sleep(0.02)
    assert [path.name for path in server.temporary.iterdir() if path.name.startswith("lambda-")] == []


@pytest.mark.parametrize("server", ["starlette", "gunicorn with flask"], indirect=True)
def test_an_application_that_mounts_us_keeps_its_own_paths(
    server: Server, client_for: Callable[..., Any], zip_of: Callable[..., bytes]
) -> None:
    with urllib.request.urlopen(f"{server.origin}/") as answer:
        assert answer.read() == b"outer"
    client = client_for(server.url, "lambda")
    create(client, zip_of({"index.py": "def handler(event, context):\n    return event['rawPath']\n"}), "f")
    url = client.create_function_url_config(FunctionName="f", AuthType="NONE")["FunctionUrl"]
    assert url.startswith(f"{server.base}/_lambda/url/")
    client.add_permission(
        FunctionName="f",
        StatementId="all",
        Action="lambda:InvokeFunctionUrl",
        Principal="*",
        FunctionUrlAuthType="NONE",
    )
    with urllib.request.urlopen(f"{url}a%2Fb") as answer:
        assert answer.read() == b"/a/b"


@pytest.mark.parametrize("server", ["uvicorn", "starlette", "gunicorn"], indirect=True)
def test_other_services_are_behind_us_there_too(server: Server, client_for: Callable[..., Any]) -> None:
    queues = client_for(server.url, "sqs")
    queues.create_queue(QueueName="q")
    url = queues.get_queue_url(QueueName="q")["QueueUrl"]
    queues.send_message(QueueUrl=url, MessageBody="x" * 200_000)
    assert queues.receive_message(QueueUrl=url)["Messages"][0]["Body"] == "x" * 200_000
    objects = client_for(server.url, "s3")
    objects.create_bucket(Bucket="bucket")
    objects.put_object(Bucket="bucket", Key="a b/ü", Body=b"y" * 1_000_000)
    assert objects.get_object(Bucket="bucket", Key="a b/ü")["Body"].read() == b"y" * 1_000_000


def test_a_setting_that_cannot_be_used_ends_the_server_with_a_message(tmp_path: Path) -> None:
    server = Server("uvicorn", tmp_path, LAMBDA_EXECUTOR="hamsters")
    assert server.process.wait(START_TIMEOUT_S) != 0
    assert "Lambda cannot start: no executor is called 'hamsters'" in server.log.read_text()


def test_without_lifespan_the_first_request_tells_what_is_wrong(tmp_path: Path) -> None:
    server = Server("gunicorn", tmp_path, LAMBDA_HOST_ADAPTER="hamsters")
    try:
        until = time.monotonic() + START_TIMEOUT_S
        while "Listening" not in server.log.read_text():
            assert time.monotonic() < until
            time.sleep(0.02)
        with pytest.raises(urllib.error.HTTPError, match="500"):
            urllib.request.urlopen(f"{server.url}/_lambda/health", timeout=START_TIMEOUT_S)
    finally:
        server.stop()
    assert "no plugin 'hamsters' in the entry-point group lambda_provider.hosts" in server.log.read_text()


@pytest.mark.parametrize("kind", ["uvicorn", "gunicorn"])
def test_what_was_created_is_there_again_with_a_state_directory(
    kind: str, tmp_path: Path, client_for: Callable[..., Any], zip_of: Callable[..., bytes]
) -> None:
    for number in (1, 2):
        directory = tmp_path / str(number)
        directory.mkdir()
        server = Server(kind, directory, LAMBDA_STATE_DIR=str(tmp_path / "state"), LAMBDA_HOST_ADAPTER="bare")
        try:
            server.wait_until_it_answers()
            client = client_for(server.url, "lambda")
            if number == 1:
                create(client, zip_of({"index.py": "def handler(event, context):\n    return event\n"}), "f")
            client.get_waiter("function_active_v2").wait(FunctionName="f")
            assert json.load(client.invoke(FunctionName="f", Payload="7")["Payload"]) == 7
        finally:
            server.stop()
