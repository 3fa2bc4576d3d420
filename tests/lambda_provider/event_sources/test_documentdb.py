"""Change streams as sources, with changes as MongoDB documents them, and what becomes of positions."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pymongo
import pytest
from bson import Int64, ObjectId, Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from lambda_provider.api import ResourceNotFoundException, TooManyRequestsException
from lambda_provider.event_sources import documentdb
from lambda_provider.event_sources.documentdb import SHARD, DocumentDbSource
from lambda_provider.event_sources.documentdb_cluster import Cluster
from lambda_provider.event_sources.source import (
    AUTHENTICATION_ERROR,
    AUTHORIZATION_ERROR,
    FUNCTION_CALL_FAILED,
    FUNCTION_NOT_VALID,
    NOT_VALID,
    OK,
    SourceProblem,
    Surroundings,
)
from lambda_provider.model.event_source_mapping import DocumentDbSource as Settings
from lambda_provider.model.event_source_mapping import SourceAccess
from lambda_provider.store.positions import Positions
from lambda_runtime.types import InvocationResult

from ..fakes import client_error
from .fakes import World, mapping
from .stand_ins import Services, source_with

ARN = "arn:aws:rds:eu-west-1:111111111111:cluster:shop"
SUCCESS = InvocationResult(b"null", "1")
FAILURE = InvocationResult(b"{}", "1", function_error="Unhandled")


def change(number: int, **members: Any) -> dict[str, Any]:
    """An insert, as MongoDB tells of it."""
    key = {"_id": number}
    return {
        "_id": {"_data": f"{number:04}"},
        "operationType": "insert",
        "clusterTime": Timestamp(1_700_000_000, number),
        "fullDocument": {**key, "n": number},
        "ns": {"db": "shop", "coll": "orders"},
        "documentKey": key,
        **members,
    }


class FakeStream:
    """A change stream from a place in a server's log on."""

    def __init__(self, server: FakeServer, at: int) -> None:
        self.server, self.at, self.alive = server, at, True

    async def try_next(self) -> dict[str, Any] | None:
        if self.server.failures:
            raise self.server.failures.pop(0)
        if self.at < len(self.server.log):
            self.at += 1
            found = self.server.log[self.at - 1]
            self.alive = found["operationType"] != "invalidate"
            return found
        self.server.changed.clear()
        await self.server.changed.wait()
        return await self.try_next()


class FakeServer:
    """A server that plays `Cluster` for any number of sources."""

    def __init__(self) -> None:
        self.log: list[dict[str, Any]] = []
        self.failures: list[Exception] = []
        self.changed = asyncio.Event()
        self.asked: list[dict[str, Any]] = []
        self.errors = pymongo.errors

    def add(self, *changes: dict[str, Any]) -> None:
        self.log += changes
        self.changed.set()

    def __call__(self, source: Any) -> FakeServer:
        return self

    async def open(self) -> None:
        """It is always there."""

    async def close(self) -> None:
        """There is no connection."""

    async def watch(self, position: dict[str, Any]) -> FakeStream:
        self.asked.append(position)
        token = position.get("resume_after") or position.get("start_after")
        if token is not None:
            return FakeStream(self, 1 + [each["_id"] for each in self.log].index(token))
        begin = position["start_at_operation_time"]
        return FakeStream(self, sum(each["clusterTime"] < begin for each in self.log))

    async def now(self) -> Timestamp:
        return Timestamp(1_700_000_000, len(self.log))

    async def oldest(self) -> Timestamp:
        return Timestamp(1, 0)

    def problem(self, error: Exception) -> SourceProblem:
        return SourceProblem(str(error))


class Function:
    def __init__(self, *answers: InvocationResult | Exception) -> None:
        self.answers = list(answers)
        self.events: list[dict[str, Any]] = []

    @property
    def batches(self) -> list[list[int]]:
        return [[each["event"]["documentKey"]["_id"] for each in event["events"]] for event in self.events]

    async def __call__(self, event: bytes, trace_header: str | None) -> InvocationResult:
        answer = self.answers.pop(0) if self.answers else SUCCESS
        if isinstance(answer, Exception):
            raise answer
        self.events.append(json.loads(event))
        return answer


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> FakeServer:
    made = FakeServer()
    monkeypatch.setattr(documentdb, "Cluster", made)
    return made


