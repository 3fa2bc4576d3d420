"""Find the interpreter of a runtime on this machine.

A runtime names a version (`python3.12`, `nodejs20.x`); the machine has what it has. Places are looked at lazily, by name
first: only an interpreter that may be used is started, once, to learn its exact version and where its library is.
"""

from __future__ import annotations

import glob
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lambda_runtime.errors import VersionFailed

_PROBE_TIMEOUT_S = 20
_PYTHON_PROBE = (
    "import sys,os,json;v='%d.%d'%sys.version_info[:2];e=os.path.realpath(sys.executable);b=os.path.realpath(sys.base_prefix);"
    "e=e if e.startswith(b+os.sep) else os.path.realpath(os.path.join(b,'bin','python'+v));"
    "print(json.dumps([list(sys.version_info[:3]),e,b]))"
)
_NODE_PROBE = (
    "const v=process.versions.node.split('.').map(Number),e=require('fs').realpathSync(process.execPath),p=require('path');"
    "console.log(JSON.stringify([v,e,p.dirname(p.dirname(e))]))"
)
_OLDEST_PYTHON = (3, 8)
_RUNTIME = re.compile(r"(python|nodejs)(\d+)\.(\d+|x)$")


@dataclass(frozen=True, slots=True)
class Interpreter:
    """An interpreter that was started once and answered."""

    family: str
    """`python` or `nodejs`."""
    version: tuple[int, ...]
    executable: Path
    prefix: Path
    """Where its `bin` and `lib` are; never a virtual environment."""

    def __str__(self) -> str:
        return f"{self.family} {'.'.join(map(str, self.version))} ({self.executable})"

    def serves(self, wanted: tuple[int, ...]) -> bool:
        """Whether this is the version that a runtime names."""
        return self.version[: len(wanted)] == wanted


