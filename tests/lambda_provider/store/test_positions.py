"""Positions of event source mappings: what was put is there again, and nobody waits for it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lambda_provider.store.errors import StateError
from lambda_provider.store.journal import Journal
from lambda_provider.store.positions import Positions


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def positions(journal: Journal) -> Iterator[Positions]:
    opened = Positions()
    opened.open(journal, [], {"m-1", "m-2"})
    yield opened
    opened.close()


def reopened(positions: Positions, journal: Journal) -> Positions:
    positions.close()
    again = Positions()
    again.open(journal, journal.load().positions, {"m-1", "m-2"})
    return again


def test_value_that_was_put_last_is_there_again(positions: Positions, journal: Journal) -> None:
    positions.put("m-1", "shard-0", {"after": "1"})
    positions.put("m-1", "shard-0", {"after": "2"})
    positions.put("m-1", "shard-1", None)
    positions.put("m-2", "", [1, "ü"])
    again = reopened(positions, journal)
    assert again.of("m-1") == {"shard-0": {"after": "2"}, "shard-1": None}
    assert again.get("m-2", "") == [1, "ü"]
    assert again.get("m-2", "other") is None
    assert again.of("m-3") == {}


def test_deleted_shard_and_forgotten_mapping_do_not_come_back(positions: Positions, journal: Journal) -> None:
    for mapping in ("m-1", "m-2"):
        positions.put(mapping, "a", 1)
        positions.put(mapping, "b", 2)
    positions.flush()
    positions.delete("m-1", "a")
    positions.forget("m-2")
    positions.delete("m-2", "a")
    again = reopened(positions, journal)
    assert (again.of("m-1"), again.of("m-2")) == ({"b": 2}, {})


def test_positions_of_a_mapping_that_is_gone_are_deleted(positions: Positions, journal: Journal) -> None:
    positions.put("m-1", "a", 1)
    positions.put("m-2", "a", 2)
    positions.close()
    again = Positions()
    again.open(journal, journal.load().positions, {"m-2"})
    again.close()
    assert [row.mapping for row in journal.load().positions] == ["m-2"]


def test_clear_is_durable_when_it_returns(positions: Positions, journal: Journal) -> None:
    positions.put("m-1", "a", 1)
    positions.clear()
    assert journal.load().positions == []
    assert positions.of("m-1") == {}


def test_what_comes_during_a_transaction_goes_together_into_the_next(positions: Positions, journal: Journal) -> None:
    batches: list[int] = []
    write, begun, gate = journal.write_positions, threading.Event(), threading.Event()

    def slow(puts: list[object], deletes: list[object]) -> None:
        batches.append(len(puts))
        begun.set()
        assert gate.wait(30)
        write(puts, deletes)  # type: ignore[arg-type]

    journal.write_positions = slow  # type: ignore[assignment,method-assign]
    positions.put("m-1", "first", 0)
    assert begun.wait(30)
    for number in range(100):
        positions.put("m-1", f"shard-{number % 10}", number)
    gate.set()
    positions.flush()
    assert batches == [1, 10]


def test_what_the_disk_did_not_take_goes_with_the_next_change(positions: Positions, journal: Journal) -> None:
    write = journal.write_positions

    def full(puts: object, deletes: object) -> None:
        raise StateError("no room")

    journal.write_positions = full  # type: ignore[method-assign]
    positions.put("m-1", "a", 1)
    with pytest.raises(StateError, match="no room"):
        for _ in range(2):  # The one of the background may have been first.
            positions.flush()
    assert positions.get("m-1", "a") == 1
    journal.write_positions = write  # type: ignore[method-assign]
    positions.put("m-1", "b", 2)
    assert reopened(positions, journal).of("m-1") == {"a": 1, "b": 2}


def test_without_a_journal_values_live_in_memory() -> None:
    positions = Positions()
    positions.put("m-1", "a", {"n": 1})
    positions.flush()
    assert positions.of("m-1") == {"a": {"n": 1}}
    positions.forget("m-1")
    positions.clear()
    positions.close()


def test_value_is_that_of_when_it_was_put(positions: Positions) -> None:
    value = {"n": 1}
    positions.put("m-1", "a", value)
    value["n"] = 2
    assert positions.get("m-1", "a") == {"n": 1}
    with pytest.raises(TypeError):
        positions.put("m-1", "a", object())


def test_many_threads_put(positions: Positions, journal: Journal) -> None:
    def work(shard: int) -> None:
        for number in range(200):
            positions.put("m-1", str(shard), number)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(4)))
    assert reopened(positions, journal).of("m-1") == {str(shard): 199 for shard in range(4)}
