"""How long work waits for an environment that is to be ready in a moment."""

from __future__ import annotations

import asyncio

import pytest

from lambda_runtime import patience
from lambda_runtime.config import RuntimeConfig
from lambda_runtime.patience import LEAST_S, MOST_S, Patience
from lambda_runtime.service import RuntimeService
from lambda_runtime.types import InvocationResult
from lambda_runtime.work import Work

from .fakes import Exit, FakeExecutor, RuntimeClient, echo, function_version, invocation


def some_work() -> Work:
    answered: asyncio.Future[InvocationResult] = asyncio.get_running_loop().create_future()
    return Work(invocation(), answered, lambda work: None)


async def test_the_wait_is_as_long_as_the_last_start_took() -> None:
    patience = Patience()
    assert patience.wait_s == LEAST_S
    patience.learn(0.3)
    assert patience.wait_s == 0.3
    patience.learn(20.0)
    assert patience.wait_s == MOST_S


async def test_who_has_an_environment_by_then_did_not_wait_in_vain() -> None:
    patience, lucky, other = Patience(), some_work(), some_work()
    told: list[str] = []
    both = asyncio.Event()
    patience.wait(lucky, lambda: told.append("lucky"))
    patience.wait(other, lambda: told.append("other") or both.set())
    lucky.assigned = True
    await both.wait()
    assert told == ["other"]


async def test_a_loop_that_could_not_look_has_learnt_nothing() -> None:
    """What the environment sent while the loop stood still is read in its next turns, and not before it is asked for."""
    loop, patience, work = asyncio.get_running_loop(), Patience(), some_work()
    began = loop.time()
    in_vain = asyncio.Event()
    patience.wait(work, in_vain.set)
    while loop.time() < began + 5 * LEAST_S:
        pass
    await in_vain.wait()
    assert loop.time() - began > 5.5 * LEAST_S


async def test_an_environment_that_ends_after_its_answer_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "LEAST_S", 1000.0)
    monkeypatch.setattr(patience, "MOST_S", 1000.0)
    waits = asyncio.Event()

    async def answer_and_end(client: RuntimeClient) -> None:
        request_id, _, body = await client.next()
        await client.respond(request_id, body)
        await waits.wait()
        raise Exit(1)

    executor = FakeExecutor()
    executor.scripts = [answer_and_end, echo]
    service = RuntimeService(RuntimeConfig(), executor)
    await service.start()
    await service.deploy(function_version())
    await service.invoke(invocation(b"1"))
    second = asyncio.create_task(service.invoke(invocation(b"2")))
    await asyncio.sleep(0)
    assert len(executor.started) == 1
    waits.set()
    async with asyncio.timeout(10):
        assert (await second).payload == b"2"
    assert len(executor.started) == 2
    await service.stop()


async def test_a_runtime_that_never_asks_again_holds_nobody_up() -> None:
    async def answer_and_stay(client: RuntimeClient) -> None:
        request_id, _, body = await client.next()
        await client.respond(request_id, body)
        await asyncio.Event().wait()

    executor = FakeExecutor()
    executor.scripts = [answer_and_stay]
    service = RuntimeService(RuntimeConfig(), executor)
    await service.start()
    await service.deploy(function_version())
    async with asyncio.timeout(20):
        for number in (b"1", b"2", b"3"):
            assert (await service.invoke(invocation(number))).payload == number
    assert len(executor.started) == 2
    await service.stop()
