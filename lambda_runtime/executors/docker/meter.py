"""What the engine is asked of a container's memory, and told of its processors, in between invocations."""

from __future__ import annotations

import contextlib
import time

from lambda_runtime.executors.containers.errors import EngineError
from lambda_runtime.executors.docker.container import processor_limit
from lambda_runtime.executors.docker.engine import Engine

_MEASURED_EVERY_S = 1.0


class Meter:
    """Of one container, for where its processes cannot be seen from here. On the loop only."""

    def __init__(self, engine: Engine, memory_mib: int, storage_mib: int) -> None:
        self._engine = engine
        self._most_mib = memory_mib + storage_mib
        self._memory_mib = memory_mib
        self._peak_mib: int | None = None
        self._measured_at = 0.0

    @property
    def peak_mib(self) -> int | None:
        """The most memory that the engine told of; None while it has told of none."""
        return min(self._peak_mib, self._memory_mib) if self._peak_mib is not None else None

    def due(self) -> bool:
        """Whether it is time to `measure` again; once it says so, not for a second."""
        now = time.monotonic()
        if now - self._measured_at <= _MEASURED_EVERY_S:
            return False
        self._measured_at = now
        return True

    async def measure(self, container_id: str) -> None:
        """Ask what is in use now, files that could go aside."""
        with contextlib.suppress(EngineError):  # Asked again after the next invocation.
            found = await self._engine.call(lambda client: client.stats(container_id, stream=False, one_shot=True))
            memory = found.get("memory_stats") or {}
            inactive = (memory.get("stats") or {}).get("inactive_file", 0)
            used = int(memory.get("usage") or 0) - int(inactive)
            # Without a limit there is no control group of its own, and the engine tells what somebody else uses.
            if used > 0 and int(memory.get("limit") or 0) <= self._most_mib << 20:
                self._peak_mib = max(self._peak_mib or 0, -(-used >> 20))

    async def limit_memory(self, container_id: str) -> None:
        """Have the kernel keep to the function's memory, as nobody else can look at it."""
        with contextlib.suppress(EngineError):  # It has ended.
            limit = {"mem_limit": self._memory_mib << 20, "memswap_limit": self._memory_mib << 20}
            await self._engine.call(lambda client: client.update_container(container_id, **limit))

    async def limit_processors(self, container_id: str) -> None:
        """Make the share of the processors a bound."""
        with contextlib.suppress(EngineError):  # It has ended.
            limit = processor_limit(self._memory_mib)
            await self._engine.call(lambda client: client.update_container(container_id, **limit))
