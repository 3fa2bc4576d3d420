"""Time as the data plane counts it, so that tests can drive minutes in microseconds."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from typing import Protocol


class Clock(Protocol):
    """Wall time and waiting. What AWS counts in minutes and hours (retries, event age) asks a clock, not the machine."""

    def now(self) -> float:
        """Seconds since the epoch."""
        ...

    async def sleep_until(self, moment: float) -> None:
        """Return once `now()` has reached `moment`. May be cancelled; nothing is left behind."""
        ...

    def machine_time(self) -> float:
        """Seconds since the epoch as other services of the machine count them, whatever the rate of this clock is."""
        ...

    def moment_of(self, machine_time: float) -> float:
        """What `now()` was, or will be, at a moment of the machine's time."""
        ...


class SystemClock:
    """The machine's time."""

    def now(self) -> float:
        return time.time()

    async def sleep_until(self, moment: float) -> None:
        await asyncio.sleep(max(0.0, moment - time.time()))

    def machine_time(self) -> float:
        return time.time()

    def moment_of(self, machine_time: float) -> float:
        return machine_time


class ScaledClock:
    """A clock that runs `rate` times as fast as the machine's, from now on."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._started = time.time()

    def now(self) -> float:
        return self._started + (time.time() - self._started) * self._rate

    async def sleep_until(self, moment: float) -> None:
        await asyncio.sleep(max(0.0, moment - self.now()) / self._rate)

    def machine_time(self) -> float:
        return time.time()

    def moment_of(self, machine_time: float) -> float:
        # Before this clock began it was the machine's.
        return self._started + (machine_time - self._started) * (self._rate if machine_time > self._started else 1.0)


class ManualClock:
    """A clock that stands still until a test advances it."""

    def __init__(self, now: float = 1_750_000_000.0) -> None:
        self._now = now
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def now(self) -> float:
        return self._now

    async def sleep_until(self, moment: float) -> None:
        if moment <= self._now:
            return
        woken = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (moment, next(self._order), woken))
        await woken

    def machine_time(self) -> float:
        return self._now

    def moment_of(self, machine_time: float) -> float:
        return machine_time

    def next_moment(self) -> float | None:
        """When the first sleeper wants to wake, or None when nobody sleeps."""
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else None

    def advance(self, seconds: float) -> None:
        """Let time pass and wake whoever is due, in order. Call it on the loop of the sleepers."""
        self._now += seconds
        while self._sleepers and self._sleepers[0][0] <= self._now:
            woken = heapq.heappop(self._sleepers)[2]
            if not woken.done():
                woken.set_result(None)
