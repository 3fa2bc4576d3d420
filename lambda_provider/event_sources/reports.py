"""What a mapping says of itself: LastProcessingResult and StateTransitionReason, in the store without a storm of writes."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

from lambda_provider.model.event_source_mapping import DELETED, EventSourceMapping
from lambda_provider.operations.mapping_kinds import KINDS
from lambda_provider.store.errors import StateError
from lambda_provider.store.resources import ResourceTable

logger = logging.getLogger(__name__)

INTERVAL_S = 1.0
"""A mapping whose batches succeed and fail in turn is written so often at most."""


class Reports:
    """Writes what changed, at most once a second for a mapping; what comes meanwhile counts, the last word first.

    Touched only on the loop; the writing is done in threads, since it may wait for a disk.
    """

    def __init__(self, mappings: ResourceTable[EventSourceMapping]) -> None:
        self._mappings = mappings
        self._told: dict[str, dict[str, str]] = {}
        """UUID -> attribute -> value that is to be written, or was."""
        self._writing: dict[str, asyncio.Task[None]] = {}
        self._dirty: set[str] = set()

    def tell(self, mapping: EventSourceMapping, **values: str) -> None:
        """Have `last_result` or `state_reason` shown; kinds without LastProcessingResult stay without."""
        if mapping.last_result is None:
            values.pop("last_result", None)
        told = self._told.setdefault(mapping.name, _told_by(mapping))
        if all(told.get(name) == value for name, value in values.items()):
            return
        told.update(values)
        self._dirty.add(mapping.name)
        if mapping.name not in self._writing:
            self._writing[mapping.name] = asyncio.get_running_loop().create_task(self._write(mapping))

    def recovered(self, mapping: EventSourceMapping) -> None:
        """The source can be used (again): the state's reason is a client's action."""
        if mapping.kind in KINDS:
            self.tell(mapping, state_reason=KINDS[mapping.kind].state_reason)

    def seen(self, mapping: EventSourceMapping) -> None:
        """The mapping has this value in the store now."""
        if mapping.name in self._told and mapping.name not in self._dirty:
            self._told[mapping.name] = _told_by(mapping)

    def forget(self, name: str) -> None:
        """The mapping is gone."""
        self._told.pop(name, None)
        self._dirty.discard(name)

    def close(self) -> None:
        """Write nothing more."""
        for task in self._writing.values():
            task.cancel()

    async def _write(self, mapping: EventSourceMapping) -> None:
        try:
            while mapping.name in self._dirty:
                self._dirty.discard(mapping.name)
                try:
                    if (told := self._told.get(mapping.name)) is not None:
                        await asyncio.to_thread(self._put, mapping, dict(told))
                except StateError as error:
                    logger.warning("the state of event source mapping %s is not written: %s", mapping.name, error)
                await asyncio.sleep(INTERVAL_S)
        finally:
            del self._writing[mapping.name]

    def _put(self, mapping: EventSourceMapping, values: dict[str, str]) -> None:
        with self._mappings.changing(mapping.account_id, mapping.region) as mappings:
            stored = mappings.get(mapping.name)
            if stored is None or stored.next_state == DELETED:
                return
            last_result = None if stored.last_result is None else values["last_result"]
            told = replace(stored, last_result=last_result, state_reason=values["state_reason"])
            if told != stored:
                mappings.put(told)


def _told_by(mapping: EventSourceMapping) -> dict[str, str]:
    return {"last_result": mapping.last_result or "", "state_reason": mapping.state_reason}
