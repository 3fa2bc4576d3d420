"""What stays when Lambda resets an environment: its /tmp and its log stream, for the one that takes its place.

After an invocation that failed with its environment (a timeout, a crash), and after an init phase that failed, /tmp is not
cleared before the next one: https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html#runtimes-lifecycle-ib
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from lambda_runtime.executors.base import Remains

_MOST = 64
"""Resets that wait at once, of one version; the oldest go first."""


@dataclass(frozen=True, slots=True)
class Reset:
    """An environment that was reset."""

    log_stream: str
    remains: Remains | None
    """What its executor kept of it; None where that keeps nothing."""

    def drop(self) -> None:
        """No environment takes its place."""
        if self.remains is not None:
            self.remains.drop()


class Resets:
    """Those of one version that nobody has taken the place of yet. They go with the time for which an environment may idle."""

    def __init__(self, idle_timeout_s: float, on_empty: Callable[[], None] = lambda: None) -> None:
        """`on_empty` is called when time took the last one."""
        self._idle_timeout_s = idle_timeout_s
        self._on_empty = on_empty
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[float, Reset]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def __bool__(self) -> bool:
        """Whether one waits."""
        return bool(self._waiting)

    def add(self, reset: Reset | None) -> None:
        """The next environment may take its place. None is an environment that left nothing."""
        if reset is None:
            return
        self._waiting.append((self._loop.time() + self._idle_timeout_s, reset))
        if len(self._waiting) > _MOST:
            self._waiting.popleft()[1].drop()
        if self._timer is None:
            self._timer = self._loop.call_at(self._waiting[0][0], self._expire)

    def take(self) -> Reset | None:
        """The latest, for an environment that starts now: it answers for it from here on."""
        reset = self._waiting.pop()[1] if self._waiting else None
        if not self._waiting:
            self._cancel()
        return reset

    def clear(self) -> None:
        """No environment starts any more."""
        self._cancel()
        while self._waiting:
            self._waiting.popleft()[1].drop()

    def _expire(self) -> None:
        self._timer = None
        now = self._loop.time()
        while self._waiting and self._waiting[0][0] <= now:
            self._waiting.popleft()[1].drop()
        if self._waiting:
            self._timer = self._loop.call_at(self._waiting[0][0], self._expire)
        else:
            self._on_empty()

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
