"""What AWS answered, where the folder with the recordings is at hand."""

from __future__ import annotations

import fnmatch
import functools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .intended import INTENDED
from .matcher import Bindings, Difference, compare
from .transformers import LOG_LINES, mask

ROOT = Path(__file__).parents[3]


def folder() -> Path | None:
    """`LAMBDA_RECORDINGS`, or `../shared/recordings` beside the project; None when there is neither."""
    path = Path(os.environ.get("LAMBDA_RECORDINGS") or ROOT.parent / "shared" / "recordings")
    return path if path.is_dir() else None


@functools.cache
def scenarios(file: str) -> dict[str, dict[str, Any]]:
    """Scenario -> step -> response of one file; empty when the recordings are not at hand."""
    path = folder()
    if path is None:
        return {}
    recorded = json.loads((path / file).read_text())
    return {
        # Durations and the like stand in recorded log lines as they were.
        name: mask(dict(_created(scenario["recorded-content"])), LOG_LINES)
        for name, scenario in recorded.items()
    }


def differences(file: str, key: str, steps: dict[str, Any]) -> list[Difference]:
    """How a scenario's steps differ from what AWS answered, without what differs on purpose."""
    recorded = scenarios(file)[key]
    if not recorded:  # Nothing was recorded of this scenario but that it was there.
        return []
    return [found for found in compare(recorded, steps, Bindings()) if not _is_intended(file, key, found)]


def _is_intended(file: str, key: str, difference: Difference) -> bool:
    return any(
        fnmatch.fnmatchcase(f"{file} {key} {difference.path}", _literal_brackets(pattern)) for pattern in INTENDED
    )


def _literal_brackets(pattern: str) -> str:
    return pattern.replace("[", "[[]")


def _created(steps: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Some creations were recorded together with an event source mapping that was not made: only the function counts."""
    for step, response in steps.items():
        if isinstance(response, dict) and set(response) == {
            "CreateEventSourceMappingResponse",
            "CreateFunctionResponse",
        }:
            yield step, response["CreateFunctionResponse"]
        else:
            yield step, response
