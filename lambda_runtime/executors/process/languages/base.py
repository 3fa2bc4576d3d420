"""What the executor has to know of a language: where its interpreters are, which versions there are, what runs a function."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lambda_runtime.types import FunctionVersion

PROBE_TIMEOUT_S = 20


@dataclass(frozen=True, slots=True)
class Interpreter:
    """An interpreter that was started once and answered."""

    family: str
    """`python`, `nodejs`, `java`, …"""
    version: tuple[int, ...]
    executable: Path
    prefix: Path
    """Where its `bin` and `lib` are; never a virtual environment."""

    def __str__(self) -> str:
        return f"{self.family} {'.'.join(map(str, self.version))} ({self.executable})"

    def serves(self, wanted: tuple[int, ...]) -> bool:
        """Whether this is the version that a runtime names."""
        return self.version[: len(wanted)] == wanted


@dataclass(frozen=True, slots=True)
class RuntimeFiles:
    """What `/var/runtime` holds for one interpreter: name inside -> path on this machine."""

    entries: dict[str, Path]
    compiled_client: bool = False
    links: dict[str, str] = field(default_factory=dict)
    """Other paths inside -> what they stand for."""
    class_path: tuple[str, ...] = ()
    """Names of the jars in `/var/runtime/lib`, for Java."""
    options: tuple[str, ...] = ()
    """What the interpreter is told on top, with `{runtime}` for the directory that `/var/runtime` is."""


@dataclass(frozen=True, slots=True)
class Start:
    """What the program of a function is made from. The paths are those that the function sees."""

    version: FunctionVersion
    interpreter: Interpreter
    executable: str
    files: RuntimeFiles
    code: str
    layers: str
    runtime: str
    unpacked: Path | None
    """Where the code is on this machine, if there is any."""


class Language:
    """A family of runtimes. The methods block: they look at files, and `ask` starts a program."""

    name: str
    runtimes: tuple[str, ...]
    """Runtimes that functions can be created with, for `doctor`."""
    needs: str = "interpreter"
    """What was not found, in messages."""
    _pattern: re.Pattern[str]

    def wanted(self, runtime: str) -> tuple[int, ...] | None:
        """The version that a runtime names, as far as it names one; None for a runtime of another language."""
        match = self._pattern.fullmatch(runtime)
        return tuple(int(part) for part in match.groups() if part) if match else None

    def places(self, wanted: tuple[int, ...] | None) -> Iterator[str]:
        """Patterns of paths of interpreters in the order of preference; those of all versions when `wanted` is None."""
        raise NotImplementedError

    def ask(self, path: str) -> Interpreter | None:
        """Start the interpreter to learn what it is; None if it does not start."""
        raise NotImplementedError

    def version_in_name(self, path: str) -> tuple[int, ...] | None:
        """The version as the path tells it, so that it needs not be started; None where paths do not tell."""
        return None

    def distance(self, wanted: tuple[int, ...], version: tuple[int, ...]) -> tuple[int, ...]:
        """How far a version is from the one that was asked for. Of two that are equally near, the newer is nearer."""
        return (
            *(abs(have - want) for have, want in zip(version, wanted, strict=False)),
            *(-part for part in version),
        )

    def files(self, interpreter: Interpreter, settings: Mapping[str, str]) -> RuntimeFiles:
        """The runtime client. Raises VersionFailed(InvalidRuntime) that says how to get it."""
        raise NotImplementedError

    def program(self, start: Start) -> list[str]:
        """What an environment executes. Raises VersionFailed."""
        raise NotImplementedError

    def variables(self, runtime: str, code: str, layers: str, own: str) -> dict[str, str]:
        """The environment variables of this language, on top of those that all have, given /var/task, /opt, /var/runtime."""
        return {}

    def client(self, interpreter: Interpreter, settings: Mapping[str, str]) -> str:
        """The runtime client in words, for `doctor`. Raises VersionFailed."""
        raise NotImplementedError


def search_path() -> list[str]:
    """The directories of PATH."""
    return os.environ.get("PATH", os.defpath).split(os.pathsep)


def answer_of(command: list[str], *, stderr: bool = False) -> str | None:
    """What a program prints; None if it does not start or fails. It sees hardly any of our environment variables."""
    if shutil.which(command[0]) is None:
        return None
    environment = {
        name: os.environ[name] for name in ("HOME", "PATH", "PYENV_ROOT", "RBENV_ROOT") if name in os.environ
    }
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PROBE_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return (done.stderr if stderr else done.stdout).decode("utf-8", "replace")


def interpreter_that_says(family: str, command: list[str]) -> Interpreter | None:
    """The interpreter that prints its version, executable and prefix as JSON; None if it does not."""
    try:
        version, executable, prefix = json.loads(answer_of(command) or "")
        return Interpreter(family, tuple(version), Path(executable), Path(prefix))
    except (ValueError, TypeError):
        return None  # Not an interpreter, or one that does not start: as good as not there.
