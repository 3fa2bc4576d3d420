"""What the processes in a container write, on its way to the log."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import shutil
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lambda_runtime.executors.base import SandboxSpec
from lambda_runtime.executors.pipes import ReadEnd

_READ_BYTES = 64 * 1024
_REST_OF_A_LINE_S = 0.05
_FRAME = struct.Struct(">BxxxL")


class NamedPipe:
    """A pipe that a container has mounted: what was written is here at once, and in the order in which it was written.

    Both ends are held open here, so that it neither blocks who opens it nor ends with one of the writers.
    """

    def __init__(self, path: Path, on_output: Callable[[bytes], None]) -> None:
        os.mkfifo(path)
        path.chmod(0o622)  # Others, as the function is one, may write; mkfifo's mode is cut by the umask.
        descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._read_end = ReadEnd(asyncio.get_running_loop(), descriptor, on_output)

    def drain(self) -> None:
        """Hand over everything that was written until now. Never waits."""
        self._read_end.drain()

    def close(self) -> None:
        """Read no more. May be called twice."""
        self._read_end.close()


class AttachedOutput:
    """Output that comes over the engine's connection, read by a thread of its own: whatever carries it can be waited for.

    It arrives a moment after it was written, so a line may be logged behind the END of its invocation. It is one line then,
    nevertheless, if it was written piece by piece: what has no end yet waits a moment for it.
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
        rest = b""
        try:
            while True:
                if rest and not self._more_comes():
                    self._hand_over(rest)
                    rest = b""
                if not (header := self._exactly(_FRAME.size)):
                    break
                _, length = _FRAME.unpack(header)
                whole, newline, rest = (rest + self._exactly(length)).rpartition(b"\n")
                self._hand_over(whole + newline)
        except (OSError, ValueError):
            pass  # The engine, or we, closed the connection: what came before has been handed over.
        with contextlib.suppress(RuntimeError):  # The loop is closed.
            self._hand_over(rest)
            self._loop.call_soon_threadsafe(self._end)

    def _hand_over(self, data: bytes) -> None:
        if data:
            self._loop.call_soon_threadsafe(self._on_output, data)

    def _more_comes(self) -> bool:
        return bool(select.select([self._stream], [], [], _REST_OF_A_LINE_S)[0])

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


class Outputs:
    """Everything that one container writes, and what it reads while it waits; on the loop only.

    With a directory of its own it is all in named pipes there, which the container has mounted. Without one, streams that come
    over the engine's connection are attached.
    """

    def __init__(self, directory: Path | None, spec: SandboxSpec) -> None:
        self.directory = directory
        self._spec = spec
        self._sources: list[NamedPipe | AttachedOutput] = []
        self._control = -1
        self._runtime_wrote = False
        self._closed = False

    def open_pipes(self, *, extensions: bool, held: bool) -> None:
        """Make the pipes there have to be. A container that is `held` waits until nobody has the other end of `control`."""
        if self.directory is None:
            return
        self.directory.mkdir(parents=True)
        self.directory.chmod(0o755)
        self._sources.append(NamedPipe(self.directory / "output", self.of_runtime))
        if extensions:
            self._sources.append(NamedPipe(self.directory / "extensions", self._spec.on_extension_output))
        if held:
            os.mkfifo(self.directory / "control")
            (self.directory / "control").chmod(0o644)
            self._control = os.open(self.directory / "control", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def attach(self, stream: Any, on_output: Callable[[bytes], None]) -> None:
        """Read a stream of the SDK's, too; after `close` nothing of it is wanted any more."""
        source = AttachedOutput(stream, on_output)
        self._sources.append(source)
        if self._closed:
            source.close()

    def of_runtime(self, data: bytes) -> None:
        """The runtime wrote this."""
        self._runtime_wrote = True
        self._spec.on_output(data)

    @property
    def runtime_wrote(self) -> bool:
        """Something came from the runtime, so that it was executed."""
        return self._runtime_wrote

    async def last_arrived(self, limit_s: float) -> None:
        """Wait until streams over the engine's connection have ended, but no longer than this."""
        if ends := [each.ended for each in self._sources if isinstance(each, AttachedOutput)]:
            await asyncio.wait(ends, timeout=limit_s)

    def drain(self) -> None:
        """Hand everything over that is there. Never waits."""
        for source in self._sources:
            source.drain()

    def close(self) -> None:
        """Hand over the rest, read no more, and let go who waits. May be called twice."""
        self._closed = True
        for source in self._sources:
            source.drain()
            source.close()
        if self._control >= 0:
            os.close(self._control)
            self._control = -1
        if self.directory is not None:
            shutil.rmtree(self.directory, ignore_errors=True)  # Three names: no work for a thread.


def untimed(stream: Any) -> Any:
    """A stream of the SDK's that may be silent for as long as it likes."""
    for each in (stream, getattr(stream, "_sock", None)):
        if each is not None and hasattr(each, "settimeout"):
            each.settimeout(None)
    return stream
