"""A source runs for each mapping that wants records, and one that breaks troubles nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, ClassVar, cast

import pytest
from botocore.exceptions import ClientError

from lambda_provider.event_sources import reports
from lambda_provider.event_sources.manager import EventSourceManager
from lambda_provider.event_sources.source import INTERNAL_ERROR, EventSource, SourceProblem
from lambda_provider.event_sources.system_log import SystemLog
from lambda_provider.model.event_source_mapping import EventSourceMapping
from lambda_provider.store.archives import ArchiveStore
from lambda_provider.store.store import Store

from ..fakes import ACCOUNT, REGION
from .fakes import QUEUE_ARN, World, disabled, mapping
from .test_sqs import Function


class Source(EventSource):
    """Runs until it is stopped and nothing is in flight, or until the test breaks it."""

    made: ClassVar[list[Source]] = []

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.in_flight = asyncio.Event()
        self.in_flight.set()
        self.began = self.ended = False
        self.made.append(self)

    async def run(self) -> None:
        self.began = True
        try:
            while not self.stopping:
                ringing = asyncio.ensure_future(self.alarm.wait(1e9))
                await asyncio.wait({ringing, self.broken}, return_when=asyncio.FIRST_COMPLETED)
                ringing.cancel()
                if self.broken.done():
                    self.broken.result()
                self.alarm.clear()
            await self.in_flight.wait()
        finally:
            self.ended = True


class Overlapping(Source):
    exclusive = False


class FakeFunctions:
    """A store whose functions are those that the test names."""

    def __init__(self, store: Store) -> None:
        self.event_source_mappings = store.event_source_mappings
        self.function: Any = FakeFunction()

    def find(self, account_id: str, region: str, name: str) -> Any:
        return self.function


class FakeFunction:
    arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f"

    def find(self, qualifier: str | None) -> Any:
        return object()


class Shop:
    """A manager over a real table."""

    def __init__(self, source: type[Source]) -> None:
        Source.made.clear()
        self.world = World(Function())
        self.store = FakeFunctions(Store(ArchiveStore()))
        self.table = self.store.event_source_mappings
        self.manager = EventSourceManager(
            cast(Store, self.store),
            lambda: {"sqs": source},
            lambda mapping: self.world.surroundings(log=self.log(mapping)),
        )
        self.lines: list[tuple[str, str, dict[str, Any]]] = []
        self.table.on_change = self.manager.mapping_changed

    def log(self, mapping: EventSourceMapping) -> SystemLog:
        return SystemLog(mapping.settings.log_level, lambda *line: self.lines.append(line))

    def put(self, value: EventSourceMapping) -> None:
        with self.table.changing(ACCOUNT, REGION) as mappings:
            mappings.put(value)

    def remove(self, name: str) -> None:
        with self.table.changing(ACCOUNT, REGION) as mappings:
            mappings.remove(name)

    def stored(self) -> EventSourceMapping:
        value = self.table.get(ACCOUNT, REGION, mapping().name)
        assert value is not None
        return value

    async def rest(self) -> None:
        await self.world.rest()


@pytest.fixture
def shop() -> Callable[..., Any]:
    @asynccontextmanager
    async def opened(source: type[Source] = Source) -> AsyncIterator[Shop]:
        made = Shop(source)
        made.manager.start(asyncio.get_running_loop())
        await made.rest()
        yield made
        made.manager.stop()
        await made.manager.ended()
        assert all(each.ended for each in Source.made if each.began)

    return opened


async def test_a_source_runs_while_its_mapping_wants_records(shop: Any) -> None:
    async with shop() as open_shop:
        open_shop.put(mapping())
        await open_shop.rest()
        (source,) = Source.made
        assert open_shop.manager.running == 1
        open_shop.put(disabled(mapping()))
        await open_shop.rest()
        assert source.ended
        assert open_shop.manager.running == 0
        open_shop.put(mapping())
        await open_shop.rest()
        assert len(Source.made) == 2
        open_shop.remove(mapping().name)
        await open_shop.rest()
        assert open_shop.manager.running == 0


async def test_stored_mappings_are_polled_from_the_start(shop: Any) -> None:
    async with shop() as open_shop:
        open_shop.manager.stop()
        await open_shop.manager.ended()
        open_shop.put(mapping())
        await open_shop.rest()
        assert Source.made == []
        open_shop.manager.start(asyncio.get_running_loop())
        await open_shop.rest()
        assert len(Source.made) == 1


async def test_what_a_poller_tells_does_not_start_another_one(shop: Any) -> None:
    async with shop() as open_shop:
        open_shop.put(mapping())
        await open_shop.rest()
        open_shop.put(replace(mapping(), last_result="OK", last_modified=5.0, tags={"a": "b"}))
        await open_shop.rest()
        assert len(Source.made) == 1


async def test_the_next_source_waits_for_what_the_former_has_in_flight(shop: Any) -> None:
    async with shop() as open_shop:
        open_shop.put(mapping())
        await open_shop.rest()
        first = Source.made[0]
        first.in_flight.clear()
        open_shop.put(mapping(batch_size=1))
        await open_shop.rest()
        assert len(Source.made) == 1
        open_shop.put(mapping(batch_size=2))
        first.in_flight.set()
        await open_shop.rest()
        assert [source.settings.batch_size for source in Source.made] == [10, 2]


async def test_a_source_that_allows_it_is_replaced_at_once(shop: Any) -> None:
    async with shop(Overlapping) as open_shop:
        open_shop.put(mapping())
        await open_shop.rest()
        first = Source.made[0]
        first.in_flight.clear()
        open_shop.put(mapping(batch_size=1))
        await open_shop.rest()
        assert len(Source.made) == 2
        assert not first.ended
        open_shop.remove(mapping().name)
        first.in_flight.set()
        await open_shop.rest()
        assert first.ended


async def test_a_broken_source_is_tried_again_later_and_later(shop: Any, caplog: Any) -> None:
    async with shop() as open_shop:
        open_shop.put(mapping())
        await open_shop.rest()
        for delay_s in (1, 2, 4):
            Source.made[-1].broken.set_exception(RuntimeError("a defect"))
            await open_shop.rest()
            count = len(Source.made)
            open_shop.world.clock.advance(delay_s - 0.1)
            await open_shop.rest()
            assert len(Source.made) == count
            open_shop.world.clock.advance(0.2)
            await open_shop.rest()
            assert len(Source.made) == count + 1
        assert "a defect" in caplog.text


async def test_a_broken_source_troubles_no_other_one(shop: Any) -> None:
    async with shop() as open_shop:
        open_shop.put(mapping())
        open_shop.put(replace(mapping(f"{QUEUE_ARN}2"), name="another", sequence=1))
        await open_shop.rest()
        broken, other = Source.made
        broken.broken.set_exception(RuntimeError("a defect"))
        await open_shop.rest()
        assert broken.ended
        assert not other.ended


async def test_activity_ends_the_pause_of_a_source_that_was_not_there(shop: Any) -> None:
    async with shop() as open_shop:
        open_shop.put(mapping())
        await open_shop.rest()
        Source.made[0].broken.set_exception(SourceProblem("no queue"))
        await open_shop.rest()
        assert len(Source.made) == 1
        open_shop.world.feed.ring()
        await open_shop.rest()
        assert len(Source.made) == 2


async def test_the_mapping_tells_why_its_source_cannot_be_used(shop: Any) -> None:
    async with shop() as open_shop:
        open_shop.put(mapping())
        await open_shop.rest()
        Source.made[0].broken.set_exception(SourceProblem("no queue", reason="EVENT_SOURCE_AUTHZ_ERROR"))
        await open_shop.rest()
        await written(open_shop, state_reason="EVENT_SOURCE_AUTHZ_ERROR")
        assert open_shop.stored().last_result is None, "SQS has none"


async def test_the_log_of_the_mapping_tells_why_its_source_cannot_be_used(shop: Any) -> None:
    async with shop() as open_shop:
        open_shop.put(mapping(log_level="WARN"))
        await open_shop.rest()
        for problem in (SourceProblem("no queue", reason="R", result="P"), RuntimeError("a secret of ours")):
            Source.made[-1].broken.set_exception(problem)
            await open_shop.rest()
            open_shop.world.clock.advance(60)
            await open_shop.rest()
    assert open_shop.lines == [
        (
            "WARN",
            "sourceUnavailable",
            {"problem": "P", "reason": "R", "message": "no queue", "retryInSeconds": 1},
        ),
        ("WARN", "pollersFailed", {"problem": INTERNAL_ERROR, "retryInSeconds": 2}),
    ]


async def test_another_log_level_holds_at_once_and_stops_nothing(shop: Any) -> None:
    async with shop() as open_shop:
        open_shop.put(mapping())
        await open_shop.rest()
        [source] = Source.made
        for level in ("DEBUG", "WARN", None, "INFO"):
            open_shop.put(mapping(log_level=level))
            await open_shop.rest()
            source.log.info("something", level=level)
        assert Source.made == [source]
        assert [record["level"] for _, _, record in open_shop.lines] == ["DEBUG", "INFO"]
        open_shop.put(mapping(log_level="WARN"))
        await open_shop.rest()
        source.broken.set_exception(SourceProblem("no queue"))
        await open_shop.rest()
        assert open_shop.lines[-1][:2] == ("WARN", "sourceUnavailable"), (
            "what it was told meanwhile holds in a pause, too"
        )


class Keys:
    """A host whose KMS refuses a key until it is mended."""

    def __init__(self) -> None:
        self.refused = True

    def connect_to(self, service: str, **place: str) -> Any:
        assert service == "kms"
        return self

    def describe_key(self, KeyId: str) -> Any:
        if self.refused:
            raise ClientError({"Error": {"Code": "KMSInvalidStateException", "Message": "No."}}, "DescribeKey")
        return {"KeyMetadata": {"KeyState": "Enabled"}}


async def test_nothing_is_polled_while_the_key_of_encrypted_filters_cannot_be_used(shop: Any) -> None:
    async with shop() as open_shop:
        world, keys = open_shop.world, Keys()
        surroundings = world.surroundings
        world.surroundings = lambda **changes: surroundings(host=keys, **changes)
        open_shop.put(mapping(filters=('{"body": ["a"]}',), kms_key_arn="arn:aws:kms:us-east-1:1:key/k"))
        await open_shop.rest()
        await written(open_shop, state_reason="ESM_CONFIG_NOT_VALID")
        assert [each.began for each in Source.made] == [False]
        keys.refused = False
        world.feed.ring()
        await open_shop.rest()
        assert [each.began for each in Source.made] == [False, True]


async def written(shop: Shop, **values: str) -> None:
    """Return when the stored mapping has these values."""
    changed = asyncio.Event()
    loop, follow = asyncio.get_running_loop(), shop.table.on_change

    def on_change(old: Any, new: Any) -> None:
        follow(old, new)
        loop.call_soon_threadsafe(changed.set)

    shop.table.on_change = on_change
    while any(getattr(shop.stored(), name) != value for name, value in values.items()):
        await asyncio.wait_for(changed.wait(), 30)
        changed.clear()


async def test_reports_are_written_when_they_change(shop: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(reports, "INTERVAL_S", 0.01)
    async with shop() as open_shop:
        value = replace(mapping(), last_result="No records processed")
        open_shop.put(value)
        writes: list[str | None] = []
        open_shop.table.on_change = lambda old, new: writes.append(new.last_result)
        for _ in range(100):
            open_shop.manager.reports.tell(value, last_result="OK")
        for result in ("PROBLEM: Function call failed", "OK"):
            open_shop.manager.reports.tell(value, last_result=result)
        await written(open_shop, last_result="OK")
        assert writes == ["OK"]


async def test_a_function_that_is_gone_gets_nothing_until_it_is_back(shop: Any) -> None:
    async with shop() as open_shop:
        open_shop.put(mapping())
        await open_shop.rest()
        function = open_shop.store.function
        open_shop.manager.function_changed(function, None)
        await open_shop.rest()
        assert Source.made[0].ended
        assert open_shop.manager.running == 0
        open_shop.manager.function_changed(None, function)
        await open_shop.rest()
        assert open_shop.manager.running == 1


async def test_a_kind_that_nobody_serves_is_left_alone(shop: Any, caplog: Any) -> None:
    async with shop() as open_shop:
        open_shop.put(mapping(kind="mq"))
        await open_shop.rest()
        assert open_shop.manager.running == 0
        assert "no source of the kind mq" in caplog.text
