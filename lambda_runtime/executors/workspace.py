"""What an executor has of this machine while it runs: directories, unpacked code, and work that goes on by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lambda_runtime.executors.code import Code
from lambda_runtime.executors.code_cache import CodeCache
from lambda_runtime.scratch import Scratch, remove_abandoned


class Workspace:
    """An executor's temporary directory and its `CodeCache`, from `open` to `close`; and what it does in the background.

    On the loop only; what blocks is done in threads. It may be opened again.
    """

    def __init__(self, cache_dir: Path | None) -> None:
        """`cache_dir` is where code is unpacked, if that shall outlive the executor."""
        self._cache_dir = cache_dir
        self._scratch: Scratch | None = None
        self._cache: CodeCache | None = None
        self._under_way: set[asyncio.Future[Any]] = set()

    def open(self) -> None:
        """Make the directories, and remove in the background those of owners that were killed."""
        self._scratch = Scratch()
        self._cache = CodeCache(self._cache_dir or self._scratch.directory("cache"))
        self.in_thread(remove_abandoned)

    async def close(self) -> None:
        """Delete the temporary directory; nothing uses it any more. May be called twice."""
        scratch, self._scratch, self._cache = self._scratch, None, None
        if scratch is not None:
            await asyncio.to_thread(scratch.remove)

    @property
    def is_open(self) -> bool:
        """Whether the directories are there."""
        return self._scratch is not None

    @property
    def scratch(self) -> Scratch:
        """The temporary directory."""
        assert self._scratch is not None, "the executor is not started"
        return self._scratch

    @property
    def cache(self) -> CodeCache:
        """Where code is unpacked."""
        assert self._cache is not None, "the executor is not started"
        return self._cache

    async def release(self, code: Code) -> None:
        """Give up unpacked code, if it is there (any more)."""
        if self._cache is not None:
            await asyncio.to_thread(code.release, self._cache)

    def track(self, work: asyncio.Future[Any]) -> None:
        """Go on with it in the background; `settle` waits for it."""
        self._under_way.add(work)
        work.add_done_callback(self._under_way.discard)

    def in_thread(self, function: Callable[..., None], *arguments: object) -> None:
        """Call it in the background, in a thread."""
        self.track(asyncio.get_running_loop().run_in_executor(None, function, *arguments))

    async def settle(self, limit_s: float | None = None) -> None:
        """Wait for what is under way in the background now, but no longer than that."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=limit_s)
