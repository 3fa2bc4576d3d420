"""Whose a connection is."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator

import pytest

from lambda_runtime.executors.process import peers
from lambda_runtime.executors.process.peers import Owner, holds, owner_of

Connection = tuple[socket.socket, socket.socket]


@pytest.fixture
def connection() -> Iterator[Connection]:
    """Both ends: who connected, from an address whose ports nobody else takes, and who was connected to."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        caller = socket.create_connection(listener.getsockname(), source_address=("127.80.79.78", 0))
        called, _ = listener.accept()
        with caller, called:
            yield caller, called


@pytest.fixture(params=["sock_diag", "/proc/net/tcp"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to ask."""
    if request.param != "sock_diag":

        def not_offered(peer: peers.Address, local: peers.Address) -> Owner | None:
            raise OSError("not offered")

        monkeypatch.setattr(peers, "_ask", not_offered)


@pytest.mark.usefixtures("way")
def test_the_owner_is_who_connected(connection: Connection) -> None:
    caller, called = connection
    owner = owner_of(called.getpeername(), called.getsockname())
    assert owner == Owner(os.getuid(), os.fstat(caller.fileno()).st_ino)


@pytest.mark.usefixtures("way")
def test_a_connection_that_is_not_there_has_no_owner(connection: Connection) -> None:
    _, called = connection
    assert owner_of(("127.0.0.2", 1), called.getsockname()) is None


def test_who_has_a_socket_open(connection: Connection) -> None:
    inode = os.fstat(connection[0].fileno()).st_ino
    assert holds([os.getpid()], inode)
    assert not holds([os.getppid()], inode)
    assert not holds([2**22 + 1, os.getpid()], inode + 1_000_000)


@pytest.mark.usefixtures("way")
def test_a_socket_that_nobody_has_open_any_more_is_nobodys(connection: Connection) -> None:
    caller, called = connection
    peer, local = called.getpeername(), called.getsockname()
    caller.close()
    owner = owner_of(peer, local)
    assert owner is None or owner.inode == 0
    assert not holds([os.getpid()], 0)


@pytest.mark.usefixtures("way")
def test_who_has_the_port_after_the_caller_is_not_who_called(connection: Connection) -> None:
    caller, called = connection
    peer, local = called.getpeername(), called.getsockname()
    caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    caller.close()  # With a reset, so that the port is free at once.
    with socket.create_server(peer):
        assert owner_of(peer, local) is None


@pytest.mark.usefixtures("way")
def test_who_is_about_to_connect_is_not_who_called() -> None:
    """A port from which a connection was accepted may be in use by the next one, to a listener that accepts no more."""
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        first.connect(listener.getsockname())
        second.setblocking(False)
        with pytest.raises(BlockingIOError):
            second.connect(listener.getsockname())
        assert owner_of(second.getsockname(), listener.getsockname()) is None
