"""Environments that were reset, until another takes their place."""

from __future__ import annotations

import asyncio

from lambda_runtime.resets import Reset, Resets


class Kept:
    """Remains that know whether somebody has dropped them."""

    def __init__(self) -> None:
        self.dropped = asyncio.Event()

    def drop(self) -> None:
        self.dropped.set()


def resets(count: int) -> tuple[list[Reset], list[Kept]]:
    kept = [Kept() for _ in range(count)]
    return [Reset(f"stream-{number}", each) for number, each in enumerate(kept)], kept


async def test_the_latest_is_taken_first_and_each_once() -> None:
    waiting, (found, kept) = Resets(60), resets(2)
    for reset in found:
        waiting.add(reset)
    waiting.add(None)
    assert [waiting.take() for _ in range(3)] == [found[1], found[0], None]
    assert not any(each.dropped.is_set() for each in kept), "who takes one answers for it"


async def test_what_nobody_takes_is_dropped_in_time_and_what_was_taken_is_not() -> None:
    emptied: list[int] = []
    waiting, (found, kept) = Resets(0.05, lambda: emptied.append(1)), resets(3)
    for reset in found:
        waiting.add(reset)
    assert waiting.take() is found[2]
    async with asyncio.timeout(20):
        await kept[0].dropped.wait()
        await kept[1].dropped.wait()
    assert waiting.take() is None
    assert not waiting
    assert emptied == [1]
    assert not kept[2].dropped.is_set()
    waiting.add(Reset("later", last := Kept()))
    async with asyncio.timeout(20):
        await last.dropped.wait()


async def test_what_waits_is_bounded_and_can_be_cleared() -> None:
    waiting, (found, kept) = Resets(60), resets(65)
    for reset in found:
        waiting.add(reset)
    assert [each.dropped.is_set() for each in kept] == [True] + [False] * 64
    waiting.clear()
    assert all(each.dropped.is_set() for each in kept)
    assert waiting.take() is None


async def test_an_executor_may_keep_nothing() -> None:
    waiting = Resets(60)
    waiting.add(Reset("stream", None))
    assert waiting.take() == Reset("stream", None)
    waiting.add(Reset("stream", None))
    waiting.clear()
