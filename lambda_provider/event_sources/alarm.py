"""When a poller looks at its source: at once when the host says that something is there, otherwise at its own cadence."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from lambda_provider.host import Activity
from lambda_runtime.clock import Clock


class Alarm:
    """Wakes the poller of one source. Touched only on the runtime loop.

    It is a latch: `ring` is remembered until `clear`, so what happens between a look at the source and the wait is not missed.
    `fed` tells whether the host reports activity of this source (`lambda_provider.host.Activity`). A poller with a feed looks,
    and then waits for the alarm with a slow cadence just for safety; one without looks as often as AWS does.
    """

    def __init__(self, clock: Clock, activity: Activity | None, resource_arn: str | None) -> None:
        self._clock = clock
        self._rung = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._end: Callable[[], None] | None = None
        if activity is not None and resource_arn is not None:
            self._end = activity.subscribe(resource_arn, self.ring_in)

    @property
    def fed(self) -> bool:
        """Whether the host says when there is something to do."""
        return self._end is not None

    def ring(self) -> None:
        """Something is there, or the poller has to look up for another reason."""
        self._rung.set()

    def ring_in(self, delay_s: float) -> None:
        """Something will be there, in so many seconds by the machine's clock; the earliest moment counts."""
        if delay_s <= 0:
            self._rung.set()
            return
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            if self._timer.when() <= loop.time() + delay_s:
                return
            self._timer.cancel()
        self._timer = loop.call_later(delay_s, self._due)

    def clear(self) -> None:
        """Forget what rang: the poller is about to look."""
        self._rung.clear()

    async def wait(self, seconds: float | None) -> bool:
        """Return True once it rings, or False when so many seconds have passed on the clock; None waits for the ring."""
        if self._rung.is_set():
            return True
        if seconds is None:
            return await self._rung.wait()
        if seconds <= 0:
            return False
        rung = asyncio.ensure_future(self._rung.wait())
        over = asyncio.ensure_future(self._clock.sleep_until(self._clock.now() + seconds))
        try:
            await asyncio.wait({rung, over}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            rung.cancel()
            over.cancel()
        return self._rung.is_set()

    def close(self) -> None:
        """Listen no more. May be called twice."""
        if self._end is not None:
            self._end()
            self._end = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _due(self) -> None:
        self._timer = None
        self._rung.set()
