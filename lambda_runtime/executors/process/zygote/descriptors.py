"""What a function has open when its process becomes a snapshot, and what each restored environment has instead.

A fork shares open files with its parent: positions in files, connections, event queues. A restored environment must have them to
itself, as after the restore of a machine: files at the position of the snapshot, pipes and event queues of its own, and
connections that are broken, because their other ends did not wait
(https://docs.aws.amazon.com/lambda/latest/dg/snapstart-best-practices.html, "Network connections").
"""

from __future__ import annotations

import _socket
import array
import ctypes
import errno
import fcntl
import os
import re
import select
import stat
import struct
import termios
from typing import Callable

_TMP = "/tmp/"
_DELETED = " (deleted)"
_CREATION = os.O_CREAT | os.O_EXCL | os.O_TRUNC
_WATCHED = re.compile(r"^tfd:\s*(\d+)\s+events:\s*([0-9a-f]+)\s+data:\s*([0-9a-f]+)", re.MULTILINE)
_COUNT = re.compile(r"^eventfd-count:\s*([0-9a-f]+)", re.MULTILINE)
_EPOLL_CTL_ADD = 1
_libc = ctypes.CDLL(None, use_errno=True)

Renewal = Callable[[], None]


class Unfit(Exception):
    """The process cannot become a snapshot; the message says what stands in the way: `it has …`."""


class OpenFiles:
    """The descriptors of a process at the moment of its snapshot. Raises Unfit if some cannot be had again."""

    def __init__(self, ours: set[int], log: os.stat_result) -> None:
        """`ours` are descriptors that the function does not know of, `log` is the pipe to which its output goes."""
        self._renewals: list[Renewal] = []
        self._queues: list[Renewal] = []
        self._log_descriptors: list[int] = []
        pipes: dict[int, list[int]] = {}
        sockets: dict[int, list[int]] = {}
        for descriptor in sorted(int(name) for name in os.listdir("/proc/self/fd")):
            if descriptor in ours:
                continue
            try:
                status = os.fstat(descriptor)
            except OSError:
                continue  # That of the list itself.
            if (status.st_dev, status.st_ino) == (log.st_dev, log.st_ino):
                self._log_descriptors.append(descriptor)
            elif stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode):
                self._file(descriptor, directory=stat.S_ISDIR(status.st_mode))
            elif stat.S_ISFIFO(status.st_mode):
                pipes.setdefault(status.st_ino, []).append(descriptor)
            elif stat.S_ISSOCK(status.st_mode):
                sockets.setdefault(status.st_ino, []).append(descriptor)
            elif not stat.S_IFMT(status.st_mode):
                self._anonymous(descriptor, os.readlink(f"/proc/self/fd/{descriptor}"))
        for ends in pipes.values():
            self._pipe(ends)
        self._sockets(list(sockets.values()))

    def renew(self) -> None:
        """In a forked process: let go of what is shared with the snapshot. /tmp must be the new one."""
        for renewal in (*self._renewals, *self._queues):
            renewal()

    def log_to(self, output: int) -> None:
        """Have everything that went to the function's log go to this pipe."""
        for descriptor in self._log_descriptors:
            os.dup2(output, descriptor, os.get_inheritable(descriptor))

    def _file(self, descriptor: int, *, directory: bool) -> None:
        flags = fcntl.fcntl(descriptor, fcntl.F_GETFL) & ~_CREATION
        position = os.lseek(descriptor, 0, os.SEEK_CUR)
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        if path.startswith("/memfd:"):
            raise Unfit("it has shared memory open")
        if directory and path.endswith(_DELETED):
            raise Unfit("it has a directory open that was deleted")

        def renew() -> None:
            in_tmp = f"{path}/".startswith(_TMP)
            if in_tmp and path.endswith(_DELETED):
                new = _unnamed_copy(descriptor)
            else:
                new = os.open(path if in_tmp else f"/proc/self/fd/{descriptor}", flags)
            os.lseek(new, position, os.SEEK_SET)
            _replace(descriptor, new)

        self._renewals.append(renew)

    def _pipe(self, ends: list[int]) -> None:
        if _unread(ends[0]):
            raise Unfit("it has a pipe with something in it that nobody has read")

        def renew() -> None:
            new = dict(zip((os.O_RDONLY, os.O_WRONLY), os.pipe()))
            for descriptor in ends:
                access = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE
                _replace(descriptor, os.dup(new[os.O_RDONLY if access == os.O_RDONLY else os.O_WRONLY]))
            for descriptor in new.values():
                os.close(descriptor)

        self._renewals.append(renew)

    def _anonymous(self, descriptor: int, kind: str) -> None:
        with open(f"/proc/self/fdinfo/{descriptor}", encoding="ascii") as file:
            details = file.read()
        if kind == "anon_inode:[eventpoll]":
            watched = [(int(tfd), int(events, 16), int(data, 16)) for tfd, events, data in _WATCHED.findall(details)]
            self._queues.append(lambda: _replace(descriptor, _new_epoll(watched)))
        elif kind == "anon_inode:[eventfd]" and (count := _COUNT.search(details)) is not None:
            value, flags = int(count[1], 16), fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_NONBLOCK
            self._renewals.append(lambda: _replace(descriptor, _check(_libc.eventfd(value, flags))))
        else:
            raise Unfit(f"it has {kind.partition(':')[2].strip('[]') or kind} open")

    def _sockets(self, groups: list[list[int]]) -> None:
        pairs: dict[int, tuple[list[int], _socket.socket]] = {}
        for descriptors in groups:
            end = _socket.socket(fileno=os.dup(descriptors[0]))
            if end.family in (_socket.AF_INET, _socket.AF_INET6):
                if end.type == _socket.SOCK_STREAM and end.getsockopt(_socket.SOL_SOCKET, _socket.SO_ACCEPTCONN):
                    raise Unfit("it listens on a port")
            elif end.family == _socket.AF_UNIX and not end.getsockname() and _unnamed_peer(end):
                pairs[end.fileno()] = (descriptors, end)
                continue
            self._renewals.append(_new_socket(descriptors, end))
        while pairs:
            _, (descriptors, end) = pairs.popitem()
            other = _other_end(end, [candidate for _, candidate in pairs.values()])
            if other is None:
                self._renewals.append(_new_socket(descriptors, end))
            else:
                self._renewals.append(_new_pair(descriptors, pairs.pop(other.fileno())[0], end.type))


