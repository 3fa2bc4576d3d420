"""A version's code and layers, unpacked on this machine."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from lambda_runtime.executors.containers.image import Image
from lambda_runtime.executors.containers.plan import CODE, LAYERS
from lambda_runtime.executors.process.code_cache import CodeCache
from lambda_runtime.executors.process.languages import OS_ONLY
from lambda_runtime.executors.process.languages.base import RuntimeFiles
from lambda_runtime.executors.process.layout import Places
from lambda_runtime.executors.process.programs import program_of
from lambda_runtime.types import FunctionVersion


@dataclass(frozen=True, slots=True)
class Code:
    """Entries of a `CodeCache` that a version uses; None where it has neither code nor layers, as container images."""

    code: str | None = None
    layers: str | None = None
    content: object = None
    """As in `PreparedVersion`."""

    @classmethod
    async def unpacked(cls, version: FunctionVersion, cache: CodeCache) -> Code:
        """Unpack what is not there yet, and count a user of it. Raises VersionFailed; nothing is counted then."""
        code, content = None, None
        if version.code_folder is not None:
            code, content = await asyncio.to_thread(cache.use_folder, version.code_folder)
        elif version.code is not None:
            code = await asyncio.to_thread(cache.use, [version.code], "code")
        try:
            layers = await asyncio.to_thread(cache.use, version.layers, "layers")
        except BaseException:
            await asyncio.to_thread(cache.release, code)
            raise
        return cls(code, layers, content)

    @property
    def entries(self) -> dict[str, str]:
        """What is mounted: where it is in a container -> the entry."""
        return {place: name for place, name in ((CODE, self.code), (LAYERS, self.layers)) if name is not None}

    def add_user(self, cache: CodeCache) -> None:
        """Count one more user of what is in use."""
        for name in self.entries.values():
            cache.add_user(name)

    def release(self, cache: CodeCache) -> None:
        """One user less. Blocking: the last one's leaving deletes it."""
        for name in self.entries.values():
            cache.release(name)


def program(version: FunctionVersion, image: Image, code: Path | None, layers: Path | None) -> tuple[str, ...]:
    """What a container of the version executes; `code` and `layers` are where these lie on this machine. Raises VersionFailed."""
    if version.image_uri is not None:
        # An entry point in ImageConfig takes the image's command along only if it names none, as `docker run` does.
        entry_point = image.entry_point if version.image_entry_point is None else version.image_entry_point
        command = image.command if version.image_entry_point is None else ()
        return (*entry_point, *(command if version.image_command is None else version.image_command))
    if version.runtime in OS_ONLY:
        return tuple(program_of(version, None, RuntimeFiles({}), Places(), code=code, layers=layers, isolated=True))
    return (*image.entry_point, version.handler or "")
