"""Packages of PyPI and npm for functions, installed once and kept in `.cache/applications`."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

PATIENCE_S = 60

CACHE = Path(__file__).parents[2] / ".cache" / "applications"
PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
"""The runtime that packages with compiled parts are installed for: the one of the tests."""


def python_packages(*requirements: str) -> Path:
    """A zip with these packages; skips the test when they cannot be had."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--target", ".", *requirements]
    return _installed((PYTHON, *requirements), command, "PyPI")


def node_packages(*requirements: str) -> Path:
    """A zip with these packages in `node_modules`; skips the test when they cannot be had."""
    if shutil.which("node") is None or (npm := shutil.which("npm")) is None:
        pytest.skip("needs Node.js and npm")
    command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", ".", *requirements]
    return _installed(("node", *requirements), command, "npm")


def _installed(key: tuple[str, ...], command: list[str], registry: str) -> Path:
    name = hashlib.sha256("\n".join(key).encode()).hexdigest()[:16]
    archive = CACHE / f"{name}.zip"
    if archive.exists():
        return archive
    folder = CACHE / f"{name}.making"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip(f"{registry} did not answer within {PATIENCE_S} s")
    if done.returncode:
        pytest.skip(f"{registry} could not be used: {done.stderr.strip().splitlines()[-1:]}")
    unfinished = archive.with_suffix(".part")
    with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as made:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                made.write(path, path.relative_to(folder))
    shutil.rmtree(folder)
    unfinished.rename(archive)
    return archive


def package(packages: Path, sources: dict[str, str], folder: Path) -> bytes:
    """The packages with sources beside them."""
    whole = folder / "package.zip"
    shutil.copy(packages, whole)
    with zipfile.ZipFile(whole, "a", zipfile.ZIP_DEFLATED) as opened:
        for name, source in sources.items():
            opened.writestr(name, source)
    return whole.read_bytes()
