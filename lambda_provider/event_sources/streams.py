"""Streams of shards as event sources: what `kinesis` and `dynamodb` have in common.

https://docs.aws.amazon.com/lambda/latest/dg/with-kinesis.html, with-ddb.html and the pages under them. One mapping has a reader
for each shard (`shard_reader`), which keeps as many lanes as ParallelizationFactor says; each lane gives its records to the
function (`stream_delivery`). A slow or failing lane holds up the keys that it has, and nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

from lambda_provider.event_sources.checkpoints import STARTED, Checkpoint
from lambda_provider.event_sources.shard_reader import ShardReader
from lambda_provider.event_sources.shards import Shard, readable
from lambda_provider.event_sources.source import (
    AUTHORIZATION_ERROR,
    INTERNAL_ERROR,
    NO_RECORDS,
    SAFETY_S,
    SourceProblem,
    Surroundings,
)
from lambda_provider.event_sources.stream import FAILURES, Start, Stream, error_code
from lambda_provider.model.event_source_mapping import EventSourceMapping

_DENIED = frozenset({"AccessDeniedException", "AccessDenied"})


class StreamSource(Stream):
    """One mapping of a stream.

    The mapping's start is a moment that is fixed when it is first polled: StartingPosition LATEST is "from now on". Every
    shard, whenever it is found, begins there, and then goes on behind its checkpoint.
    """

    def __init__(self, mapping: EventSourceMapping, surroundings: Surroundings) -> None:
        super().__init__(mapping, surroundings)
        self._activity = surroundings.activity
        self._readers: dict[str, asyncio.Task[None]] = {}
        self._start = Start(None)

    async def run(self) -> None:
        self._start = self._where_to_start()
        client = await self._try(self.client, self.service)
        await self._try(self.open, client)
        if self.mapping.last_result == INTERNAL_ERROR:
            self.report(NO_RECORDS)
        try:
            while not self.stopping:
                self.alarm.clear()
                self._begin(client, await self._try(self.list_shards, client))
                await self._until_something_ends()
            if self._readers:
                await asyncio.wait(self._readers.values())
        finally:
            for task in self._readers.values():
                task.cancel()
            await asyncio.gather(*self._readers.values(), return_exceptions=True)

    def _where_to_start(self) -> Start:
        if self.settings.starting_position == "TRIM_HORIZON":
            return Start(None)
        if self.settings.starting_position == "AT_TIMESTAMP":
            return Start(self.settings.starting_timestamp)
        stored = self.positions.get(self.mapping.name, STARTED)
        if stored is None:
            stored = {"since": self.clock.machine_time()}
            self.positions.put(self.mapping.name, STARTED, stored)
        return Start(stored["since"])

    def _begin(self, client: Any, shards: Collection[Shard]) -> None:
        """Read the shards whose turn it is, and forget those that are gone."""
        checkpoints = {
            shard.id: Checkpoint(self.positions, self.mapping.name, shard.id, self.factor)
            for shard in shards
            if shard.id not in self._readers
        }
        for known in self.positions.of(self.mapping.name).keys() - {shard.id for shard in shards} - {STARTED}:
            if known not in self._readers:
                self.positions.delete(self.mapping.name, known)
        for shard in readable(shards, {id_ for id_, checkpoint in checkpoints.items() if checkpoint.finished}):
            if shard.id not in self._readers:
                reader = ShardReader(self, client, shard.id, self._start, checkpoints[shard.id], self._activity)
                task = asyncio.get_running_loop().create_task(reader.run(), name=f"{self.mapping.name} {shard.id}")
                self._readers[shard.id] = task

    async def _until_something_ends(self) -> None:
        """Until a shard has ended, the source is to stop, or it is time to look for shards anyway."""
        waits: set[asyncio.Future[Any]] = {
            asyncio.ensure_future(self.stopped()),
            asyncio.ensure_future(self.clock.sleep_until(self.clock.now() + SAFETY_S)),
        }
        if self.alarm.fed and not self._readers:
            waits.add(asyncio.ensure_future(self.alarm.wait(None)))
        try:
            await asyncio.wait({*waits, *self._readers.values()}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        for shard_id, task in list(self._readers.items()):
            if task.done():
                del self._readers[shard_id]
                task.result()

    async def _try(self, function: Any, *arguments: Any) -> Any:
        try:
            return await self.call(function, *arguments)
        except FAILURES as error:
            denied = {"reason": AUTHORIZATION_ERROR} if error_code(error) in _DENIED else {}
            raise SourceProblem(str(error), **denied) from error