def docdb_mapping(**changes: Any) -> Any:
    defaults = {
        "batch_size": 100,
        "batching_window_s": None,
        "starting_position": "TRIM_HORIZON",
        "document_db": Settings(database="shop", collection="orders"),
    }
    return mapping(ARN, kind="documentdb", **{**defaults, **changes})


@asynccontextmanager
async def watched(world: World, surroundings: Surroundings | None = None, **changes: Any) -> AsyncIterator[Any]:
    async with world.running(
        DocumentDbSource(docdb_mapping(**changes), surroundings or world.surroundings())
    ) as source:
        yield source


async def test_events_are_aws_s(server: FakeServer) -> None:
    world = World(function := Function())
    oid = ObjectId("63eeb6e7d418cd98afb1c1d7")
    server.add(
        {
            "_id": {"_data": "0163eeb6e7000000090100000009000041e1"},
            "operationType": "insert",
            "clusterTime": Timestamp(1676588775, 9),
            "fullDocument": {"_id": oid, "anyField": "sampleValue", "long": Int64(2**40)},
            "ns": {"db": "test_database", "coll": "test_collection"},
            "documentKey": {"_id": oid},
        }
    )
    async with watched(world):
        await world.until(lambda: bool(function.events))
    assert json.dumps(function.events[0]) == json.dumps(
        {
            "eventSourceArn": ARN,
            "events": [
                {
                    "event": {
                        "_id": {"_data": "0163eeb6e7000000090100000009000041e1"},
                        "clusterTime": {"$timestamp": {"t": 1676588775, "i": 9}},
                        "documentKey": {"_id": {"$oid": "63eeb6e7d418cd98afb1c1d7"}},
                        "fullDocument": {
                            "_id": {"$oid": "63eeb6e7d418cd98afb1c1d7"},
                            "anyField": "sampleValue",
                            "long": 2**40,
                        },
                        "ns": {"db": "test_database", "coll": "test_collection"},
                        "operationType": "insert",
                    }
                }
            ],
            "eventSource": "aws:docdb",
        }
    )


async def test_a_mapping_without_a_window_gathers_for_half_a_second(server: FakeServer) -> None:
    world = World(function := Function())
    async with watched(world):
        server.add(change(1))
        await world.rest()
        world.clock.advance(0.4)
        server.add(change(2))
        await world.rest()
        assert function.events == []
        world.clock.advance(0.1)
        await world.rest()
        assert function.batches == [[1, 2]]
    assert world.reports == [OK, OK]
    assert world.counts["InvokedEventCount"] == 2


async def test_batches_are_full_or_as_large_as_an_event_may_be(server: FakeServer) -> None:
    world = World(function := Function())
    server.add(*(change(number) for number in range(5)), change(5, fullDocument={"a": "b" * 2000}), change(6))
    async with watched(world, world.surroundings(payload_limit_bytes=1000), batch_size=3, batching_window_s=0):
        await world.until(lambda: 6 in sum(function.batches, []))  # noqa: RUF017
    assert [number for batch in function.batches for number in batch] == [0, 1, 2, 3, 4, 6]
    assert all(len(batch) <= 3 for batch in function.batches)
    assert all(len(json.dumps(event, separators=(",", ":"))) <= 1000 for event in function.events)
    assert world.counts["DroppedEventCount"] == 1


async def test_a_batch_is_tried_until_it_succeeds_and_its_position_moves_then(server: FakeServer) -> None:
    world = World(function := Function(FAILURE, FAILURE))
    surroundings = world.surroundings()
    server.add(change(1), change(2))
    async with watched(world, surroundings, batch_size=2) as source:
        await world.rest()
        assert function.batches == [[1, 2]]
        assert surroundings.positions.get(source.mapping.name, SHARD) == {"time": [1, 0]}
        world.clock.advance(1)
        await world.rest()
        assert len(function.batches) == 2
        world.clock.advance(1)
        await world.rest()
        assert len(function.batches) == 2, "the second pause is two seconds"
        world.clock.advance(1)
        await world.rest()
        assert function.batches == [[1, 2]] * 3
        position = surroundings.positions.get(source.mapping.name, SHARD)
        assert position == {"token": '{"_data": "0002"}', "ended": False}
    assert world.reports == [OK, FUNCTION_CALL_FAILED, FUNCTION_CALL_FAILED, OK]


