"""How many records, and how many bytes, go into one event."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from lambda_provider.event_sources.batching import Batch, batches


def test_a_batch_is_full_with_its_size() -> None:
    batch: Batch[int] = Batch(2)
    assert (batch.offer(1, b"1"), batch.full, batch.room) == (True, False, 1)
    assert (batch.offer(2, b"2"), batch.full, batch.room) == (True, True, 0)
    assert not batch.offer(3, b"3")
    assert batch.records == [1, 2]
    assert batch.event() == b'{"Records":[1,2]}'


def test_a_record_that_does_not_fit_makes_the_batch_full() -> None:
    batch: Batch[str] = Batch(10, limit_bytes=100)
    assert batch.offer("a", b"x" * 50)
    assert not batch.offer("b", b"x" * 50)
    assert batch.full
    assert not batch.offer("c", b"x"), "or the order would be lost"


def test_a_record_that_is_too_large_goes_alone() -> None:
    batch: Batch[str] = Batch(10, limit_bytes=100)
    assert batch.offer("a", b"x" * 500)
    assert not batch.offer("b", b"x")


@given(
    st.lists(st.text(max_size=40), max_size=40),
    st.integers(min_value=1, max_value=10),
    st.integers(min_value=30, max_value=300),
)
def test_batches_hold_everything_in_order_and_within_bounds(texts: list[str], size: int, limit: int) -> None:
    records = [(text, json.dumps(text).encode()) for text in texts]
    made = batches(records, size, limit)
    assert [record for batch in made for record in batch.records] == texts
    for batch in made:
        assert 1 <= len(batch) <= size
        assert len(batch.event()) <= limit or len(batch) == 1
        assert json.loads(batch.event())["Records"] == batch.records
