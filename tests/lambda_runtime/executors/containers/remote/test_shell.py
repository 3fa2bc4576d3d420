"""The script above a runtime is run by this machine's shell, and what it says read as the gateway reads it."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from lambda_runtime.executors.base import ExitStatus
from lambda_runtime.executors.containers.plan import ContainerPlan
from lambda_runtime.executors.containers.remote import shell
from lambda_runtime.executors.containers.remote.shell import Reader, script

SECRET = "0123456789abcdef" * 2
MARK = b"\x1e" + SECRET.encode() + b" "


class Heard:
    """All that a reader handed over."""

    def __init__(self) -> None:
        self.output = bytearray()
        self.runtime: list[ExitStatus] = []
        self.extensions: dict[str, ExitStatus] = {}
        self.reader = Reader(SECRET, self.output.extend, self.runtime.append, self.extensions.__setitem__)


def run(plan: ContainerPlan, *program: str, variables: Mapping[str, str] | None = None) -> Heard:
    """What comes from the script with this program as its runtime."""
    given = {"PATH": "/usr/bin:/bin", **(variables or {})}
    command = ["/bin/sh", "-c", script(plan, {"PATH": ""}, given), "sh", SECRET, *program]
    heard = Heard()
    ended = subprocess.run(command, env={**given, "HOME": "/of/the/engine"}, stdout=subprocess.PIPE, timeout=60)
    heard.reader.feed(ended.stdout)
    heard.reader.end()
    return heard


def test_how_a_runtime_ends_is_said_behind_its_last_output() -> None:
    heard = run(ContainerPlan(), "sh", "-c", "echo out; echo err >&2; exit 3")
    assert (bytes(heard.output), heard.runtime) == (b"out\nerr\n", [ExitStatus(code=3)])


def test_a_signal_is_told_as_one() -> None:
    assert run(ContainerPlan(), "sh", "-c", "kill -SEGV $$").runtime == [ExitStatus(signal=11)]


@pytest.mark.parametrize("name", ["/nowhere/bootstrap", "no-such-program-at-all"])
def test_a_program_that_is_not_there_is_named(name: str) -> None:
    expected = ExitStatus(code=127, entry_point_error=f"fork/exec {name}: no such file or directory")
    assert run(ContainerPlan(), name).runtime == [expected]


def test_a_program_that_may_not_be_executed_is_named(tmp_path: Path) -> None:
    (tmp_path / "bootstrap").write_text("#!/bin/sh\n")
    expected = ExitStatus(code=126, entry_point_error=f"fork/exec {tmp_path}/bootstrap: permission denied")
    assert run(ContainerPlan(), f"{tmp_path}/bootstrap").runtime == [expected]


def test_variables_that_an_engine_adds_are_not_the_functions() -> None:
    heard = run(ContainerPlan(image_variables=("OF_THE_IMAGE",)), "env", variables={"MINE": "1"})
    names = {line.partition(b"=")[0] for line in bytes(heard.output).splitlines()}
    assert b"MINE" in names
    assert not {b"HOME", b"OF_THE_IMAGE"} & names


def test_extensions_see_only_their_variables_and_their_ends_are_told_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shell, "EXTENSIONS", str(tmp_path))
    (tmp_path / "an agent").write_text('#!/bin/sh\n[ -z "$MINE" ] || exit 9\nexit 4\n')
    (tmp_path / "an agent").chmod(0o755)
    (tmp_path / "broken").write_text("#!/bin/sh\n")
    plan = ContainerPlan(extensions=("an agent", "broken"))
    heard = run(plan, "true", variables={"MINE": "1"})
    assert heard.runtime == [ExitStatus(code=0)]
    assert heard.extensions == {
        "an agent": ExitStatus(code=4),
        "broken": ExitStatus(code=126, entry_point_error=f"fork/exec {tmp_path}/broken: permission denied"),
    }


def test_memory_is_the_reason_only_if_the_kernel_said_so() -> None:
    heard = Heard()
    heard.reader.feed(MARK + b"runtime 137 memory\n" + MARK + b"runtime 137\n")
    assert heard.runtime == [ExitStatus(signal=9, out_of_memory=True), ExitStatus(signal=9)]


def test_what_is_said_may_arrive_in_any_pieces() -> None:
    said = b"one" + MARK + b"runtime 1\n" + b"two" + MARK + b"extension 0 a b\n" + b"three"
    for size in range(1, len(said)):
        heard = Heard()
        for at in range(0, len(said), size):
            heard.reader.feed(said[at : at + size])
        heard.reader.end()
        heard.reader.end()
        assert bytes(heard.output) == b"onetwothree"
        assert (heard.runtime, heard.extensions) == ([ExitStatus(code=1)], {"a b": ExitStatus(code=0)})


def test_who_does_not_know_the_secret_only_writes() -> None:
    heard = Heard()
    forged = b"\x1e" + b"f" * 32 + b" runtime 0\n"
    heard.reader.feed(forged)
    assert (bytes(heard.output), heard.runtime) == (forged, [])


def test_half_a_mark_at_the_end_was_output() -> None:
    heard = Heard()
    heard.reader.feed(b"text" + MARK[:5])
    assert heard.output == b"text"
    heard.reader.end()
    assert heard.output == b"text" + MARK[:5]
