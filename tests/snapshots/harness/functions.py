"""Code archives of the scenarios' functions, which are files in tests/functions."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

FUNCTIONS = Path(__file__).parents[2] / "functions"


def archive(source: str, handler: str = "handler.handler") -> bytes:
    """A zip of one file of tests/functions, named as `handler` wants it; `bootstrap*` becomes the executable `bootstrap`."""
    path = FUNCTIONS / source
    name = "bootstrap" if source.startswith("bootstrap") else handler.rpartition(".")[0] + path.suffix
    return zipped({name: path.read_bytes()})


def zipped(files: Mapping[str, bytes | str]) -> bytes:
    """A zip with the same bytes each time; every file may be executed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = 0o100755 << 16
            target.writestr(entry, content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()
