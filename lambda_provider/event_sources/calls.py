"""Blocking clients in threads, such that one source never waits for another one's threads."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

SHARE = 8
"""Calls of one mapping that are under way at once; the others wait for them, not for those of other mappings."""

_THREADS = 128


class Calls:
    """A pool whose threads are made when they are needed, and a thread for each call that waits for something to come.

    A long poll holds its thread for 20 seconds: apart from the pool long polls starve nobody, and as daemons they do not hold
    up the end of the process. Called on the runtime loop. A caller that is cancelled does not stop a thread.
    """

    def __init__(self) -> None:
        self._pool = concurrent.futures.ThreadPoolExecutor(_THREADS, "event-source")

    async def run(self, share: asyncio.Semaphore, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call what answers at once, as one of the share of a mapping."""
        async with share:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._pool, functools.partial(function, *args, **kwargs))

    async def wait(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call what may take its time to answer, and does not need the processor meanwhile."""
        done: concurrent.futures.Future[T] = concurrent.futures.Future()

        def call() -> None:
            try:
                result = function(*args, **kwargs)
            except BaseException as error:  # noqa: BLE001  (the caller gets it)
                done.set_exception(error)
            else:
                done.set_result(result)

        threading.Thread(target=call, name="long-poll", daemon=True).start()
        # A result that nobody waits for any more must not meet a cancelled future.
        return await asyncio.shield(asyncio.wrap_future(done))

    def close(self) -> None:
        """Take no more; what is under way ends by itself. May be called twice."""
        self._pool.shutdown(wait=False, cancel_futures=True)
