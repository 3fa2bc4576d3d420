"""Change streams of DocumentDB.

https://docs.aws.amazon.com/lambda/latest/dg/with-documentdb.html and documentdb/latest/developerguide/using-lambda.html: changes
come in their order, one batch at a time; "if your function returns an error, Lambda retries the batch until it processes
successfully". Filters are not supported for this source (invocation-eventfiltering.html).
"""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

from lambda_provider.api import LambdaError, TooManyRequestsException
from lambda_provider.event_sources import counts
from lambda_provider.event_sources.batching import Batch, Frame
from lambda_provider.event_sources.documentdb_cluster import Cluster
from lambda_provider.event_sources.extras import library
from lambda_provider.event_sources.source import (
    FUNCTION_CALL_FAILED,
    FUNCTION_NOT_VALID,
    OK,
    EventSource,
    SourceProblem,
    Surroundings,
    retry_delay_s,
)
from lambda_provider.model.event_source_mapping import EventSourceMapping

logger = logging.getLogger(__name__)

DEFAULT_WINDOW_S = 0.5
"""The batching window of a mapping that sets none."""
IDLE_S = 1.0
"""After a server that does not wait for changes itself said that there is none."""
SHARD = "change-stream"
"""Under which name the position is kept: the token of the last change that was processed, or the time to begin at."""

_FIRST_THROTTLE_S = 0.1
_LONGEST_THROTTLE_S = 10.0
_PROMPT_S = 0.5

Change = dict[str, Any]


