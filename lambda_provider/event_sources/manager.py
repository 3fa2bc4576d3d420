"""Keeps a source running for each mapping that wants records."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from lambda_provider.event_sources.reports import Reports
from lambda_provider.event_sources.source import (
    INTERNAL_ERROR,
    EventSource,
    SourceProblem,
    Surroundings,
    retry_delay_s,
)
from lambda_provider.model.event_source_mapping import EventSourceMapping
from lambda_provider.model.function import Function
from lambda_provider.store.store import Store

logger = logging.getLogger(__name__)

SourceClass = Callable[[EventSourceMapping, Surroundings], EventSource]
Surround = Callable[[EventSourceMapping], Surroundings]

_STEADY_S = 60.0
"""A source that ran so long before it failed begins its back-off anew."""


class EventSourceManager:
    """Follows the stored mappings and their functions.

    `mapping_changed` and `function_changed` may be called from any thread; everything else happens on the runtime's loop,
    between `start` and `stop`, both called there. A mapping whose kind nobody serves has a reason in the log and is left alone.
    """

    def __init__(self, store: Store, sources: Callable[[], Mapping[str, SourceClass]], surround: Surround) -> None:
        """`sources` gives the classes by kind; it is called when the first mapping wants records."""
        self._store = store
        self._load = sources
        self._sources: Mapping[str, SourceClass] | None = None
        self._surround = surround
        self.reports = Reports(store.event_source_mappings)
        self._keepers: dict[str, Keeper] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin with what is stored. Usable from any thread."""
        self._loop = loop
        loop.call_soon_threadsafe(self._begin)

    def stop(self) -> None:
        """Cancel everything. Usable from any thread, and twice; `ended` waits for what has to be let go of."""
        loop, self._loop = self._loop, None
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._cancel)

    async def ended(self) -> None:
        """Return when every source has let go of what it had. On the loop, after `stop`."""
        self._cancel()
        await asyncio.gather(*self._ending, return_exceptions=True)

    @property
    def running(self) -> int:
        """How many mappings are polled now."""
        return sum(keeper.source is not None for keeper in self._keepers.values())

    def mapping_changed(self, old: EventSourceMapping | None, new: EventSourceMapping | None) -> None:
        """A mapping was created, changed or deleted (None); it is durable already."""
        if (loop := self._loop) is not None and (mapping := new or old) is not None:
            loop.call_soon_threadsafe(self._follow, mapping.name, new)

    def function_changed(self, old: Function | None, new: Function | None) -> None:
        """A function was created, changed or deleted."""
        function = new or old
        if (loop := self._loop) is not None and function is not None and self._keepers:
            loop.call_soon_threadsafe(self._follow_function, function.arn, new)

    def _begin(self) -> None:
        for mapping in self._store.event_source_mappings.all():
            self._follow(mapping.name, mapping)

    def _cancel(self) -> None:
        for keeper in self._keepers.values():
            keeper.task.cancel()
            self._ending.add(keeper.task)
            keeper.task.add_done_callback(self._ending.discard)
        self._keepers.clear()
        self.reports.close()

    def _follow(self, name: str, mapping: EventSourceMapping | None) -> None:
        if self._loop is None:
            return
        if mapping is None:
            self.reports.forget(name)
        else:
            self.reports.seen(mapping)
        keeper = self._keepers.get(name)
        if keeper is not None:
            keeper.follow(mapping)
        elif mapping is not None and mapping.wants_records and (make := self._source_class(mapping)) is not None:
            keeper = self._keepers[name] = Keeper(mapping, make, self._surround, self.reports)
            keeper.follow_function(self._function_of(mapping))
            keeper.task.add_done_callback(lambda task: self._ended(name, keeper))

    def _follow_function(self, arn: str, function: Function | None) -> None:
        for keeper in self._keepers.values():
            if keeper.function_arn == arn:
                keeper.follow_function(function)

    def _function_of(self, mapping: EventSourceMapping) -> Function | None:
        _, _, _, region, account_id, _, name, *_ = mapping.function_arn.split(":")
        return self._store.find(account_id, region, name)

    def _source_class(self, mapping: EventSourceMapping) -> SourceClass | None:
        if self._sources is None:
            self._sources = self._load()
        if mapping.kind not in self._sources:
            logger.warning(
                "mapping %s is not polled: no source of the kind %s is installed", mapping.name, mapping.kind
            )
        return self._sources.get(mapping.kind)

    def _ended(self, name: str, keeper: Keeper) -> None:
        if self._keepers.get(name) is keeper and self._loop is not None:
            del self._keepers[name]
            # It may have been wanted again in the moment in which it ended.
            if keeper.mapping is not None and keeper.mapping.wants_records:
                self._follow(name, keeper.mapping)


