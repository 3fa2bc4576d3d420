"""A small Runtime API and real Node.js processes that talk to it.

The fake stores what a runtime client posts, byte for byte, and hands out events one at a time. It knows nothing of
functions; each test says what the client has to answer.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import lambda_runtime.executors

BOOTSTRAP = Path(lambda_runtime.executors.__file__).parent / "process" / "runtimes" / "nodejs" / "bootstrap.cjs"
PATIENCE_S = 60
"""How long to wait for a post before a test fails; no test needs it when all is well."""


@dataclass
class Post:
    """One POST of the runtime client: `chunks` when it was sent with chunked encoding, `trailers` in lower case."""

    path: str
    headers: dict[str, str]
    body: bytes
    chunks: list[bytes] = field(default_factory=list)
    trailers: dict[str, str] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """`response`, `error` or `init/error`."""
        return "init/error" if self.path.endswith("/init/error") else self.path.rpartition("/")[2]

    def json(self) -> Any:
        return json.loads(self.body)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: FakeRuntimeApi

    def do_GET(self) -> None:
        event = self.server.events.get()
        if event is None:
            self.close_connection = True
            return
        headers, payload = event
        self.send_response(200)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def do_POST(self) -> None:
        post = Post(self.path, {name.lower(): value for name, value in self.headers.items()}, b"")
        if post.headers.get("transfer-encoding") == "chunked":
            self._read_chunks(post)
        else:
            post.body = self.rfile.read(int(post.headers["content-length"]))
        self.server.posts.put(post)
        self.send_response(202)
        self.send_header("Content-Length", "16")
        self.end_headers()
        self.wfile.write(b'{"status":"OK"}\n')

    def _read_chunks(self, post: Post) -> None:
        self.server.reading_chunks.wait(PATIENCE_S)
        while size := int(self.rfile.readline(), 16):
            post.chunks.append(self.rfile.read(size))
            assert self.rfile.readline() == b"\r\n"
            self.server.chunks.put(post.chunks[-1])
        while line := self.rfile.readline().strip():
            name, _, value = line.decode().partition(":")
            post.trailers[name.lower()] = value.strip()
        post.body = b"".join(post.chunks)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the tests' output clean."""


class FakeRuntimeApi(ThreadingHTTPServer):
    """Hands out events; `posts` and `chunks` fill as the client sends them. Clear `reading_chunks` to stop reading."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.events: queue.Queue[tuple[dict[str, str], bytes] | None] = queue.Queue()
        self.posts: queue.Queue[Post] = queue.Queue()
        self.chunks: queue.Queue[bytes] = queue.Queue()
        self.reading_chunks = threading.Event()
        self.reading_chunks.set()
        self.connections = 0
        self.ids = 0

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections += 1
        super().process_request(request, client_address)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def put(self, event: Any = None, headers: Mapping[str, str] | None = None, *, payload: bytes | None = None) -> str:
        """Queue one event; the answer is its request id (`request-1`, `request-2`, …)."""
        self.ids += 1
        request_id = f"request-{self.ids}"
        all_headers = {
            "Content-Type": "application/json",
            "Lambda-Runtime-Aws-Request-Id": request_id,
            "Lambda-Runtime-Deadline-Ms": "4102444800000",
            "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:eu-central-1:111111111111:function:fn",
            "Lambda-Runtime-Trace-Id": f"Root=1-{self.ids};Parent=2;Sampled=0",
            **(headers or {}),
        }
        self.events.put((all_headers, json.dumps(event).encode() if payload is None else payload))
        return request_id

    def post(self) -> Post:
        """The next POST of the client."""
        return self.posts.get(timeout=PATIENCE_S)

    def invoke(self, event: Any = None, headers: Mapping[str, str] | None = None) -> Post:
        """Queue one event and wait for what the client makes of it."""
        self.put(event, headers)
        return self.post()


@dataclass
class NodeRuntime:
    """A runtime client in its own process with its own task directory."""

    api: FakeRuntimeApi
    process: subprocess.Popen[bytes]
    output_file: Path
    telemetry_fd: int | None = None

    def invoke(self, event: Any = None, headers: Mapping[str, str] | None = None) -> Post:
        return self.api.invoke(event, headers)

    def post(self) -> Post:
        return self.api.post()

    def exit_code(self) -> int:
        """Wait until the process ended by itself."""
        return self.process.wait(PATIENCE_S)

    def output(self) -> str:
        """What the process wrote to stdout and stderr so far."""
        return self.output_file.read_text()

    def lines(self) -> list[str]:
        return self.output().splitlines()

    def telemetry(self) -> bytes:
        """Everything on the telemetry descriptor; the process has to be gone."""
        assert self.telemetry_fd is not None
        with os.fdopen(self.telemetry_fd, "rb") as stream:
            self.telemetry_fd = None
            return stream.read()

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self.api.events.put(None)
        self.api.shutdown()
        self.api.server_close()
        if self.telemetry_fd is not None:
            os.close(self.telemetry_fd)


class NodeRuntimes:
    """Starts runtime clients and ends them after the test."""

    def __init__(self, directory: Path, node: str) -> None:
        self.directory = directory
        self.node = node
        self.started: list[NodeRuntime] = []

    def start(
        self,
        files: str | Mapping[str, str],
        handler: str = "index.handler",
        *,
        variables: Mapping[str, str] | None = None,
        command: list[str] | None = None,
        telemetry: bool = False,
        non_blocking: bool = False,
    ) -> NodeRuntime:
        """Run `files` (a string is `index.js`) as a function; `non_blocking` is about the telemetry descriptor."""
        root = self.directory / f"fn{len(self.started)}"
        task = root / "task"
        task.mkdir(parents=True)
        for name, text in ({"index.js": files} if isinstance(files, str) else files).items():
            path = task / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        api = FakeRuntimeApi()
        threading.Thread(target=api.serve_forever, args=(0.01,), daemon=True).start()
        environment = {
            "PATH": os.environ["PATH"],
            "AWS_LAMBDA_RUNTIME_API": api.address,
            "AWS_EXECUTION_ENV": "AWS_Lambda_nodejs20.x",
            "AWS_LAMBDA_FUNCTION_NAME": "fn",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
            "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/fn",
            "AWS_LAMBDA_LOG_STREAM_NAME": "2024/01/01/[$LATEST]0",
            "LAMBDA_TASK_ROOT": str(task),
            "_HANDLER": handler,
            **(variables or {}),
        }
        read_fd, write_fd = os.pipe() if telemetry else (None, None)
        if write_fd is not None:
            os.set_blocking(write_fd, not non_blocking)
            environment["_LAMBDA_TELEMETRY_LOG_FD"] = str(write_fd)
        output_file = root / "output"
        with output_file.open("wb") as output:
            process = subprocess.Popen(
                command or [self.node, str(BOOTSTRAP)],
                env=environment,
                cwd=task,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=[] if write_fd is None else [write_fd],
            )
        if write_fd is not None:
            os.close(write_fd)
        runtime = NodeRuntime(api, process, output_file, read_fd)
        self.started.append(runtime)
        return runtime

    def stop(self) -> None:
        for runtime in self.started:
            runtime.stop()


@pytest.fixture
def node_runtimes(tmp_path: Path) -> Iterator[NodeRuntimes]:
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node.js is not installed")
    runtimes = NodeRuntimes(tmp_path, node)
    try:
        yield runtimes
    finally:
        runtimes.stop()
