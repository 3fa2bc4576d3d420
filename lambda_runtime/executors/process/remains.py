"""What is left of an environment that was reset, as the gateway sees it; `zygote/estates.py` is the zygote's side."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class ProcessRemains:
    """A `lambda_runtime.executors.base.Remains`: what the zygote keeps of an environment that was reset."""

    def __init__(self, environment_id: str, forget: Callable[[], None]) -> None:
        self.environment_id = environment_id
        self._forget = forget
        self._kept: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._taken = False

    def settle(self, kept: bool) -> None:
        """The environment has ended, and was kept or not."""
        self._kept.set_result(kept)
        if self._taken and kept:
            self._forget()

    async def take(self) -> str | None:
        """Wait for its end; the id by which a start inherits it, once; None if nothing was kept, or somebody was quicker."""
        kept = await asyncio.shield(self._kept)
        taken, self._taken = self._taken, True
        return self.environment_id if kept and not taken else None

    def drop(self) -> None:
        """Have the zygote forget it, now or at the end of the environment, unless it was taken."""
        if not self._taken:
            self._taken = True
            if self._kept.done() and self._kept.result():
                self._forget()
