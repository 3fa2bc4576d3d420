"""Programs that are compiled for a test, once, and kept in `.cache/compiled`; without their compiler the test is skipped."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

CACHE = Path(__file__).parents[2] / ".cache" / "compiled"
SOURCES = Path(__file__).parents[1] / "functions"
PATIENCE_S = 150


def go_bootstrap() -> bytes:
    """The function of `tests/functions/go`, with AWS's client for Go."""
    command = ["go", "build", "-trimpath", "-tags", "lambda.norpc", "-ldflags", "-s -w", "-o", "{output}", "."]
    return _built(SOURCES / "go", command, {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false"})


def c_bootstrap() -> bytes:
    """The custom runtime of `tests/functions/c`."""
    return _built(SOURCES / "c", ["gcc", "-O2", "-static", "-D_GNU_SOURCE", "-o", "{output}", "bootstrap.c"])


def rust_program(crate: str, version: str, program: str) -> bytes:
    """A program of a crate on crates.io. What a build that took too long has made is there for the next one."""
    key = hashlib.sha256(f"{crate} {version} {program}".encode()).hexdigest()[:16]
    root = CACHE / f"{key}.root"
    command = ["cargo", "install", "--debug", "--quiet", "--locked", "--root", str(root), "--version", version, crate]
    made = CACHE / f"{program}-{key}"
    CACHE.mkdir(parents=True, exist_ok=True)
    if not made.exists():
        quickly = {"CARGO_PROFILE_DEV_DEBUG": "0", "CARGO_PROFILE_DEV_STRIP": "symbols"}
        _run(command, CACHE, {"CARGO_TARGET_DIR": str(root / "target"), **quickly})
        (root / "bin" / program).rename(made)
        shutil.rmtree(root)
    return made.read_bytes()


def _built(sources: Path, command: Sequence[str], variables: Mapping[str, str] | None = None) -> bytes:
    contents = [path.read_bytes() for path in sorted(sources.iterdir())]
    key = hashlib.sha256(b"\0".join([repr(command).encode(), *contents])).hexdigest()[:16]
    made = CACHE / f"{sources.name}-{key}"
    if not made.exists():
        unfinished = made.with_suffix(f".{os.getpid()}")
        _run([part.format(output=unfinished) for part in command], sources, variables or {})
        unfinished.rename(made)
    return made.read_bytes()


def _run(command: Sequence[str], folder: Path, variables: Mapping[str, str]) -> None:
    if (program := shutil.which(command[0])) is None:
        pytest.skip(f"needs {command[0]}")
    CACHE.mkdir(parents=True, exist_ok=True)
    building = subprocess.Popen(
        [program, *command[1:]],
        cwd=folder,
        env={**os.environ, **variables},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        _, problem = building.communicate(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        os.killpg(building.pid, signal.SIGKILL)
        building.communicate()
        pytest.skip(f"{command[0]} was not done within {PATIENCE_S} s")
    if building.returncode:
        pytest.skip(f"{command[0]} could not build it: {problem.strip().splitlines()[-1:]}")
