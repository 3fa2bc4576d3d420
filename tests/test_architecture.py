"""Imports point one way: the order of the rooms in the design, held by a test."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

FLOORS = [
    {"cli", "commands", "testing"},
    {"hosts", "asgi", "wsgi"},
    {"provider"},
    {"operations", "event_sources", "delivery", "urls"},
    {"store", "wire", "validation"},
    {"model", "host", "config"},
    {"api"},
    {"context", "plugins", "__init__"},
]
"""Rooms of `lambda_provider`, top floor first. A room imports from its own floor and from those below."""

GROUND = {"host", "context", "plugins"}
"""Modules that import nothing of ours but what is listed here."""


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """Absolute names of what a module imports, wherever in it the import stands."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                # The zygote runs on interpreters that have nothing of ours: its modules only know their neighbours.
                assert node.level == 1 and "zygote" in path.parts, f"{path}: relative imports hide the direction"
                continue
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(path: Path) -> str:
    return path.relative_to(ROOT / "lambda_provider").parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", modules("lambda_runtime"), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_runtime_never_imports_the_provider(path: Path) -> None:
    assert not [name for name in imported(path) if name.startswith("lambda_provider")]


@pytest.mark.parametrize("path", modules("lambda_provider"), ids=lambda path: str(path.relative_to(ROOT)))
def test_rooms_import_downward_only(path: Path) -> None:
    floors = {name: number for number, names in enumerate(FLOORS) for name in names}
    here = room(path)
    assert here in floors, f"{here} is a new room: give it a floor in FLOORS and in the design"
    for name in imported(path):
        parts = name.split(".")
        if parts[0] == "lambda_provider" and len(parts) > 1 and parts[1] in floors:
            assert floors[parts[1]] >= floors[here], f"{path.relative_to(ROOT)} imports {name}, a floor above"


@pytest.mark.parametrize("path", [*modules("lambda_provider"), *modules("lambda_runtime")], ids=str)
def test_only_the_localstack_adapter_knows_localstack(path: Path) -> None:
    if path.name != "localstack.py":
        assert not [name for name in imported(path) if name.split(".")[0] == "localstack"]


@pytest.mark.parametrize("name", sorted(GROUND))
def test_ground_floor_imports_nothing_of_ours(name: str) -> None:
    ours = [each for each in imported(ROOT / "lambda_provider" / f"{name}.py") if each.startswith("lambda_")]
    assert [each for each in ours if each.split(".")[1] not in GROUND] == []
