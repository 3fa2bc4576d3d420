"""The snapshot fixture: comparing, rewriting, and how a difference reads."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, ParamValidationError
from botocore.response import StreamingBody

from .harness import plugin, recordings
from .harness.matcher import MISSING, Difference
from .harness.normalise import to_json
from .harness.session import Snapshot, SnapshotMismatch, load, render
from .harness.transformers import masked_member


def session(tmp_path: Path, steps: dict[str, Any], **parameters: Any) -> Snapshot:
    made = Snapshot(tmp_path / "area.json", "test_it", **parameters)
    for step, response in steps.items():
        made.match(step, response)
    return made


def mismatch(made: Snapshot) -> str:
    with pytest.raises(SnapshotMismatch) as raised:
        made.finish()
    return str(raised.value)


def test_update_writes_and_the_next_run_compares(tmp_path: Path) -> None:
    session(tmp_path, {"a": {"FunctionName": "name-1"}}, update=True).finish()
    assert load(tmp_path / "area.json") == {"test_it": {"a": {"FunctionName": "<function-name:1>"}}}
    session(tmp_path, {"a": {"FunctionName": "name-2"}}).finish()
    assert "$.a.FunctionName" in mismatch(session(tmp_path, {"a": {"FunctionName": 3}}))


def test_update_keeps_the_other_scenarios(tmp_path: Path) -> None:
    (tmp_path / "area.json").write_text('{"test_other": {"x": 1}, "test_it": {"old": 1}}')
    session(tmp_path, {"new": 2}, update=True).finish()
    assert load(tmp_path / "area.json") == {"test_it": {"new": 2}, "test_other": {"x": 1}}


def test_a_placeholder_that_could_not_be_matched_again_is_not_written(tmp_path: Path) -> None:
    made = session(tmp_path, {"a": {"x": 1, "y": 2}}, update=True)
    made.transform(masked_member("x", "same"), masked_member("y", "same"))
    assert "$.a.y   (<same> stood for 1 before)" in mismatch(made)
    assert not (tmp_path / "area.json").exists()


def test_a_scenario_that_was_never_recorded_fails(tmp_path: Path) -> None:
    assert "--snapshot-update" in mismatch(session(tmp_path, {"a": 1}))


def test_a_scenario_without_steps_needs_no_snapshot(tmp_path: Path) -> None:
    session(tmp_path, {}).finish()


def test_steps_that_are_not_made_and_steps_that_are_not_expected_are_differences(tmp_path: Path) -> None:
    session(tmp_path, {"a": 1, "b": 2}, update=True).finish()
    message = mismatch(session(tmp_path, {"b": 2, "c": 3}))
    assert "$.a\n    - 1\n    + (missing)" in message
    assert "$.c\n    - (missing)\n    + 3" in message
    assert "$.b" not in message
    assert "$.a" in mismatch(session(tmp_path, {}))


def test_a_step_cannot_be_made_twice(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'a' is made twice"):
        session(tmp_path, {"a": 1}).match("a", 2)


def test_skipped_paths(tmp_path: Path) -> None:
    session(tmp_path, {"a": {"x": {"y": 1}, "xy": 1}}, update=True).finish()
    made = session(tmp_path, {"a": {"x": {"y": 2}, "xy": 2}})
    made.skip_path("$.a.x", "differs from machine to machine")
    message = mismatch(made)
    assert "$.a.xy" in message
    assert "$.a.x." not in message


def test_a_scenario_is_held_against_its_recording_and_not_rewritten_against_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = {"create": {"FunctionName": "<function-name:1>", "State": "Pending"}}
    monkeypatch.setattr(recordings, "scenarios", lambda file: {"Test::it": recorded})
    of = {"recorded": ("f.json", "Test::it"), "update": True}
    message = mismatch(session(tmp_path, {"create": {"FunctionName": "f", "State": "Active"}}, **of))
    assert message.startswith("f.json Test::it (recorded from AWS): 1 difference\n  $.create.State")
    assert not (tmp_path / "area.json").exists()
    assert session(tmp_path, {"create": {"FunctionName": "f", "State": "Pending"}}, **of).finish() == "holds"


def test_intended_differences_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = {"create": {"A": 1}, "get": {"A": 1}}
    monkeypatch.setattr(recordings, "scenarios", lambda file: {"Test::it[x]": recorded})
    monkeypatch.setattr(recordings, "INTENDED", {"f.json Test::it[x] $.create.*": "why"})
    found = recordings.differences("f.json", "Test::it[x]", {"create": {"A": 2, "B": 1}, "get": {"A": 2}})
    assert [difference.path for difference in found] == ["$.get.A"]


def test_a_function_recorded_together_with_an_event_source_mapping(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    response = {"CreateEventSourceMappingResponse": None, "CreateFunctionResponse": {"State": "Pending"}}
    (tmp_path / "f.json").write_text(json.dumps({"Test::it": {"recorded-content": {"create": response}}}))
    monkeypatch.setenv("LAMBDA_RECORDINGS", str(tmp_path))
    recordings.scenarios.cache_clear()
    try:
        assert recordings.scenarios("f.json") == {"Test::it": {"create": {"State": "Pending"}}}
    finally:
        recordings.scenarios.cache_clear()


def test_how_differences_read() -> None:
    found = [Difference("$.a[0].b", "<uuid:1>", {"x": "ä"}, "<uuid:1> is 'u'"), Difference("$.c", MISSING, None)]
    assert render("area.json test_it", found) == (
        "area.json test_it: 2 differences\n"
        "  $.a[0].b   (<uuid:1> is 'u')\n"
        '    - "<uuid:1>"\n'
        '    + {"x": "ä"}\n'
        "  $.c\n"
        "    - (missing)\n"
        "    + null"
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (
            {"ResponseMetadata": {"RequestId": "x", "HTTPStatusCode": 201, "HTTPHeaders": {"a": "b"}}},
            {"ResponseMetadata": {"HTTPHeaders": {}, "HTTPStatusCode": 201}},
        ),
        (StreamingBody(BytesIO(b'{"a": [1]}'), None), {"a": [1]}),
        (StreamingBody(BytesIO(b"null"), None), "null"),
        (StreamingBody(BytesIO(b""), None), ""),
        (StreamingBody(BytesIO(b'"{\\"a\\":1}"'), None), '"{\\"a\\":1}"'),
        ("{not json}", "{not json}"),
        ("{}\n", "{}\n"),
        ('["a", 3]', '["a", 3]'),
        ((1, 2), [1, 2]),
        (datetime(2024, 1, 2, tzinfo=UTC), "2024-01-02T00:00:00+00:00"),
        (
            ClientError({"Error": {"Code": "C"}, "ResponseMetadata": {"HTTPStatusCode": 400}}, "Invoke"),
            {"Error": {"Code": "C"}, "ResponseMetadata": {"HTTPHeaders": {}, "HTTPStatusCode": 400}},
        ),
        (ParamValidationError(report="why"), "Parameter validation failed:\nwhy"),
    ],
)
def test_responses_as_json(value: Any, expected: Any) -> None:
    assert to_json(value) == expected


def test_the_report_counts_each_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recordings, "folder", lambda: Path())
    monkeypatch.setattr(recordings, "scenarios", lambda file: {"A": {}, "B": {}, "C": {}, "D": {}})
    monkeypatch.setattr(plugin, "FILES", ("f.json",))
    outcomes = {
        ("f.json", "A"): "passed",
        ("f.json", "B"): "failed",
        ("f.json", "C"): "skipped",
        ("f.json", "X"): "passed",
    }
    assert plugin.report_lines(outcomes) == [
        "f.json: 4 recorded, 1 hold, 1 differ, 1 skipped here, 1 not covered",
        "  failed: B",
        "  skipped: C",
        "  uncovered: D",
        "  no such recording: X",
    ]
