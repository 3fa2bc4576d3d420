"""One invocation on its way through an environment, and the stream that its response may become."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

from lambda_runtime.config import RuntimeConfig
from lambda_runtime.failures import TOO_LARGE, UNHANDLED, decoded, error_body, too_large_body
from lambda_runtime.metrics import Series
from lambda_runtime.runtime_api.connection import RuntimeApiConnection
from lambda_runtime.types import Invocation, InvocationResult

_HIGH_WATER_BYTES = 256 * 1024
_EXIT_GRACE_S = 0.2
"""How long after the end of its connection a runtime's own end may come: the two are told by different parts of the kernel."""

TRUNCATED = "Runtime.TruncatedResponse"
"""The type of the error of a response that nobody ended."""


class Work:
    """An invocation, who waits for its result, and what happens when it is over.

    `answered` is done as soon as the caller can be answered; `finish` is called exactly once, when the environment is done with
    the invocation (a streamed response ends later than it begins). The caller may have gone: results are then dropped.
    """

    __slots__ = ("_on_finish", "answered", "assigned", "duration_ms", "failed", "finished", "invocation", "series")

    def __init__(
        self,
        invocation: Invocation,
        answered: asyncio.Future[InvocationResult],
        on_finish: Callable[[Work], None],
        series: Series | None = None,
    ) -> None:
        self.invocation = invocation
        self.answered = answered
        self.series = series
        """Where what happens after the end of the invocation is counted."""
        self.assigned = False
        """An environment has it; no other will."""
        self.finished = False
        self.duration_ms: float | None = None
        """How long it ran; None until it has run, and for good if it never did."""
        self.failed = False
        self._on_finish = on_finish

    def answer(self, result: InvocationResult) -> None:
        """Give the caller its result, unless it has one or went away."""
        if not self.answered.done():
            self.answered.set_result(result)

    def fail(self, error: Exception) -> None:
        """The invocation did not run."""
        if not self.answered.done():
            self.answered.set_exception(error)
        self.assigned = True
        self.finish()

    def finish(self) -> None:
        """The environment is done with it. May be called twice."""
        if not self.finished:
            self.finished = True
            self._on_finish(self)


class StreamedResponse:
    """Chunks from the function to the caller, as they are written, with back-pressure.

    The caller is answered at once, or with the whole response at its end if it wants that. `on_end` is called with an error type
    (None: none) and the details that came with it, once.

    When more than 256 KiB wait for the caller, the function's connection is not read until the caller has caught up. Chunks
    that nobody reads any more are dropped, so a caller that went away does not hold up the function.
    """

    def __init__(
        self,
        work: Work,
        executed_version: str,
        content_type: bytes | None,
        connection: RuntimeApiConnection,
        config: RuntimeConfig,
        on_end: Callable[[str | None, bytes], None],
    ) -> None:
        self.result = InvocationResult(b"", executed_version)
        self.result.content_type = content_type.decode("latin-1") if content_type else "application/octet-stream"
        self._connection = connection
        self._on_end = on_end
        self._chunks: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._paused = False
        self._ended = False
        self._abandoned = False
        self._wake: asyncio.Future[None] | None = None
        self._collecting: asyncio.Task[None] | None = None  # Held, because the loop holds tasks weakly.
        if work.invocation.streaming:
            self._limit = config.max_streamed_response_bytes
            self.result.stream = self.chunks()
            work.answer(self.result)
        else:
            self._limit = config.max_response_bytes
            self._collecting = asyncio.get_running_loop().create_task(self._collect(work))
        self._left = self._limit

    # --- the function's side

    def feed(self, chunk: bytes) -> None:
        if self._ended or self._abandoned:
            return
        if len(chunk) > self._left:
            self._end(TOO_LARGE, too_large_body(self._limit))
            return
        self._left -= len(chunk)
        self._chunks.append(chunk)
        self._waiting_bytes += len(chunk)
        if self._waiting_bytes > _HIGH_WATER_BYTES and not self._paused:
            self._paused = True
            self._connection.pause()
        self._notify()

    def finish(self, error_type: str | None, error_body: bytes | None) -> None:
        self._end(error_type, error_body or b"")

    def broken(self) -> None:
        """The connection was lost in mid-stream. A runtime that exited is known to have in a moment, and `fail` says so."""
        loop = asyncio.get_running_loop()
        loop.call_later(_EXIT_GRACE_S, self._end, TRUNCATED, b"")

    def fail(self, error_type: str, error_body: bytes) -> None:
        """The environment ended the response: a timeout, an exit."""
        self._end(error_type, error_body)

    def cut(self) -> None:
        """The environment was stopped: whoever reads is told that this is not the end, and nobody else is told anything."""
        if not self._ended:
            self._ended = True
            self.conclude(TRUNCATED, b"")
            self._notify()

    # --- the caller's side

    async def chunks(self) -> AsyncIterator[bytes]:
        """The chunks; ends when the function's response ended. `result.function_error` tells then how."""
        try:
            while True:
                while self._chunks:
                    chunk = self._chunks.popleft()
                    self._waiting_bytes -= len(chunk)
                    if self._paused and self._waiting_bytes <= _HIGH_WATER_BYTES // 2:
                        self._paused = False
                        self._connection.resume()
                    yield chunk
                if self._ended:
                    return
                self._wake = asyncio.get_running_loop().create_future()
                await self._wake
        finally:
            self._abandoned = True
            self._chunks.clear()
            if self._paused:
                self._paused = False
                self._connection.resume()

    def conclude(self, error_type: str | None, details: bytes) -> None:
        """Say in the result how the response ended; before that, a caller cannot know."""
        if error_type is not None:
            self.result.function_error = UNHANDLED
            self.result.payload = decoded(details) or error_body(error_type, "", False)

    async def _collect(self, work: Work) -> None:
        """A streaming handler, a caller that wants it whole."""
        payload = b"".join([chunk async for chunk in self.chunks()])
        if self.result.function_error is None:
            self.result.payload = payload
        work.answer(self.result)

    def _end(self, error_type: str | None, error_body: bytes) -> None:
        if self._ended:
            return
        self._ended = True
        self._on_end(error_type, error_body)
        self._notify()

    def _notify(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)
