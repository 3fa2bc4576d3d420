"""What may be committed: whatever order records are done in, never past one that is not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lambda_provider.event_sources.kafka_progress import Progress


@given(st.data())
def test_the_position_is_the_first_record_that_is_not_done(data: st.DataObject) -> None:
    begin = data.draw(st.integers(0, 1000))
    gaps = data.draw(st.lists(st.tuples(st.integers(1, 3), st.booleans()), max_size=40))
    progress, offset, undone, seen = Progress(begin), begin - 1, set(), begin
    for gap, wanted in gaps:
        offset += gap
        seen = offset + 1
        if wanted:
            assert progress.taken(offset)
            undone.add(offset)
        else:
            progress.skipped(offset)
        if undone and data.draw(st.booleans()):
            done = data.draw(st.sets(st.sampled_from(sorted(undone)), min_size=1))
            progress.done(done)
            undone -= done
        assert progress.position == min(undone, default=seen)
        assert progress.outstanding == len(undone)
    before = progress.position
    progress.done(undone)
    assert progress.position == seen >= before


def test_what_is_fetched_twice_is_taken_once() -> None:
    progress = Progress(5)
    assert progress.taken(5)
    assert not progress.taken(5)
    assert not progress.taken(3)
    progress.skipped(4)
    assert progress.position == 5
    progress.done([5])
    assert progress.position == 6
