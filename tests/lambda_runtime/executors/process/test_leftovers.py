"""What a function starts ends with its environment, however it was started: with namespaces and without."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
from typing import Any

import pytest

from lambda_runtime.executors.base import ExitStatus
from tests.scenarios.machine import running_with, until

_numbers = itertools.count(1)
DAEMON = """
import os, subprocess, sys
def handler(event, context):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.setsid()
            subprocess.Popen(["sleep", event], start_new_session=True)
            os.execv("/bin/sleep", ["sleep", event])
        os._exit(0)
    os.wait()
    return os.getpid()
"""
"""Twice forked, each in a session of its own, the parent gone: what `daemon(3)` does."""

THEN_EXIT = """
def then_exit(event, context):
    handler(event, context)
    os._exit(0)
"""


@pytest.fixture
def mark() -> str:
    """How long the daemons sleep: nobody else sleeps so long."""
    return f"{70_000 + os.getpid()}.{next(_numbers)}"


async def test_daemons_end_when_their_environment_is_killed(machine: Any, mark: str) -> None:
    environment = await machine.run(DAEMON)
    await environment.invoke(mark)
    await until(lambda: len(running_with(mark)) == 2)
    environment.sandbox.kill()
    await until(lambda: not running_with(mark))


async def test_daemons_end_when_the_runtime_exits(machine: Any, mark: str) -> None:
    environment = await machine.run(DAEMON + THEN_EXIT, handler="index.then_exit")
    call = asyncio.create_task(environment.invoke(mark))
    async with asyncio.timeout(60):
        await environment.sandbox.exited
    call.cancel()
    await until(lambda: not running_with(mark))


async def test_daemons_of_other_environments_go_on(machine: Any, mark: str) -> None:
    prepared = await machine.prepare(DAEMON)
    ends, stays = await machine.start(prepared), await machine.start(prepared)
    await ends.invoke(mark)
    await stays.invoke(mark + "5")
    await until(lambda: len(running_with(mark + "5")) == 2)
    ends.sandbox.kill()
    await until(lambda: not running_with(mark))
    assert len(running_with(mark + "5")) == 2
    stays.sandbox.kill()
    await until(lambda: not running_with(mark + "5"))


async def test_daemons_end_with_the_executor(machine: Any, mark: str) -> None:
    await (await machine.run(DAEMON)).invoke(mark)
    await until(lambda: len(running_with(mark)) == 2)
    await machine.executor.stop()
    assert not running_with(mark)


async def test_daemons_end_when_the_fork_server_is_killed(machine: Any, mark: str) -> None:
    environment = await machine.run(DAEMON)
    await environment.invoke(mark)
    await until(lambda: len(running_with(mark)) == 2)
    (server,) = {id(task.result()): task.result() for task in machine.executor._servers._launches.values()}.values()
    os.kill(server._process.pid, signal.SIGKILL)
    async with asyncio.timeout(60):
        assert await environment.sandbox.exited == ExitStatus(signal=signal.SIGKILL)
    await until(lambda: not running_with(mark))
