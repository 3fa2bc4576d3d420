"""Idle environments are frozen, as on AWS: what a function left running pauses, and goes on in the next invocation.

"Background processes or callbacks that were initiated by your Lambda function and did not complete when the function ended resume
if Lambda reuses the execution environment" (lambda/latest/dg/lambda-runtime-environment.md). AWS freezes at once; here an
environment gets a moment, so that one that is invoked again and again is not stopped and woken each time.
"""

from __future__ import annotations

import asyncio
from typing import Protocol


class Freezable(Protocol):
    """An environment that can be frozen."""

    def freeze(self) -> None:
        """Stop what runs inside, until it is woken."""
        ...


class Freezer:
    """Freezes environments that have rested for `after_s`; with None, none. On the loop only; without any there is no timer.

    On the way of every warm invoke, so a rest costs an entry in a dict and no timer of its own.
    """

    def __init__(self, after_s: float | None) -> None:
        self._after_s = after_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._resting: dict[Freezable, float] = {}
        """Since when; the longest rest is the first entry."""
        self._timer: asyncio.TimerHandle | None = None

    def rests(self, environment: Freezable) -> None:
        """It waits for work from now on."""
        if self._after_s is None:
            return
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        now = self._loop.time()
        self._resting.pop(environment, None)
        self._resting[environment] = now
        if self._timer is None:
            self._timer = self._loop.call_at(now + self._after_s, self._freeze, self._loop, self._after_s)

    def ends(self, environment: Freezable) -> None:
        """It works, or is gone. May be called twice."""
        self._resting.pop(environment, None)

    def stop(self) -> None:
        """Freeze no more."""
        self._resting.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _freeze(self, loop: asyncio.AbstractEventLoop, after_s: float) -> None:
        self._timer = None
        now = loop.time()
        for environment, since in list(self._resting.items()):
            if since + after_s > now:
                self._timer = loop.call_at(since + after_s, self._freeze, loop, after_s)
                return
            del self._resting[environment]
            environment.freeze()
