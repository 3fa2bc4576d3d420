"""For scenarios in which AWS lets minutes pass."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ...conftest import start_gateway, stop_gateway
from . import targets
from .plugin import AWS_TARGET


def target_with_clock(request: pytest.FixtureRequest, rate: int) -> Iterator[targets.Target]:
    """For a module's own fixture `aws`: AWS, or a gateway whose clock of retries runs so many times as fast."""
    if target := request.config.stash.get(AWS_TARGET, None):
        yield target
        return
    gateway = start_gateway(env={"LAMBDA_CLOCK_RATE": str(rate)})
    yield targets.gateway(gateway.url)
    stop_gateway(gateway)
