"""Which traces are sampled, and what the function gets to know of its trace."""

from __future__ import annotations

import re

import pytest

from lambda_runtime.tracing import Sampler

ROOT = "Root=1-5e34a614-10bdbc2e5c4ec1cb5b9ad6d3"


def test_passing_through_leaves_the_header_alone() -> None:
    for received in (None, f"{ROOT};Sampled=1", "anything"):
        assert Sampler().header(received, "f", "PassThrough") == received


def test_the_first_request_of_each_second_is_sampled_and_a_share_of_the_others() -> None:
    now, draws = [1000.2], iter([0.04, 0.06])
    sampler = Sampler(lambda: now[0], lambda: next(draws))

    def sampled() -> bool:
        return (sampler.header(None, "f", "Active") or "").endswith(";Sampled=1")

    assert [sampled() for _ in range(3)] == [True, True, False]
    now[0] = 1001.0
    assert sampled()
    assert (sampler.header(None, "another", "Active") or "").endswith("Sampled=1")


@pytest.mark.parametrize("decision", ["0", "1"])
def test_the_decision_of_the_caller_stands(decision: str) -> None:
    sampler = Sampler(lambda: 1.0, lambda: 0.0 if decision == "0" else 1.0)
    for _ in range(2):
        header = sampler.header(f"{ROOT};Parent=53995c3f42cd8ad8;Sampled={decision}", "f", "Active")
        assert header is not None and f"Sampled={decision}" in header


def test_a_sampled_function_is_the_parent_of_what_it_calls() -> None:
    header = Sampler().header(f"{ROOT};Parent=53995c3f42cd8ad8;Sampled=1;Lineage=1:x:0", "f", "Active")
    match = re.fullmatch(rf"{ROOT};Parent=([0-9a-f]{{16}});Sampled=1;Lineage=1:x:0", header or "")
    assert match and match[1] != "53995c3f42cd8ad8"


def test_what_is_missing_is_made() -> None:
    header = Sampler().header("Root=;nonsense;Sampled=?", "f", "Active")
    assert re.fullmatch(r"Root=;Parent=[0-9a-f]{16};Sampled=1", header or "")
    header = Sampler().header("Self=1-2-3", "f", "Active")
    assert re.fullmatch(r"Root=1-[0-9a-f]{8}-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=1;Self=1-2-3", header or "")
