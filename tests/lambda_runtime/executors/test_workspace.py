"""What an executor has of this machine while it runs."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from lambda_runtime.executors.code import Code
from lambda_runtime.executors.workspace import Workspace
from lambda_runtime.types import FunctionVersion


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    return tmp_path / "tmp"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "index.py").write_text("x")
    return tmp_path / "folder"


def content(directory: Path) -> list[Path]:
    return list(directory.iterdir())


def leave(directory: Path) -> None:
    """What an owner leaves that is killed: a lock that nobody holds."""
    directory.mkdir()
    (directory / ".lock").touch()


async def test_nothing_temporary_is_left_of_one_that_was_closed(temporary: Path) -> None:
    workspace = Workspace(None)
    for _ in range(2):
        workspace.open()
        assert workspace.is_open
        assert workspace.cache.root.is_relative_to(workspace.scratch.path)
        await workspace.settle()
        await workspace.close()
        await workspace.close()
        assert (workspace.is_open, content(temporary)) == (False, [])


async def test_directories_of_owners_that_were_killed_go(temporary: Path) -> None:
    leave(temporary / "lambda-runtime-abandoned")
    workspace = Workspace(None)
    workspace.open()
    await workspace.settle()
    assert content(temporary) == [workspace.scratch.path]
    await workspace.close()


async def test_a_cache_of_ones_own_outlives_it(
    version: Callable[..., FunctionVersion], folder: Path, tmp_path: Path
) -> None:
    workspace = Workspace(tmp_path / "cache")
    workspace.open()
    code = await Code.unpacked(version(code_folder=folder), workspace.cache)
    await workspace.settle()
    await workspace.close()
    assert code.package is not None
    assert (tmp_path / "cache" / code.package / "index.py").read_text() == "x"


async def test_code_is_given_up_as_long_as_it_is_there(version: Callable[..., FunctionVersion], folder: Path) -> None:
    workspace = Workspace(None)
    workspace.open()
    code = await Code.unpacked(version(code_folder=folder), workspace.cache)
    assert code.package is not None
    path = workspace.cache.root / code.package
    assert path.exists()
    await workspace.release(code)
    assert not path.exists()
    await workspace.settle()
    await workspace.close()
    await workspace.release(code)


async def test_it_settles_when_what_goes_on_in_the_background_has_ended() -> None:
    workspace, may_end, ended = Workspace(None), threading.Event(), []
    workspace.in_thread(lambda: ended.append(may_end.wait(30)))
    await workspace.settle(0.01)
    assert ended == []
    settling = asyncio.ensure_future(workspace.settle())
    may_end.set()
    await settling
    assert ended == [True]
