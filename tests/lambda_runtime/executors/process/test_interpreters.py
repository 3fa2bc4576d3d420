"""Finding the interpreter of a runtime, with made-up ones."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from lambda_runtime.errors import VersionFailed
from lambda_runtime.executors.process.interpreters import Interpreter, Interpreters
from lambda_runtime.executors.process.languages.dotnet import DotNet
from lambda_runtime.executors.process.languages.java import Java
from lambda_runtime.executors.process.languages.nodejs import NodeJs
from lambda_runtime.executors.process.languages.python import Python
from lambda_runtime.executors.process.languages.ruby import Ruby


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with nothing but what the test puts into the returned directory."""
    monkeypatch.setattr(Python, "places", lambda self, wanted: iter([str(tmp_path / _name("python3.", wanted))]))
    for language, name in ((NodeJs, "node"), (Ruby, "ruby"), (Java, "java"), (DotNet, "dotnet")):
        pattern = str(tmp_path / "*" / name)
        monkeypatch.setattr(language, "places", lambda self, wanted, pattern=pattern: iter([pattern]))
    return tmp_path


def _name(prefix: str, wanted: tuple[int, ...] | None) -> str:
    return f"{prefix}{wanted[1]}" if wanted else f"{prefix}*[0-9]"


def _install(path: Path, version: list[int]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    answer = json.dumps([version, str(path), str(path.parent)])
    path.write_text(f"#!/bin/sh\necho asked >> {path}.log\necho '{answer}'\n")
    path.chmod(0o755)
    return path


def test_exact_version_is_found_without_warning(machine: Path) -> None:
    path = _install(machine / "python3.12", [3, 12, 1])
    _install(machine / "python3.13", [3, 13, 0])
    assert Interpreters({}).find("python3.12") == (Interpreter("python", (3, 12, 1), path, machine), "")


def test_nearest_version_is_used_with_a_warning_and_the_others_are_not_started(machine: Path) -> None:
    for minor in (9, 11, 13):
        _install(machine / f"python3.{minor}", [3, minor, 0])
    found, warning = Interpreters({}).find("python3.12")
    assert found.version == (3, 13, 0)
    assert "python3.12 is not installed" in warning
    assert "LAMBDA_PYTHON3_12=" in warning
    assert not (machine / "python3.9.log").exists()


def test_broken_interpreter_is_passed_over(machine: Path) -> None:
    (machine / "python3.12").write_text("#!/bin/sh\nexit 1\n")
    (machine / "python3.12").chmod(0o755)
    _install(machine / "python3.11", [3, 11, 0])
    assert Interpreters({}).find("python3.12")[0].version == (3, 11, 0)


def test_nothing_at_all_fails_and_says_what_to_do(machine: Path) -> None:
    with pytest.raises(VersionFailed, match=r"no nodejs interpreter was found.*LAMBDA_NODEJS20_X=") as failed:
        Interpreters({}).find("nodejs20.x")
    assert failed.value.code == "InvalidRuntime"


def test_nodejs_is_matched_by_its_major_version(machine: Path) -> None:
    _install(machine / "a" / "node", [18, 20, 2])
    _install(machine / "b" / "node", [20, 11, 0])
    assert Interpreters({}).find("nodejs20.x")[0].version == (20, 11, 0)
    found, warning = Interpreters({}).find("nodejs22.x")
    assert found.version == (20, 11, 0)
    assert warning


def test_setting_names_an_interpreter(machine: Path) -> None:
    path = _install(machine / "own" / "py", [3, 12, 4])
    assert Interpreters({"LAMBDA_PYTHON3_12": str(path)}).find("python3.12")[0].executable == path
    with pytest.raises(VersionFailed, match=r"LAMBDA_PYTHON3_12=/nowhere is not a python interpreter"):
        Interpreters({"LAMBDA_PYTHON3_12": "/nowhere"}).find("python3.12")


def test_an_interpreter_is_asked_once(machine: Path) -> None:
    _install(machine / "python3.12", [3, 12, 1])
    found = Interpreters({})
    assert found.find("python3.12") == found.find("python3.12")
    assert (machine / "python3.12.log").read_text() == "asked\n"


def test_a_virtual_environment_is_resolved_to_its_base() -> None:
    found = Python().ask(sys.executable)
    assert found is not None
    assert found.version == sys.version_info[:3]
    assert found.prefix == Path(sys.base_prefix).resolve()
    assert found.executable.is_relative_to(found.prefix)
