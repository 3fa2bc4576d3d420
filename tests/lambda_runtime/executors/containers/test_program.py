from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lambda_runtime.executors.containers.image import Image
from lambda_runtime.executors.containers.program import program
from lambda_runtime.types import FunctionVersion

IMAGE = Image("sha256:1", "app:1", "amd64", ("/entry", "-v"), ("app.handler",), "/srv", {"OF_THE_IMAGE": "1"})

Version = Callable[..., FunctionVersion]


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
