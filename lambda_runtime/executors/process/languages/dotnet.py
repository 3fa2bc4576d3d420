"""Compiled .NET: where its host is, and how it is started with AWS's runtime support.

A handler without `::` names an executable assembly, which has its runtime client in it; `Assembly::Type::Method` needs
`Amazon.Lambda.RuntimeSupport.dll` (https://docs.aws.amazon.com/lambda/latest/dg/csharp-handler.html), from a directory that a
setting names. Here the command was only ever tried with a stand-in for `dotnet`: there was none to try.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from lambda_runtime.errors import VersionFailed
from lambda_runtime.executors.process.languages.base import (
    Interpreter,
    Language,
    RuntimeFiles,
    Start,
    answer_of,
    search_path,
)

SETTING = "LAMBDA_DOTNET_RUNTIME_SUPPORT"
_SUPPORT = "Amazon.Lambda.RuntimeSupport.dll"
_LISTED = re.compile(r"^Microsoft\.NETCore\.App (\d+)\.(\d+)\.(\d+)\S* \[(.+)\]$", re.MULTILINE)


class DotNet(Language):
    """`dotnet6` and newer, and .NET Core, which AWS had before."""

    name = "dotnet"
    runtimes = ("dotnet6", "dotnet8", "dotnet10")
    needs = "host"
    _pattern = re.compile(r"dotnet(?:core)?(\d+)(?:\.\d+)?")

    def places(self, wanted: tuple[int, ...] | None) -> Iterator[str]:
        """One host runs all versions that are installed beside it."""
        root = os.environ.get("DOTNET_ROOT")
        for directory in (
            *([root] if root else []),
            *search_path(),
            "~/.dotnet",
            "/usr/share/dotnet",
            "/usr/lib/dotnet",
        ):
            yield f"{directory}/dotnet"

    def ask(self, path: str) -> Interpreter | None:
        """The newest runtime that is installed; a program picks its own."""
        found = _LISTED.findall(answer_of([path, "--list-runtimes"]) or "")
        if not found:
            return None
        *version, _ = max(found, key=lambda each: tuple(map(int, each[:3])))
        executable = Path(path).resolve()
        return Interpreter("dotnet", tuple(map(int, version)), executable, executable.parent)

    def files(self, interpreter: Interpreter, settings: Mapping[str, str]) -> RuntimeFiles:
        """The directory with AWS's runtime support, if a setting names one."""
        if not (place := settings.get(SETTING)):
            return RuntimeFiles({})
        folder = Path(place).expanduser()
        if not (folder / _SUPPORT).is_file():
            raise VersionFailed("InvalidRuntime", f"{SETTING}={place} has no {_SUPPORT}.")
        return RuntimeFiles({path.name: path for path in folder.iterdir()})

    def program(self, start: Start) -> list[str]:
        """An executable assembly by itself, or AWS's runtime support with the assembly's own configuration."""
        handler = start.version.handler or ""
        assembly, separator, _ = handler.partition("::")
        if not separator:
            name = handler.removesuffix(".dll")
            if start.unpacked is not None and (start.unpacked / name).is_file():
                return [f"{start.code}/{name}"]  # Self-contained, or compiled ahead of time.
            return [start.executable, f"{start.code}/{name}.dll"]
        if _SUPPORT not in start.files.entries:
            raise VersionFailed(
                "InvalidRuntime",
                f"Runtime {start.version.runtime} runs handlers of class libraries with {_SUPPORT}, which is not on this "
                f"machine: name a directory that has it, published with what it needs, with {SETTING}=/path. An executable "
                "assembly, whose handler is its name, does not need it.",
            )
        return [
            start.executable,
            "exec",
            "--depsfile",
            f"{start.code}/{_file(start.unpacked, assembly, '.deps.json')}",
            "--runtimeconfig",
            f"{start.code}/{_file(start.unpacked, assembly, '.runtimeconfig.json')}",
            f"{start.runtime}/{_SUPPORT}",
            handler,
        ]

    def variables(self, runtime: str, code: str, layers: str, own: str) -> dict[str, str]:
        """Nothing is said that the function did not say, and nothing is sent to anybody."""
        return {"DOTNET_CLI_TELEMETRY_OPTOUT": "1", "DOTNET_NOLOGO": "1"}

    def client(self, interpreter: Interpreter, settings: Mapping[str, str]) -> str:
        """What kinds of functions can be run."""
        if not self.files(interpreter, settings).entries:
            return f"executable assemblies only: {SETTING} names no {_SUPPORT}"
        return f"{_SUPPORT} of {settings[SETTING]}"


def _file(folder: Path | None, assembly: str, suffix: str) -> str:
    """The assembly's own file, else the only one of its kind."""
    found = sorted(path.name for path in folder.glob(f"*{suffix}")) if folder is not None else []
    return found[0] if len(found) == 1 and f"{assembly}{suffix}" not in found else f"{assembly}{suffix}"
