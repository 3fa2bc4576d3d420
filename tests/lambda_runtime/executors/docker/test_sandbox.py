from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import docker.errors
import pytest

from lambda_runtime.executors.base import ExitStatus, SandboxSpec
from lambda_runtime.executors.containers.errors import EngineError
from lambda_runtime.executors.docker.reach import Reach
from lambda_runtime.executors.docker.sandbox import DockerSandbox, Surroundings
from lambda_runtime.executors.process.memory import MemoryWatch


class Started:
    def __init__(self, engine: Any, directory: Path, plan: Any) -> None:
        self.output, self.ends = bytearray(), 0
        reach = Reach("bridge", "172.17.0.1", "172.17.0.1", True, "")
        spec = SandboxSpec("e", "172.17.0.1:1", {"A": "1"}, self.output.extend)
        around = Surroundings(engine, reach, MemoryWatch(), False)
        self.directory = directory / "pipes"
        self.sandbox = DockerSandbox(plan, spec, around, self.directory, self._ended)

    def _ended(self) -> None:
        self.ends += 1

    async def exit(self) -> ExitStatus:
        async with asyncio.timeout(30):
            return await self.sandbox.exited


@pytest.fixture
async def started(engine: Any, tmp_path: Path, plan: Any) -> Started:
    return Started(engine, tmp_path, plan())


async def test_what_was_written_is_handed_over_before_the_end(engine: Any, started: Started) -> None:
    await started.sandbox.start()
    with (started.directory / "output").open("wb", buffering=0) as pipe:
        pipe.write(b"last words")
    engine.tell("die", {"exitCode": "3"})
    assert await started.exit() == ExitStatus(code=3)
    assert started.output == b"last words"
    assert (started.ends, engine.listeners, started.directory.exists()) == (1, {}, False)


@pytest.mark.parametrize(("code", "status"), [(0, ExitStatus(code=0)), (139, ExitStatus(signal=11))])
async def test_codes_above_128_are_signals(engine: Any, started: Started, code: int, status: ExitStatus) -> None:
    await started.sandbox.start()
    engine.tell("die", {"exitCode": str(code)})
    assert await started.exit() == status


async def test_a_program_that_wrote_nothing_and_cannot_be_executed_is_named(engine: Any, started: Started) -> None:
    await started.sandbox.start()
    engine.tell("die", {"exitCode": "126"})
    assert await started.exit() == ExitStatus(
        code=126, entry_point_error="fork/exec /lambda-entrypoint.sh: permission denied"
    )


async def test_the_news_of_memory_may_come_after_the_end(engine: Any, started: Started) -> None:
    await started.sandbox.start()
    engine.tell("die", {"exitCode": "137"})
    await asyncio.sleep(0)
    engine.tell("oom")
    assert await started.exit() == ExitStatus(signal=9, out_of_memory=True)
    assert started.sandbox.max_memory_mib() == 512


async def test_a_container_that_the_engine_lost_has_ended(engine: Any, started: Started) -> None:
    await started.sandbox.start()
    engine.tell("lost")
    assert (await started.exit()).signal == 9


async def test_killing_while_no_engine_answers_ends_it_here(engine: Any, started: Started) -> None:
    await started.sandbox.start()
    engine.gone = True
    started.sandbox.kill()
    started.sandbox.kill()
    assert (await started.exit()).signal == 9
    assert started.ends == 1


async def test_a_container_that_cannot_be_started_is_removed(engine: Any, started: Started) -> None:
    engine.client.start_error = docker.errors.APIError("x", explanation="no space left on device")
    with pytest.raises(EngineError, match="no space left"):
        await started.sandbox.start()
    assert engine.client.calls[-1] == ("remove", "c1")
    assert (started.ends, started.directory.exists()) == (1, False)


async def test_only_the_containers_own_address_is_let_in(engine: Any, started: Started) -> None:
    await started.sandbox.start()
    assert started.sandbox.admits(("172.17.0.9", 4000), ("172.17.0.1", 1))
    assert not started.sandbox.admits(("172.17.0.8", 4000), ("172.17.0.1", 1))
    engine.tell("lost")
    await started.exit()


async def test_an_image_without_a_shell_names_its_missing_program(engine: Any, tmp_path: Path, plan: Any) -> None:
    started = Started(engine, tmp_path, plan(shell=False, program=("/app",)))
    text = 'OCI runtime create failed: exec: "/app": stat /app: no such file or directory: unknown'
    engine.client.start_error = docker.errors.APIError("x", explanation=text)
    await started.sandbox.start()
    assert (await started.exit()).entry_point_error == "fork/exec /app: no such file or directory"


async def test_the_kernel_bounds_memory_where_the_processes_turn_out_to_be_hidden(
    engine: Any, started: Started
) -> None:
    await started.sandbox.start()
    assert await asyncio.to_thread(engine.client.updated.wait, 30)
    assert ("update", {"mem_limit": 512 << 20, "memswap_limit": 512 << 20}) in engine.client.calls
    engine.tell("die", {"exitCode": "0"})
    await started.exit()


async def test_connections_from_this_machine_are_let_in_for_an_engine_that_makes_them_here(
    engine: Any, tmp_path: Path, plan: Any
) -> None:
    reach = Reach("bridge", "192.0.2.7", "192.0.2.7", False, "", from_this_machine=True)
    spec = SandboxSpec("e", "192.0.2.7:1", {}, bytearray().extend)
    sandbox = DockerSandbox(plan(), spec, Surroundings(engine, reach, MemoryWatch(), False), None, lambda: None)
    assert sandbox.admits(("192.0.2.7", 40000), ("192.0.2.7", 1))
    assert not sandbox.admits(("192.0.2.8", 40000), ("192.0.2.7", 1))
