"""A loop for those who have none."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import CancelledError

import pytest

from lambda_provider.hosts.loop_thread import LoopThread


async def here() -> str:
    return threading.current_thread().name


def test_work_runs_in_the_thread_and_its_result_comes_back() -> None:
    thread = LoopThread("loop")
    assert thread.run(here()) == "loop"
    thread.stop()


def test_what_takes_too_long_is_cancelled() -> None:
    thread = LoopThread("loop")
    begun, cancelled = threading.Event(), threading.Event()

    async def long() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    for timeout_s in (0.01, 1, 30):  # On a busy machine the time may be over before it has begun.
        with pytest.raises(TimeoutError):
            thread.run(long(), timeout_s)
        if begun.is_set():
            break
    assert cancelled.wait(30)
    thread.stop()


def test_what_is_submitted_while_the_loop_ends_is_done_or_refused() -> None:
    for _ in range(50):
        thread = LoopThread("loop")
        stoppers = [threading.Thread(target=thread.stop) for _ in range(2)]
        for stopper in stoppers:
            stopper.start()
        with pytest.raises((RuntimeError, CancelledError)):
            while True:
                assert thread.submit(here()).result(30) == "loop"
        for stopper in stoppers:
            stopper.join(30)
        assert thread.loop.is_closed()


def test_the_end_cancels_what_runs_and_closes_generators() -> None:
    thread = LoopThread("loop")
    ended: list[str] = []

    async def generator():  # type: ignore[no-untyped-def]
        try:
            yield 1
        finally:
            ended.append("generator")

    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("task")

    kept = generator()

    async def begin() -> None:
        await anext(kept)

    thread.run(begin())
    thread.submit(endless())
    thread.run(asyncio.sleep(0))
    thread.stop()
    thread.stop()
    assert ended == ["task", "generator"]
    assert thread.loop.is_closed()
    with pytest.raises(RuntimeError):
        thread.submit(here())
