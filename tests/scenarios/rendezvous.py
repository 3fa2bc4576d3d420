"""A place where function invocations meet: proof that they run at the same time, and a hold on each of them."""

from __future__ import annotations

import contextlib
import socket
from types import TracebackType

PATIENCE_S = 120.0

MEET = """
import os, socket
me = os.urandom(8).hex()
def meet(port):
    with socket.create_connection(("127.0.0.1", port)) as there:
        there.recv(1)
    return me
def handler(event, context):
    return meet(event)
"""
"""A function that comes to the place at the port in its event, waits to be let go, and tells which initialised runtime it is."""


class Rendezvous:
    """Takes connections on `port` of the loopback interface and keeps them until they are let go."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._listener.settimeout(PATIENCE_S)
        self._guests: list[socket.socket] = []
        self.port: int = self._listener.getsockname()[1]

    def await_guests(self, count: int) -> None:
        """Return when `count` are here at the same time; TimeoutError when they do not come."""
        while len(self._guests) < count:
            guest, _ = self._listener.accept()
            guest.settimeout(PATIENCE_S)
            self._guests.append(guest)

    def await_end(self) -> None:
        """Return when the only guest's process is gone, or has hung up."""
        with contextlib.suppress(ConnectionResetError):
            assert self._guests[0].recv(1) == b""

    def let_go(self) -> None:
        """Send everybody on."""
        guests, self._guests = self._guests, []
        for guest in guests:
            with contextlib.suppress(OSError), guest:
                guest.sendall(b"x")

    def hang_up(self) -> None:
        """The other way to let a guest know: its connection ends."""
        self._guests[0].shutdown(socket.SHUT_WR)

    def __enter__(self) -> Rendezvous:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.let_go()
        self._listener.close()