def _replace(descriptor: int, new: int) -> None:
    """Put `new` in the place of a descriptor, with its flags."""
    inheritable = os.get_inheritable(descriptor)
    fcntl.fcntl(new, fcntl.F_SETFL, fcntl.fcntl(descriptor, fcntl.F_GETFL))
    os.dup2(new, descriptor, inheritable)
    os.close(new)


def _unnamed_copy(descriptor: int) -> int:
    new = os.open(_TMP, os.O_TMPFILE | os.O_RDWR, 0o600)
    offset, size = 0, os.fstat(descriptor).st_size
    while offset < size:
        offset += os.write(new, os.pread(descriptor, min(size - offset, 1 << 20), offset))
    return new


def _new_epoll(watched: list[tuple[int, int, int]]) -> int:
    new = _check(_libc.epoll_create1(0))
    for descriptor, events, data in watched:
        # struct epoll_event is packed on x86-64 only.
        layout = "=IQ" if os.uname().machine == "x86_64" else "@I4xQ"
        event = ctypes.create_string_buffer(struct.pack(layout, events, data))
        _check(_libc.epoll_ctl(new, _EPOLL_CTL_ADD, descriptor, event))
    return new


def _new_socket(descriptors: list[int], old: _socket.socket) -> Renewal:
    """A socket like the old one, not connected: whoever uses it learns that the connection is gone."""
    family, kind, protocol = old.family, old.type, old.proto
    peer = None
    if kind == _socket.SOCK_DGRAM and family != _socket.AF_UNIX:
        try:
            peer = old.getpeername()
        except OSError:
            peer = None

    def renew() -> None:
        new = _socket.socket(family, kind, protocol)
        if peer is not None:
            new.connect(peer)
        for descriptor in descriptors:
            _replace(descriptor, os.dup(new.fileno()))
        new.close()
        old.close()

    return renew


def _new_pair(first: list[int], second: list[int], kind: int) -> Renewal:
    def renew() -> None:
        for descriptors, new in zip((first, second), _socket.socketpair(_socket.AF_UNIX, kind)):
            for descriptor in descriptors:
                _replace(descriptor, os.dup(new.fileno()))
            new.close()

    return renew


def _unnamed_peer(end: _socket.socket) -> bool:
    try:
        return not end.getpeername()
    except OSError:
        return False


def _other_end(end: _socket.socket, candidates: list[_socket.socket]) -> _socket.socket | None:
    """The one of `candidates` that is connected to `end`. Nobody else runs in this process, so a byte can be sent to find out."""
    if any(_unread(each.fileno()) for each in (end, *candidates)):
        raise Unfit("it has a socket with something in it that nobody has read")
    try:
        end.send(b"\0", _socket.MSG_DONTWAIT | _socket.MSG_NOSIGNAL)
    except OSError:
        return None
    poll = select.poll()
    for candidate in candidates:
        poll.register(candidate.fileno(), select.POLLIN)
    for descriptor, _ in poll.poll(0):
        for candidate in candidates:
            if candidate.fileno() == descriptor and _unread(descriptor):
                candidate.recv(1, _socket.MSG_DONTWAIT)
                return candidate
    raise Unfit("it has a socket whose other end is in another process")


def _unread(descriptor: int) -> int:
    waiting = array.array("i", [0])
    fcntl.ioctl(descriptor, termios.FIONREAD, waiting)
    return waiting[0]


def _check(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno() or errno.EIO
        raise OSError(number, os.strerror(number))
    return result
