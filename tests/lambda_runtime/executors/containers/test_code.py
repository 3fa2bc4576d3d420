from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lambda_runtime.errors import VersionFailed
from lambda_runtime.executors.containers.code import Code, program
from lambda_runtime.executors.containers.image import Image
from lambda_runtime.executors.process.code_cache import CodeCache
from lambda_runtime.types import CodeArchive, FunctionVersion

IMAGE = Image("sha256:1", "app:1", "amd64", ("/entry", "-v"), ("app.handler",), "/srv", {"OF_THE_IMAGE": "1"})

Version = Callable[..., FunctionVersion]


def archive(path: Path, name: str) -> CodeArchive:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(name, "x")
    return CodeArchive(hashlib.sha256(path.read_bytes()).hexdigest(), path)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, ("/entry", "-v", "app.handler")),
        ({"image_command": ("other",)}, ("/entry", "-v", "other")),
        ({"image_entry_point": ("/mine",)}, ("/mine",)),
        ({"image_entry_point": ("/mine",), "image_command": ("other",)}, ("/mine", "other")),
    ],
)
def test_image_config_replaces_what_the_image_says(
    version: Version, config: dict[str, Any], expected: tuple[str, ...]
) -> None:
    made = version(runtime=None, handler=None, image_uri="app:1", **config)
    assert program(made, IMAGE, None, None) == expected


def test_a_runtime_is_started_by_its_image_with_the_handler(version: Version) -> None:
    assert program(version(), IMAGE, None, None) == ("/entry", "-v", "index.handler")


def test_an_os_only_runtime_is_its_bootstrap(version: Version, tmp_path: Path) -> None:
    made = version(runtime="provided.al2023")
    (tmp_path / "layers").mkdir()
    (tmp_path / "layers" / "bootstrap").touch()
    assert program(made, IMAGE, tmp_path / "code", None) == ("/var/task/bootstrap",)
    assert program(made, IMAGE, tmp_path / "code", tmp_path / "layers") == ("/opt/bootstrap",)


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
