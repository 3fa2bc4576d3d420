"""Queues of a real RabbitMQ as event sources of a real gateway."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from ..conftest import RunningGateway, short_name
from .broker_mappings import Mappings, broker_arn, gateway_that_knows, mappings_of, text
from .message_brokers import PASSWORD, USER, RabbitMq, why_no_rabbitmq
from .source_mappings import until

pytestmark = [pytest.mark.scenario, pytest.mark.skipif(why_no_rabbitmq() is not None, reason=why_no_rabbitmq() or "")]

ARN = broker_arn("rabbit")


@pytest.fixture(scope="module")
def broker() -> Iterator[RabbitMq]:
    running = RabbitMq()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def gateway(broker: RabbitMq) -> Iterator[RunningGateway]:
    yield from gateway_that_knows("rabbit", broker.url, broker.tls_url, broker.certificate)


@pytest.fixture
def mappings(gateway: RunningGateway) -> Iterator[Mappings]:
    yield from mappings_of(gateway)


@pytest.fixture
def queue(broker: RabbitMq) -> str:
    return broker.declare(short_name("queue"))


def texts(events: list[dict[str, Any]]) -> list[list[str]]:
    """What was in each batch."""
    return [[text(each) for records in event["rmqMessagesByQueue"].values() for each in records] for event in events]


def test_a_message_reaches_the_function_as_aws_writes_it(broker: RabbitMq, mappings: Mappings) -> None:
    queue = broker.declare(short_name("queue"), "orders")
    mappings.connect(ARN, mappings.function(), virtual_host="orders", Queues=[queue])
    broker.send(
        queue,
        ['{"timeout":0}'],
        "orders",
        content_type="text/plain",
        headers={"header1": "value1", "numberInHeader": 10, "nested": {"flag": True}, "accent": "é"},
        delivery_mode=1,
        priority=34,
        expiration="60000",
        timestamp=datetime(1970, 1, 1, 0, 33, 41, tzinfo=UTC),
        user_id=USER,
        message_id="m-1",
    )
    [event] = mappings.events(1)
    assert event == {
        "eventSource": "aws:rmq",
        "eventSourceArn": ARN,
        "rmqMessagesByQueue": {
            f"{queue}::orders": [
                {
                    "basicProperties": {
                        "contentType": "text/plain",
                        "contentEncoding": None,
                        "headers": {
                            "header1": {"bytes": [118, 97, 108, 117, 101, 49]},
                            "numberInHeader": 10,
                            "nested": {"flag": True},
                            "accent": {"bytes": [-61, -87]},
                        },
                        "deliveryMode": 1,
                        "priority": 34,
                        "correlationId": None,
                        "replyTo": None,
                        "expiration": "60000",
                        "messageId": "m-1",
                        "timestamp": "Jan 1, 1970, 12:33:41 AM",
                        "type": None,
                        "userId": USER,
                        "appId": None,
                        "clusterId": None,
                        "bodySize": 13,
                    },
                    "redelivered": False,
                    "data": "eyJ0aW1lb3V0IjowfQ==",
                }
            ]
        },
    }


def test_batches_are_as_large_as_asked_and_keep_the_order(broker: RabbitMq, mappings: Mappings, queue: str) -> None:
    broker.send(queue, [str(number) for number in range(25)])
    mappings.connect(ARN, mappings.function(), Queues=[queue], BatchSize=10)
    batches = texts(mappings.events(3))
    assert [len(batch) for batch in batches] == [10, 10, 5]
    assert [each for batch in batches for each in batch] == [str(number) for number in range(25)]
    until(lambda: broker.waiting(queue), lambda count: count == 0)


def test_a_batch_that_fails_comes_again_redelivered_and_the_others_wait_behind_it(
    broker: RabbitMq, mappings: Mappings, queue: str
) -> None:
    function = mappings.function(FAILS='"data": "YmFk"')
    broker.send(queue, ["1", "bad", "2", "3"])
    uuid = mappings.connect(ARN, function, Queues=[queue], BatchSize=2)
    events = mappings.events(2)
    assert texts(events)[:2] == [["1", "bad"], ["1", "bad"]]
    redelivered = [[each["redelivered"] for each in event["rmqMessagesByQueue"][f"{queue}::/"]] for event in events]
    assert redelivered[:2] == [[False, False], [True, True]]
    mappings.until(uuid, lambda mapping: mapping["LastProcessingResult"] == "PROBLEM: Function call failed")
    environment = {"PORT": str(mappings.witness.port)}
    mappings.lambda_.update_function_configuration(FunctionName=function, Environment={"Variables": environment})
    told = mappings.witness.until(lambda lines: any("Mg==" in line for line in lines))
    assert texts([json.loads(line) for line in told])[-2:] == [["1", "bad"], ["2", "3"]]
    mappings.until(uuid, lambda mapping: mapping["LastProcessingResult"] == "OK")


def test_messages_that_a_filter_drops_leave_the_queue(broker: RabbitMq, mappings: Mappings, queue: str) -> None:
    broker.send(queue, ['{"a": 1}', '{"a": 2}', "text", b"\xff", '{"a": 2, "b": 3}'])
    criteria = {"Filters": [{"Pattern": '{"data": {"a": [2]}}'}]}
    mappings.connect(ARN, mappings.function(), Queues=[queue], FilterCriteria=criteria)
    assert texts(mappings.events(1)) == [['{"a": 2}', '{"a": 2, "b": 3}']]
    until(lambda: broker.waiting(queue), lambda count: count == 0)
    assert len(mappings.witness.heard) == 1


def test_a_disabled_mapping_leaves_messages_to_the_queue(broker: RabbitMq, mappings: Mappings, queue: str) -> None:
    uuid = mappings.connect(ARN, mappings.function(), Queues=[queue], MaximumBatchingWindowInSeconds=300)
    broker.send(queue, ["kept"])
    until(lambda: broker.waiting(queue), lambda count: count == 0)
    mappings.update(uuid, Enabled=False)
    until(lambda: broker.waiting(queue), lambda count: count == 1)
    assert mappings.witness.heard == []
    mappings.lambda_.update_event_source_mapping(UUID=uuid, Enabled=True, MaximumBatchingWindowInSeconds=1)
    assert texts(mappings.events(1)) == [["kept"]]
    mappings.until(uuid, lambda mapping: mapping["State"] == "Enabled")


def test_wrong_credentials_are_told_and_right_ones_taken_when_they_come(
    broker: RabbitMq, mappings: Mappings, queue: str
) -> None:
    secret = mappings.secret(username=USER, password="wrong")
    uuid = mappings.connect(ARN, mappings.function(), secret=secret, Queues=[queue])
    mappings.until(uuid, lambda mapping: mapping["StateTransitionReason"] == "EVENT_SOURCE_AUTHN_ERROR")
    content = json.dumps({"username": USER, "password": PASSWORD})
    mappings.secrets.put_secret_value(SecretId=secret, SecretString=content)
    broker.send(queue, ["at last"])
    assert texts(mappings.events(1)) == [["at last"]]
    mappings.until(uuid, lambda mapping: mapping["StateTransitionReason"] == "USER_INITIATED")


def test_a_queue_that_is_deleted_is_consumed_again_when_it_is_there(
    broker: RabbitMq, mappings: Mappings, queue: str
) -> None:
    uuid = mappings.connect(ARN, mappings.function(), Queues=[queue])
    broker.send(queue, ["before"])
    mappings.events(1)
    broker.use(lambda channel: channel.queue_delete(queue))
    mappings.until(uuid, lambda mapping: mapping["StateTransitionReason"] == "ESM_CONFIG_NOT_VALID")
    broker.declare(queue)
    broker.send(queue, ["after"])
    assert texts(mappings.events(2)) == [["before"], ["after"]]


def test_what_is_too_large_for_an_event_is_a_dead_letter(broker: RabbitMq, mappings: Mappings) -> None:
    dead = broker.declare(short_name("dead"))
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead}
    queue = broker.declare(short_name("queue"), **arguments)
    mappings.connect(ARN, mappings.function(), Queues=[queue])
    broker.send(queue, [b"x" * 5_000_000, b"small"])
    assert texts(mappings.events(1)) == [["small"]]
    until(lambda: broker.waiting(dead), lambda count: count == 1)


@pytest.mark.parametrize("name", ["trusted", "anybody"])
def test_a_broker_may_speak_tls(broker: RabbitMq, mappings: Mappings, queue: str, name: str) -> None:
    broker.send(queue, ["secret"])
    mappings.connect(broker_arn(name), mappings.function(), Queues=[queue])
    assert texts(mappings.events(1)) == [["secret"]]


def test_a_certificate_of_an_unknown_authority_is_not_trusted(mappings: Mappings, queue: str) -> None:
    uuid = mappings.connect(broker_arn("stranger"), mappings.function(), Queues=[queue])
    mappings.until(uuid, lambda mapping: mapping["StateTransitionReason"] == "ESM_CONFIG_NOT_VALID")
