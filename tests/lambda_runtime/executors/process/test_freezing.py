"""Idle environments are frozen: nothing inside runs until the next invocation, and then all of it goes on."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lambda_runtime.executors.base import ExitStatus
from lambda_runtime.executors.process.freezer import Freezer
from lambda_runtime.executors.process.memory import family
from tests.scenarios.machine import until

STARTS_OTHERS = """
import subprocess
def handler(event, context):
    for _ in range(event or 0):
        subprocess.Popen(["sh", "-c", "while :; do sleep 0.01; done"])
    return event
"""
IN_ITS_OWN_SESSION = """
import subprocess
def handler(event, context):
    subprocess.Popen(["sh", "-c", "while :; do sleep 0.01; done"], start_new_session=True)
"""


def states(environment: Any) -> str:
    """Of the processes inside that run or could run, without process 1: one letter each (proc(5)).

    Left out are those that have ended while their parent is frozen, and shells that wait for a frozen child to execute (vfork).
    """
    letters = []
    for pid in family(environment.sandbox._root)[1:]:
        try:
            letters.append(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0])
        except OSError:  # One `sleep` has made room for the next.
            continue
    return "".join(letter for letter in letters if letter not in "ZD")


@pytest.fixture
async def started(machine: Any) -> Any:
    """An environment whose runtime waits; it runs one process more."""
    environment = await machine.run(STARTS_OTHERS)
    await environment.invoke(1)
    environment.sandbox.check_memory()  # So that the process from which all descend is known.
    return environment


async def test_everything_inside_stops_and_goes_on(started: Any) -> None:
    assert "T" not in states(started)
    started.sandbox.work_ends()
    started.sandbox.freeze()
    await until(lambda: set(states(started)) == {"T"})
    started.sandbox.work_begins()
    assert await started.invoke(0) == 0
    await until(lambda: "T" not in states(started))


async def test_what_left_the_process_group_is_frozen_too(machine: Any) -> None:
    environment = await machine.run(IN_ITS_OWN_SESSION)
    await environment.invoke()
    environment.sandbox.check_memory()
    environment.sandbox.freeze()
    await until(lambda: set(states(environment)) == {"T"})


async def test_an_environment_that_rests_is_frozen_after_a_moment(started: Any) -> None:
    started.sandbox.rests()
    await until(lambda: set(states(started)) == {"T"})


async def test_nothing_is_frozen_that_works_again_in_time(started: Any) -> None:
    for _ in range(20):
        started.sandbox.rests()
        started.sandbox.work_begins()
        await started.invoke(0)
    assert "T" not in states(started)


@pytest.mark.parametrize("how", ["kill", "terminate"])
async def test_a_frozen_environment_can_be_ended(started: Any, how: str) -> None:
    processes = family(started.sandbox._root)
    started.sandbox.freeze()
    await until(lambda: set(states(started)) == {"T"})
    getattr(started.sandbox, how)()
    expected = ExitStatus(signal=signal.SIGKILL if how == "kill" else signal.SIGTERM)
    async with asyncio.timeout(60):
        assert await started.sandbox.exited == expected
    await until(lambda: not any(Path(f"/proc/{pid}/stat").exists() for pid in processes[:2]))


async def test_a_thaw_that_follows_at_once_wins(started: Any) -> None:
    for _ in range(50):
        started.sandbox.freeze()
        started.sandbox.work_begins()
    assert await started.invoke(0) == 0
    await until(lambda: "T" not in states(started))


PASSES_ON = """
import os
from lambda_runtime.executors.process.zygote.environment import PassOn
runtime = os.fork()
if runtime == 0:
    while True:
        os.read(0, 1) or os._exit(7)
pass_on = PassOn(lambda number: os.write(1, bytes([number])))
os.write(1, b"!")
print(pass_on.until_end_of(runtime))
"""


def test_a_thaw_that_comes_with_a_freeze_is_passed_on_after_it() -> None:
    """Handlers in Python are called within each other: the thaw came first, once in some thousand times."""
    with subprocess.Popen([sys.executable, "-c", PASSES_ON], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        output = process.stdout.fileno()
        assert os.read(output, 1) == b"!"
        for _ in range(5000):
            process.send_signal(signal.SIGUSR1)
            process.send_signal(signal.SIGUSR2)
            passed = os.read(output, 1) + os.read(output, 1)
            assert passed == bytes([signal.SIGSTOP, signal.SIGCONT])
        process.stdin.close()
        status = int(process.stdout.read())
    assert os.waitstatus_to_exitcode(status) == 7


# --- the timer


class Resting:
    def __init__(self) -> None:
        self.frozen = asyncio.Event()

    def freeze(self) -> None:
        self.frozen.set()


class ManualLoop:
    """A loop's clock and timers, which a test moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[tuple[float, Callable[..., None], tuple[Any, ...]]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[..., None], *arguments: Any) -> None:
        self.timers.append((when, callback, arguments))

    def advance_to(self, now: float) -> None:
        while self.timers and self.timers[0][0] <= now:
            self.now, callback, arguments = self.timers.pop(0)
            callback(*arguments)
        self.now = now


def test_environments_are_frozen_in_their_order_and_only_if_they_still_rest() -> None:
    loop, freezer = ManualLoop(), Freezer(5)
    freezer._loop = loop  # type: ignore[assignment]
    first, second, third = Resting(), Resting(), Resting()
    freezer.rests(first)
    freezer.rests(second)
    loop.advance_to(3)
    freezer.rests(first)  # It has worked in between: its time begins anew.
    freezer.rests(third)
    freezer.ends(third)
    loop.advance_to(4.9)
    assert not second.frozen.is_set()
    loop.advance_to(7.9)
    assert second.frozen.is_set()
    assert not first.frozen.is_set()
    loop.advance_to(8)
    assert first.frozen.is_set()
    assert not third.frozen.is_set()
    assert not loop.timers


async def test_without_a_limit_nobody_is_frozen() -> None:
    freezer, resting = Freezer(None), Resting()
    freezer.rests(resting)
    freezer.ends(resting)
    assert freezer._timer is None


async def test_a_stopped_freezer_freezes_nobody() -> None:
    freezer, resting = Freezer(0.01), Resting()
    freezer.rests(resting)
    freezer.stop()
    await asyncio.sleep(0.05)
    assert not resting.frozen.is_set()
