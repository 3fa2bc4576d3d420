"""Starting, running and ending environments, with namespaces and without."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from lambda_runtime.executors.base import ExitStatus, SandboxSpec
from lambda_runtime.executors.process.fork_server import ForkServer
from tests.scenarios.machine import running_with, until

MARK = f"of {os.getpid()}"
"""An argument of processes of this run, and of nobody else's."""
ECHO = "def handler(event, context):\n    return event\n"


async def test_function_answers_and_keeps_its_globals(machine: Any) -> None:
    environment = await machine.run(
        "count = 0\ndef handler(event, context):\n    global count\n    count += 1\n    return [event, count]\n"
    )
    assert await environment.invoke({"a": 1}) == [{"a": 1}, 1]
    assert await environment.invoke({"ä": "✓"}) == [{"ä": "✓"}, 2]


async def test_output_keeps_its_order_over_stdout_stderr_and_log(machine: Any) -> None:
    environment = await machine.run(
        "import logging, os, sys\n"
        "def handler(event, context):\n"
        "    print('one')\n    print('two', file=sys.stderr)\n    logging.warning('three')\n    os.system('echo four')\n"
    )
    await environment.invoke()
    environment.sandbox.drain_output()
    found = [environment.output.find(word) for word in (b"one\n", b"two\n", b"three", b"four\n")]
    assert found == sorted(found)
    assert -1 not in found
    assert bytes.fromhex("a55a00") in environment.output  # The frame of the telemetry log.


async def test_large_output_does_not_block_the_function(machine: Any) -> None:
    environment = await machine.run("def handler(event, context):\n    print('x' * 5_000_000)\n    return 1\n")
    assert await environment.invoke() == 1
    environment.sandbox.drain_output()
    assert environment.output.count(b"x") == 5_000_000


@pytest.mark.parametrize(
    ("statement", "status"),
    [
        ("os._exit(3)", ExitStatus(code=3)),
        ("sys.exit(0)", ExitStatus(code=0)),
        ("exit(4)", ExitStatus(code=4)),
        ("os.kill(os.getpid(), signal.SIGSEGV)", ExitStatus(signal=signal.SIGSEGV)),
        ("os.kill(os.getpid(), signal.SIGKILL)", ExitStatus(signal=signal.SIGKILL)),
    ],
)
async def test_exit_status_is_that_of_the_runtime_process(machine: Any, statement: str, status: ExitStatus) -> None:
    environment = await machine.run(f"import os, signal, sys\nprint('last words')\n{statement}\n")
    async with asyncio.timeout(60):
        assert await environment.sandbox.exited == status
    assert b"last words" in environment.output


async def test_import_error_is_posted_to_the_runtime_api(machine: Any) -> None:
    environment = await machine.run("import not_there\n")
    async with asyncio.timeout(60):
        assert await environment.sandbox.exited == ExitStatus(code=1)
    assert environment.api.requests == ["POST /2018-06-01/runtime/init/error"]


async def test_kill_ends_everything_that_the_function_started(machine: Any) -> None:
    # A process that was just executed has no command line for a moment; one that has written is past that.
    environment = await machine.run(
        "import subprocess\n"
        "def handler(event, context):\n"
        f"    shell = ['sh', '-c', 'echo there; sleep 1000; true', '{MARK}']\n"
        "    child = subprocess.Popen(shell, stdout=subprocess.PIPE)\n"
        "    return child.stdout.readline().decode()\n"
    )
    await environment.invoke()
    assert running_with(MARK)
    used_mib = environment.sandbox.max_memory_mib()
    environment.sandbox.kill()
    environment.sandbox.kill()
    async with asyncio.timeout(60):
        assert await environment.sandbox.exited == ExitStatus(signal=9)
    await until(lambda: not running_with(MARK))
    assert (environment.sandbox.max_memory_mib() or 0) >= (used_mib or 0) > 0
    environment.sandbox.kill()


