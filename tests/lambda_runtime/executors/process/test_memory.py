"""The memory limit: what exceeds it ends, what stays below it is reported truthfully, what waits is not looked at."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import Any

import pytest

from lambda_runtime.executors.base import ExitStatus
from lambda_runtime.executors.process import memory
from lambda_runtime.executors.process.memory import MemoryWatch, family, used_kib

KILLED = ExitStatus(signal=9, out_of_memory=True)
ALLOCATES = """
kept = []
def handler(event, context):
    for _ in range(event):
        kept.append(bytearray(b"x") * (1 << 20))
    return len(kept)
"""
IN_A_CHILD = """
import subprocess, sys
def handler(event, context):
    code = "import time; kept = [bytearray(b'x') * (1 << 20) for _ in range(int(sys.argv[1]))]; time.sleep(30)"
    subprocess.run([sys.executable, "-c", "import sys;" + code, str(event)])
"""


async def test_more_than_the_memory_size_ends_the_environment(machine: Any) -> None:
    environment = await machine.run(ALLOCATES, memory_mib=128)
    call = asyncio.create_task(environment.invoke(1000))
    async with asyncio.timeout(60):
        assert await environment.sandbox.exited == KILLED
    call.cancel()
    assert environment.sandbox.max_memory_mib() == 128


async def test_children_of_the_function_count_too(machine: Any) -> None:
    environment = await machine.run(IN_A_CHILD, memory_mib=128)
    call = asyncio.create_task(environment.invoke(1000))
    async with asyncio.timeout(60):
        assert await environment.sandbox.exited == KILLED
    call.cancel()


async def test_memory_counts_while_the_code_is_initialised(machine: Any) -> None:
    environment = await machine.run("kept = []\nwhile True: kept.append(bytearray(b'x') * (1 << 20))", memory_mib=128)
    async with asyncio.timeout(60):
        assert await environment.sandbox.exited == KILLED


async def test_what_stays_below_runs_and_its_peak_is_reported(machine: Any) -> None:
    environment = await machine.run(ALLOCATES, memory_mib=256)
    assert await environment.invoke(100) == 100
    assert 100 < environment.sandbox.max_memory_mib() < 256


async def test_a_function_that_kills_itself_did_not_run_out_of_memory(machine: Any) -> None:
    environment = await machine.run("import os\nos.kill(os.getpid(), 9)\n")
    async with asyncio.timeout(60):
        assert await environment.sandbox.exited == ExitStatus(signal=9)


def test_pages_that_processes_share_count_once() -> None:
    code = (
        "import os, sys\nkept = bytearray(b'x') * (64 << 20)\nchildren = [os.fork() for _ in range(1)]\n"
        "sys.stdout.write('x'); sys.stdout.flush(); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    ) as process:
        assert process.stdout is not None and process.stdin is not None
        assert len(process.stdout.read(1) + process.stdout.read(1)) == 2
        used_mib = used_kib(process.pid) / 1024
        process.stdin.close()
    assert 64 < used_mib < 128


def test_a_process_that_is_gone_uses_nothing() -> None:
    pid = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(pid, 0)
    assert used_kib(pid) == 0


def test_processes_that_end_while_they_are_read_use_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A function's many children share nearly everything with it; when they end, their sizes are not what they had in all."""
    code = (
        "import os, sys\nkept = bytearray(b'x') * (32 << 20)\n"
        "for _ in range(8):\n    if not os.fork(): sys.stdin.read(1); os._exit(0)\n"
        "sys.stdout.write('x'); sys.stdout.flush()\n[os.wait() for _ in range(8)]\nsys.stdout.write('y')\n"
    )
    resident, ended = memory.resident_kib, False

    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    ) as process:
        assert process.stdout is not None and process.stdin is not None
        output, requests = process.stdout, process.stdin
        assert output.read(1) == b"x"
        inside = family(process.pid)
        assert len(inside) == 9

        def resident_then_end(pid: int) -> int:
            nonlocal ended
            size = resident(pid)
            if pid == inside[-1] and not ended:
                ended = True
                requests.close()
                assert output.read(1) == b"y"
            return size

        monkeypatch.setattr(memory, "resident_kib", resident_then_end)
        assert used_kib(process.pid) < 64 * 1024
        assert ended


class Looked:
    def __init__(self, watch: MemoryWatch) -> None:
        self.watch = watch
        self.times = 0
        self.enough = asyncio.Event()

    def check_memory(self) -> None:
        self.times += 1
        if self.times == 3:
            self.watch.end(self)
            self.enough.set()


async def test_only_what_works_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "INTERVAL_S", 0.0001)
    watch = MemoryWatch()
    working, waiting = Looked(watch), Looked(watch)
    watch.begin(waiting)
    watch.end(waiting)
    watch.begin(working)
    async with asyncio.timeout(60):
        await working.enough.wait()
    later = asyncio.Event()
    asyncio.get_running_loop().call_later(0.005, later.set)
    await later.wait()
    assert (working.times, waiting.times) == (3, 0)
    assert watch._timer is None
