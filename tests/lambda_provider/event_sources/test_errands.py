"""Errands of a thread, asked for on a loop."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator

import pytest

from lambda_provider.event_sources.errands import Errands


class Thread:
    """A thread that does nothing but errands until it is let go."""

    def __init__(self, errands: Errands) -> None:
        self.errands = errands
        self.let_go = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self._thread.start()
        self.name = self._thread.name

    def _work(self) -> None:
        while not self.let_go.is_set():
            self.errands.serve(0.01)
        self.errands.end()

    async def end(self) -> None:
        self.let_go.set()
        await self.errands.ended
        await asyncio.to_thread(self._thread.join)


@pytest.fixture
async def errands() -> Errands:
    return Errands("the thread is gone")


@pytest.fixture
async def thread(errands: Errands) -> AsyncIterator[Thread]:
    thread = Thread(errands)
    yield thread
    await thread.end()


async def test_an_errand_is_done_in_the_thread_and_answered_on_the_loop(errands: Errands, thread: Thread) -> None:
    before = time.monotonic()
    assert await errands.ask(lambda: threading.current_thread().name) == thread.name
    assert before <= errands.last <= time.monotonic()


async def test_errands_are_done_in_their_order(errands: Errands, thread: Thread) -> None:
    done: list[int] = []
    for number in range(100):
        errands.send(lambda number=number: done.append(number))
    await errands.ask(lambda: None)
    assert done == list(range(100))


async def test_who_asks_gets_the_failure_and_the_thread_goes_on(errands: Errands, thread: Thread) -> None:
    def fail() -> None:
        raise KeyError("no")

    with pytest.raises(KeyError, match="no"):
        await errands.ask(fail)
    assert await errands.ask(lambda: 1) == 1


async def test_one_that_nobody_waits_for_any_longer_is_done_all_the_same(errands: Errands, thread: Thread) -> None:
    may_go_on, done = threading.Event(), threading.Event()
    errands.send(may_go_on.wait)
    asked = errands.ask(done.set)
    asked.cancel()
    may_go_on.set()
    await errands.ask(lambda: None)
    assert done.is_set()


async def test_what_is_not_done_when_the_thread_ends_has_failed(errands: Errands) -> None:
    asked = errands.ask(lambda: None)
    errands.end()
    with pytest.raises(RuntimeError, match="the thread is gone"):
        await asked
    with pytest.raises(RuntimeError, match="the thread is gone"):
        await errands.ask(lambda: None)
    errands.send(lambda: pytest.fail("done after the end"))
    errands.serve(0)


def test_a_loop_that_has_ended_is_told_nothing() -> None:
    async def make() -> Errands:
        return Errands("the thread is gone")

    errands = asyncio.run(make())
    errands.tell(lambda: None)
    errands.end()