async def test_throttles_are_no_failures(server: FakeServer) -> None:
    world = World(function := Function(*[TooManyRequestsException("Rate Exceeded.")] * 4))
    server.add(change(1))
    async with watched(world, batch_size=1):
        await world.until(lambda: bool(function.events))
    assert world.reports == [OK, OK]


async def test_a_function_that_cannot_run_is_the_mapping_s_problem(server: FakeServer) -> None:
    world = World(Function(ResourceNotFoundException("Function not found")))
    server.add(change(1))
    source = DocumentDbSource(docdb_mapping(batch_size=1), world.surroundings())
    with pytest.raises(SourceProblem) as raised:
        await source.run()
    assert (raised.value.reason, raised.value.result) == (FUNCTION_NOT_VALID, FUNCTION_CALL_FAILED)


async def test_latest_is_remembered_before_anything_happens(server: FakeServer) -> None:
    world = World(function := Function())
    surroundings = world.surroundings()
    server.add(change(0))
    async with watched(world, surroundings, starting_position="LATEST", batching_window_s=0):
        pass
    server.add(change(1))
    async with watched(world, surroundings, starting_position="LATEST", batching_window_s=0):
        await world.until(lambda: bool(function.events))
    assert function.batches == [[1]]


async def test_a_timestamp_is_where_a_mapping_begins(server: FakeServer) -> None:
    world = World(Function())
    async with watched(world, starting_position="AT_TIMESTAMP", starting_timestamp=1_699_999_999.5):
        pass
    assert server.asked == [{"start_at_operation_time": Timestamp(1_699_999_999, 0)}]


async def test_a_stream_that_ended_with_its_collection_goes_on_behind_that(server: FakeServer) -> None:
    world = World(function := Function())
    end = {"_id": {"_data": "0001"}, "operationType": "invalidate", "clusterTime": Timestamp(1_700_000_000, 1)}
    server.add(change(0), end)
    async with watched(world, batching_window_s=1):
        await world.until(lambda: len(server.asked) == 2)
        server.add(change(2))
        await world.until(lambda: len(function.events) == 2)
    kinds = [[each["event"]["operationType"] for each in event["events"]] for event in function.events]
    assert kinds == [["insert", "invalidate"], ["insert"]]
    assert server.asked[1] == {"start_after": {"_data": "0001"}}


async def test_the_age_of_the_last_change_is_counted(server: FakeServer) -> None:
    world = World(Function())
    server.add(change(1, clusterTime=Timestamp(int(world.clock.now()) - 60, 1)))
    async with watched(world, batch_size=1):
        pass
    assert 59_000 <= world.counts["IteratorAge"] <= 62_000


@given(
    outcomes=st.lists(st.sampled_from(["ok", "error", "throttle", "gone", "broken"]), max_size=12),
    count=st.integers(1, 25),
    size=st.integers(1, 6),
    window_s=st.sampled_from([None, 0, 3]),
    limit=st.sampled_from([6 * 1024 * 1024, 800]),
    stops=st.lists(st.integers(0, 6), max_size=4),
    cancels=st.booleans(),
)
@settings(deadline=None)
def test_no_change_is_lost_or_out_of_order(**history: Any) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        asyncio.run(live(monkeypatch, **history))


