"""The files under snapshots/ and tests/functions belong to scenarios that are there."""

from __future__ import annotations

import ast
import fnmatch
from pathlib import Path

import pytest

from .harness import recordings
from .harness.functions import FUNCTIONS
from .harness.intended import INTENDED
from .harness.plugin import FILES
from .harness.session import SNAPSHOTS, load

HERE = Path(__file__).parent


@pytest.mark.parametrize("file", sorted(SNAPSHOTS.glob("*.json")), ids=lambda file: file.stem)
def test_every_snapshot_belongs_to_a_scenario(file: Path) -> None:
    module = ast.parse((HERE / f"test_{file.stem}.py").read_text())
    scenarios = {node.name for node in module.body if isinstance(node, ast.FunctionDef)}
    assert {key.partition("[")[0] for key in load(file)} <= scenarios


def test_every_function_file_is_used() -> None:
    sources = "".join(path.read_text() for path in HERE.glob("test_*.py"))
    unused = [path.name for path in FUNCTIONS.iterdir() if path.is_file() and path.stem not in sources]
    assert not unused


@pytest.mark.skipif(recordings.folder() is None, reason="the recordings are not at hand")
@pytest.mark.parametrize("difference", INTENDED)
def test_every_intended_difference_names_a_recording(difference: str) -> None:
    file, key, path = difference.split(" ", 2)
    assert file in FILES
    names = recordings.scenarios(file)
    assert key in names or fnmatch.filter(names, key)
    assert path.startswith("$.")
