"""An archive of the classes that AWS's client for Java loads (application class-data sharing), made once a virtual machine.

Made by running the client for a few events of a made-up function: what it loaded until then is written when it ends. A cold
start takes a third of the time.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import logging
import os
import queue
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from lambda_runtime.executors.process.languages import java_client
from lambda_runtime.executors.process.languages.base import Interpreter

log = logging.getLogger(__name__)

_FIRST_WITH_ARCHIVES = 13
_HANDLER = "java.util.ArrayList::add"
"""A class that every machine has, which the client runs as a function: it takes any event and answers a boolean."""
_EVENTS = (b'{"text": "a", "list": [1, 2.5, {"object": null}]}', b"[1]", b'"text"')
_PATIENCE_S = 60
_making = threading.Lock()


def of(interpreter: Interpreter, client: java_client.JavaClient) -> str | None:
    """The archive below the client's directory, made if there is none, which takes a second or two. None if it cannot be made."""
    if interpreter.version[0] < _FIRST_WITH_ARCHIVES:
        return None
    with _making:
        if (found := existing(interpreter, client)) is not None:
            return found
        name = _name(interpreter)
        try:
            _make(interpreter, client, client.directory / name)
        except (OSError, subprocess.SubprocessError, queue.Empty) as error:
            log.warning(
                "the classes of AWS's client for Java could not be archived, cold starts take longer: %s", error
            )
        return existing(interpreter, client)


def existing(interpreter: Interpreter, client: java_client.JavaClient) -> str | None:
    """The archive below the client's directory, if it was made."""
    name = _name(interpreter)
    return name if (client.directory / name).is_file() else None


def _name(interpreter: Interpreter) -> str:
    """Of this very virtual machine: another one would refuse it."""
    library = interpreter.prefix / "lib" / "server" / "libjvm.so"
    facts = library.stat() if library.exists() else None
    identity = (str(interpreter), facts.st_size if facts else 0, facts.st_mtime_ns if facts else 0)
    return f"{hashlib.sha256(repr(identity).encode()).hexdigest()[:16]}.jsa"


def _make(interpreter: Interpreter, client: java_client.JavaClient, target: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="lambda-java-") as folder, _runtime_api() as (address, idle):
        draft = target.with_suffix(f".{os.getpid()}")
        command = [
            str(interpreter.executable),
            "-Xshare:auto",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            f"-XX:ArchiveClassesAtExit={draft}",
            "--add-opens=java.base/java.io=ALL-UNNAMED",
            *(["--enable-native-access=ALL-UNNAMED"] if interpreter.version[0] >= 22 else []),
            *([f"-D{java_client.NATIVE_PROPERTY}={client.directory / client.native}"] if client.native else []),
            "-cp",
            ":".join(str(client.directory / jar) for jar in client.jars),
            java_client.MAIN_CLASS,
            _HANDLER,
        ]
        variables = {
            "AWS_LAMBDA_RUNTIME_API": address,
            "_HANDLER": _HANDLER,
            "AWS_LAMBDA_FUNCTION_NAME": "archive",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
            "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/archive",
            "AWS_LAMBDA_LOG_STREAM_NAME": "archive",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_REGION": "us-east-1",
            "LAMBDA_TASK_ROOT": folder,
            "LANG": "en_US.UTF-8",
            "_LAMBDA_TELEMETRY_LOG_FD": "1",
        }
        process = subprocess.Popen(
            command,
            env=variables,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            idle.get(timeout=_PATIENCE_S)
            process.terminate()  # It writes the archive before it ends.
            process.wait(_PATIENCE_S)
        finally:
            process.kill()
            process.wait()
        draft.rename(target)


@contextlib.contextmanager
def _runtime_api() -> Iterator[tuple[str, queue.Queue[None]]]:
    """A Runtime API with a few events; its address, and a queue that gets an item when they are all answered."""
    idle: queue.Queue[None] = queue.Queue()
    over = threading.Event()
    events = iter(_EVENTS)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            event = next(events, None)
            if event is None:
                idle.put(None)
                over.wait()
                self.close_connection = True
                return
            self.send_response(200)
            self.send_header("Lambda-Runtime-Aws-Request-Id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd")
            self.send_header("Lambda-Runtime-Deadline-Ms", "4102444800000")
            self.send_header(
                "Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:000000000000:function:archive"
            )
            self.send_header("Lambda-Runtime-Trace-Id", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Sampled=0")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(event)))
            self.end_headers()
            self.wfile.write(event)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(202)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *values: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}", idle
        finally:
            over.set()
            server.shutdown()
            thread.join()
