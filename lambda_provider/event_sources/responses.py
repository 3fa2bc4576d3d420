"""Which records of a batch a function reports as failed (ReportBatchItemFailures), and what an answer that says nonsense means.

https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html, "Success and failure conditions"; recorded:
test_kinesis_report_batch_item_failure_scenarios, test_kinesis_report_batch_item_success_scenarios,
test_report_batch_item_failures_invalid_result_json_batch_fails.
"""

from __future__ import annotations

import json
from collections.abc import Collection

REPORT_BATCH_ITEM_FAILURES = "ReportBatchItemFailures"


def failed_items(response: bytes, identifiers: Collection[str]) -> set[str] | None:
    """The identifiers of the records that failed: empty is a complete success, None a complete failure.

    `identifiers` are those of the records in the batch: message ids of SQS, sequence numbers of streams. Success: nothing, an
    empty response, or none in which `batchItemFailures` has items. Failure: what is not JSON or no object, and an item without
    an `itemIdentifier`, or whose identifier is no text, is empty, or is of no record in the batch.
    """
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
        identifier = item.get("itemIdentifier") if isinstance(item, dict) else None
        if not isinstance(identifier, str) or identifier not in identifiers:
            return None
        failed.add(identifier)
    return failed