class Keeper:
    """Keeps the source of one mapping running while it is wanted: the mapping is enabled, and its function exists.

        WAITING (for the function) -> RUNNING -> (changed) RUNNING -> … -> ended, when the mapping wants no records
                                       RUNNING -> (failed) PAUSED -> RUNNING

    Lives as the task `task`. Touched only on the loop.
    """

    def __init__(self, mapping: EventSourceMapping, make: SourceClass, surround: Surround, reports: Reports) -> None:
        self.mapping: EventSourceMapping | None = mapping
        self.source: EventSource | None = None
        self._make = make
        self._surround = surround
        self._reports = reports
        self._has_function = False
        self._changed = asyncio.Event()
        self._finishing: set[asyncio.Task[None]] = set()
        """What sources that were replaced still have in flight."""
        self.task = asyncio.get_running_loop().create_task(self._keep(), name=f"event source mapping {mapping.name}")

    @property
    def function_arn(self) -> str:
        """The function's ARN without a qualifier; empty when the mapping is gone."""
        return ":".join(self.mapping.function_arn.split(":")[:7]) if self.mapping is not None else ""

    def follow(self, mapping: EventSourceMapping | None) -> None:
        """The mapping has another value, or is gone. For another log level nothing has to stop."""
        old, self.mapping = self.mapping, mapping
        if self.source is not None and mapping is not None:
            self.source.log.set_level(mapping.settings.log_level)
        if mapping is None or old is None or not old.works_like(mapping):
            self._changed.set()

    def follow_function(self, function: Function | None) -> None:
        """The function has another value, or is gone."""
        if self.mapping is None:
            return
        qualifier = self.mapping.function_arn.split(":")[7:]
        exists = function is not None and function.find(qualifier[0] if qualifier else None) is not None
        if exists != self._has_function:
            self._has_function = exists
            self._changed.set()

    async def _keep(self) -> None:
        failures = 0
        try:
            while (mapping := self.mapping) is not None and mapping.wants_records:
                self._changed.clear()
                if not self._has_function:
                    await self._changed.wait()
                    continue
                began = asyncio.get_running_loop().time()
                problem = await self._run(mapping)
                if problem is None:
                    failures = 0
                    continue
                failures = 1 if asyncio.get_running_loop().time() - began > _STEADY_S else failures + 1
                await self._pause(mapping, problem, retry_delay_s(failures))
            if self._finishing:
                await asyncio.wait(self._finishing)
        finally:
            for task in self._finishing:
                task.cancel()
            await asyncio.gather(*self._finishing, return_exceptions=True)

    async def _run(self, mapping: EventSourceMapping) -> Exception | None:
        """Run a source until the mapping changes; None, or why it ended before."""
        try:
            source = self.source = self._make(mapping, self._surround(mapping))
        except Exception as error:  # noqa: BLE001  (`_pause` tells)
            return error
        run = asyncio.get_running_loop().create_task(_poll(source))
        run.add_done_callback(lambda task: source.close())
        changed = asyncio.get_running_loop().create_task(self._changed.wait())
        try:
            await asyncio.wait({run, changed}, return_when=asyncio.FIRST_COMPLETED)
            if run.done() and isinstance(failure := run.exception(), Exception):
                return failure
            # A source that has nothing more to do has done it; what comes next is a change.
            await changed
            source.stop()
            if source.exclusive:
                await asyncio.wait({run})
            elif not run.done():
                self._finishing.add(run)
                run.add_done_callback(self._finished)
        except asyncio.CancelledError:
            run.cancel()
            await asyncio.gather(run, return_exceptions=True)
            raise
        finally:
            changed.cancel()
            self.source = None
        if run.done():
            self._tell_end(run)
        return None

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._finishing.discard(task)
        self._tell_end(task)

    def _tell_end(self, task: asyncio.Task[None]) -> None:
        """What goes wrong after the end of a source's time is only worth a line."""
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.warning("%s ended badly: %r", self.task.get_name(), error)

    async def _pause(self, mapping: EventSourceMapping, problem: Exception, delay_s: float) -> None:
        """Tell what is wrong, and wait: for the time, for a change, or for activity of the source."""
        surroundings = self._surround(self.mapping or mapping)
        if isinstance(problem, SourceProblem):
            logger.warning("mapping %s cannot use its source: %s", mapping.name, problem)
            self._reports.tell(mapping, state_reason=problem.reason, last_result=problem.result)
            told = {"problem": problem.result, "reason": problem.reason, "message": str(problem)}
            surroundings.log.warn("sourceUnavailable", **told, retryInSeconds=delay_s)
        else:
            logger.error("the poller of mapping %s failed; again in %g s", mapping.name, delay_s, exc_info=problem)
            self._reports.tell(mapping, last_result=INTERNAL_ERROR)
            surroundings.log.warn("pollersFailed", problem=INTERNAL_ERROR, retryInSeconds=delay_s)
        due = asyncio.Event()
        end = None
        if surroundings.activity is not None and mapping.event_source_arn is not None:
            end = surroundings.activity.subscribe(mapping.event_source_arn, lambda delay_s: due.set())
        waits = {
            asyncio.ensure_future(surroundings.clock.sleep_until(surroundings.clock.now() + delay_s)),
            asyncio.ensure_future(due.wait()),
            asyncio.ensure_future(self._changed.wait()),
        }
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            if end is not None:
                end()


async def _poll(source: EventSource) -> None:
    await source.require_filters()
    await source.run()
