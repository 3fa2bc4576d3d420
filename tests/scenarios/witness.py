"""Who hears that a function ran: proof of each run, also of those whose answer nobody gets."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Callable
from types import TracebackType

PATIENCE_S = 60.0

TELLS = """
import socket
def tell(port, text):
    with socket.create_connection(("127.0.0.1", port)) as there:
        there.sendall(text.encode())
"""
"""What a function tells with: `tell(event["port"], "I ran")`."""


class Witness:
    """Remembers what functions tell, in order. `port` is on the loopback interface."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self._news = threading.Condition()
        witness = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                text = self.rfile.read().decode()
                with witness._news:
                    witness.heard.append(text)
                    witness._news.notify_all()

        class Server(socketserver.TCPServer):  # One after the other, so that the order is kept.
            request_queue_size = 512

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def until(self, condition: Callable[[list[str]], bool], patience_s: float = PATIENCE_S) -> list[str]:
        """What was heard, once `condition` is true of it; fails when it does not become true."""
        with self._news:
            assert self._news.wait_for(lambda: condition(self.heard), patience_s), self.heard
            return list(self.heard)

    def __enter__(self) -> Witness:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
