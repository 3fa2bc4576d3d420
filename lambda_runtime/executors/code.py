"""A version's code and layers, unpacked on this machine."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from lambda_runtime.executors.code_cache import CodeCache
from lambda_runtime.types import FunctionVersion

TASK, LAYERS = "/var/task", "/opt"
"""Where functions find them."""


@dataclass(frozen=True, slots=True)
class Code:
    """Entries of a `CodeCache` that a version uses; None where it has neither code nor layers, as container images."""

    package: str | None = None
    """The function's own: its deployment package, or a copy of its folder."""
    layers: str | None = None
    content: object = None
    """As in `PreparedVersion`."""

    @classmethod
    async def unpacked(cls, version: FunctionVersion, cache: CodeCache) -> Code:
        """Unpack what is not there yet, and count a user of it. Raises VersionFailed; nothing is counted then."""
        package, content = None, None
        if version.code_folder is not None:
            package, content = await asyncio.to_thread(cache.use_folder, version.code_folder)
        elif version.code is not None:
            package = await asyncio.to_thread(cache.use, [version.code], "code")
        try:
            layers = await asyncio.to_thread(cache.use, version.layers, "layers")
        except BaseException:
            await asyncio.to_thread(cache.release, package)
            raise
        return cls(package, layers, content)

    @property
    def entries(self) -> dict[str, str]:
        """What is mounted: where it is for the function -> the entry."""
        return {place: name for place, name in ((TASK, self.package), (LAYERS, self.layers)) if name is not None}

    def add_user(self, cache: CodeCache) -> None:
        """Count one more user of what is in use."""
        for name in (self.package, self.layers):
            cache.add_user(name)

    def release(self, cache: CodeCache) -> None:
        """One user less. Blocking: the last one's leaving deletes it."""
        for name in (self.package, self.layers):
            cache.release(name)
