"""A third party's extension as people use it: the AWS Lambda Web Adapter (crates.io), in a layer, before an ordinary web server.

It registers as an extension, is itself the runtime, and the function's `run.sh` is started by its exec wrapper.
"""

from __future__ import annotations

import json

import pytest

from . import machine
from .compiled import rust_program
from .rendezvous import Rendezvous
from .urls import call, give_url, opened

pytestmark = pytest.mark.scenario

WRAPPER = '#!/bin/bash\nexec -- "${LAMBDA_TASK_ROOT}/${_HANDLER}"\n'
"""As in the adapter's own layer."""
SERVER = """
import http.server, json, os, socket, sys
class Server(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path.startswith("/stream"):
            self.send_response(200)
            self.send_header("content-type", "text/plain")
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            for number in range(3):
                self.wfile.write(b"8\\r\\nchunk %d\\n\\r\\n" % number)
                self.wfile.flush()
                with socket.create_connection(("127.0.0.1", int(self.path.rpartition("=")[2]))) as there:
                    there.recv(1)
            self.wfile.write(b"0\\r\\n\\r\\n")
            return
        if self.path == "/exit":
            os._exit(4)
        length = int(self.headers.get("content-length") or 0)
        seen = {
            "method": self.command,
            "path": self.path,
            "body": self.rfile.read(length).decode(),
            "cookie": self.headers.get("cookie"),
            "function": json.loads(self.headers["x-amzn-lambda-context"])["env_config"]["function_name"]
            if "x-amzn-lambda-context" in self.headers else None,
            "process": os.getpid(),
        }
        content = json.dumps(seen).encode()
        self.send_response(404 if self.path == "/missing" else 200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.send_header("set-cookie", "a=1")
        self.send_header("set-cookie", "b=2")
        self.end_headers()
        self.wfile.write(content)
    do_POST = do_GET
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Server).serve_forever()
"""
RUN = "#!/bin/sh\nexec python3 server.py\n"


@pytest.fixture(scope="module")
def layer(aws_client, zip_of) -> str:
    """The adapter's layer, as its own project packs it."""
    adapter = rust_program("lambda_web_adapter", "1.0.0-rc1", "lambda-adapter")
    files = {"extensions/lambda-adapter": adapter, "bootstrap": WRAPPER}
    archive = zip_of(files, executable=tuple(files))
    published = aws_client("lambda").publish_layer_version(LayerName="web-adapter", Content={"ZipFile": archive})
    return published["LayerVersionArn"]


@pytest.fixture
def serving(deploy, layer):
    """`serving(VARIABLE=…)` deploys the web server behind the adapter."""

    def create(**variables: str) -> str:
        variables = {"AWS_LAMBDA_EXEC_WRAPPER": "/opt/bootstrap", "PORT": str(machine.free_port()), **variables}
        return deploy(
            {"server.py": SERVER, "run.sh": RUN},
            handler="run.sh",
            executable=("run.sh",),
            Layers=[layer],
            Timeout=20,
            MemorySize=256,
            Environment={"Variables": variables},
        )

    return create


def test_a_web_server_answers_behind_a_function_url(serving, aws_client, gateway):
    name = serving()
    url = give_url(aws_client("lambda"), name)
    posted = call(
        gateway, f"{url}things?a=1&b=%C3%A4", "POST", b"some text", {"content-type": "text/plain", "cookie": "c=3"}
    )
    assert (posted.status, posted.cookies) == (200, ["a=1", "b=2"])
    expected = {
        "method": "POST",
        "path": "/things?a=1&b=%C3%A4",
        "body": "some text",
        "cookie": "c=3",
        "function": name,
    }
    assert expected.items() <= posted.json.items()
    missing = call(gateway, f"{url}missing")
    assert missing.status == 404
    assert missing.json["process"] == posted.json["process"], "one environment, one server"


def test_an_event_that_is_no_request_is_passed_on(serving, invoke):
    outcome = invoke(serving(), {"Records": [{"body": "one"}]})
    assert outcome.error is None
    assert outcome.payload["path"] == "/events"
    assert json.loads(outcome.payload["body"]) == {"Records": [{"body": "one"}]}


def test_what_the_server_streams_arrives_piece_by_piece(serving, aws_client, gateway):
    name = serving(AWS_LWA_INVOKE_MODE="response_stream")
    url = give_url(aws_client("lambda"), name, InvokeMode="RESPONSE_STREAM")
    with Rendezvous() as place, opened(gateway, f"{url}stream?port={place.port}") as response:
        for number in range(3):
            assert response.read1(65536) == b"chunk %d\n" % number
            place.await_guests(1)
            place.let_go()
        assert response.read() == b""


def test_a_server_that_ends_fails_its_invocation_and_a_new_one_takes_its_place(serving, aws_client, gateway):
    name = serving()
    url = give_url(aws_client("lambda"), name)
    assert call(gateway, url).status == 200
    assert call(gateway, f"{url}exit").status == 502
    machine.eventually(lambda: call(gateway, url).status == 200, "a new environment answers")


def test_the_log_has_the_extension_and_the_lines_of_the_server(serving, invoke, aws_client):
    name = serving()
    assert invoke(name, {}).error is None
    events = aws_client("logs").filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
    lines = [event["message"] for event in events]
    assert any(line.startswith("EXTENSION\tName: lambda-adapter\tState: Ready") for line in lines), lines
    assert any('"POST /events HTTP/1.1" 200' in line for line in lines), lines
