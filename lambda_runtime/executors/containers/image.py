"""What an executor has to know of an image, whoever told it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True, slots=True)
class Image:
    """An image that environments can be made of."""

    id: str
    name: str
    architecture: str
    """As in images: `amd64`, `arm64`; empty when the engine does not say."""
    entry_point: tuple[str, ...]
    command: tuple[str, ...]
    working_directory: str
    variables: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Contents:
    """What matters here of an image's files."""

    shell: bool
    """It has /bin/sh, with which the platform's part is done."""
    extensions: tuple[str, ...]
    """Names of the files in /opt/extensions."""


def architecture_of(name: str) -> str:
    """As images call an architecture that Lambda (`x86_64`, `arm64`) or a kernel (`aarch64`) calls so."""
    return _ARCHITECTURES.get(name, name)
