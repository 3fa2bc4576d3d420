"""What the processes in a container write, on its way to the log."""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

_READ_BYTES = 64 * 1024
_FRAME = struct.Struct(">BxxxL")


class NamedPipe:
    """A pipe that a container has mounted: what was written is here at once, and in the order in which it was written.

    Both ends are held open here, so that it neither blocks who opens it nor ends with one of the writers.
    """

    def __init__(self, path: Path, on_output: Callable[[bytes], None]) -> None:
        os.mkfifo(path)
        path.chmod(0o622)  # Others, as the function is one, may write; mkfifo's mode is cut by the umask.
        self._loop = asyncio.get_running_loop()
        self._on_output = on_output
        self.used = False
        """Something was written."""
        self._descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._loop.add_reader(self._descriptor, self.drain)

    def drain(self) -> None:
        """Hand over everything that is there. Never waits."""
        while self._descriptor >= 0:
            try:
                data = os.read(self._descriptor, _READ_BYTES)
            except BlockingIOError:
                return
            self.used = True
            self._on_output(data)
            if len(data) < _READ_BYTES:
                return

    def close(self) -> None:
        """Read no more. May be called twice."""
        if self._descriptor >= 0:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1


class AttachedOutput:
    """Output that comes over the engine's connection, read by a thread of its own: whatever carries it can be waited for.

    It arrives a moment after it was written, so a line may be logged behind the END of its invocation.
    """

    def __init__(self, stream: Any, on_output: Callable[[bytes], None]) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when everything has been handed over."""
        self._loop = asyncio.get_running_loop()
        self._stream = stream
        self._on_output = on_output
        threading.Thread(target=self._read, name="docker-output", daemon=True).start()

    def drain(self) -> None:
        """Nothing that has arrived is held back."""

    def close(self) -> None:
        """Read no more. May be called twice."""
        with contextlib.suppress(OSError, ValueError):
            self._stream.close()

    def _read(self) -> None:
        try:
            while header := self._exactly(_FRAME.size):
                _, length = _FRAME.unpack(header)
                if data := self._exactly(length):
                    self._loop.call_soon_threadsafe(self._on_output, data)
        except (OSError, ValueError):
            pass  # The engine, or we, closed the connection: what came before has been handed over.
        with contextlib.suppress(RuntimeError):  # The loop is closed.
            self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)

    def _exactly(self, count: int) -> bytes:
        """So many bytes, or none at the end."""
        found = b""
        receive = getattr(self._stream, "recv", None) or self._stream.read
        while len(found) < count:
            data = receive(count - len(found))
            if not data:
                return b""
            found += data
        return found
