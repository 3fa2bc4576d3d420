"""Temporary directories: gone with their owner, and when that was killed, at the next start of somebody else."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from lambda_runtime.scratch import Scratch, remove_abandoned


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def killed(directory: Path) -> None:
    """A process makes one and is killed."""
    script = (
        "import os; from lambda_runtime.scratch import Scratch; Scratch().directory('code'); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", script], env={**os.environ, "TMPDIR": str(directory)}).returncode == -9


def test_it_is_removed_with_what_is_in_it(directory: Path) -> None:
    scratch = Scratch()
    (scratch.directory("code") / "file").write_text("x")
    assert list(directory.iterdir()) == [scratch.path]
    scratch.remove()
    assert list(directory.iterdir()) == []


def test_what_a_killed_process_left_is_swept_at_once_and_what_lives_is_not(directory: Path) -> None:
    living = Scratch()
    killed(directory)
    killed(directory)
    assert len(list(directory.iterdir())) == 3
    remove_abandoned()
    assert list(directory.iterdir()) == [living.path]
    living.remove()


def test_one_that_is_just_being_made_is_left_alone_and_swept_when_it_is_old(directory: Path) -> None:
    made = directory / ".lambda-runtime-made"
    made.mkdir()
    remove_abandoned()
    assert made.exists()
    os.utime(made, (time.time() - 3600,) * 2)
    remove_abandoned()
    assert not made.exists()


def test_one_that_is_just_being_removed_is_left_alone_and_swept_when_it_is_old(directory: Path) -> None:
    scratch = Scratch()
    (scratch.path / ".lock").unlink()
    remove_abandoned()
    assert list(scratch.path.iterdir()) == [], "its owner could not remove it any more"
    os.utime(scratch.path, (time.time() - 3600,) * 2)
    remove_abandoned()
    assert not scratch.path.exists()
    scratch.remove()


def test_directories_of_others_are_left_alone(directory: Path) -> None:
    (directory / "lambda-other").mkdir()
    remove_abandoned()
    assert (directory / "lambda-other").exists()
