"""What a loop has a thread do that is busy with something of its own, between two turns of that."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import time
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class Errands:
    """The errands of one thread, done one after the other in the order in which they were asked for.

    `ask` and `send` are called on the loop that this was made on; the thread calls `serve`, `tell`, and `end` last.
    """

    def __init__(self, over: str) -> None:
        """`over` is what is said of errands that come to nothing because the thread has ended."""
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the thread does nothing more."""
        self.last = 0.0
        """When the thread began its last errand; of the monotonic clock."""
        self._over = over
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._waiting: set[asyncio.Future[Any]] = set()

    def ask(self, function: Callable[[], T]) -> asyncio.Future[T]:
        """Have it done; the result is the function's. RuntimeError if the thread has ended, or ends before."""
        result: asyncio.Future[T] = self._loop.create_future()

        def do() -> None:
            try:
                answer = function()
            except Exception as error:  # noqa: BLE001  (who asked gets it)
                self.tell(settle, result, error)
            else:
                self.tell(settle, result, None, answer)

        if self.ended.done():
            result.set_exception(RuntimeError(self._over))
        else:
            self._queue.put(do)
            self._waiting.add(result)
            result.add_done_callback(self._waiting.discard)
        return result

    def send(self, function: Callable[[], None]) -> None:
        """Have it done, if the thread still does anything. The function may not raise."""
        if not self.ended.done():
            self._queue.put(function)

    # --- in the thread

    def serve(self, seconds: float = 0) -> None:
        """Do what was asked for, waiting so long for the first."""
        with contextlib.suppress(queue.Empty):
            errand = self._queue.get(timeout=seconds) if seconds else self._queue.get_nowait()
            while True:
                self.last = time.monotonic()
                errand()
                errand = self._queue.get_nowait()

    def tell(self, function: Callable[..., None], *arguments: Any) -> None:
        """Have something called on the loop, if that still runs."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function, *arguments)

    def end(self) -> None:
        """The thread does nothing more."""
        self.tell(self._end)

    def _end(self) -> None:
        settle(self.ended, None)
        for result in list(self._waiting):
            settle(result, RuntimeError(self._over))


def settle(future: asyncio.Future[Any], failure: Exception | None, result: Any = None) -> None:
    """Give a future its result or its failure, unless it has one."""
    if future.done():
        return
    if failure is None:
        future.set_result(result)
    else:
        future.set_exception(failure)
