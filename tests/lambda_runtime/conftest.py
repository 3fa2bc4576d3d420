"""A service whose sandboxes are coroutines. A module has other settings, or another executor, by a fixture of that name."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from lambda_runtime.config import RuntimeConfig
from lambda_runtime.service import RuntimeService

from .fakes import FakeExecutor, Logs


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