async def test_terminate_gives_the_function_a_chance_to_clean_up(machine: Any) -> None:
    environment = await machine.run(
        "import os, signal\n"
        "def stop(*_):\n    print('cleaned up', flush=True)\n    os._exit(7)\n"
        "signal.signal(signal.SIGTERM, stop)\n"
        "def handler(event, context):\n    signal.pause()\n"
    )
    task = asyncio.create_task(environment.invoke())
    await environment.api.first_next.wait()
    environment.sandbox.terminate()
    async with asyncio.timeout(60):
        assert await environment.sandbox.exited == ExitStatus(code=7)
    task.cancel()
    assert b"cleaned up" in environment.output


async def test_a_stop_while_the_first_zygote_starts_is_no_error(machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    launched = asyncio.Event()
    send = ForkServer._send

    def send_plan(server: ForkServer, *message: Any) -> None:
        send(server, *message)
        launched.set()

    monkeypatch.setattr(ForkServer, "_send", send_plan)
    problems: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
    preparing = asyncio.create_task(machine.prepare(ECHO))
    async with asyncio.timeout(60):
        await launched.wait()
        await machine.executor.stop()  # The zygote says that it is ready when nobody waits for that any more.
        await asyncio.gather(preparing, return_exceptions=True)
    assert problems == []


async def test_memory_high_water_mark_grows_with_use(machine: Any) -> None:
    environment = await machine.run(
        "def handler(event, context):\n    kept = bytearray(event << 20)\n    return len(kept)\n"
    )
    await environment.invoke(1)
    before = environment.sandbox.max_memory_mib()
    await environment.invoke(64)
    after = environment.sandbox.max_memory_mib()
    assert 5 < before < 60
    # Where somebody looked while it worked, what its parent shares with it counts, too: a few MiB, in the one or the other.
    assert before + 50 <= after < before + 80


async def test_many_environments_start_at_once_and_do_not_mix(machine: Any) -> None:
    prepared = await machine.prepare(
        "import os\ndef handler(event, context):\n    return [event, os.environ['NUMBER']]\n"
    )
    environments = await asyncio.gather(*(machine.start(prepared, NUMBER=str(number)) for number in range(20)))
    answers = await asyncio.gather(*(one.invoke(number) for number, one in enumerate(environments)))
    assert answers == [[number, str(number)] for number in range(20)]


async def test_a_dead_zygote_takes_its_sandboxes_along_and_is_replaced(machine: Any) -> None:
    prepared = await machine.prepare(ECHO)
    environment = await machine.start(prepared)
    await environment.invoke(1)
    server = await machine.executor._servers.of(prepared.interpreter)
    os.kill(server._process.pid, signal.SIGKILL)
    async with asyncio.timeout(60):
        assert await environment.sandbox.exited == ExitStatus(signal=9)
    assert await (await machine.start(prepared)).invoke(2) == 2


async def test_cancelled_start_leaves_nothing_running(machine: Any) -> None:
    prepared = await machine.prepare(ECHO)
    server = await machine.executor._servers.of(prepared.interpreter)
    spec = SandboxSpec("cancelled", "127.0.0.1:1", prepared.variables, lambda _: None)
    task = asyncio.create_task(machine.executor.start_sandbox(prepared, spec))
    while not server._pending:
        await asyncio.sleep(0)
    sandbox = server._sandboxes["cancelled"]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(60):
        await sandbox.exited


async def test_stop_leaves_no_process_file_or_descriptor(make_machine: Any) -> None:
    descriptors = set(os.listdir("/proc/self/fd"))
    for isolation in ("auto", "none"):
        machine = await make_machine(isolation=isolation)
        environments = [await machine.run(ECHO) for _ in range(3)]
        for environment in environments:
            await environment.invoke(1)
        environments[0].sandbox.max_memory_mib()
        scratch: Path = machine.executor._workspace.scratch.path
        server = await machine.executor._servers.of((await machine.prepare(ECHO)).interpreter)
        await machine.stop()
        await machine.executor.stop()
        assert all(environment.sandbox.exited.done() for environment in environments)
        assert not scratch.exists()
        assert not Path(f"/proc/{server._process.pid}").exists()
    assert len(set(os.listdir("/proc/self/fd")) - descriptors) <= 1  # The event loop may keep one for its threads.
