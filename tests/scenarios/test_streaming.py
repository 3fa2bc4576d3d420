"""Streamed responses: chunks reach the caller as the function writes them, whatever becomes of either."""

from __future__ import annotations

import base64
import http.client
import json
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from .rendezvous import Rendezvous
from .urls import call, give_url, opened

EXECUTORS = ("process", "docker-host")

pytestmark = pytest.mark.scenario

NODE = """
const net = require('net');
const METADATA = 'application/vnd.awslambda.http-integration-response';
function meet(port) {
  return new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1');
    socket.on('data', () => socket.end(resolve));
    socket.on('close', resolve);
  });
}
exports.handler = awslambda.streamifyResponse(async (event, stream) => {
  const steps = event.body ? JSON.parse(event.body) : event;
  if (steps[0].metadata) {
    stream = awslambda.HttpResponseStream.from(stream, steps.shift().metadata);
  } else if (steps[0].type) stream.setContentType(steps.shift().type);
  for (const step of steps) {
    if (step.write !== undefined) stream.write(step.write);
    if (step.meet) await meet(step.meet);
    if (step.fail) throw new RangeError(step.fail);
    if (step.exit) process.exit(step.exit);
    if (step.fill) {
      const progress = net.connect(step.progress, '127.0.0.1');
      for (let i = 0; i < step.fill; i++) {
        if (!stream.write(Buffer.alloc(1 << 20, 'x'))) await new Promise((resolve) => stream.once('drain', resolve));
        progress.write('.');
      }
      progress.end();
    }
  }
  stream.end();
});
"""

# A runtime of one's own, written from the documentation: chunked, an error as trailers.
BOOTSTRAP = """#!/usr/bin/env python3
import base64, json, os, socket
HOST, PORT = os.environ["AWS_LAMBDA_RUNTIME_API"].split(":")
PREFIX = "/2018-06-01/runtime/invocation/"
def connect():
    there = socket.create_connection((HOST, int(PORT)))
    return there, there.makefile("rb")
def answer(reader):
    reader.readline()
    headers = {}
    while (line := reader.readline().decode().strip()):
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return headers, reader.read(int(headers["content-length"]))
there, reader = connect()
while True:
    there.sendall(f"GET {PREFIX}next HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n".encode())
    headers, event = answer(reader)
    event = json.loads(event)
    steps = json.loads(event["body"]) if isinstance(event, dict) else event
    kind = "application/octet-stream"
    if "type" in steps[0]:
        kind = steps.pop(0)["type"]
    def chunk(data):
        there.sendall(b"%x\\r\\n%b\\r\\n" % (len(data), data))
    started, trailers = False, ""
    def start(kind):
        there.sendall((
            f"POST {PREFIX}{headers['lambda-runtime-aws-request-id']}/response HTTP/1.1\\r\\nHost: x\\r\\n"
            f"Content-Type: {kind}\\r\\nLambda-Runtime-Function-Response-Mode: streaming\\r\\n"
            "Transfer-Encoding: chunked\\r\\nTrailer: Lambda-Runtime-Function-Error-Type, "
            "Lambda-Runtime-Function-Error-Body\\r\\n\\r\\n").encode())
    if "metadata" in steps[0]:
        start("application/vnd.awslambda.http-integration-response")
        chunk(json.dumps(steps.pop(0)["metadata"]).encode())
        chunk(bytes(8))
    else:
        start(kind)
    for step in steps:
        if "write" in step:
            chunk(step["write"].encode())
        if "meet" in step:
            with socket.create_connection(("127.0.0.1", step["meet"])) as place:
                place.recv(1)
        if "exit" in step:
            os._exit(step["exit"])
        if "fill" in step:
            with socket.create_connection(("127.0.0.1", step["progress"])) as progress:
                for _ in range(step["fill"]):
                    chunk(b"x" * (1 << 20))
                    progress.sendall(b".")
        if "fail" in step:
            body = json.dumps({"errorType": "RangeError", "errorMessage": step["fail"]}).encode()
            trailers = (
                "Lambda-Runtime-Function-Error-Type: RangeError\\r\\n"
                f"Lambda-Runtime-Function-Error-Body: {base64.b64encode(body).decode()}\\r\\n")
            break
    there.sendall(f"0\\r\\n{trailers}\\r\\n".encode())
    answer(reader)
"""

RUNTIMES = {
    "nodejs20.x": {"index.js": NODE},
    "provided.al2023": {"bootstrap": BOOTSTRAP},
}


