"""Writing expectations, and that what is written matches what it was written from."""

from __future__ import annotations

from .harness.matcher import Bindings, compare
from .harness.transformers import LOG_LINES, STANDARD, mask, masked_member, masked_text, member, pattern, value

UUIDS = [f"{n}cbd17c3-4d7d-4b0c-9a4a-0a6d9e7a2b11" for n in range(3)]


def test_a_reference_is_replaced_wherever_it_stands() -> None:
    steps = {"a": {"FunctionName": "f-1", "Arn": "arn:f-1:x"}, "b": ["log of f-1"]}
    assert mask(steps, [member("FunctionName", "function-name")]) == {
        "a": {"FunctionName": "<function-name:1>", "Arn": "arn:<function-name:1>:x"},
        "b": ["log of <function-name:1>"],
    }


def test_references_are_numbered_by_family_in_order() -> None:
    steps = {"a": [UUIDS[1], UUIDS[0]], "b": UUIDS[1], "c": {"Role": "arn:aws:iam::1:role/execution-role"}}
    assert mask(steps, STANDARD) == {
        "a": ["<uuid:1>", "<uuid:2>"],
        "b": "<uuid:1>",
        "c": {"Role": "arn:aws:iam::1:role/<resource:1>"},
    }


def test_of_two_overlapping_values_the_longer_is_replaced() -> None:
    steps = {"a": "fn fn-unknown"}
    assert mask(steps, [value("fn", "short"), value("fn-unknown", "long")]) == {"a": "<short:1> <long:1>"}


def test_a_mask_replaces_where_it_stands_only() -> None:
    steps = {"a": {"CodeSize": 200, "Timeout": 200, "Trace": ["x"]}}
    masks = [masked_member("CodeSize", "code-size"), masked_member("Trace", "stack-trace")]
    assert mask(steps, masks) == {"a": {"CodeSize": "<code-size>", "Timeout": 200, "Trace": "<stack-trace>"}}


def test_masked_text_is_not_found_by_references() -> None:
    line = f"END RequestId: {UUIDS[0]}"
    transformers = [*STANDARD, masked_text(r"RequestId: \S+", "RequestId: <request-id>")]
    assert mask({"a": line}, transformers) == {"a": "END RequestId: <request-id>"}


def test_log_lines() -> None:
    line = "REPORT RequestId: {}\tDuration: 1.05 ms\tBilled Duration: 2 ms\tMax Memory Used: 30 MB\tInit Duration: 9.1 ms\t\n"
    assert mask({"a": line.format(UUIDS[0])}, LOG_LINES)["a"] == (
        "REPORT RequestId: <request-id>\tDuration: <duration> ms\tBilled Duration: <duration> ms\t"
        "Max Memory Used: <memory> MB\tInit Duration: <duration> ms\t\n"
    )
    assert mask({"a": f"2024-01-02T03:04:05.123Z\t{UUIDS[0]}\tINFO\t{{}}"}, LOG_LINES)["a"] == (
        "date\t<request-id>\tINFO\t{}"
    )


def test_constants() -> None:
    constants = {"000000000000": "111111111111", "us-east-1": "<region>", "arn:aws:": "arn:<partition>:"}
    steps = {"a": "arn:aws:lambda:us-east-1:000000000000:function:aws"}
    assert mask(steps, [], constants) == {"a": "arn:<partition>:lambda:<region>:111111111111:function:aws"}


def test_numbers_and_nothing_are_left_alone() -> None:
    assert mask({"a": [1, 2.5, None, True]}, [pattern("1", "one"), *STANDARD]) == {"a": [1, 2.5, None, True]}


def test_what_is_written_matches_what_it_was_written_from() -> None:
    steps = {
        "create": {
            "FunctionName": "f-1",
            "FunctionArn": "arn:aws:lambda:us-east-1:000000000000:function:f-1",
            "Role": "arn:aws:iam::000000000000:role/execution-role",
            "RevisionId": UUIDS[0],
            "CodeSize": 12,
            "LastModified": "2024-01-01T00:00:00.000+0000",
        },
        "log": [f"START RequestId: {UUIDS[1]} Version: $LATEST\n"],
    }
    constants = {"000000000000": "111111111111", "us-east-1": "<region>", "arn:aws:": "arn:<partition>:"}
    written = mask(steps, [*STANDARD, *LOG_LINES], constants)
    assert list(compare(written, steps, Bindings())) == []
    assert written["create"]["FunctionArn"] == "arn:<partition>:lambda:<region>:111111111111:function:<function-name:1>"
