"""Which shards may be read: parents before their children."""

from __future__ import annotations

from lambda_provider.event_sources.shards import Shard, readable

PARENT, OTHER = Shard("p"), Shard("q")
LEFT, RIGHT = Shard("l", ("p",)), Shard("r", ("p",))
MERGED = Shard("m", ("p", "q"))


def test_children_wait_for_their_parent() -> None:
    assert readable([PARENT, LEFT, RIGHT], ()) == [PARENT]
    assert readable([PARENT, LEFT, RIGHT], {"p"}) == [LEFT, RIGHT]


def test_merged_shard_waits_for_both_parents() -> None:
    assert readable([PARENT, OTHER, MERGED], {"p"}) == [OTHER]
    assert readable([PARENT, OTHER, MERGED], {"p", "q"}) == [MERGED]


def test_parent_that_is_not_listed_any_more_holds_nobody_up() -> None:
    assert readable([LEFT, RIGHT], ()) == [LEFT, RIGHT]


def test_shard_that_is_finished_is_not_read_again() -> None:
    assert readable([PARENT], {"p"}) == []