class Interpreters:
    """What this machine has. Blocking; call from a thread. The answers are kept, so a later call costs nothing."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        self._settings = settings
        self._probed: dict[str, Interpreter | None] = {}
        self._found: dict[str, tuple[Interpreter, str]] = {}

    def find(self, runtime: str) -> tuple[Interpreter, str]:
        """The interpreter for a runtime, and a warning if it is not the version that was asked for (else "").

        A setting `LAMBDA_PYTHON3_12=/path` names one by hand. Raises VersionFailed(InvalidRuntime).
        """
        if runtime not in self._found:
            self._found[runtime] = self._find(runtime)
        return self._found[runtime]

    def _find(self, runtime: str) -> tuple[Interpreter, str]:
        match = _RUNTIME.match(runtime)
        if match is None:
            raise VersionFailed(
                "InvalidRuntime",
                f"Runtime {runtime} cannot run here: the process executor runs python*, nodejs* and provided* functions. "
                "A program for another language runs as `provided.al2023`, with its runtime client in the archive.",
            )
        family = match[1]
        wanted = (int(match[2]),) if match[3] == "x" else (int(match[2]), int(match[3]))
        name = "LAMBDA_" + runtime.upper().replace(".", "_")
        for setting in (name, name.removesuffix("_X")):
            if path := self._settings.get(setting):
                return self._named(family, wanted, setting, path, runtime)
        for path in self._candidates(family, wanted):
            found = self._probe(family, path)
            if found is not None and found.serves(wanted):
                return found, ""
        nearest = self._nearest(family, wanted)
        if nearest is None:
            raise VersionFailed(
                "InvalidRuntime",
                f"Runtime {runtime} cannot run here: no {family} interpreter was found. Install it, or set {name}=/path/to/it.",
            )
        return nearest, self._mismatch(runtime, nearest, name)

    def _named(
        self, family: str, wanted: tuple[int, ...], setting: str, path: str, runtime: str
    ) -> tuple[Interpreter, str]:
        found = self._probe(family, path)
        if found is None:
            raise VersionFailed(
                "InvalidRuntime", f"{setting}={path} is not a {family} interpreter that can be started."
            )
        return found, "" if found.serves(wanted) else self._mismatch(runtime, found, setting)

    @staticmethod
    def _mismatch(runtime: str, used: Interpreter, setting: str) -> str:
        return f"Runtime {runtime} is not installed on this machine; running with {used}. Install it, or set {setting}=/path."

    def _nearest(self, family: str, wanted: tuple[int, ...]) -> Interpreter | None:
        def distance(version: tuple[int, ...]) -> tuple[int, ...]:
            # Of two that are equally near, the newer.
            return (
                *(abs(have - want) for have, want in zip(version, wanted, strict=False)),
                *(-part for part in version),
            )

        paths = list(self._candidates(family, None))
        if family == "python":
            # Their names tell the version, so that the nearest is asked first and the others not at all.
            named = {path: _version_in_name(path) for path in paths}
            for path in sorted(
                (path for path in paths if named[path] >= _OLDEST_PYTHON), key=lambda path: distance(named[path])
            ):
                if (found := self._probe(family, path)) is not None:
                    return found
            return None
        answers = [found for path in paths if (found := self._probe(family, path)) is not None]
        return min(answers, key=lambda found: distance(found.version), default=None)

    def _candidates(self, family: str, wanted: tuple[int, ...] | None) -> Iterator[str]:
        """Paths that may be the interpreter, in the order of preference; all of the family when `wanted` is None."""
        seen: set[str] = set()
        places = self._python_places(wanted) if family == "python" else self._node_places(wanted)
        for pattern in places:
            paths = glob.glob(str(Path(pattern).expanduser()))  # noqa: PTH207 - Path.glob takes no absolute pattern
            for path in sorted(paths, key=_by_version, reverse=True):
                real = os.path.realpath(path)
                if real not in seen and os.access(path, os.X_OK):
                    seen.add(real)
                    yield path

    @staticmethod
    def _python_places(wanted: tuple[int, ...] | None) -> Iterator[str]:
        version = ".".join(map(str, wanted)) if wanted else "3.*[0-9]"
        name = f"python{version}"
        # Our own interpreter first: it is the one that the installed awslambdaric is compiled for.
        if wanted is None or sys.version_info[:2] == wanted:
            yield sys.executable
        for directory in (
            f"~/.pyenv/versions/{version}*/bin",
            f"~/.local/share/uv/python/cpython-{version}*/bin",
            f"~/.asdf/installs/python/{version}*/bin",
            f"~/.local/share/mise/installs/python/{version}*/bin",
            "/opt/*/bin",
            "/opt/python/*/bin",
            "/opt/hostedtoolcache/Python/*/*/bin",
            *os.environ.get("PATH", os.defpath).split(os.pathsep),
            "/usr/local/bin",
            "/usr/bin",
        ):
            yield f"{directory}/{name}"

    @staticmethod
    def _node_places(wanted: tuple[int, ...] | None) -> Iterator[str]:
        version = f"{wanted[0]}." if wanted else ""
        for directory in (
            *os.environ.get("PATH", os.defpath).split(os.pathsep),
            f"~/.nvm/versions/node/v{version}*/bin",
            f"~/.local/share/fnm/node-versions/v{version}*/installation/bin",
            f"~/.volta/tools/image/node/{version}*/bin",
            f"~/.asdf/installs/nodejs/{version}*/bin",
            f"~/.local/share/mise/installs/node/{version}*/bin",
            f"/opt/hostedtoolcache/node/{version}*/*/bin",
            "/usr/local/bin",
            "/usr/bin",
            "/opt/*/bin",
        ):
            yield f"{directory}/node"

    def _probe(self, family: str, path: str) -> Interpreter | None:
        if path not in self._probed:
            self._probed[path] = _ask(family, path)
        return self._probed[path]


def _version_in_name(path: str) -> tuple[int, ...]:
    if path == sys.executable:
        return sys.version_info[:2]
    match = re.search(r"(\d+)\.(\d+)$", path)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _by_version(path: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", path)]


def _ask(family: str, path: str) -> Interpreter | None:
    command = [path, "-I", "-S", "-c", _PYTHON_PROBE] if family == "python" else [path, "-e", _NODE_PROBE]
    environment = {name: os.environ[name] for name in ("HOME", "PATH", "PYENV_ROOT") if name in os.environ}
    if shutil.which(path) is None:
        return None
    try:
        answer = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PROBE_TIMEOUT_S,
            check=True,
        )
        version, executable, prefix = json.loads(answer.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None  # Not an interpreter, or one that does not start: as good as not there.
    return Interpreter(family, tuple(version), Path(executable), Path(prefix))
