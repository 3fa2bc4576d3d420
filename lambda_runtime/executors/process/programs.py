"""Which program an environment executes."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping
from pathlib import Path

from lambda_runtime.executors.process import layout
from lambda_runtime.executors.process.languages import LANGUAGES
from lambda_runtime.executors.process.languages.base import Interpreter, RuntimeFiles, Start
from lambda_runtime.executors.process.languages.nodejs import AWS_CLIENT
from lambda_runtime.types import FunctionVersion

NODE_BOOTSTRAP = "bootstrap.cjs"
NODE_STANDBY = "standby.cjs"
_FORK_SAFE = frozenset({"PYTHONPATH", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"})
"""Python's own variables that a forked interpreter can still follow; with any other one, a fresh interpreter is started."""


def program_of(
    version: FunctionVersion,
    interpreter: Interpreter | None,
    files: RuntimeFiles,
    places: layout.Places,
    *,
    code: Path | None,
    layers: Path | None,
    isolated: bool,
) -> list[str]:
    """What to execute when the function does not run in a process forked from its interpreter's zygote.

    `code` and `layers` are where these lie on this machine. Raises VersionFailed.
    """
    if interpreter is None:
        name = (version.handler or "") if version.runtime == "go1.x" else "bootstrap"
        # AWS looks into the function first, then into the layers.
        only_in_layers = _has(layers, name) and not _has(code, name)
        return [f"{places.layers if only_in_layers else places.code}/{name}"]
    path = layout.inside(interpreter) if isolated else str(interpreter.executable)
    if interpreter.family == "python":
        return [path, f"{places.runtime}/bootstrap.py"]
    if interpreter.family == "nodejs":
        if (interpreter.prefix / AWS_CLIENT).is_file():
            return [path, str(Path(path).parent.parent / AWS_CLIENT), version.handler or ""]
        return [path, f"{places.runtime}/{NODE_BOOTSTRAP}"]
    start = Start(
        version,
        interpreter,
        path,
        files,
        code=places.code,
        layers=places.layers,
        runtime=places.runtime,
        unpacked=code,
    )
    return LANGUAGES[interpreter.family].program(start)


def command(
    program: list[str], interpreter: Interpreter | None, given: Mapping[str, str], variables: Mapping[str, str]
) -> list[str] | None:
    """What an environment with these variables executes; None forks the function's process from the zygote.

    `given` are the variables that the executor itself sets.
    """
    if interpreter is None:
        return program
    if wrapper := variables.get("AWS_LAMBDA_EXEC_WRAPPER"):
        return [wrapper, *program]
    if interpreter.family != "python":
        return program
    # The dynamic loader and the interpreter read these at their start only.
    same_loader = variables.get("LD_LIBRARY_PATH") == given["LD_LIBRARY_PATH"] and "LD_PRELOAD" not in variables
    follows = all(name in _FORK_SAFE or not name.startswith("PYTHON") for name in variables)
    return None if same_loader and follows else program


def other_processor(version: FunctionVersion, interpreter: Interpreter | None) -> str:
    """What is to be said of a function for another processor than this machine's; "" if nothing.

    Programs of OS-only runtimes say it themselves: they cannot be executed.
    """
    machine = {"aarch64": "arm64", "amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
    if interpreter is None or version.architecture == machine:
        return ""
    return (
        f"The function is for {version.architecture} and runs on {machine}: compiled parts of its code will not load."
    )


def runtime_version(runtime: str) -> str:
    """`python3.12` -> `python:3.12.v1`, as in AWS's INIT_START line."""
    match = re.match(r"([a-z]+)\.?(.*?)(\.x)?$", runtime)
    return f"{match[1]}:{match[2]}.v1" if match else runtime


def _has(folder: Path | None, name: str) -> bool:
    return folder is not None and (folder / name).exists()
