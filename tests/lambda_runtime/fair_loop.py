"""A loop whose clock counts what the test did, and not what the machine did meanwhile."""

from __future__ import annotations

import asyncio
import selectors
import time


class _Counting(selectors.DefaultSelector):
    """Knows how long it was waited for, of what was meant to be waited."""

    waited_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        began = time.monotonic()
        found = super().select(timeout)
        waited_s = time.monotonic() - began
        self.waited_s += waited_s if timeout is None else min(waited_s, max(timeout, 0.0))
        return found


class FairLoop(asyncio.SelectorEventLoop):
    """Time passes while its thread computes, or waits for a timer or a socket, and never while somebody else has the processor.

    Sandboxes that are coroutines answer in no time, so limits of a tenth of a second tell what is meant to run into them from
    what is not, and tests need no longer ones. By the machine's clock, a process that did not run for that tenth, between two
    steps of a microsecond each, found a limit passed that nothing had exceeded. For tests without other processes and threads.
    """

    def __init__(self) -> None:
        self._counting = _Counting()
        super().__init__(self._counting)

    def time(self) -> float:
        """In seconds, from the start of the thread or so."""
        return self._counting.waited_s + time.thread_time()
