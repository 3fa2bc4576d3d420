"""A folder as code: what counts as a change, and what is taken over."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lambda_runtime.errors import VersionFailed
from lambda_runtime.executors.code_cache import CodeCache
from lambda_runtime.live_code import look_at


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "package").mkdir(parents=True)
    (folder / "index.py").write_text("1")
    (folder / "package" / "module.py").write_text("2")
    return folder


def _same_size_and_time(path: Path) -> None:
    before = path.stat()
    # File systems may count time in steps of some milliseconds, and what is not a step later is no change.
    while path.stat().st_ctime_ns == before.st_ctime_ns:
        path.write_text("3")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "index.py").write_text("longer"),
        lambda folder: _same_size_and_time(folder / "index.py"),
        lambda folder: (folder / "package" / "new.py").write_text(""),
        lambda folder: (folder / "package" / "module.py").unlink(),
        lambda folder: (folder / "index.py").rename(folder / "other.py"),
        lambda folder: (folder / "index.py").chmod(0o755),
        lambda folder: (folder / "empty").mkdir(),
        lambda folder: (folder / "link").symlink_to("index.py"),
    ],
)
def test_every_kind_of_change_is_seen(folder: Path, change: object) -> None:
    before = look_at(folder)
    assert look_at(folder) == before
    change(folder)  # type: ignore[operator]
    assert look_at(folder) != before


def test_what_tools_write_is_no_change(folder: Path) -> None:
    before = look_at(folder)
    (folder / "package" / "__pycache__").mkdir()
    (folder / ".git").mkdir()
    assert look_at(folder) == before


def test_a_folder_that_is_gone_fails_the_version(tmp_path: Path) -> None:
    with pytest.raises(VersionFailed, match=r"not-there .* cannot be read"):
        look_at(tmp_path / "not-there")


@pytest.mark.parametrize("instead", ["nothing", "a file"])
def test_a_directory_that_goes_while_one_looks_is_not_there(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, instead: str
) -> None:
    scandir = os.scandir

    def then_gone(path: Path) -> object:
        if path == folder / "package" and path.is_dir():
            path.rename(tmp_path / "elsewhere")
            if instead == "a file":
                path.touch()
        return scandir(path)

    monkeypatch.setattr(os, "scandir", then_gone)
    assert look_at(folder).keys() == {"index.py"}


def test_the_copy_is_what_the_folder_is_with_fixed_modes(folder: Path, tmp_path: Path) -> None:
    (folder / "index.py").chmod(0o600)
    (folder / "bootstrap").write_text("#!/bin/sh")
    (folder / "bootstrap").chmod(0o700)
    (folder / "link").symlink_to("package/module.py")
    cache = CodeCache(tmp_path / "cache")
    name, _ = cache.use_folder(folder)
    entry = cache.root / name
    assert (entry / "index.py").stat().st_mode & 0o777 == 0o644
    assert (entry / "bootstrap").stat().st_mode & 0o777 == 0o755
    assert (entry / "link").readlink() == Path("package/module.py")
    assert (entry / "package" / "module.py").read_text() == "2"


def test_only_what_changed_is_copied_again(folder: Path, tmp_path: Path) -> None:
    cache = CodeCache(tmp_path / "cache")
    first, _ = cache.use_folder(folder)
    (folder / "index.py").write_text("changed")
    second, _ = cache.use_folder(folder)
    assert first != second
    assert (cache.root / first / "index.py").read_text() == "1"
    assert (cache.root / second / "index.py").read_text() == "changed"
    module = "package/module.py"
    assert (cache.root / first / module).samefile(cache.root / second / module)
    assert not (cache.root / second / module).samefile(folder / module)


def test_an_unchanged_folder_is_copied_once_and_kept_while_it_is_used(folder: Path, tmp_path: Path) -> None:
    cache = CodeCache(tmp_path / "cache")
    first, _ = cache.use_folder(folder)
    again, _ = cache.use_folder(folder)
    assert first == again
    cache.release(first)
    assert (cache.root / first).exists()
    cache.release(first)
    assert not (cache.root / first).exists()
    assert cache.use_folder(folder)[0] != first
