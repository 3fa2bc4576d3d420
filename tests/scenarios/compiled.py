"""Programs that are compiled for a test, once, and kept in `.cache/compiled`; without their compiler the test is skipped."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import signal
import subprocess
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from lambda_runtime.executors.process.languages import java_client

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


def rust_bootstrap() -> bytes:
    """The function of `tests/functions/rust`, with AWS's client for Rust. The next test goes on with a slow build."""
    sources = SOURCES / "rust"
    content = b"\0".join(path.read_bytes() for path in sorted(sources.iterdir()))
    made = CACHE / f"rust-{hashlib.sha256(content).hexdigest()[:16]}"
    if not made.exists():
        folder = CACHE / "rust"  # Not where the sources are: Cargo writes beside them.
        shutil.copytree(sources, folder, dirs_exist_ok=True)
        _run(["cargo", "build", "--quiet"], folder, {"CARGO_TARGET_DIR": str(folder / "target")})
        shutil.copy(folder / "target" / "debug" / "bootstrap", made)
    return made.read_bytes()


def java_classes(*folders: str) -> dict[str, bytes]:
    """The compiled classes of folders of `tests/functions/java` by their place in an archive; Java 8 can read them."""
    try:
        client = java_client.install(os.environ)
    except java_client.NotFetched as error:
        pytest.skip(str(error))
    root = SOURCES / "java"
    sources = sorted(root.rglob("*.java"))
    class_path = ":".join(str(client.directory / jar) for jar in client.jars)
    command = ["javac", "-nowarn", "--release", "8", "-Xlint:-options", "-encoding", "UTF-8", "-cp", class_path]
    content = b"\0".join(path.read_bytes() for path in sources)
    made = CACHE / f"java-{hashlib.sha256(content).hexdigest()[:16]}"
    if not made.exists():
        unfinished = made.with_suffix(f".{os.getpid()}")
        _run([*command, "-d", str(unfinished), *map(str, sources)], root, {})
        unfinished.rename(made)
    found = {path.relative_to(made).as_posix(): path.read_bytes() for path in sorted(made.rglob("*.class"))}
    return {name: code for name, code in found.items() if name.startswith(tuple(f"{each}/" for each in folders))}


def jar(files: Mapping[str, bytes]) -> bytes:
    """An archive of classes, the same bytes each time."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as target:
        for name, content in files.items():
            target.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()


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
