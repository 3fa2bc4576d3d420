"""Messages between the gateway, the zygote and its environments: bytes, and perhaps one descriptor."""

from __future__ import annotations

import array
import os
import socket
import struct

_MESSAGE_BYTES = 1 << 20
_RIGHTS_BYTES = socket.CMSG_SPACE(struct.calcsize("i"))


class Channel:
    """One end of a connected SEQPACKET socket: a message arrives whole or not at all."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    @classmethod
    def pair(cls) -> tuple[Channel, Channel]:
        """Two connected ends."""
        first, second = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(first), cls(second)

    def fileno(self) -> int:
        """For poll."""
        return self._connection.fileno()

    def send(self, message: bytes, descriptor: int | None = None) -> None:
        """Raises OSError when the other end is gone."""
        rights = [] if descriptor is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))]
        self._connection.sendmsg([message], rights)

    def announce(self, message: bytes) -> None:
        """Send to somebody who may have stopped listening."""
        try:
            self.send(message)
        except OSError:
            return

    def receive(self) -> tuple[bytes, int]:
        """Wait for a message; returns it and its descriptor, or -1. The message is empty when the other end is gone."""
        try:
            message, ancillary, _, _ = self._connection.recvmsg(_MESSAGE_BYTES, _RIGHTS_BYTES, socket.MSG_CMSG_CLOEXEC)
        except OSError:
            return b"", -1
        descriptors = array.array("i")
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
        return message, descriptors[0] if descriptors else -1

    def close(self) -> None:
        """Let go of this end."""
        self._connection.close()

    def hand_over(self) -> int:
        """Make the socket survive an execve; returns its number."""
        os.set_inheritable(self._connection.fileno(), True)
        return self._connection.fileno()