@pytest.fixture(
    params=[
        pytest.param(
            "nodejs20.x",
            marks=[pytest.mark.node, pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")],
        ),
        "provided.al2023",
    ]
)
def streamer(request, deploy) -> str:
    """A function that does the steps in its event: `write`, `meet` somebody, `fill` so many MiB, `fail`, `exit`."""
    return deploy(RUNTIMES[request.param], runtime=request.param, Timeout=20, MemorySize=512)


@pytest.fixture
def stream(aws_client):
    """`stream(name, *steps)`: the response of InvokeWithResponseStream."""

    def invoke(name, *steps, **parameters):
        return aws_client("lambda").invoke_with_response_stream(
            FunctionName=name, Payload=json.dumps(steps), **parameters
        )

    return invoke


def text(event) -> str:
    return event["PayloadChunk"]["Payload"].decode()


def whole(response) -> tuple[bytes, dict]:
    """All chunks, and how it ended."""
    *chunks, last = list(response["EventStream"])
    return b"".join(event["PayloadChunk"]["Payload"] for event in chunks), last["InvokeComplete"]


def test_chunks_arrive_while_the_function_runs(streamer, stream):
    with Rendezvous() as place:
        response = stream(streamer, {"type": "text/plain"}, {"write": "one"}, {"meet": place.port}, {"write": "two"})
        assert response["ResponseStreamContentType"] == "text/plain"
        events = iter(response["EventStream"])
        assert text(next(events)) == "one"
        place.await_guests(1)
        place.let_go()
        assert text(next(events)) == "two"
        assert next(events) == {"InvokeComplete": {}}


def test_an_error_in_the_middle_ends_the_stream_with_its_details(streamer, stream):
    content, end = whole(stream(streamer, {"write": "one"}, {"fail": "boom"}))
    assert content == b"one"
    assert end["ErrorCode"] == "Unhandled"
    details = json.loads(end["ErrorDetails"])
    assert (details["errorType"], details["errorMessage"]) == ("RangeError", "boom")


def test_a_runtime_that_exits_in_the_middle_is_told_from_an_end(streamer, stream):
    with Rendezvous() as place:
        response = stream(streamer, {"write": "one"}, {"meet": place.port}, {"exit": 3})
        events = iter(response["EventStream"])
        assert text(next(events)) == "one"
        place.await_guests(1)
        place.let_go()
        end = next(events)["InvokeComplete"]
    details = json.loads(end["ErrorDetails"])
    assert details["errorType"] == "Runtime.ExitError"
    assert details["errorMessage"].endswith("Runtime exited with error: exit status 3")
    assert whole(stream(streamer, {"write": "again"})) == (b"again", {})


def test_a_timeout_in_the_middle_is_told_from_an_end(deploy, stream, aws_client):
    name = deploy(RUNTIMES["provided.al2023"], runtime="provided.al2023", Timeout=1)
    with Rendezvous() as place:
        content, end = whole(stream(name, {"write": "one"}, {"meet": place.port}, LogType="Tail"))
    assert (content, json.loads(end["ErrorDetails"])["errorType"]) == (b"one", "Sandbox.Timedout")
    assert "Status: timeout" in base64.b64decode(end["LogResult"]).decode()


def test_the_end_of_the_log_comes_with_the_end_of_the_stream(streamer, stream):
    content, end = whole(stream(streamer, {"write": "one"}, LogType="Tail"))
    log = base64.b64decode(end["LogResult"]).decode()
    assert content == b"one"
    assert "START RequestId" in log
    assert "REPORT RequestId" in log


def test_invoke_gets_the_stream_as_a_whole(streamer, aws_client):
    steps = [{"write": "one"}, {"write": "two"}]
    answer = aws_client("lambda").invoke(FunctionName=streamer, Payload=json.dumps(steps))
    assert (answer["Payload"].read(), answer.get("FunctionError")) == (b"onetwo", None)


class Progress:
    """How far a function is that fills: a point for each MiB that it got rid of."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(20)
        self.port = self._listener.getsockname()[1]
        self._connection: socket.socket | None = None

    def until_nothing_happens(self, quiet_s: float) -> int:
        """The points that came before there were none for so long."""
        if self._connection is None:
            self._connection, _ = self._listener.accept()
        self._connection.settimeout(quiet_s)
        points = 0
        try:
            while received := self._connection.recv(1024):
                points += len(received)
        except TimeoutError:
            pass
        return points

    def until_it_ends(self) -> int:
        return self.until_nothing_happens(20)

    def close(self) -> None:
        self._listener.close()
        if self._connection is not None:
            self._connection.close()


@pytest.fixture
def progress() -> Iterator[Progress]:
    made = Progress()
    yield made
    made.close()


def resident_mib(process_id: int) -> int:
    lines = Path(f"/proc/{process_id}/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmRSS"))


def test_a_slow_reader_holds_up_the_function_and_not_the_gateway(streamer, stream, progress, gateway):
    total = 100
    before = resident_mib(gateway.process.pid)
    response = stream(streamer, {"fill": total, "progress": progress.port})
    events = iter(response["EventStream"])
    first = len(text(next(events)))
    sent = progress.until_nothing_happens(1.0)
    assert sent < total / 2
    assert resident_mib(gateway.process.pid) - before < 20
    rest = list(events)
    assert first + sum(len(event["PayloadChunk"]["Payload"]) for event in rest[:-1]) == total << 20
    assert sent + progress.until_it_ends() == total
    assert rest[-1] == {"InvokeComplete": {}}
    assert resident_mib(gateway.process.pid) - before < 20


def test_a_reader_that_leaves_lets_the_function_run_on(streamer, stream, progress):
    """Nobody takes the rest, which is more than fits anywhere on the way; the function is done nevertheless."""
    response = stream(streamer, {"fill": 40, "progress": progress.port})
    events = iter(response["EventStream"])
    next(events)
    response["EventStream"].close()
    assert progress.until_it_ends() == 40
    assert whole(stream(streamer, {"write": "again"})) == (b"again", {})


def test_a_response_over_the_limit_is_cut_off(own_gateway, client_for, functions_of, progress):
    running = own_gateway(LAMBDA_LIMITS_MAX_FUNCTION_STREAMED_RESPONSE_SIZE_BYTES=str(3 << 20))
    functions_of(running).create(
        "filler", RUNTIMES["provided.al2023"], Runtime="provided.al2023", Timeout=20, Handler="x"
    )
    client = client_for(running.url, "lambda")
    steps = [{"fill": 5, "progress": progress.port}]
    content, end = whole(client.invoke_with_response_stream(FunctionName="filler", Payload=json.dumps(steps)))
    assert 2 << 20 < len(content) <= 3 << 20
    assert json.loads(end["ErrorDetails"]) == {
        "errorType": "Function.ResponseSizeTooLarge",
        "errorMessage": "Response payload size exceeded maximum allowed payload size (3145728 bytes).",
    }


# --- behind function URLs


@pytest.fixture
def streaming_url(streamer, aws_client) -> str:
    return give_url(aws_client("lambda"), streamer, InvokeMode="RESPONSE_STREAM")


def steps(*made) -> dict:
    return {"method": "POST", "body": json.dumps(made), "headers": {"Content-Type": "application/json"}}


def test_a_url_passes_on_status_headers_and_cookies_and_then_chunks(gateway, streaming_url):
    metadata = {"statusCode": 418, "headers": {"X-Tea": "pot", "Content-Type": "text/tea"}, "cookies": ["a=b", "c=d"]}
    with Rendezvous() as place:
        made = steps({"metadata": metadata}, {"write": "one"}, {"meet": place.port}, {"write": "two"})
        with opened(gateway, streaming_url, **made) as response:
            # The function has not ended: it is on its way to the place, or waits there.
            assert (response.status, response.headers["X-Tea"]) == (418, "pot")
            assert response.headers["Content-Type"] == "text/tea"
            assert response.headers.get_all("Set-Cookie") == ["a=b", "c=d"]
            assert response.headers["Transfer-Encoding"] == "chunked"
            assert response.read1() == b"one"
            place.await_guests(1)
            place.let_go()
            assert response.read() == b"two"


def test_the_first_byte_of_a_url_comes_before_the_end(gateway, streaming_url):
    with Rendezvous() as place:
        made = steps({"type": "text/plain"}, {"write": "one"}, {"meet": place.port}, {"write": "two"})
        with opened(gateway, streaming_url, **made) as response:
            assert (response.status, response.headers["Content-Type"]) == (200, "text/plain")
            assert response.read1() == b"one"
            place.await_guests(1)
            place.let_go()
            assert response.read() == b"two"


def test_a_url_that_breaks_off_is_not_taken_for_complete(gateway, streaming_url):
    with opened(gateway, streaming_url, **steps({"write": "one"}, {"fail": "boom"})) as response:
        assert response.status == 200
        with pytest.raises(http.client.IncompleteRead):
            response.read()


def test_a_url_that_fails_before_its_first_byte_is_a_502(gateway, streaming_url):
    answer = call(gateway, streaming_url, **steps({"fail": "boom"}))
    assert (answer.status, answer.body) == (502, b"Internal Server Error")


def test_a_buffered_url_waits_for_a_function_that_streams(gateway, streamer, aws_client):
    url = give_url(aws_client("lambda"), streamer)
    made = steps({"metadata": {"statusCode": 201, "headers": {"x-a": "b"}}}, {"write": "one"}, {"write": "two"})
    answer = call(gateway, url, **made)
    assert (answer.status, answer.headers["x-a"], answer.body) == (201, "b", b"onetwo")
    assert answer.headers["content-length"] == "6"


def test_a_client_of_a_url_that_leaves_lets_the_function_run_on(gateway, streaming_url, progress):
    with opened(gateway, streaming_url, **steps({"fill": 40, "progress": progress.port})) as response:
        response.read1(10)
    assert progress.until_it_ends() == 40
    assert call(gateway, streaming_url, **steps({"write": "again"})).body == b"again"
