"""The matcher: what a placeholder may stand for, and what is a difference."""

from __future__ import annotations

from typing import Any

import pytest

from .harness.matcher import MISSING, Bindings, Difference, compare

UUID_A = "7cbd17c3-4d7d-4b0c-9a4a-0a6d9e7a2b11"
UUID_B = "8cbd17c3-4d7d-4b0c-9a4a-0a6d9e7a2b11"


def differences(expected: Any, actual: Any) -> list[Difference]:
    return list(compare(expected, actual, Bindings()))


def paths(expected: Any, actual: Any) -> list[str]:
    return [difference.path for difference in differences(expected, actual)]


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        ({"a": [1, {"b": None}]}, {"a": [1, {"b": None}]}),
        ("<uuid:1>", UUID_A),
        ("<code-size>", 271),
        ("<stack-trace>", ["line 1", "line 2"]),
        ("date", "2024-01-02T03:04:05.000+0000"),
        ("timestamp", 1795249208072),
        (
            "arn:<partition>:lambda:<region>:111111111111:function:<function-name:1>:1",
            "arn:aws-us-gov:lambda:us-gov-west-1:123456789012:function:f-1:1",
        ),
        ("<<code-sha-256>:1>", "abc="),
        ("[INFO]\tdate\t<uuid:2>\tmessage", f"[INFO]\t2024-01-02T03:04:05.000Z\t{UUID_A}\tmessage"),
        ("Duration: <duration> ms\tBilled Duration: <duration> ms", "Duration: 1.05 ms\tBilled Duration: 2 ms"),
        ("Box<dyn core::error::Error>", "Box<dyn core::error::Error>"),
        ("Function<RuntimeError>", "Function<RuntimeError>"),
        ("", ""),
    ],
)
def test_equal_as_far_as_placeholders_go(expected: Any, actual: Any) -> None:
    assert differences(expected, actual) == []


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        (1, 1.0),
        (True, 1),
        (None, "null"),
        ("date", ["2024-01-02"]),
        ("date", None),
        ("text", "other"),
        ("<uuid:1>", "not-a-uuid"),
        ("function:<function-name:1>", "function:f:1"),
        ("Function<RuntimeError>", "Function<TypeError>"),
        ("x <region> y", "x us-east-1 z"),
        ("Duration: <duration> ms", 3),
    ],
)
def test_everything_else_has_to_be_equal(expected: Any, actual: Any) -> None:
    assert paths(expected, actual) == ["$"]


def test_missing_and_extra_members_are_differences() -> None:
    found = differences({"a": 1, "gone": {"x": 1}}, {"a": 1, "extra": None})
    assert found == [Difference("$.gone", {"x": 1}, MISSING), Difference("$.extra", MISSING, None)]


def test_a_missing_member_is_none_of_a_placeholder() -> None:
    assert paths({"a": "<uuid:1>", "b": "date"}, {}) == ["$.a", "$.b"]


def test_lists_are_compared_by_position() -> None:
    assert paths({"l": [1, 2]}, {"l": [1, 3, 4]}) == ["$.l[1]", "$.l[2]"]


def test_one_placeholder_is_one_value() -> None:
    assert differences(["<uuid:1>", "x <uuid:1>"], [UUID_A, f"x {UUID_A}"]) == []
    [difference] = differences(["<uuid:1>", "<uuid:1>"], [UUID_A, UUID_B])
    assert difference.path == "$[1]"
    assert UUID_A in difference.note
    assert paths(["<uuid:1> <uuid:1>"], [f"{UUID_A} {UUID_B}"]) == ["$[0]"]


def test_two_numbers_of_a_family_are_two_values() -> None:
    [difference] = differences(["<uuid:1>", "<uuid:2>"], [UUID_A, UUID_A])
    assert difference.note == f"{UUID_A!r} is <uuid:1> already"


def test_families_may_share_a_value() -> None:
    assert differences(["<function-name:1>", "<resource:1>"], ["f", "f"]) == []


def test_a_free_placeholder_stands_for_any_value_each_time() -> None:
    assert differences(["<location>", "<location>", "date", "date"], ["a", "b", "c", "d"]) == []


def test_what_is_known_of_placeholders_is_told_with_a_difference() -> None:
    _, difference = [*differences(["<region>", "x <region> y"], ["us-east-1", "x us-west-1 y"]), None]
    assert difference is None
    [difference] = differences(["<region>", "x <region> y"], ["us-east-1", "x us-west-1 y"])
    assert difference.note == "<region> is 'us-east-1'"
