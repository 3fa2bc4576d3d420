"""Who is at the other end of a connection on this machine.

Environments share the machine's network, so any of them can connect to the Runtime API of another one, and would get its events.
Who it was is asked of the kernel once a connection: by sock_diag(7) in some 15 µs, or where that is not offered in /proc/net/tcp.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass

Address = tuple[str, int]
"""An IPv4 address and a port."""

_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY, _NLMSG_ERROR = 4, 20, 2
_HEADER = struct.Struct("=IHHII")
_REQUEST = struct.Struct("=BBBxI")
_PORTS = struct.Struct("!HH4s12x4s12x")
_NO_COOKIE = struct.pack("=III", 0, 0xFFFFFFFF, 0xFFFFFFFF)
_STATE_OFFSET, _SYN_SENT, _LISTEN = _HEADER.size + 1, 2, 10
_OWNER = struct.Struct("=II")
_OWNER_OFFSET = _HEADER.size + 4 + 48 + 12
"""Of uid and inode in an answer: after the state of four bytes, the addresses, and three counters (linux/inet_diag.h)."""
_LOOKS = 3


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose a socket is."""

    uid: int
    """The user that made it, as this process numbers users."""
    inode: int
    """Its number in /proc/PID/fd; 0 when no process has it open any more."""


def owner_of(peer: Address, local: Address) -> Owner | None:
    """The owner of the socket at `peer` that is connected to `local`; None if there is none any more.

    Raises OSError when the machine does not tell.
    """
    try:
        return _ask(peer, local)
    except OSError:
        return _look_up(peer, local)


def holds(pids: Iterable[int], inode: int) -> bool:
    """Whether one of these processes has the socket open."""
    wanted = f"socket:[{inode}]"
    for pid in pids if inode else ():
        try:
            descriptors = os.scandir(f"/proc/{pid}/fd")
        except OSError:  # It ended meanwhile.
            continue
        with descriptors:
            if any(_target(entry.path) == wanted for entry in descriptors):
                return True
    return False


def _target(path: str) -> str:
    try:
        return os.readlink(path)  # noqa: PTH115 - asked of every descriptor
    except OSError:
        return ""


def _ask(peer: Address, local: Address) -> Owner | None:
    request = _REQUEST.pack(socket.AF_INET, socket.IPPROTO_TCP, 0, 0xFFFFFFFF)
    request += _PORTS.pack(peer[1], local[1], socket.inet_aton(peer[0]), socket.inet_aton(local[0])) + _NO_COOKIE
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK  # The kernel answers before `send` returns.
    with socket.socket(socket.AF_NETLINK, kind, _NETLINK_SOCK_DIAG) as diag:
        diag.send(_HEADER.pack(_HEADER.size + len(request), _SOCK_DIAG_BY_FAMILY, 1, 0, 0) + request)
        answer = diag.recv(4096)
    if _HEADER.unpack_from(answer)[1] == _NLMSG_ERROR:
        number = -struct.unpack_from("=i", answer, _HEADER.size)[0]
        if number != 2:  # ENOENT: there is no such connection.
            raise OSError(number, os.strerror(number))
        return None
    if answer[_STATE_OFFSET] in (_SYN_SENT, _LISTEN):
        return None  # Of somebody who has the port now; the one who was accepted from there has gone.
    return Owner(*_OWNER.unpack_from(answer, _OWNER_OFFSET))


def _look_up(peer: Address, local: Address) -> Owner | None:
    wanted = [_in_hex(peer), _in_hex(local)]
    for _ in range(_LOOKS):  # The kernel writes the table piece by piece, and may leave out what is in it all the time.
        with open("/proc/net/tcp", "rb") as file:  # noqa: PTH123
            for line in file:
                fields = line.split()
                if fields[1:3] == wanted:
                    return None if int(fields[3], 16) == _SYN_SENT else Owner(int(fields[7]), int(fields[9]))
    return None


def _in_hex(address: Address) -> bytes:
    (number,) = struct.unpack("=I", socket.inet_aton(address[0]))
    return b"%08X:%04X" % (number, address[1])
