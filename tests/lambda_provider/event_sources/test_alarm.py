"""When a poller wakes."""

from __future__ import annotations

import asyncio

from lambda_provider.event_sources.alarm import Alarm
from lambda_runtime.clock import ManualClock

from .fakes import QUEUE_ARN, Feed


async def test_what_rang_before_the_wait_is_not_missed() -> None:
    feed = Feed()
    alarm = Alarm(ManualClock(), feed, QUEUE_ARN)
    feed.ring()
    assert await alarm.wait(60)
    assert await alarm.wait(60), "until it is cleared"
    alarm.clear()
    assert not await alarm.wait(0)


async def test_it_wakes_a_poller_that_waits_and_else_lets_the_time_pass() -> None:
    clock, feed = ManualClock(), Feed()
    alarm = Alarm(clock, feed, QUEUE_ARN)
    waiting = asyncio.ensure_future(alarm.wait(60))
    await asyncio.sleep(0)
    feed.ring("arn:of:another")
    await asyncio.sleep(0)
    assert not waiting.done()
    feed.ring()
    assert await waiting
    alarm.clear()
    waiting = asyncio.ensure_future(alarm.wait(60))
    for _ in range(3):
        await asyncio.sleep(0)
    clock.advance(60)
    assert not await waiting
    assert clock.next_moment() is None


async def test_the_earliest_of_what_is_to_come_counts() -> None:
    loop, feed = asyncio.get_running_loop(), Feed()
    alarm = Alarm(ManualClock(), feed, QUEUE_ARN)
    began = loop.time()
    feed.ring(delay_s=30)
    feed.ring(delay_s=0.02)
    feed.ring(delay_s=30)
    assert await alarm.wait(60)
    assert 0.015 < loop.time() - began < 10
    alarm.close()


async def test_a_closed_alarm_listens_no_more() -> None:
    feed = Feed()
    alarm = Alarm(ManualClock(), feed, QUEUE_ARN)
    assert alarm.fed
    alarm.close()
    alarm.close()
    feed.ring()
    assert not alarm.fed
    assert not await alarm.wait(0)


def test_without_a_feed_nobody_tells() -> None:
    assert not Alarm(ManualClock(), None, QUEUE_ARN).fed
    assert not Alarm(ManualClock(), Feed(), None).fed
