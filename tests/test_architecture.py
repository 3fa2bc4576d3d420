"""Imports point one way, in the order of the rooms in the design; and what docs/architecture.md says of the house is so."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
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


@pytest.mark.parametrize("path", modules("lambda_runtime/executors/containers"), ids=lambda path: path.stem)
def test_the_base_of_container_executors_knows_no_engine(path: Path) -> None:
    engines = ("docker", "lambda_runtime.executors.docker", "lambda_runtime.executors.swarm")
    assert [name for name in imported(path) for engine in engines if f"{name}.".startswith(f"{engine}.")] == []


@pytest.mark.parametrize("name", sorted(GROUND))
def test_ground_floor_imports_nothing_of_ours(name: str) -> None:
    ours = [each for each in imported(ROOT / "lambda_provider" / f"{name}.py") if each.startswith("lambda_")]
    assert [each for each in ours if each.split(".")[1] not in GROUND] == []


PAGE = (ROOT / "docs" / "architecture.md").read_text()


@cache
def members() -> dict[str, set[str]]:
    """What each class of ours has in its body, by the name of the class."""
    found: dict[str, set[str]] = {}
    for path in [*modules("lambda_provider"), *modules("lambda_runtime")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                functions = {
                    each.name for each in node.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
                }
                found.setdefault(node.name, set()).update(functions)
    return found


@pytest.mark.parametrize(
    "named", sorted(set(re.findall(r"[a-z_][\w/]*(?:/(?!\w)|\.(?:py|md|json)\b)|script/\w+", PAGE)))
)
def test_paths_that_the_page_names_are_there(named: str) -> None:
    assert any((base / named).exists() for base in (ROOT, ROOT / "lambda_provider", ROOT / "lambda_runtime"))


@pytest.mark.parametrize("named", sorted(set(re.findall(r"`([A-Z]\w+(?:\.\w+)?)`", PAGE))))
def test_classes_and_methods_that_the_page_names_are_there(named: str) -> None:
    name, _, method = named.partition(".")
    assert name in members()
    assert not method or method in members()[name]


def test_the_page_shows_the_floors() -> None:
    rows = re.findall(r"^\| \d \| (.*?) \|", PAGE, re.M)
    assert [set(re.findall(r"\w+", row)) for row in rows] == [names - {"__init__"} for names in FLOORS]


def test_every_module_of_the_data_plane_has_a_place_on_the_page() -> None:
    here = {path.name for path in (ROOT / "lambda_runtime").glob("*.py")} - {"__init__.py"}
    assert here - set(re.findall(r"`(\w+\.py)`", PAGE)) == set(), "say on docs/architecture.md what they are for"


def test_the_page_is_read_in_one_go() -> None:
    assert len(PAGE.splitlines()) <= 150
