"""How many batches of a queue are with the function at once.

https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html and, for what failures do, "Backoff strategy for failed
invocations" in https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html.
"""

from __future__ import annotations

import asyncio

from lambda_provider.model.event_source_mapping import MappingSettings
from lambda_runtime.clock import Clock

FIRST = 5
"""Batches at once when messages begin to come."""
MOST = 1000
"""AWS processes no more batches of a mapping at once, without provisioned pollers."""
PER_SECOND = 300 / 60
"""As long as messages are available: up to 300 more a minute."""
INVOKES_OF_A_POLLER = 10
"""A provisioned poller has so many concurrent invokes."""
PROVISIONED_DEFAULTS = (2, 200)

_REST_S = 60.0
"""Without messages for so long a mapping is back at where it began."""


class Concurrency:
    """The slots for batches of one mapping. Touched only on the loop.

    The allowance begins with five and grows while it is used up and batches succeed; each failed batch takes one away, a
    throttle half of them, down to one, and each success gives one back up to where it began. `MaximumConcurrency` bounds it,
    and so do provisioned pollers, which are there from the start.
    """

    def __init__(self, settings: MappingSettings, clock: Clock) -> None:
        self._clock = clock
        self.in_use = 0
        if (pollers := settings.pollers) is not None:
            least = PROVISIONED_DEFAULTS[0] if pollers.minimum is None else pollers.minimum
            most = max(least, PROVISIONED_DEFAULTS[1] if pollers.maximum is None else pollers.maximum)
            self.first, self.most = least * INVOKES_OF_A_POLLER, most * INVOKES_OF_A_POLLER
        else:
            self.most = min(MOST, settings.maximum_concurrency or MOST)
            self.first = min(FIRST, self.most)
        self._allowed = float(self.first)
        self._grown = self._used = clock.now()
        self._failing = False
        self._freed = asyncio.Event()

    @property
    def allowed(self) -> int:
        """Batches that may be with the function at once, now."""
        # What the clock's seconds, which have a rounding of their own, leave open.
        return int(self._allowed + 1e-3)

    async def free(self) -> None:
        """Return when there is a slot. Waiting for one is what makes the allowance grow."""
        now = self._clock.now()
        if now - self._used > _REST_S and not self.in_use:
            self._allowed = float(self.first)
        if self.in_use < self.allowed:
            self._grown = now
            return
        while self.in_use >= self.allowed:
            now = self._clock.now()
            # Whole steps of the clock, so that nothing is lost between two looks.
            if not self._failing:
                self._allowed = min(float(self.most), self._allowed + (now - self._grown) * PER_SECOND)
            self._grown = now
            if self.in_use < self.allowed:
                return
            self._freed.clear()
            freed = asyncio.ensure_future(self._freed.wait())
            missing = 1 - (self._allowed - self.allowed)
            grown = asyncio.ensure_future(self._clock.sleep_until(now + missing / PER_SECOND))
            waits = {freed} if self._failing or self._allowed >= self.most else {freed, grown}
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                freed.cancel()
                grown.cancel()

    def take(self) -> None:
        """Take a slot, which has to be free."""
        self.in_use += 1

    def give(self) -> None:
        """Give it back."""
        self.in_use -= 1
        self._used = self._clock.now()
        self._freed.set()

    def succeeded(self) -> None:
        """The function processed a batch."""
        self._failing = False
        if self._allowed < self.first:
            self._allowed += 1

    def failed(self) -> None:
        """The function failed."""
        self._failing = True
        self._allowed = max(1.0, self._allowed - 1)

    def throttled(self) -> None:
        """The function may not run more often now."""
        self._failing = True
        self._allowed = max(1.0, self._allowed / 2)
