"""From what the processes of an environment write to the events of its log stream."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence

from lambda_runtime.log_levels import application_filter
from lambda_runtime.types import FunctionVersion

LogEntry = tuple[int, str]
"""A timestamp in ms since the epoch, and the message."""

LogSink = Callable[[FunctionVersion, str, Sequence[LogEntry]], None]
"""Takes entries of one log stream, in order: `sink(version, log_stream, entries)`. Called on the loop; returns at once."""

TAIL_BYTES = 4096

_FRAME_MAGIC = b"\xa5\x5a\x00"
"""Types have a third byte of 0 (the fourth tells level and format), and so are no text: "日Z" in UTF-8 has the first two."""
_FRAME_HEADER_BYTES = 16
_MAX_MESSAGE_BYTES = 256 * 1024 - 26
"""CloudWatch Logs takes no longer event, and counts 26 bytes for each; Lambda splits longer messages."""


def new_log_stream(version: FunctionVersion, moment: float, digits: str) -> str:
    """`2026/01/31/[$LATEST]` and 32 hex digits: one stream an environment.

    In a log group of the user's choice, which functions may share, with the function's name before the version:
    https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-loggroups.html.
    """
    own = version.log_group in ("", f"/aws/lambda/{version.function_name}")
    function = "" if own else version.function_name
    return f"{time.strftime('%Y/%m/%d', time.gmtime(moment))}/{function}[{version.version}]{digits}"


class ClosableSink:
    """A sink for everybody who was started before a reset: what they still had to say after it is dropped."""

    def __init__(self, sink: LogSink) -> None:
        self._sink = sink
        self._closed = False

    def __call__(self, version: FunctionVersion, log_stream: str, entries: Sequence[LogEntry]) -> None:
        if not self._closed:
            self._sink(version, log_stream, entries)

    def renewed(self) -> ClosableSink:
        """One for those who are started from now on."""
        return ClosableSink(self._sink)

    def close(self) -> None:
        """Drop what comes from now on."""
        self._closed = True


class OutputParser:
    """Splits the bytes of an output pipe into messages: one a line, or one a telemetry frame.

    A runtime client that knows `_LAMBDA_TELEMETRY_LOG_FD` writes frames (type, length, timestamp in µs, message; 4, 4 and 8
    bytes big-endian, type `a55a00..`), so that a message of many lines stays one event; everything else in the pipe is text.
    Both share one pipe, so their order is kept: a line has no moment of its own, and gets that of now, or of the frame behind it.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._frame_left = 0
        """Bytes still to come of the frame whose header was read. A long one is passed on in pieces, as a long line is."""
        self._frame_ms = 0

    def feed(self, data: bytes, now_ms: int) -> list[LogEntry]:
        """The messages that are complete now; the rest, at most one event, is kept for later."""
        data = self._rest + data if self._rest else data
        entries: list[LogEntry] = []
        position = framed = 0
        frame = data.find(_FRAME_MAGIC)
        while position < len(data):
            if not self._frame_left and data.startswith(_FRAME_MAGIC, position):
                if len(data) - position < _FRAME_HEADER_BYTES:
                    break
                self._frame_left = int.from_bytes(data[position + 4 : position + 8], "big")
                self._frame_ms = int.from_bytes(data[position + 8 : position + 16], "big") // 1000 or now_ms
                if self._frame_ms < now_ms:
                    entries[framed:] = [(self._frame_ms, line) for _, line in entries[framed:]]
                position += _FRAME_HEADER_BYTES
                framed = len(entries)
                continue
            if self._frame_left:
                available = min(self._frame_left, len(data) - position)
                if available > _MAX_MESSAGE_BYTES:
                    end = _end_of_piece(data, position)
                elif available == self._frame_left:
                    end = position + available
                else:
                    break
                entries.append((self._frame_ms, data[position:end].decode("utf-8", "replace")))
                self._frame_left -= end - position
                position, framed = end, len(entries)
                continue
            if 0 <= frame < position:
                frame = data.find(_FRAME_MAGIC, position)
            newline = data.find(b"\n", position, frame if frame >= 0 else len(data))
            if newline >= 0:
                end = newline + 1
            elif frame >= 0:
                end = frame
            elif len(data) - position > _MAX_MESSAGE_BYTES:
                end = _end_of_piece(data, position)
            else:
                break
            _append(entries, now_ms, data[position:end])
            position = end
        self._rest = data[position:]
        return entries

    def flush(self, now_ms: int) -> list[LogEntry]:
        """What was written without a final newline, or of a frame without its end."""
        rest, self._rest = self._rest, b""
        self._frame_left = 0
        entries: list[LogEntry] = []
        if rest:
            _append(entries, now_ms, rest)
        return entries


