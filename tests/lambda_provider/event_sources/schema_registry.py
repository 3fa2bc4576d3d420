"""A schema registry with Confluent's REST interface, for tests."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any


class SchemaRegistry:
    """Answers `/schemas/ids/ID` from `schemas`, and paths from `answers`."""

    def __init__(self) -> None:
        self.schemas: dict[int, dict[str, Any]] = {}
        self.answers: dict[str, dict[str, Any]] = {}
        self.asked: list[str] = []
        self.authorizations: set[str | None] = set()
        self.failing = 0
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                registry.asked.append(self.path)
                registry.authorizations.add(self.headers["Authorization"])
                if registry.failing:
                    registry.failing -= 1
                    self.send_error(503)
                    return
                answer = registry.answers.get(self.path)
                if answer is None and self.path.startswith("/schemas/ids/"):
                    answer = registry.schemas.get(int(self.path.rpartition("/")[2].partition("?")[0]))
                if answer is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.end_headers()
                self.wfile.write(json.dumps(answer).encode())

            def log_message(self, format: str, *args: Any) -> None:
                """Not on the terminal."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> SchemaRegistry:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def marked(id_: int, content: bytes) -> bytes:
    """What Confluent's serialisers write."""
    return b"\0" + id_.to_bytes(4, "big") + content
