"""Which records a function reports as failed, and what answers that say nonsense mean."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lambda_provider.event_sources.responses import failed_items

IDS = {"a", "b"}


@pytest.mark.parametrize(
    "answer", [None, "", [], {}, {"batchItemFailures": []}, {"batchItemFailures": None}, {"statusCode": 200}]
)
def test_an_answer_without_failures_is_a_success(answer: Any) -> None:
    assert failed_items(json.dumps(answer).encode(), IDS) == set()


def test_no_answer_is_a_success() -> None:
    assert failed_items(b"", IDS) == set()
    assert failed_items(b" \n", IDS) == set()


def test_reported_records_failed() -> None:
    items = [{"itemIdentifier": "b"}, {"itemIdentifier": "b", "more": 1}]
    assert failed_items(json.dumps({"batchItemFailures": items}).encode(), IDS) == {"b"}


@pytest.mark.parametrize(
    "item",
    [
        {"itemIdentifier": ""},
        {"itemIdentifier": None},
        {"itemIdentifier": 1},
        {"itemIdentifier": "of no record"},
        {"foo": "a"},
        {"foo": None},
        {},
        "a",
        None,
    ],
)
def test_an_item_that_names_no_record_fails_the_batch(item: Any) -> None:
    assert failed_items(json.dumps({"batchItemFailures": [{"itemIdentifier": "a"}, item]}).encode(), IDS) is None


@pytest.mark.parametrize("answer", [b"{", b"\xff", b'"done"', b"5", b"[1]", b'{"batchItemFailures": "a"}', b"true"])
def test_what_is_no_report_fails_the_batch(answer: bytes) -> None:
    assert failed_items(answer, IDS) is None
