"""Hears what extensions in functions have to say, and answers when the test lets it."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

PATIENCE_S = 60.0

EXTENSION = """#!/usr/bin/env python3
import http.server, json, os, sys, threading, time, urllib.request

API = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"]
NAME = os.path.basename(sys.argv[0])
PLAN = json.loads(os.environ.get("PLAN", "{}")).get(NAME, {})

def tell(what, value=None):
    body = json.dumps({"name": NAME, "pid": os.getpid(), "what": what, "value": value}).encode()
    with urllib.request.urlopen("http://127.0.0.1:" + os.environ["RECORDER"], body) as answer:
        return answer.read()

def call(method, path, body=None, **headers):
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(API + path, data, headers, method=method)) as answer:
        return answer.headers, json.loads(answer.read() or b"null")

class Listener(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        tell("telemetry", json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *_):
        pass

if PLAN.get("dies") == "before register":
    sys.exit(3)
headers, answer = call("POST", "/2020-01-01/extension/register", {"events": PLAN.get("events", ["INVOKE", "SHUTDOWN"])},
                       **{"Lambda-Extension-Name": NAME})
ME = {"Lambda-Extension-Identifier": headers["Lambda-Extension-Identifier"]}
if PLAN.get("dies") == "after register":
    sys.exit(3)
if "subscribe" in PLAN:
    server = http.server.ThreadingHTTPServer((PLAN.get("host", "127.0.0.1"), PLAN["port"]), Listener)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    destination = {"protocol": "HTTP", "URI": "http://sandbox.localdomain:%d" % PLAN["port"]}
    call("PUT", "/2022-07-01/telemetry", {"schemaVersion": "2022-12-13", "types": PLAN["subscribe"],
         "destination": destination, "buffering": {"timeoutMs": 25}}, **ME)
tell("registered", answer)
print("extension is up", flush=True)
while True:
    event = call("GET", "/2020-01-01/extension/event/next", **ME)[1]
    if PLAN.get("dies") == "in the invocation" and event["eventType"] == "INVOKE":
        sys.exit(3)
    tell(event["eventType"], event)
    if event["eventType"] == "SHUTDOWN":
        break
"""
"""An extension that tells the recorder at the port in `RECORDER` of everything; `PLAN` is what each extension does, by name."""


class Recorder:
    """An HTTP server on `port` of the loopback interface. Names in `held` get no answer until they are let go."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.held: set[str] = set()
        self._changed = threading.Condition()
        recorder = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                recorder._take(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def whats(self, name: str) -> list[str]:
        """What an extension has told, but for telemetry."""
        with self._changed:
            return [each["what"] for each in self.messages if each["name"] == name and each["what"] != "telemetry"]

    def values(self, what: str) -> list[Any]:
        """The values that came with messages of a kind."""
        with self._changed:
            return [each["value"] for each in self.messages if each["what"] == what]

    def telemetry(self) -> list[dict[str, Any]]:
        """The events of all batches, in the order in which they came."""
        return [event for batch in self.values("telemetry") for event in batch]

    def await_that(self, condition: Callable[[], object], what: str) -> None:
        """Return when the condition holds; fails when that takes too long."""
        until = time.monotonic() + PATIENCE_S
        with self._changed:
            while not condition():
                left = until - time.monotonic()
                assert left > 0, f"{what}: not after {PATIENCE_S} s; {self.messages}"
                self._changed.wait(left)

    def hold(self, what: str) -> None:
        """Keep those waiting who tell this."""
        with self._changed:
            self.held.add(what)

    def let_go(self) -> None:
        """Answer everybody."""
        with self._changed:
            self.held.clear()
            self._changed.notify_all()

    def _take(self, message: dict[str, Any]) -> None:
        with self._changed:
            self.messages.append(message)
            self._changed.notify_all()
            while message["what"] in self.held:
                self._changed.wait()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.let_go()
        self._server.shutdown()
        self._server.server_close()
