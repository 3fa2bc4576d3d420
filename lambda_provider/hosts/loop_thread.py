"""An event loop in a thread of its own, for those who have none: WSGI servers and tests."""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def at_exit(stop: Callable[[], None]) -> None:
    """Call `stop` when the process ends, as long as it can still use threads.

    What `atexit` calls comes later: `concurrent.futures` takes no more work then, and the end of a loop needs that. Its own way
    of being called in time has no public name.
    """
    getattr(threading, "_register_atexit", atexit.register)(stop)


class LoopThread:
    """Runs coroutines of other threads on one loop.

    The thread is a daemon: a process that ends without `stop` is not held up. `factory` makes the loop.
    """

    def __init__(self, name: str, factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop) -> None:
        self.loop = factory()
        self._ends = False
        self._order = threading.Lock()
        """What is submitted is begun before the loop ends, or refused: nobody waits for what nobody will do."""
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    def submit(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Run a coroutine on the loop. Raises RuntimeError after `stop`."""
        with self._order:
            if not self._ends:
                return asyncio.run_coroutine_threadsafe(work, self.loop)
        work.close()
        raise RuntimeError("the loop has ended")

    def run(self, work: Coroutine[Any, Any, T], timeout_s: float | None = None) -> T:
        """Run a coroutine on the loop and wait for its result. Raises TimeoutError, and cancels it, after `timeout_s`."""
        running = self.submit(work)
        try:
            return running.result(timeout_s)
        except concurrent.futures.TimeoutError:
            running.cancel()
            raise

    def stop(self) -> None:
        """End the loop as `asyncio.run` does, and wait for the thread. May be called twice, also at once; not on the loop."""
        with self._order:
            if not self._ends:
                self._ends = True
                self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
            self._finish()
        finally:
            self.loop.close()

    def _finish(self) -> None:
        self.loop.run_until_complete(_end_tasks())
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())


async def _end_tasks() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
