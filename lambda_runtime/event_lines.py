"""Whose turn it is: the events of each function that want to run, in their order."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from lambda_runtime.clock import Clock
from lambda_runtime.errors import Throttled, ZeroReservedConcurrency

T = TypeVar("T")

PACE = 20
"""Events of one function that start at once, and how many more may run after each interval."""

PACE_INTERVAL_S = 0.1
"""A burst of short events is run by a few environments one after the other instead of starting one for each; a burst of long
ones has all the concurrency it may have within seconds. AWS's pollers, too, add concurrency step by step."""


class Line:
    """The events of one function: how many run, and who waits.

    Waiting events are woken one at a time: when a slot of the function is released, when an event that ran is over, when the
    pace allows another one; and an event that got its slot wakes the next. So as many run as there are slots for. An event that
    is throttled takes its place at the front again.
    """

    __slots__ = ("_awake", "_clock", "_in_flight", "_on_idle", "_pace", "_timer", "_waiting", "function_arn")

    def __init__(self, function_arn: str, clock: Clock, on_idle: Callable[[Line], None]) -> None:
        self.function_arn = function_arn
        self._clock = clock
        self._on_idle = on_idle
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._awake: set[int] = set()
        """Who was woken and has not tried yet: nobody younger may come first in that moment."""
        self._in_flight = 0
        self._pace = PACE
        self._timer: asyncio.TimerHandle | None = None

    def must_wait(self, order: int) -> bool:
        """Older events wait, or as many run as the pace allows."""
        self._prune()
        return (
            self._in_flight >= self._pace
            or bool(self._waiting and self._waiting[0][0] < order)
            or bool(self._awake and min(self._awake) < order)
        )

    async def wait(self, order: int, expires_at: float) -> None:
        """Return when it may be this event's turn, or at `expires_at`. It tries, or leaves, without another await."""
        loop = asyncio.get_running_loop()
        woken = loop.create_future()
        heapq.heappush(self._waiting, (order, woken))
        if self._timer is None and self._in_flight >= self._pace:
            self._timer = loop.call_later(PACE_INTERVAL_S, self._quicken)
        expiry = loop.create_task(self._clock.sleep_until(expires_at))
        expiry.add_done_callback(lambda _: _wake(woken))
        try:
            await woken
        except asyncio.CancelledError:
            self._awake.discard(order)
            self.check_idle()
            raise
        finally:
            self._awake.discard(order)
            expiry.cancel()

    @contextmanager
    def running(self) -> Iterator[None]:
        """An event runs. If it is not throttled, the next one may have a slot too: it is woken, now and at the end."""
        self._in_flight += 1
        next_one = asyncio.get_running_loop().call_soon(self._wake_within_pace) if self._waiting else None
        try:
            yield
        except ZeroReservedConcurrency:
            self._ended()
            raise
        except Throttled:
            # At once, so that `next_one` has not run yet: it would be throttled as well.
            self._in_flight -= 1
            if next_one is not None:
                next_one.cancel()
            raise
        except BaseException:
            self._ended()
            raise
        else:
            self._ended()

    def wake(self) -> bool:
        """Let the oldest event that waits try. False if none does."""
        self._prune()
        if not self._waiting:
            return False
        order, woken = heapq.heappop(self._waiting)
        woken.set_result(None)
        self._awake.add(order)
        return True

    def check_idle(self) -> None:
        """Forget the line, and its pace, if nothing runs or waits."""
        self._prune()
        if not self._in_flight and not self._waiting and not self._awake:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._on_idle(self)

    def _ended(self) -> None:
        self._in_flight -= 1
        if not self.wake():
            self.check_idle()

    def _wake_within_pace(self) -> None:
        if self._in_flight < self._pace:
            self.wake()

    def _quicken(self) -> None:
        """An interval is over: if it was the pace that held events up, more of them may run."""
        self._timer = None
        if self._in_flight >= self._pace:
            self._pace += PACE
            if self.wake():
                self._timer = asyncio.get_running_loop().call_later(PACE_INTERVAL_S, self._quicken)

    def _prune(self) -> None:
        while self._waiting and self._waiting[0][1].done():
            heapq.heappop(self._waiting)


def _wake(woken: asyncio.Future[None]) -> None:
    if not woken.done():
        woken.set_result(None)


class Lines:
    """The lines of all functions that have events; one without any is forgotten."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lines: dict[str, Line] = {}

    def of(self, function_arn: str) -> Line:
        """The line of a function."""
        line = self._lines.get(function_arn)
        if line is None:
            line = self._lines[function_arn] = Line(function_arn, self._clock, self._forget)
        return line

    def leave(self, line: Line, result: T) -> T:
        """An event of the line leaves the queue without having run: whoever is behind it may try. Returns `result`."""
        if not line.wake():
            line.check_idle()
        return result

    def slot_released(self, function_arn: str) -> None:
        """Wake the oldest waiting event of that function, or else that of any."""
        if not self._lines:
            return
        own = self._lines.get(function_arn)
        if own is not None and own.wake():
            return
        for line in self._lines.values():
            if line.wake():
                return

    def _forget(self, line: Line) -> None:
        if self._lines.get(line.function_arn) is line:
            del self._lines[line.function_arn]
