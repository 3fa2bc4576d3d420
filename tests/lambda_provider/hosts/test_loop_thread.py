"""A loop for those who have none."""

from __future__ import annotations

import asyncio
import threading

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
    cancelled = threading.Event()

    async def long() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    with pytest.raises(TimeoutError):
        thread.run(long(), 0.01)
    assert cancelled.wait(10)
    thread.stop()


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