async def live(monkeypatch: pytest.MonkeyPatch, **history: Any) -> None:
    server = FakeServer()
    monkeypatch.setattr(documentdb, "Cluster", server)
    outcomes, done = list(history["outcomes"]), []

    async def function(event: bytes, trace_header: str | None) -> InvocationResult:
        outcome = outcomes.pop(0) if outcomes else "ok"
        if outcome == "throttle":
            raise TooManyRequestsException("Rate Exceeded.")
        if outcome == "gone":
            raise ResourceNotFoundException("Function not found")
        if outcome == "broken":
            server.failures.append(pymongo.errors.AutoReconnect("connection closed"))
        if outcome == "error":
            return FAILURE
        done.extend(each["event"]["documentKey"]["_id"] for each in json.loads(event)["events"])
        return SUCCESS

    world = World(function)
    surroundings = world.surroundings(payload_limit_bytes=history["limit"], positions=Positions())
    asked = docdb_mapping(batch_size=history["size"], batching_window_s=history["window_s"])
    numbers = list(range(history["count"]))
    server.add(*map(change, numbers[: len(numbers) // 2]))
    stops = list(history["stops"])
    for attempt in range(100):
        source = DocumentDbSource(asked, surroundings)
        run = asyncio.ensure_future(source.run())
        for _ in range(stops.pop(0) if stops else 300):
            await world.step(5)
            if run.done() or (attempt >= len(history["stops"]) and set(done) == set(numbers)):
                break
        if attempt == 0:
            server.add(*map(change, numbers[len(numbers) // 2 :]))
        source.stop()
        if history["cancels"]:
            run.cancel()
        await world.until(run.done)
        assert run.cancelled() or run.exception() is None or isinstance(run.exception(), SourceProblem)
        if not stops and set(done) == set(numbers):
            break
    assert list(dict.fromkeys(done)) == numbers


# Where clusters are


def cluster(services: Services, *access: SourceAccess) -> Cluster:
    return Cluster(source_with(services, World, docdb_mapping(access=access)))


BASIC_AUTH = SourceAccess(type="BASIC_AUTH", uri="arn:aws:secretsmanager:eu-west-1:111111111111:secret:s")


async def test_the_host_says_where_a_cluster_is() -> None:
    services = Services(
        describe_db_clusters={"DBClusters": [{"Endpoint": "shop.local", "Port": 27018}]},
        get_secret_value={"SecretString": '{"username": "alice", "password": "p@:/"}'},
    )
    opened = cluster(services, BASIC_AUTH)
    await opened.open()
    try:
        options = opened._client.options
        login = options.pool_options._credentials
        assert opened._client._topology_settings.seeds == {("shop.local", 27018)}
        assert (options._options["tls"], options._options["retryWrites"]) == (True, False)
        assert (login.username, login.password) == ("alice", "p@:/")
    finally:
        await opened.close()
    assert services.calls[0] == ("docdb", "describe_db_clusters", {"DBClusterIdentifier": "shop"})


async def test_a_setting_says_where_a_cluster_is() -> None:
    services = Services({"LAMBDA_DOCUMENTDB_ENDPOINTS": "shop=mongodb://a:1,b:2/?replicaSet=rs0"})
    opened = cluster(services)
    await opened.open()
    try:
        assert opened._client._topology_settings.seeds == {("a", 1), ("b", 2)}
    finally:
        await opened.close()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (client_error("DBClusterNotFoundFault"), NOT_VALID),
        (client_error("AccessDenied"), AUTHORIZATION_ERROR),
        ({"DBClusters": []}, NOT_VALID),
    ],
)
async def test_a_cluster_that_is_not_there_has_aws_s_reason(answer: Any, reason: str) -> None:
    with pytest.raises(SourceProblem) as raised:
        await cluster(Services(describe_db_clusters=answer)).open()
    assert raised.value.reason == reason


@pytest.mark.parametrize(
    ("error", "reason", "word"),
    [
        (pymongo.errors.OperationFailure("no", 18), AUTHENTICATION_ERROR, "no"),
        (pymongo.errors.OperationFailure("no", 13), AUTHORIZATION_ERROR, "no"),
        (pymongo.errors.OperationFailure("gone", 286), NOT_VALID, "expired"),
        (pymongo.errors.ServerSelectionTimeoutError("nobody"), NOT_VALID, "LAMBDA_DOCUMENTDB_ENDPOINTS"),
    ],
)
async def test_what_a_server_refuses_has_aws_s_reason(error: Exception, reason: str, word: str) -> None:
    problem = cluster(Services()).problem(error)
    assert problem.reason == reason
    assert word in str(problem)


async def test_an_endpoint_that_is_no_url_is_told() -> None:
    services = Services({"LAMBDA_DOCUMENTDB_ENDPOINTS": "shop=http://localhost"})
    with pytest.raises(SourceProblem, match="LAMBDA_DOCUMENTDB_ENDPOINTS"):
        await cluster(services).open()
