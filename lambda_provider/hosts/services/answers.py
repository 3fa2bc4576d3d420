"""The addresses at which functions answer for custom resources."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable, Iterable
from typing import Any

PATH = "/_cloudformation/custom-resource-response/"
"""`PUT` of the answer, followed by what only the function was told."""


class Answers:
    """Answers that are waited for, by the last part of their address."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: dict[str, dict[str, Any] | None] = {}

    def expect(self) -> str:
        """A new address."""
        key = secrets.token_urlsafe(24)
        with self._changed:
            self._waiting[key] = None
        return key

    def take(self, key: str, body: bytes) -> bool:
        """An answer has come; False if nobody waits for it (any more)."""
        answer = json.loads(body)
        with self._changed:
            if key not in self._waiting:
                return False
            self._waiting[key] = answer
            self._changed.notify_all()
            return True

    def wait(self, key: str, timeout_s: float) -> dict[str, Any] | None:
        """The answer, or None when it has not come in time. Nobody waits any more then."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting[key] is not None, timeout_s)
            return self._waiting.pop(key)


answers = Answers()

WsgiApplication = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def with_answers(application: WsgiApplication) -> WsgiApplication:
    """The application, and the addresses to which functions answer."""

    def serve(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if not path.startswith(PATH):
            return application(environ, start_response)
        try:
            body = environ["wsgi.input"].read()
            status = "200 OK" if answers.take(path.removeprefix(PATH), body) else "403 Forbidden"
        except ValueError:
            status = "400 Bad Request"
        start_response(status, [("Content-Type", "text/plain")])
        return [b""]

    return serve
