"""The `snapshot` fixture: collects the steps of one scenario and holds them against what is expected."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import recordings
from .matcher import MISSING, Bindings, Difference, compare
from .normalise import to_json
from .transformers import STANDARD, Transformer, mask

SNAPSHOTS = recordings.ROOT / "snapshots"


class SnapshotMismatch(AssertionError):
    """What differs, for a reader."""


@dataclass(slots=True)
class Snapshot:
    """One scenario: `match` records its steps, `finish` compares them. One of these a test."""

    file: Path
    scenario: str
    update: bool = False
    recorded: tuple[str, str] | None = None
    """The recording that this scenario repeats: file and key."""
    constants: dict[str, str] = field(default_factory=dict)
    steps: dict[str, Any] = field(default_factory=dict)
    transformers: list[Transformer] = field(default_factory=lambda: list(STANDARD))
    skipped: dict[str, str] = field(default_factory=dict)

    def match(self, step: str, response: Any) -> None:
        """Record a response (boto3's, an exception of botocore, or JSON values) under a name of its own."""
        if step in self.steps:
            raise ValueError(f"the step {step!r} is made twice in {self.scenario}")
        self.steps[step] = to_json(response)

    def transform(self, *transformers: Transformer) -> None:
        """Write placeholders for more than the standard transformers find."""
        self.transformers.extend(transformers)

    def skip_path(self, path: str, reason: str) -> None:
        """Do not compare what stands at `$.step.member` and below with the snapshot."""
        self.skipped[path] = reason

    def finish(self) -> str | None:
        """Compare, or rewrite. Raises SnapshotMismatch; returns `holds` where a recording was compared too.

        A snapshot is not rewritten with what AWS is known to answer otherwise.
        """
        outcome = None
        if self.recorded and self.recorded[1] in recordings.scenarios(self.recorded[0]):
            file, key = self.recorded
            if found := recordings.differences(file, key, self.steps):
                raise SnapshotMismatch(render(f"{file} {key} (recorded from AWS)", found))
            outcome = "holds"
        if self.update:
            self._write()
        elif self.steps or self._expected():
            found = [
                difference
                for difference in compare(self._expected(), self.steps, Bindings())
                if not any(_is_below(difference.path, path) for path in self.skipped)
            ]
            if found:
                hint = "" if self._expected() else "\n  nothing is recorded of it yet: run with --snapshot-update"
                raise SnapshotMismatch(render(f"{self.file.name} {self.scenario}", found) + hint)
        return outcome

    def _expected(self) -> dict[str, Any]:
        return load(self.file).get(self.scenario, {})

    def _write(self) -> None:
        written = mask(self.steps, self.transformers, self.constants)
        if unmatched := list(compare(written, self.steps, Bindings())):
            raise SnapshotMismatch(render("what would be written does not match what it was written from", unmatched))
        with _locked(self.file):
            scenarios = load(self.file)
            scenarios.pop(self.scenario, None)
            if written:
                scenarios[self.scenario] = written
            text = json.dumps(dict(sorted(scenarios.items())), indent=2, ensure_ascii=False)
            self.file.write_text(text + "\n", encoding="utf-8")


def load(file: Path) -> dict[str, dict[str, Any]]:
    """Scenario -> step -> expectation; empty when there is no such file."""
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def render(title: str, differences: list[Difference]) -> str:
    """Differences for a reader: the JSON path, what was expected (-) and what came (+)."""
    lines = [f"{title}: {len(differences)} difference{'s' * (len(differences) != 1)}"]
    for difference in differences:
        lines.append(f"  {difference.path}" + (f"   ({difference.note})" if difference.note else ""))
        lines.append(f"    - {_shown(difference.expected)}")
        lines.append(f"    + {_shown(difference.actual)}")
    return "\n".join(lines)


def _shown(value: Any) -> str:
    return MISSING if value is MISSING else json.dumps(value, ensure_ascii=False)


def _is_below(path: str, skipped: str) -> bool:
    return path == skipped or path.startswith((f"{skipped}.", f"{skipped}["))


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Only one process at a time rewrites a file of snapshots."""
    with (file.parent / f".{file.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
