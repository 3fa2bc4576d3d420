"""The invocations that are under way at once in one environment."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from lambda_runtime.config import RuntimeConfig
from lambda_runtime.errors import EnvironmentNotStarted
from lambda_runtime.failures import (
    EXITED,
    TIMED_OUT,
    TOO_LARGE,
    UNHANDLED,
    fault_body,
    lasted_ms,
    status_of,
    timeout_body,
    too_large_body,
)
from lambda_runtime.platform_events import InvokeReport
from lambda_runtime.runtime_api.connection import RuntimeApiConnection
from lambda_runtime.runtime_api.routes import Refused, ResponseStream
from lambda_runtime.types import FunctionVersion, InvocationResult
from lambda_runtime.work import StreamedResponse, Work

_LOSS_GRACE_S = 0.2
"""How long after the end of its connection a worker's last answer, or the end of the whole runtime, may become known."""


@dataclass(slots=True, eq=False)
class _Running:
    """An invocation under way. `began` is of the monotonic clock."""

    work: Work
    connection: RuntimeApiConnection
    began: float
    timer: asyncio.TimerHandle
    stream: StreamedResponse | None = None


class _Nobody:
    """Takes a streamed response that nobody waits for."""

    def feed(self, chunk: bytes) -> None: ...
    def finish(self, error_type: str | None, error_body: bytes | None) -> None: ...
    def broken(self) -> None: ...


class ConcurrentInvocations:
    """What workers run, by request id, each with a time limit of its own.

    An invocation that takes too long has failed; what its worker answers in the end is dropped. `on_end` is called for each that
    ended, before its caller is answered; what it sets on the result, the caller gets. Touched only on the runtime loop.
    """

    def __init__(
        self,
        version: FunctionVersion,
        config: RuntimeConfig,
        on_end: Callable[[Work, InvocationResult, InvokeReport], None],
    ) -> None:
        self.answered = 0
        """Workers between their answer and the question for the next invocation."""
        self._version = version
        self._config = config
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._running: dict[bytes, _Running] = {}
        self._late: set[bytes] = set()
        """Invocations that timed out and whose worker has not answered yet."""

    def __len__(self) -> int:
        return len(self._running)

    @property
    def workers(self) -> int:
        """Workers that run something, or are about to ask for it."""
        return len(self._running) + len(self._late) + self.answered

    def begin(self, work: Work, connection: RuntimeApiConnection, *, tells_loss: bool) -> None:
        """An invocation is about to go to the worker at `connection`, whose end tells that of the worker if `tells_loss`."""
        request_id = work.invocation.request_id.encode()
        timer = self._loop.call_later(self._version.timeout_s, self._timed_out, request_id)
        work.assigned = True
        running = self._running[request_id] = _Running(work, connection, time.monotonic(), timer)
        if tells_loss:
            connection.on_lost = lambda: self._worker_lost(request_id, running)

    def asked(self) -> None:
        """A worker asked for its next invocation."""
        self.answered = max(0, self.answered - 1)

    def fail_all(self, error_type: str, message: str, reported: str | None = None) -> None:
        """Everything under way fails; `reported` is the type for the log's report if that is another one."""
        for request_id, running in list(self._running.items()):
            payload = fault_body(error_type, request_id.decode(), message)
            self._fail(request_id, running, reported or error_type, payload)

    def abandon(self) -> None:
        """The environment is stopped: what is under way did not run to its end."""
        for request_id in list(self._running):
            running = self._take(request_id)
            running.work.fail(EnvironmentNotStarted("the execution environment was stopped"))
            if running.stream is not None:
                running.stream.cut()

    # --- what the Runtime API tells. Raises Refused for a request id that is not under way.

    def responded(self, request_id: bytes, body: bytes, content_type: bytes | None) -> None:
        """A whole response."""
        if (running := self._find(request_id)) is not None:
            kind = content_type.decode("latin-1") if content_type else None
            self._end(request_id, running, InvocationResult(body, self._version.version, content_type=kind))

    def streams(
        self, request_id: bytes, content_type: bytes | None, connection: RuntimeApiConnection
    ) -> ResponseStream:
        """A response in pieces."""
        running = self._find(request_id)
        if running is None:
            return _Nobody()

        def ended(error: str | None, details: bytes) -> None:
            self._stream_ended(request_id, running, stream, error, details)

        version = self._version.version
        stream = running.stream = StreamedResponse(running.work, version, content_type, connection, self._config, ended)
        return stream

    def too_large(self, request_id: bytes) -> None:
        """A response above the limit."""
        if (running := self._find(request_id)) is not None:
            self._fail(request_id, running, TOO_LARGE, too_large_body(self._config.max_response_bytes))

    def failed(self, request_id: bytes, body: bytes, error_type: str | None) -> None:
        """The handler raised."""
        if (running := self._find(request_id)) is not None:
            self._fail(request_id, running, error_type or "Runtime.Unknown", body)

    # --- inside

    def _find(self, request_id: bytes) -> _Running | None:
        """The invocation of an answer; None for one that nobody waits for any more."""
        running = self._running.get(request_id)
        if running is not None and running.stream is None:
            return running
        if running is None and request_id in self._late:
            self._late.remove(request_id)
            self.answered += 1
            return None
        raise Refused(400, "InvalidRequestID", "Invalid request ID")

    def _take(self, request_id: bytes) -> _Running:
        running = self._running.pop(request_id)
        running.timer.cancel()
        running.connection.on_lost = None
        return running

    def _fail(self, request_id: bytes, running: _Running, error: str, payload: bytes, status: str = "error") -> None:
        if running.stream is not None:
            running.stream.fail(error, payload)
            return
        result = InvocationResult(payload, self._version.version, function_error=UNHANDLED)
        self._end(request_id, running, result, status, error)

    def _end(
        self,
        request_id: bytes,
        running: _Running,
        result: InvocationResult,
        status: str = "success",
        error: str | None = None,
    ) -> None:
        self._complete(request_id, running, result, status, error)
        running.work.answer(result)
        running.work.finish()

    def _complete(
        self, request_id: bytes, running: _Running, result: InvocationResult, status: str, error: str | None
    ) -> None:
        self._take(request_id)
        if error not in (TIMED_OUT, EXITED):
            self.answered += 1
        work, invocation = running.work, running.work.invocation
        work.duration_ms = lasted_ms((time.monotonic() - running.began) * 1000, status, self._version.timeout_s)
        work.failed = status != "success"
        report = InvokeReport(
            invocation.request_id,
            work.duration_ms,
            self._version.memory_mib,
            None,
            None,
            status,
            error,
            invocation.trace_header,
        )
        self._on_end(work, result, report)

    def _stream_ended(
        self, request_id: bytes, running: _Running, stream: StreamedResponse, error: str | None, details: bytes
    ) -> None:
        if self._running.get(request_id) is not running:
            return
        stream.conclude(error, details)
        self._complete(request_id, running, stream.result, status_of(error), error)
        running.work.finish()

    def _timed_out(self, request_id: bytes) -> None:
        payload = timeout_body(request_id.decode(), self._version.timeout_s)
        self._late.add(request_id)
        self._fail(request_id, self._running[request_id], TIMED_OUT, payload, "timeout")

    def _worker_lost(self, request_id: bytes, running: _Running) -> None:
        self._loop.call_later(_LOSS_GRACE_S, self._end_lost, request_id, running)

    def _end_lost(self, request_id: bytes, running: _Running) -> None:
        if self._running.get(request_id) is running:
            payload = fault_body(EXITED, request_id.decode(), "Runtime exited without providing a reason")
            self._fail(request_id, running, EXITED, payload)
