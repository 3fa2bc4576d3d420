"""How many batches of a queue are with the function at once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from lambda_provider.event_sources.sqs_scaling import Concurrency
from lambda_provider.model.event_source_mapping import MappingSettings, Pollers
from lambda_runtime.clock import ManualClock


def concurrency(clock: ManualClock, **settings: Any) -> Concurrency:
    return Concurrency(MappingSettings(batch_size=10, **settings), clock)


async def take_all(slots: Concurrency, clock: ManualClock, seconds: float) -> int:
    """Slots that are taken when batches come for so long, and none ends."""

    async def take() -> None:
        while True:
            await slots.free()
            slots.take()

    taking = asyncio.ensure_future(take())
    end = clock.now() + seconds
    while True:
        for _ in range(2000):
            await asyncio.sleep(0)
        moment = clock.next_moment()
        if moment is None or moment > end:
            break
        clock.advance(moment - clock.now())
    taking.cancel()
    return slots.in_use


@pytest.mark.parametrize(("seconds", "taken"), [(0.0, 5), (1.0, 10), (4.0, 25)])
async def test_it_begins_with_five_and_grows_by_300_a_minute(seconds: float, taken: int) -> None:
    clock = ManualClock()
    assert abs(await take_all(concurrency(clock), clock, seconds) - taken) <= 1


async def test_maximum_concurrency_bounds_it() -> None:
    clock = ManualClock()
    assert await take_all(concurrency(clock, maximum_concurrency=2), clock, 10) == 2
    assert await take_all(concurrency(clock, maximum_concurrency=7), clock, 10) == 7


async def test_provisioned_pollers_are_there_from_the_start() -> None:
    clock = ManualClock()
    assert await take_all(concurrency(clock, pollers=Pollers(minimum=3, maximum=3)), clock, 0) == 30
    default = concurrency(clock, pollers=Pollers())
    assert (default.first, default.most) == (20, 2000)


def test_failures_make_it_smaller_and_successes_bring_it_back() -> None:
    slots = concurrency(ManualClock())
    for _ in range(10):
        slots.failed()
    assert slots.allowed == 1
    for _ in range(10):
        slots.succeeded()
    assert slots.allowed == 5
    slots.throttled()
    assert slots.allowed == 2


async def test_it_does_not_grow_while_batches_fail() -> None:
    clock = ManualClock()
    slots = concurrency(clock)
    slots.failed()
    assert await take_all(slots, clock, 10) == 4


async def test_after_a_minute_at_rest_it_begins_anew() -> None:
    clock = ManualClock()
    slots = concurrency(clock)
    taken = await take_all(slots, clock, 2)
    assert taken > 10
    for _ in range(taken):
        slots.give()
    clock.advance(61)
    await slots.free()
    assert slots.allowed == 5
