"""Accepted events as rows: what was acknowledged is there again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from lambda_provider.store.errors import StateError
from lambda_provider.store.event_log import EventLog, event_of
from lambda_provider.store.journal import Journal
from lambda_runtime.event_queue import Outcome, QueuedEvent
from lambda_runtime.types import Invocation, InvocationResult

ARN = "arn:aws:lambda:eu-west-1:111111111111:function:f"


def event(request_id: str = "r-1", **changes: object) -> QueuedEvent:
    call = Invocation(
        version_arn=f"{ARN}:3",
        invoked_arn=f"{ARN}:live",
        payload=b'{"n":1}',
        request_id=request_id,
        client_context='{"custom":{}}',
        cognito_identity='{"cognitoIdentityId":"i"}',
        trace_header="Root=1-2-3;Lineage=1:ab:0",
        tenant_id="blue",
    )
    return QueuedEvent(call, accepted_at=1000.5, **changes)  # type: ignore[arg-type]


class Writes:
    """A journal that counts transactions, and waits in them while `gate` is closed."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.batches: list[tuple[int, int]] = []
        self.write = journal.write_events
        journal.write_events = self  # type: ignore[assignment,method-assign]

    def __call__(self, puts: list[object], deletes: list[int]) -> None:
        self.batches.append((len(puts), len(deletes)))
        self.write(puts, deletes)  # type: ignore[arg-type]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path)
    yield opened
    opened.close()


def reloaded(log: EventLog, journal: Journal) -> list[QueuedEvent]:
    log.close()
    return stored(journal)


def stored(journal: Journal) -> list[QueuedEvent]:
    return [event_of(row) for row in journal.load().events]


async def test_event_comes_back_with_everything_that_was_known_of_it(journal: Journal) -> None:
    log, kept = EventLog(journal), event()
    await log.add(kept)
    kept.attempts = 2
    kept.due_at = 1120.5
    kept.last_result = InvocationResult(b'{"errorMessage":"no"}', "3", "Unhandled")
    kept.last_error = (429, "Rate Exceeded.")
    kept.outcome = Outcome.RETRIES_EXHAUSTED
    log.update(kept)
    (found,) = reloaded(log, journal)
    for name in ("invocation", "accepted_at", "attempts", "due_at", "last_result", "last_error", "outcome", "id"):
        assert getattr(found, name) == getattr(kept, name), name


async def test_new_event_comes_back_without_an_answer(journal: Journal) -> None:
    log = EventLog(journal)
    await log.add(event())
    (found,) = reloaded(log, journal)
    assert (found.attempts, found.due_at, found.last_result, found.outcome) == (0, 0.0, None, None)


async def test_events_come_back_in_the_order_of_their_acceptance(journal: Journal) -> None:
    log = EventLog(journal)
    names = [f"r-{number}" for number in range(50)]
    await asyncio.gather(*(log.add(event(name)) for name in names))
    assert [found.invocation.request_id for found in reloaded(log, journal)] == names


async def test_event_that_left_the_queue_is_gone(journal: Journal) -> None:
    log, kept = EventLog(journal), event()
    await log.add(kept)
    log.remove(kept)
    assert reloaded(log, journal) == []


async def test_ids_go_on_after_a_restart(journal: Journal) -> None:
    log = EventLog(journal)
    await log.add(event("a"))
    (found,) = reloaded(log, journal)
    log = EventLog(journal, last_id=found.id)
    await log.add(event("b"))
    assert [found.invocation.request_id for found in reloaded(log, journal)] == ["a", "b"]


async def test_events_that_are_accepted_together_share_a_transaction(journal: Journal) -> None:
    writes, log = Writes(journal), EventLog(journal)
    await asyncio.gather(*(log.add(event()) for _ in range(100)))
    assert writes.batches == [(100, 0)]
    log.close()


async def test_change_of_an_event_that_is_removed_anyway_is_not_written(journal: Journal) -> None:
    writes, log, kept = Writes(journal), EventLog(journal), event()
    await log.add(kept)
    log.update(kept)
    log.remove(kept)
    log.close()
    assert writes.batches == [(1, 0), (0, 1)]


async def test_event_that_the_disk_does_not_take_is_refused(journal: Journal, caplog: pytest.LogCaptureFixture) -> None:
    log = EventLog(journal)
    journal.close()
    with pytest.raises(StateError):
        await log.add(event())
    assert "cannot be used" in caplog.text or "closed" in caplog.text


async def test_closed_log_takes_no_event_but_finishes_what_it_has(journal: Journal) -> None:
    log = EventLog(journal)
    accepted = log.add(event())
    log.close()
    await asyncio.wait_for(accepted, 30)
    with pytest.raises(StateError, match="closed"):
        await log.add(event())
    assert len(stored(journal)) == 1


async def test_cleared_log_has_forgotten_its_events(journal: Journal) -> None:
    log = EventLog(journal)
    await log.add(event())
    log.clear()
    assert reloaded(log, journal) == []


async def test_event_that_is_about_to_be_accepted_is_refused_by_a_clear(journal: Journal) -> None:
    log = EventLog(journal)
    accepted = log.add(event())
    log.clear()
    with pytest.raises(StateError, match="reset"):
        await accepted
    assert reloaded(log, journal) == []


def test_row_that_cannot_be_read_is_named(journal: Journal) -> None:
    journal.write_events([(5, '{"versionArn":1}', b"", None)], [])  # type: ignore[list-item]
    with pytest.raises(StateError, match="the stored event 5 cannot be read"):
        stored(journal)
