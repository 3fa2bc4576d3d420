"""Messages between the gateway, the zygote and its environments: bytes, and perhaps descriptors."""

from __future__ import annotations

import _socket  # Not socket: what a function has patched there must not come between us.
import array
import os
import struct
from typing import Iterable

_MESSAGE_BYTES = 1 << 20
_RIGHTS_BYTES = _socket.CMSG_SPACE(2 * struct.calcsize("i"))


def close_all(descriptors: Iterable[int]) -> None:
    """Close what came with a message, or was passed on with one."""
    for descriptor in descriptors:
        os.close(descriptor)


class Channel:
    """One end of a connected SEQPACKET socket: a message arrives whole or not at all."""

    def __init__(self, connection: _socket.socket) -> None:
        self._connection = connection

    @classmethod
    def pair(cls) -> tuple[Channel, Channel]:
        """Two connected ends."""
        first, second = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        return cls(first), cls(second)

    def fileno(self) -> int:
        """For poll."""
        return self._connection.fileno()

    def send(self, message: bytes, *descriptors: int) -> None:
        """Raises OSError when the other end is gone."""
        rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        self._connection.sendmsg([message], rights)

    def announce(self, message: bytes, *descriptors: int) -> None:
        """Send to somebody who may have stopped listening."""
        try:
            self.send(message, *descriptors)
        except OSError:
            return

    def receive(self) -> tuple[bytes, list[int]]:
        """Wait for a message; returns it and its descriptors, two at most. The message is empty when the other end is gone."""
        try:
            message, ancillary, _, _ = self._connection.recvmsg(_MESSAGE_BYTES, _RIGHTS_BYTES, _socket.MSG_CMSG_CLOEXEC)
        except OSError:
            return b"", []
        descriptors = array.array("i")
        for level, kind, data in ancillary:
            if (level, kind) == (_socket.SOL_SOCKET, _socket.SCM_RIGHTS):
                descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
        return message, descriptors.tolist()

    def close(self) -> None:
        """Let go of this end."""
        self._connection.close()

    def hand_over(self) -> int:
        """Make the socket survive an execve; returns its number."""
        os.set_inheritable(self._connection.fileno(), True)
        return self._connection.fileno()
