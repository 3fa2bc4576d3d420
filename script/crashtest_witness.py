"""The witness of a crash test: functions tell it which event they got."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import Counter
from collections.abc import Iterable

FAILING = "f"
"""An event whose id begins so is to fail at its first delivery, so that it has to be delivered again."""


class Witness:
    """A server that is told ids of events, one a connection, and answers whether the function is to fail."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._changed = threading.Condition()
        self._server = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self._server.getsockname()[1]

    def __enter__(self) -> Witness:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()

    def wanted(self, event: str) -> int:
        """How often an event is delivered when nothing is killed."""
        return 2 if event.startswith(FAILING) else 1

    def await_all(self, events: Iterable[str], patience_s: float) -> set[str]:
        """Wait until all events came as often as they must; the answer is which did not in time."""

        def missing() -> set[str]:
            return {event for event in events if self.counts[event] < self.wanted(event)}

        with self._changed:
            # New deliveries are the only thing that changes the answer; a pause of that length ends the hope.
            while (left := missing()) and self._changed.wait(patience_s):
                pass
        return left

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._hear, args=(connection,), daemon=True).start()

    def _hear(self, connection: socket.socket) -> None:
        with connection:
            event = connection.recv(100).decode()
            if not event:
                return
            with self._changed:
                self.counts[event] += 1
                fails = self.counts[event] < self.wanted(event)
                self._changed.notify_all()
            with contextlib.suppress(OSError):  # Killed in between; it was delivered all the same.
                connection.sendall(b"fail" if fails else b"good")