def _append(entries: list[LogEntry], moment_ms: int, message: bytes) -> None:
    start = 0
    while len(message) - start > _MAX_MESSAGE_BYTES:
        end = _end_of_piece(message, start)
        entries.append((moment_ms, message[start:end].decode("utf-8", "replace")))
        start = end
    if start < len(message):
        entries.append((moment_ms, message[start:].decode("utf-8", "replace")))


def _end_of_piece(message: bytes, start: int) -> int:
    """Where the piece ends that begins at `start` of what is longer than one: before a character, not within it."""
    end = start + _MAX_MESSAGE_BYTES
    for boundary in range(end, end - 4, -1):
        if message[boundary] & 0xC0 != 0x80:
            return boundary
    return end  # Not UTF-8.


class EnvironmentLog:
    """The log stream of one environment: platform events and function output, in order, in batches.

    Entries are handed to the sink once per `interval_s`, never on the way of an invoke. While a tail is open, the last 4 KiB
    are kept for `LogType=Tail`. Touched only on the runtime loop.
    """

    def __init__(
        self,
        version: FunctionVersion,
        stream: str,
        sink: LogSink,
        loop: asyncio.AbstractEventLoop,
        now: Callable[[], float] = time.time,
        interval_s: float = 0.05,
    ) -> None:
        self.stream = stream
        self._version = version
        self._sink = sink
        self._loop = loop
        self._now = now
        self._interval_s = interval_s
        self._parser = OutputParser()
        self._passes = application_filter(version)
        self._entries: list[LogEntry] = []
        self._timer: asyncio.TimerHandle | None = None
        self._last_ms = 0
        self._tail: deque[str] | None = None
        self._tail_length = 0
        self._extension_parser: OutputParser | None = None
        self.observer: Callable[[str, Sequence[LogEntry]], None] | None = None
        """Called with `function` or `extension` and the entries that such processes wrote, if somebody wants to know."""

    def write(self, message: str | None, moment: float | None = None) -> None:
        """Add a message of the platform, of now or of `moment`; None is one that the log level filtered out."""
        if message is not None:
            self._add([(int((moment or self._now()) * 1000), message)])

    def output(self, data: bytes) -> None:
        """Add what processes inside wrote."""
        if entries := self._parser.feed(data, int(self._now() * 1000)):
            self._add_application(entries)

    def extension_output(self, data: bytes) -> None:
        """Add what external extensions wrote."""
        if self._extension_parser is None:
            self._extension_parser = OutputParser()
        if entries := self._extension_parser.feed(data, int(self._now() * 1000)):
            self._add(entries)
            if self.observer is not None:
                self.observer("extension", entries)

    def end_of_invocation(self) -> None:
        """Nothing more belongs to the current invocation: an unfinished line is an event too."""
        if entries := self._parser.flush(int(self._now() * 1000)):
            self._add_application(entries)

    def open_tail(self) -> None:
        """Keep what `close_tail` returns, from now on or since it was opened before."""
        if self._tail is None:
            self._tail, self._tail_length = deque(), 0

    def drop_tail(self) -> None:
        """Nobody asked for it."""
        self._tail = None

    def close_tail(self, *more: str | None) -> bytes:
        """The last 4 KiB written since `open_tail`, as if `more` had been, too."""
        messages, self._tail = self._tail or deque[str](), None
        messages += [message for message in more if message is not None]
        text = "".join(message if message.endswith("\n") else message + "\n" for message in messages)
        return text.encode()[-TAIL_BYTES:]

    def deliver(self) -> None:
        """Hand everything to the sink now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._entries:
            entries, self._entries = self._entries, []
            self._sink(self._version, self.stream, entries)

    def _add_application(self, entries: Sequence[LogEntry]) -> None:
        """Lines of the function: who observes gets all of them, the log those of its level."""
        if self._passes is None:
            self._add(entries)
        elif passing := [entry for entry in entries if self._passes(entry[1])]:
            self._add(passing)
        if self.observer is not None:
            self.observer("function", entries)

    def _add(self, entries: Sequence[LogEntry]) -> None:
        for moment_ms, message in entries:
            # CloudWatch shows events in the order of time: nothing may be stamped before what was written before it.
            if moment_ms > self._last_ms:
                self._last_ms = moment_ms
            self._entries.append((self._last_ms, message))
        if self._tail is not None:
            for _, message in entries:
                self._tail.append(message)
                self._tail_length += len(message)
            while self._tail_length > TAIL_BYTES <= self._tail_length - len(self._tail[0]):
                self._tail_length -= len(self._tail.popleft())
        if self._timer is None:
            self._timer = self._loop.call_later(self._interval_s, self.deliver)
