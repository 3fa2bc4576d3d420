"""Work for the loop of the data plane, while that runs and when it has ended."""

from __future__ import annotations

import asyncio
import inspect

from lambda_provider.operations.runtime_loop import submit
from lambda_runtime.config import RuntimeConfig
from lambda_runtime.service import RuntimeService

from ...lambda_runtime.fakes import FakeExecutor


async def answer() -> int:
    return 42


async def test_work_runs_on_the_loop() -> None:
    runtime = RuntimeService(RuntimeConfig(), FakeExecutor())
    await runtime.start()
    submitted = submit(runtime, answer())
    assert submitted is not None
    assert await asyncio.wrap_future(submitted) == 42
    await runtime.stop()


def test_nothing_happens_before_there_is_a_loop_and_after_its_end() -> None:
    async def live() -> RuntimeService:
        runtime = RuntimeService(RuntimeConfig(), FakeExecutor())
        before = answer()
        assert submit(runtime, before) is None
        assert inspect.getcoroutinestate(before) == inspect.CORO_CLOSED
        await runtime.start()
        await runtime.stop()
        return runtime

    runtime = asyncio.run(live())
    after = answer()
    assert submit(runtime, after) is None
    assert inspect.getcoroutinestate(after) == inspect.CORO_CLOSED
