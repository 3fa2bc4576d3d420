"""Change streams of a MongoDB-compatible server as event sources of a real gateway.

The server is mongo-java-server, see `message_brokers`: its changes lack `ns`, so shapes are held by the unit tests.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ..conftest import DEFAULT_ACCOUNT, DEFAULT_REGION, short_name, start_gateway, stop_gateway
from .broker_mappings import Mappings
from .message_brokers import JavaBrokers, why_no_java_brokers
from .witness import Witness

pytestmark = [
    pytest.mark.scenario,
    pytest.mark.skipif(why_no_java_brokers() is not None, reason=why_no_java_brokers() or ""),
]

ARN = f"arn:aws:rds:{DEFAULT_REGION}:{DEFAULT_ACCOUNT}:cluster:shop"


@pytest.fixture(scope="module")
def server() -> Iterator[JavaBrokers]:
    running = JavaBrokers()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def start(server: JavaBrokers, state: Path) -> Callable[[], Any]:
    """Starts a gateway that knows the server and keeps its state."""
    env = {"LAMBDA_DOCUMENTDB_ENDPOINTS": f"shop={server.mongodb_url}", "LAMBDA_CLOCK_RATE": "10"}
    return lambda: start_gateway("--state-dir", str(state), env=env)


@pytest.fixture
def mappings(start: Callable[[], Any]) -> Iterator[Mappings]:
    with Witness() as witness:
        made = Mappings(start(), witness)
        yield made
        made.end()
    stop_gateway(made.gateway)


@pytest.fixture
def orders(server: JavaBrokers) -> Any:
    """A collection of the test's own."""
    return server.database()[short_name("orders")]


def connect(mappings: Mappings, function: str, collection: Any, **parameters: Any) -> str:
    """A mapping of a collection; without more it begins with the oldest change."""
    source = {"DatabaseName": "shop", "CollectionName": collection.name}
    return mappings.connect(
        ARN,
        function,
        secret=mappings.secret(username="", password=""),
        **{"StartingPosition": "TRIM_HORIZON", "DocumentDBEventSourceConfig": source, **parameters},
    )


def numbers(events: list[dict[str, Any]]) -> list[list[int]]:
    """The inserted numbers of each batch."""
    return [[each["event"]["fullDocument"]["n"] for each in event["events"]] for event in events]


def test_a_change_reaches_the_function_as_aws_writes_it(mappings: Mappings, orders: Any) -> None:
    inserted = orders.insert_one({"anyField": "sampleValue"}).inserted_id
    connect(mappings, mappings.function(), orders)
    [event] = mappings.events(1)
    [change] = event["events"]
    assert event == {"eventSourceArn": ARN, "events": [change], "eventSource": "aws:docdb"}
    assert list(event) == ["eventSourceArn", "events", "eventSource"]
    token, when = change["event"].pop("_id"), change["event"].pop("clusterTime")
    assert list(token) == ["_data"]
    assert abs(when["$timestamp"]["t"] - time.time()) < 60
    assert change["event"] == {
        "documentKey": {"_id": {"$oid": str(inserted)}},
        "fullDocument": {"_id": {"$oid": str(inserted)}, "anyField": "sampleValue"},
        "operationType": "insert",
    }


def test_changes_come_in_batches_in_their_order(mappings: Mappings, orders: Any) -> None:
    orders.insert_many([{"n": number} for number in range(25)])
    connect(mappings, mappings.function(), orders, BatchSize=10)
    assert numbers(mappings.events(3)) == [list(range(10)), list(range(10, 20)), list(range(20, 25))]


def test_a_batch_that_fails_is_tried_until_it_succeeds(mappings: Mappings, orders: Any) -> None:
    orders.insert_many([{"n": 0, "mood": "bad"}, {"n": 1}, {"n": 2}])
    function = mappings.function(FAILS="bad")
    uuid = connect(mappings, function, orders, BatchSize=2)
    assert numbers(mappings.events(3))[:3] == [[0, 1]] * 3
    mappings.until(uuid, lambda mapping: mapping["LastProcessingResult"] == "PROBLEM: Function call failed")
    environment = {"PORT": str(mappings.witness.port)}
    mappings.lambda_.update_function_configuration(FunctionName=function, Environment={"Variables": environment})
    mappings.until(uuid, lambda mapping: mapping["LastProcessingResult"] == "OK")
    mappings.witness.until(lambda lines: '"n": 2' in lines[-1])


def test_latest_begins_with_what_comes(mappings: Mappings, orders: Any) -> None:
    orders.insert_one({"n": 0})
    time.sleep(1.1)  # The server's time has seconds.
    uuid = connect(mappings, mappings.function(), orders, StartingPosition="LATEST")
    mappings.until(uuid, lambda mapping: mapping["LastProcessingResult"] == "OK")
    orders.insert_one({"n": 1})
    assert numbers(mappings.events(1)) == [[1]]


def test_a_restart_goes_on_behind_what_was_processed(mappings: Mappings, orders: Any, start: Callable[[], Any]) -> None:
    orders.insert_one({"n": 0})
    uuid = connect(mappings, mappings.function(), orders)
    mappings.events(1)
    mappings.until(uuid, lambda mapping: mapping["LastProcessingResult"] == "OK")
    stop_gateway(mappings.gateway)
    orders.insert_many([{"n": 1}, {"n": 2}])
    restarted = Mappings(start(), mappings.witness)
    mappings.gateway, mappings.lambda_ = restarted.gateway, restarted.lambda_
    # Secrets live in moto, which forgets them.
    access = [{"Type": "BASIC_AUTH", "URI": restarted.secret(username="", password="")}]
    mappings.lambda_.update_event_source_mapping(UUID=uuid, SourceAccessConfigurations=access)
    assert numbers(mappings.events(2)) == [[0], [1, 2]]


def test_disabling_keeps_the_position(mappings: Mappings, orders: Any) -> None:
    orders.insert_one({"n": 0})
    uuid = connect(mappings, mappings.function(), orders)
    mappings.events(1)
    mappings.until(uuid, lambda mapping: mapping["LastProcessingResult"] == "OK")
    mappings.update(uuid, Enabled=False)
    orders.insert_one({"n": 1})
    mappings.update(uuid, Enabled=True)
    assert numbers(mappings.events(2)) == [[0], [1]]


def test_a_server_that_refuses_us_is_told(mappings: Mappings, orders: Any) -> None:
    source = {"DatabaseName": "shop", "CollectionName": orders.name}
    uuid = mappings.connect(
        ARN, mappings.function(), StartingPosition="LATEST", DocumentDBEventSourceConfig=source
    )  # The server knows no users, so it refuses the one of the secret.
    mappings.until(uuid, lambda mapping: mapping["StateTransitionReason"] != "USER_INITIATED")
