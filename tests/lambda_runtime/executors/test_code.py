from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from lambda_runtime.errors import VersionFailed
from lambda_runtime.executors.code import Code
from lambda_runtime.executors.code_cache import CodeCache
from lambda_runtime.types import CodeArchive, FunctionVersion

Version = Callable[..., FunctionVersion]


def archive(path: Path, name: str) -> CodeArchive:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(name, "x")
    return CodeArchive(hashlib.sha256(path.read_bytes()).hexdigest(), path)


async def test_code_is_kept_as_long_as_somebody_uses_it(version: Version, tmp_path: Path) -> None:
    cache = CodeCache(tmp_path / "cache")
    made = version(code=archive(tmp_path / "c.zip", "index.py"), layers=(archive(tmp_path / "l.zip", "lib"),))
    code = await Code.unpacked(made, cache)
    assert {
        place: sorted(each.name for each in (cache.root / name).iterdir()) for place, name in code.entries.items()
    } == {
        "/var/task": ["index.py"],
        "/opt": ["lib"],
    }
    code.add_user(cache)
    code.release(cache)
    assert all((cache.root / name).exists() for name in code.entries.values())
    code.release(cache)
    assert not any((cache.root / name).exists() for name in code.entries.values())


async def test_code_is_given_back_when_a_layer_cannot_be_unpacked(version: Version, tmp_path: Path) -> None:
    cache = CodeCache(tmp_path / "cache")
    (tmp_path / "l.zip").write_bytes(b"no archive")
    made = version(code=archive(tmp_path / "c.zip", "index.py"), layers=(CodeArchive("0" * 64, tmp_path / "l.zip"),))
    with pytest.raises(VersionFailed, match="Could not unzip"):
        await Code.unpacked(made, cache)
    assert list((cache.root / "code").iterdir()) == []


async def test_a_container_image_has_no_code(version: Version, tmp_path: Path) -> None:
    code = await Code.unpacked(version(runtime=None, image_uri="app:1"), CodeCache(tmp_path / "cache"))
    assert code.entries == {}
