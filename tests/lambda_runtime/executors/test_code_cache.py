"""Unpacking, sharing and deleting code."""

from __future__ import annotations

import hashlib
import stat
import threading
import zipfile
from pathlib import Path

import pytest

from lambda_runtime.errors import VersionFailed
from lambda_runtime.executors.code_cache import CodeCache, unpack
from lambda_runtime.types import CodeArchive

Member = tuple[str, str, int]


def _archive(path: Path, *members: Member) -> CodeArchive:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content, mode in members:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            archive.writestr(info, content)
    return CodeArchive(hashlib.sha256(path.read_bytes()).hexdigest(), path)


def _tree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    tree.mkdir()
    return tree


def test_modes_are_those_of_aws_and_executable_bits_are_kept(tmp_path: Path) -> None:
    archive = _archive(tmp_path / "a.zip", ("d/plain", "x", 0o600), ("d/program", "x", 0o700), ("d/bare", "x", 0))
    tree = _tree(tmp_path)
    unpack(archive.path, tree)
    modes = {name: stat.filemode((tree / name).stat().st_mode) for name in ("d", "d/plain", "d/program", "d/bare")}
    assert modes == {"d": "drwxr-xr-x", "d/plain": "-rw-r--r--", "d/program": "-rwxr-xr-x", "d/bare": "-rw-r--r--"}


@pytest.mark.parametrize("name", ["../out", "a/../../out", "/out"])
def test_member_outside_of_the_root_is_refused(tmp_path: Path, name: str) -> None:
    archive = _archive(tmp_path / "a.zip", (name, "x", 0o644))
    with pytest.raises(VersionFailed) as failed:
        unpack(archive.path, _tree(tmp_path))
    assert failed.value.code == "InvalidZipFileException"
    assert not (tmp_path / "out").exists()


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("kept")
    link = stat.S_IFLNK | 0o777
    links = _archive(tmp_path / "a.zip", ("directory", str(outside), link), ("file", str(outside / "file"), link))
    files = _archive(tmp_path / "b.zip", ("directory/new", "x", 0o644), ("file", "x", 0o644))
    tree = _tree(tmp_path)
    unpack(links.path, tree)
    unpack(files.path, tree)
    assert [path.name for path in outside.iterdir()] == ["file"]
    assert (outside / "file").read_text() == "kept"
    assert (tree / "directory" / "new").read_text() == "x"


def test_links_are_kept_as_they_are(tmp_path: Path) -> None:
    archive = _archive(tmp_path / "a.zip", ("target", "x", 0o644), ("link", "target", stat.S_IFLNK | 0o777))
    tree = _tree(tmp_path)
    unpack(archive.path, tree)
    assert (tree / "link").readlink() == Path("target")


def test_damaged_archive_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(b"PK\x05\x06 but not really")
    cache = CodeCache(tmp_path / "cache")
    with pytest.raises(VersionFailed):
        cache.use([CodeArchive("00", path)], "code")
    assert [entry.name for entry in cache.root.rglob("*")] == ["code", "layers"]


def test_an_archive_is_unpacked_once_for_several_users(tmp_path: Path) -> None:
    archive = _archive(tmp_path / "a.zip", ("index.py", "x", 0o644))
    cache = CodeCache(tmp_path / "cache")
    names: list[str | None] = []
    threads = [threading.Thread(target=lambda: names.append(cache.use([archive], "code"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(names) == {f"code/{archive.sha256}"}
    entry = cache.root / "code" / archive.sha256
    for _ in range(7):
        cache.release(f"code/{archive.sha256}")
    assert (entry / "index.py").exists()
    cache.release(f"code/{archive.sha256}")
    assert list((cache.root / "code").iterdir()) == []


def test_later_layer_wins_also_where_a_file_becomes_a_directory(tmp_path: Path) -> None:
    first = _archive(tmp_path / "a.zip", ("bin/tool", "first", 0o755), ("data", "file", 0o644), ("lib/x", "x", 0o644))
    second = _archive(
        tmp_path / "b.zip", ("bin/tool", "second", 0o755), ("data/file", "inside", 0o644), ("lib", "file", 0o644)
    )
    cache = CodeCache(tmp_path / "cache")
    name = cache.use([first, second], "layers")
    assert name is not None
    tree = cache.root / name
    assert (tree / "bin/tool").read_text() == "second"
    assert (tree / "data/file").read_text() == "inside"
    assert (tree / "lib").read_text() == "file"
    assert cache.use([second, first], "layers") != name
