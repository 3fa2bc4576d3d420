"""How long work waits for an environment that has just answered, before another one is started for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from lambda_runtime.work import Work

LEAST_S = 0.05
MOST_S = 1.0
"""A runtime that answers and then never asks for the next invocation holds nobody up for longer."""


class Patience:
    """Waits as long as a start would take.

    An environment that has answered asks for its next invocation in well under a millisecond, but a caller that invokes one after
    the other can be here before it: its second invocation must not start a second environment, as it does not on AWS. How long is
    a moment on a machine with too much to do? As long as the last environment took to start: then whoever waited in vain has his
    environment after twice the time at most, and on a slow machine starts are slow, too. Where the loop itself could not look in
    time, nothing was learnt of the environment, and the wait begins again.

    On the loop only.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._start_s = 0.0

    def learn(self, start_s: float) -> None:
        """So long did an environment take to start."""
        self._start_s = start_s

    @property
    def wait_s(self) -> float:
        """How long to wait now."""
        return min(MOST_S, max(LEAST_S, self._start_s))

    def wait(self, work: Work, in_vain: Callable[[], None]) -> None:
        """Call `in_vain` in a while, unless an environment has the work by then."""
        self._wait(work, in_vain, self._loop.time() + MOST_S)

    def _wait(self, work: Work, in_vain: Callable[[], None], latest: float) -> None:
        due = min(latest, self._loop.time() + self.wait_s)
        self._loop.call_at(due, self._look, work, in_vain, due, latest)

    def _look(self, work: Work, in_vain: Callable[[], None], due: float, latest: float) -> None:
        if work.assigned:
            return
        late_s = self._loop.time() - due
        if due < latest and late_s > self.wait_s / 16:
            self._wait(work, in_vain, latest + late_s)
        else:
            in_vain()
