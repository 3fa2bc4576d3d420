"""The lineage in trace headers."""

from __future__ import annotations

import re

import pytest

from lambda_provider.operations.lineage import LIMIT, extend, furthest

F = "arn:aws:lambda:eu-west-1:111111111111:function:f"
G = "arn:aws:lambda:eu-west-1:111111111111:function:g"


def test_request_without_a_trace_gets_one_with_the_function_in_its_lineage() -> None:
    header, before = extend(None, F)
    assert before == 0
    assert re.fullmatch(
        r"Root=1-[0-9a-f]{8}-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=0;Lineage=1:[0-9a-f]{8}:0", header
    )


def test_trace_of_the_caller_is_kept() -> None:
    header, before = extend("Root=1-2-3;Sampled=1", F)
    assert before == 0
    assert header.startswith("Root=1-2-3;Sampled=1;Lineage=1:")


def test_each_run_of_a_function_counts_for_itself() -> None:
    header, _ = extend("Root=1-2-3", F)
    header, before_g = extend(header, G)
    header, before_f = extend(header, F)
    assert (before_f, before_g) == (1, 0)
    assert re.fullmatch(r"Root=1-2-3;Lineage=1:[0-9a-f]{8}:1\|[0-9a-f]{8}:0", header)


def test_seventeenth_run_is_one_too_many() -> None:
    header: str | None = None
    befores = []
    for _ in range(LIMIT + 1):
        header, before = extend(header, F)
        befores.append(before)
    assert befores == list(range(LIMIT + 1))
    assert befores[LIMIT] >= LIMIT > befores[LIMIT - 1]


def test_lineage_of_aws_is_read_in_both_of_its_forms() -> None:
    for text in ("Lineage=a87bd80c:1|68fd508a:5", "Lineage=1:a87bd80c:1|68fd508a:5"):
        header, _ = extend(f"Root=1-2-3;{text};Sampled=0", F)
        assert header.startswith("Root=1-2-3;Lineage=1:a87bd80c:1|68fd508a:5|")
        assert header.endswith(":0;Sampled=0")


@pytest.mark.parametrize(
    "text", ["Lineage=", "Lineage=x", "Lineage=a:b", "Lineage=a:-1", "Lineage=a:²", "xLineage=a:9"]
)
def test_lineage_that_cannot_be_read_begins_anew(text: str) -> None:
    header, before = extend(f"Root=1-2-3;{text}", F)
    assert before == 0
    assert re.search(r"Lineage=1:[0-9a-f]{8}:0$", header)


def test_a_batch_goes_on_the_chain_that_ran_the_function_most_often() -> None:
    once, _ = extend("Root=1-2-3", F)
    twice, _ = extend(once, F)
    others, _ = extend(extend(extend("Root=4-5-6", G)[0], G)[0], G)
    assert furthest([None, once, twice, others, ""], F) == twice
    assert furthest([twice, others], G) == others
    assert furthest([None, "Root=7-8-9"], F) == "Root=7-8-9"
    assert furthest([None, ""], F) is None


def test_a_chain_through_batches_ends_at_the_limit() -> None:
    """A poller that hands the header of one message on, and a function that sends it on with the next message."""
    header: str | None = None
    runs = 0
    while True:
        header, before = extend(furthest([header, "Root=1-0-0"], F), F)
        if before >= LIMIT:
            break
        runs += 1
    assert runs == LIMIT
