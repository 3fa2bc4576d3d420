"""Which records of a batch a function reports as failed (ReportBatchItemFailures), and what an answer that says nonsense means.

https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html, "Success and failure conditions"; recorded:
test_kinesis_report_batch_item_failure_scenarios, test_kinesis_report_batch_item_success_scenarios,
test_report_batch_item_failures_invalid_result_json_batch_fails.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Hashable
from typing import Any, TypeVar

REPORT_BATCH_ITEM_FAILURES = "ReportBatchItemFailures"


T = TypeVar("T", bound=Hashable)


def _text(identifier: Any) -> str | None:
    return identifier if isinstance(identifier, str) else None


def failed_items(response: bytes, identifiers: Collection[str]) -> set[str] | None:
    """The identifiers of the records that failed: empty is a complete success, None a complete failure.

    `identifiers` are those of the records in the batch: message ids of SQS, sequence numbers of streams. Success: nothing, an
    empty response, or none in which `batchItemFailures` has items. Failure: what is not JSON or no object, and an item without
    an `itemIdentifier`, or whose identifier is no text, is empty, or is of no record in the batch.
    """
    return failed_records(response, identifiers, _text)


def failed_records(response: bytes, identifiers: Collection[T], read: Callable[[Any], T | None]) -> set[T] | None:
    """The same for sources whose identifiers are no texts; `read` gives an identifier, or None for what is none."""
    try:
        document = json.loads(response) if response.strip() else None
    except ValueError:
        return None
    if document in (None, "", [], {}):
        return set()
    if not isinstance(document, dict):
        return None
    items = document.get("batchItemFailures")
    if items is None:
        return set()
    if not isinstance(items, list):
        return None
    failed = set()
    for item in items:
        identifier = read(item.get("itemIdentifier")) if isinstance(item, dict) else None
        if identifier is None or identifier not in identifiers:
            return None
        failed.add(identifier)
    return failed
