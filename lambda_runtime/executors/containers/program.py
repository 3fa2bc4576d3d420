"""What a container executes."""

from __future__ import annotations

from pathlib import Path

from lambda_runtime.executors.containers.image import Image
from lambda_runtime.executors.process.languages import OS_ONLY
from lambda_runtime.executors.process.languages.base import RuntimeFiles
from lambda_runtime.executors.process.layout import Places
from lambda_runtime.executors.process.programs import program_of
from lambda_runtime.types import FunctionVersion


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
