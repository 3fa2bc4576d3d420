"""Whose turn it is among the events of a function, step by step."""

from __future__ import annotations

import asyncio

import pytest

from lambda_runtime.clock import ManualClock
from lambda_runtime.errors import Throttled, ZeroReservedConcurrency
from lambda_runtime.event_lines import PACE, Lines

FUNCTION = "arn:aws:lambda:us-east-1:000000000000:function:fn"
NEVER = 1e12


class Waiting:
    """Events that wait in a line."""

    def __init__(self, lines: Lines, *orders: int, expires_at: float = NEVER) -> None:
        self.woken: list[int] = []
        self.tasks = [asyncio.create_task(self._wait(lines, order, expires_at)) for order in orders]

    async def _wait(self, lines: Lines, order: int, expires_at: float) -> None:
        await lines.of(FUNCTION).wait(order, expires_at)
        self.woken.append(order)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def lines(clock: ManualClock) -> Lines:
    return Lines(clock)


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_oldest_is_woken_first_whoever_came_first(lines: Lines) -> None:
    waiting = Waiting(lines, 3, 1, 2)
    await turns()
    for _ in range(3):
        lines.slot_released(FUNCTION)
        await turns()
    assert waiting.woken == [1, 2, 3]


async def test_younger_event_waits_behind_older_ones(lines: Lines) -> None:
    Waiting(lines, 1)
    await turns()
    assert lines.of(FUNCTION).must_wait(2)
    assert not lines.of(FUNCTION).must_wait(0)


async def test_nobody_gets_in_between_an_event_that_was_woken_and_its_slot(lines: Lines) -> None:
    waiting = Waiting(lines, 1)
    await turns()
    lines.slot_released(FUNCTION)
    assert lines.of(FUNCTION).must_wait(2)
    await turns()
    assert waiting.woken == [1]
    assert not lines.of(FUNCTION).must_wait(2)


async def test_event_stops_waiting_at_its_end(lines: Lines, clock: ManualClock) -> None:
    waiting = Waiting(lines, 1, expires_at=clock.now() + 10)
    await turns()
    clock.advance(10)
    await turns()
    assert waiting.woken == [1]


async def test_cancelled_event_leaves_no_line_and_no_timer(lines: Lines, clock: ManualClock) -> None:
    waiting = Waiting(lines, 1, expires_at=clock.now() + 10)
    await turns()
    waiting.tasks[0].cancel()
    await turns()
    assert not lines.of(FUNCTION).must_wait(2)
    assert clock.next_moment() is None


async def test_who_got_a_slot_wakes_the_next(lines: Lines) -> None:
    waiting = Waiting(lines, 1, 2)
    await turns()
    with lines.of(FUNCTION).running():
        await turns()
        assert waiting.woken == [1]


async def test_who_is_throttled_wakes_nobody(lines: Lines) -> None:
    waiting = Waiting(lines, 1)
    await turns()
    with pytest.raises(Throttled), lines.of(FUNCTION).running():
        raise Throttled("ConcurrentInvocationLimitExceeded")
    await turns()
    assert waiting.woken == []


@pytest.mark.parametrize("error", [ZeroReservedConcurrency("none"), OSError("broken"), None])
async def test_end_of_a_run_wakes_the_next_however_it_ended(lines: Lines, error: Exception | None) -> None:
    line = lines.of(FUNCTION)
    try:
        with line.running():
            waiting = Waiting(lines, 1)
            await turns()
            assert waiting.woken == []
            if error is not None:
                raise error
    except (ZeroReservedConcurrency, OSError):
        pass
    await turns()
    assert waiting.woken == [1]


async def test_pace_begins_anew_once_a_line_was_empty(lines: Lines) -> None:
    line = lines.of(FUNCTION)
    runs = [line.running() for _ in range(PACE)]
    for run in runs:
        run.__enter__()
    assert line.must_wait(0)
    for run in runs:
        run.__exit__(None, None, None)
    assert lines.of(FUNCTION) is not line
    assert not lines.of(FUNCTION).must_wait(0)
