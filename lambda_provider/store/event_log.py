"""Accepted asynchronous events as rows of the state directory, until they have left the queue."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import logging
from collections.abc import Mapping
from typing import Any

from lambda_provider.store.errors import StateError
from lambda_provider.store.journal import EventRow, Journal
from lambda_runtime.event_queue import Outcome, QueuedEvent
from lambda_runtime.types import Invocation, InvocationResult

logger = logging.getLogger(__name__)

CHANGE_DELAY_S = 0.01
"""How long a change that nobody waits for may wait for company."""


class EventLog:
    """The `EventJournal` of the runtime's queue. Touched on the runtime loop; it writes in a thread of its own.

    Writes are grouped: what comes while a transaction is under way goes into the next one, so the number of events that are
    accepted a second does not depend on what a commit costs. Only new events are waited for; a change goes with the next of
    them, or alone after a moment. What is lost with a moment is that an event ran: it runs again after a restart, and so does
    one whose change the disk did not take.
    """

    def __init__(self, journal: Journal, *, last_id: int = 0) -> None:
        """`last_id` is that of the newest event in the journal; ids go on from there."""
        self._journal = journal
        self._thread = concurrent.futures.ThreadPoolExecutor(1, "events")
        self._next_id = last_id + 1
        self._puts: dict[int, EventRow] = {}
        self._deletes: set[int] = set()
        self._new: list[asyncio.Future[None]] = []
        self._writing = False
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    # EventJournal

    def add(self, event: QueuedEvent) -> asyncio.Future[None]:
        durable: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._closed:
            durable.set_exception(StateError("the state directory is closed: no event can be accepted"))
            return durable
        event.id = self._next_id
        self._next_id += 1
        self._puts[event.id] = _row(event)
        self._new.append(durable)
        self._write_soon()
        return durable

    def update(self, event: QueuedEvent) -> None:
        if not self._closed:
            self._puts[event.id] = _row(event)
            self._write_later()

    def remove(self, event: QueuedEvent) -> None:
        if not self._closed:
            self._puts.pop(event.id, None)
            self._deletes.add(event.id)
            self._write_later()

    # Life

    def clear(self) -> None:
        """Delete every event, durably; one that is about to be accepted is refused. Raises StateError.

        What is under way to the disk goes there first, and is deleted with the rest.
        """
        self._puts, self._deletes = {}, set()
        new, self._new = self._new, []
        self._thread.submit(self._journal.clear_events).result()
        for durable in new:
            durable.get_loop().call_soon_threadsafe(_settle, durable, StateError("the state was reset"))

    def close(self) -> None:
        """Write what is left, and take no more. Before the journal is closed; may be called twice."""
        if self._closed:
            return
        self._closed = True
        error = None
        if self._puts or self._deletes:
            error = self._thread.submit(self._commit, list(self._puts.values()), list(self._deletes)).result()
        self._thread.shutdown()
        for durable in self._new:
            durable.get_loop().call_soon_threadsafe(_settle, durable, error)

    def _write_soon(self) -> None:
        if not self._writing:
            self._writing = True
            asyncio.get_running_loop().call_soon(self._write)

    def _write_later(self) -> None:
        if not self._writing and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(CHANGE_DELAY_S, self._write_soon)

    def _write(self) -> None:
        """One transaction for all that has come up to now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._closed or not (self._puts or self._deletes):
            self._writing = False
            return
        puts, deletes, new = list(self._puts.values()), list(self._deletes), self._new
        self._puts, self._deletes, self._new = {}, set(), []
        written = asyncio.get_running_loop().run_in_executor(self._thread, self._commit, puts, deletes)
        written.add_done_callback(lambda done: self._written(new, done.result()))

    def _commit(self, puts: list[EventRow], deletes: list[int]) -> StateError | None:
        try:
            self._journal.write_events(puts, deletes)
        except StateError as error:
            logger.warning("events: %s", error)
            return error
        return None

    def _written(self, new: list[asyncio.Future[None]], error: StateError | None) -> None:
        for durable in new:
            _settle(durable, error)
        self._writing = False
        if self._new:
            self._write_soon()
        elif self._puts or self._deletes:
            self._write_later()


def _settle(durable: asyncio.Future[None], error: StateError | None) -> None:
    if durable.done():
        return
    if error is None:
        durable.set_result(None)
    else:
        durable.set_exception(error)


def _row(event: QueuedEvent) -> EventRow:
    call, result = event.invocation, event.last_result
    document: dict[str, Any] = {
        "versionArn": call.version_arn,
        "invokedArn": call.invoked_arn,
        "requestId": call.request_id,
        "clientContext": call.client_context,
        "cognitoIdentity": call.cognito_identity,
        "traceHeader": call.trace_header,
        "tenantId": call.tenant_id,
        "acceptedAt": event.accepted_at,
        "attempts": event.attempts,
        "dueAt": event.due_at,
        "error": event.last_error,
        "outcome": event.outcome and event.outcome.value,
    }
    if result is not None:
        document["result"] = {"executedVersion": result.executed_version, "functionError": result.function_error}
    text = json.dumps({name: value for name, value in document.items() if value}, separators=(",", ":"))
    return EventRow(event.id, text, call.payload, result.payload if result is not None else None)


def event_of(row: EventRow) -> QueuedEvent:
    """The event of a row. Raises StateError."""
    try:
        document: Mapping[str, Any] = json.loads(row.document)
        result, error, outcome = (document.get(name) for name in ("result", "error", "outcome"))
        return QueuedEvent(
            Invocation(
                version_arn=document["versionArn"],
                invoked_arn=document["invokedArn"],
                payload=row.payload,
                request_id=document["requestId"],
                client_context=document.get("clientContext"),
                cognito_identity=document.get("cognitoIdentity"),
                trace_header=document.get("traceHeader"),
                tenant_id=document.get("tenantId"),
            ),
            accepted_at=document["acceptedAt"],
            attempts=document.get("attempts", 0),
            due_at=document.get("dueAt", 0.0),
            last_result=InvocationResult(row.response or b"", result["executedVersion"], result.get("functionError"))
            if result
            else None,
            last_error=(error[0], error[1]) if error else None,
            outcome=Outcome(outcome) if outcome else None,
            id=row.id,
        )
    except (ValueError, KeyError, TypeError) as problem:
        raise StateError(f"the stored event {row.id} cannot be read: {problem!r}") from problem
