"""How far a shard is processed, and where a restart goes on."""

from __future__ import annotations

from lambda_provider.event_sources.checkpoints import Checkpoint
from lambda_provider.store.positions import Positions


def checkpoint(positions: Positions, lanes: int = 2) -> Checkpoint:
    return Checkpoint(positions, "uuid", "shard", lanes)


def test_position_moves_over_what_is_done_without_a_gap() -> None:
    positions = Positions()
    shard = checkpoint(positions)
    for number, lane in ((1, 0), (2, 1), (3, 0)):
        assert shard.read(number, lane)
    shard.done(0, [1, 3])
    shard.save()
    assert positions.get("uuid", "shard") == {"after": "1", "factor": 2, "lanes": {"0": "3"}}
    assert shard.outstanding == 2
    shard.done(1, [2])
    shard.save()
    assert positions.get("uuid", "shard") == {"after": "3"}
    assert shard.outstanding == 0


def test_what_a_lane_did_beyond_the_position_is_not_done_again() -> None:
    positions = Positions()
    shard = checkpoint(positions)
    for number, lane in ((1, 0), (2, 1), (3, 0)):
        shard.read(number, lane)
    shard.done(0, [1, 3])
    shard.save()
    again = checkpoint(positions)
    assert again.after == 1
    assert [again.read(2, 1), again.read(3, 0), again.read(4, 0)] == [True, False, True]
    again.done(1, [2])
    again.save()
    assert again.after == 3


def test_lanes_of_another_number_know_nothing_of_each_other() -> None:
    positions = Positions()
    shard = checkpoint(positions)
    shard.read(1, 1)
    shard.read(2, 0)
    shard.done(0, [2])
    shard.save()
    again = checkpoint(positions, lanes=3)
    assert again.after is None
    assert again.read(1, 0) and again.read(2, 0)


def test_records_that_filters_drop_are_passed() -> None:
    positions = Positions()
    shard = checkpoint(positions, 1)
    shard.skip(1)
    shard.save()
    assert positions.get("uuid", "shard") == {"after": "1"}
    shard.read(2, 0)
    shard.skip(3)
    shard.save()
    assert shard.after == 1


def test_finished_shard_is_remembered() -> None:
    positions = Positions()
    checkpoint(positions).finish()
    assert checkpoint(positions).finished