class DocumentDbSource(EventSource):
    """One mapping of a database or collection. Touched only on the loop."""

    def __init__(self, mapping: EventSourceMapping, surroundings: Surroundings) -> None:
        super().__init__(mapping, surroundings)
        window_s = self.settings.batching_window_s
        self._window_s = DEFAULT_WINDOW_S if window_s is None else window_s
        arn = json.dumps(mapping.event_source_arn)
        self._frame = Frame(f'{{"eventSourceArn":{arn},"events":['.encode(), b'],"eventSource":"aws:docdb"}')
        self._cluster = Cluster(self)
        self._stream: Any = None
        self._asked: asyncio.Future[Change | None] | None = None
        """The question for the next change, which outlives a window."""
        self._left: tuple[Change, bytes] | None = None
        """What did not fit into the batch before."""
        self._json: Any = None
        self._over = asyncio.Event()

    @property
    def watched_arn(self) -> str | None:
        """Hosts know nothing of what is in a cluster."""
        return None

    def stop(self) -> None:
        """Read no more; a batch that failed is not tried again by us."""
        super().stop()
        self._over.set()

    async def run(self) -> None:
        self._json = await self.call(library, "bson.json_util", extra="documentdb")
        await self._cluster.open()
        try:
            await self._open()
            self.report(OK)
            while not self.stopping:
                batch = await self._collect()
                if batch:
                    await self._process(batch)
        except (self._cluster.errors.PyMongoError, OSError) as error:
            raise self._cluster.problem(error) from error
        finally:
            if self._asked is not None:
                self._asked.cancel()
                await asyncio.gather(self._asked, return_exceptions=True)
            await self._cluster.close()

    # Where it begins

    async def _open(self) -> None:
        kept = self.positions.get(self.mapping.name, SHARD)
        if kept is None:
            kept = {"time": await self._first_time()}
            # From here on nothing is missed, also when we are ended before the first change.
            self.positions.put(self.mapping.name, SHARD, kept)
        if "token" in kept:
            # Only this option goes on behind a change that ended the stream, and older servers do not have it.
            option = "start_after" if kept.get("ended") else "resume_after"
            self._stream = await self._cluster.watch({option: self._json.loads(kept["token"])})
        else:
            bson = await self.call(library, "bson", extra="documentdb")
            self._stream = await self._cluster.watch({"start_at_operation_time": bson.Timestamp(*kept["time"])})

    async def _first_time(self) -> tuple[int, int]:
        """Seconds and increment of the first change that the mapping wants."""
        if self.settings.starting_position == "AT_TIMESTAMP":
            return int(self.settings.starting_timestamp or 0), 0
        oldest = self.settings.starting_position == "TRIM_HORIZON"
        first = await (self._cluster.oldest() if oldest else self._cluster.now())
        return first.time, first.inc

    # From the stream

    async def _collect(self) -> Batch[Change]:
        """The next batch, once it is full or its window is over; empty if the source is to stop."""
        batch: Batch[Change] = Batch(self.settings.batch_size, self.payload_limit_bytes, self._frame.size)
        if self._left is not None:
            batch.offer(*self._left)
            self._left = None
        over = self.clock.now() + self._window_s if batch else None
        while not batch.full and (change := await self._next(over)) is not None:
            text = self._text(change)
            self.count(counts.POLLED)
            if len(text) > self.payload_limit_bytes - self._frame.size:
                logger.warning("mapping %s: a change is too large for an event: %s", self.mapping.name, change["_id"])
                self.count(counts.DROPPED)
            elif not batch.offer(change, text):
                self._left = (change, text)
            over = over or self.clock.now() + self._window_s
        return Batch(1) if self.stopping else batch

    async def _next(self, over: float | None) -> Change | None:
        """The next change; None when the window is over (None: it has not begun), or the source is to stop."""
        while not self.stopping and (over is None or self.clock.now() < over):
            if self._asked is None:
                if not self._stream.alive:
                    if over is not None:
                        return None
                    # It ended with its collection, and goes on behind that when what came before is processed.
                    await self._open()
                self._asked = asyncio.ensure_future(self._ask())
            await self._wait(self._asked, over)
            if self._asked.done():
                asked, self._asked = self._asked, None
                if (change := asked.result()) is not None:
                    return change
        return None

    async def _ask(self) -> Change | None:
        """The next change; None after a while without any."""
        begun = asyncio.get_running_loop().time()
        change: Change | None = await self._stream.try_next()
        if change is None and asyncio.get_running_loop().time() - begun < _PROMPT_S:
            await self.clock.sleep_until(self.clock.now() + IDLE_S)
        return change

    async def _wait(self, other: asyncio.Future[Any] | None, until: float | None) -> None:
        """Return when something is done, or it is time, or the source is to stop."""
        waits: set[asyncio.Future[Any]] = {asyncio.ensure_future(self._over.wait())}
        if until is not None:
            waits.add(asyncio.ensure_future(self.clock.sleep_until(until)))
        try:
            await asyncio.wait({*waits, *([other] if other is not None else ())}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def _text(self, change: Change) -> bytes:
        """A member of `events`: the change as extended JSON, with its members in the order that AWS's have."""
        options = self._json.RELAXED_JSON_OPTIONS
        event = self._json.dumps(dict(sorted(change.items())), json_options=options, separators=(",", ":"))
        return f'{{"event":{event}}}'.encode()

    # To the function

    async def _process(self, batch: Batch[Change]) -> None:
        """Give a batch to the function until it is done. Raises SourceProblem for a function that cannot run."""
        event, failures = self._frame.event(batch.texts), 0
        self.count(counts.INVOKED, len(batch))
        while not self.stopping:
            self._count_age(batch.records[-1])
            if await self._invoke(event):
                self._done(batch.records[-1])
                return
            failures += 1
            self.count(counts.FAILED_INVOKE, len(batch))
            self.report(FUNCTION_CALL_FAILED)
            await self._wait(None, self.clock.now() + retry_delay_s(failures))

    async def _invoke(self, event: bytes) -> bool:
        throttles = 0
        while not self.stopping:
            try:
                return (await self.invoke(event)).function_error is None
            except TooManyRequestsException:
                throttles += 1
                delay_s = retry_delay_s(throttles, first_s=_FIRST_THROTTLE_S, most_s=_LONGEST_THROTTLE_S)
                await self._wait(None, self.clock.now() + delay_s)
            except LambdaError as error:
                raise SourceProblem(
                    f"the function cannot run: {error}", reason=FUNCTION_NOT_VALID, result=FUNCTION_CALL_FAILED
                ) from error
        return False

    def _done(self, change: Change) -> None:
        position = {"token": self._json.dumps(change["_id"]), "ended": change.get("operationType") == "invalidate"}
        self.positions.put(self.mapping.name, SHARD, position)
        self.report(OK)

    def _count_age(self, change: Change) -> None:
        if (happened := change.get("clusterTime")) is not None:
            self.count_for_function("IteratorAge", max(0.0, (self.clock.now() - happened.time) * 1000))
