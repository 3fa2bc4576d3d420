"""What the environments of one function version have in common."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lambda_runtime.config import RuntimeConfig
from lambda_runtime.executors.base import PreparedVersion, RuntimeExecutor
from lambda_runtime.logs import LogSink
from lambda_runtime.types import FunctionVersion


@dataclass(frozen=True, slots=True)
class Blueprint:
    """What an environment is built after; made by the RuntimeService for a version, handed down by its manager."""

    prepared: PreparedVersion
    executor: RuntimeExecutor
    """Who prepared it, and starts its sandboxes."""
    config: RuntimeConfig
    log_sink: LogSink
    credentials: Callable[[FunctionVersion], Mapping[str, str]]
    """The AWS variables of an environment, anew for each."""
    shutdowns: set[asyncio.Task[None]]
    """Where the shutdown phases of environments with extensions are waited for."""
