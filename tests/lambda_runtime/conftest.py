"""A service whose sandboxes are coroutines. A module has other settings, or another executor, by a fixture of that name."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from lambda_runtime.config import RuntimeConfig
from lambda_runtime.service import RuntimeService

from .fair_loop import FairLoop
from .fakes import FakeExecutor, Logs


@pytest.hookimpl(optionalhook=True)  # Of pytest-asyncio's later versions.
def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """A fair loop for the modules of this folder; executors, in the folders below, start processes of the machine."""
    return {"fair": FairLoop} if item.path.parent == Path(__file__).parent else {"any": asyncio.new_event_loop}


@pytest.fixture
def config() -> RuntimeConfig:
    return RuntimeConfig()


@pytest.fixture
async def executor() -> FakeExecutor:
    return FakeExecutor()


@pytest.fixture
def logs() -> Logs:
    return Logs()


@pytest.fixture
async def service(config: RuntimeConfig, executor: FakeExecutor, logs: Logs) -> AsyncIterator[RuntimeService]:
    """Started, without a version; at the end of the test nothing of it may be left."""
    service = RuntimeService(config, executor, log_sink=logs)
    await service.start()
    yield service
    await service.stop()
    assert not executor.running
