"""Messages of brokers as AWS writes them, and where brokers are."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from lambda_provider.event_sources import activemq, rabbitmq
from lambda_provider.event_sources.endpoints import overridden
from lambda_provider.event_sources.extras import library
from lambda_provider.event_sources.mq_brokers import ACTIVEMQ, RABBITMQ, Broker, find_broker
from lambda_provider.event_sources.mq_messages import content, frame_of
from lambda_provider.event_sources.source import (
    AUTHENTICATION_ERROR,
    AUTHORIZATION_ERROR,
    NOT_VALID,
    SourceProblem,
)
from lambda_provider.model.event_source_mapping import SourceAccess

from ..fakes import client_error
from .fakes import World
from .mq_fakes import BROKER_ARN, mq_mapping
from .stand_ins import Services, source_with

SECRET = "arn:aws:secretsmanager:eu-west-1:111111111111:secret:s"
BASIC_AUTH = SourceAccess(type="BASIC_AUTH", uri=SECRET)
ALICE = {"SecretString": '{"username": "alice", "password": "p"}'}


def rabbit(body: bytes = b"ABC", *, redelivered: bool = False, **properties: Any) -> Any:
    """A message as aiormq has it."""
    names = "content_type content_encoding headers delivery_mode priority correlation_id reply_to expiration message_id"
    empty = dict.fromkeys([*names.split(), "timestamp", "message_type", "user_id", "app_id"])
    return SimpleNamespace(
        header=SimpleNamespace(
            properties=SimpleNamespace(**{**empty, "cluster_id": "", **properties}), body_size=len(body)
        ),
        delivery=SimpleNamespace(redelivered=redelivered, delivery_tag=1),
        body=body,
    )


def test_a_message_of_rabbitmq_without_properties_has_nulls() -> None:
    record = rabbitmq.record_of(rabbit(redelivered=True))
    properties = record.pop("basicProperties")
    assert record == {"redelivered": True, "data": "QUJD"}
    assert properties.pop("bodySize") == 3
    names = "contentType contentEncoding headers deliveryMode priority correlationId replyTo expiration messageId"
    assert list(properties) == [*names.split(), "timestamp", "type", "userId", "appId", "clusterId"]
    assert set(properties.values()) == {None}


def test_headers_of_rabbitmq_are_what_java_has() -> None:
    headers = {
        "text": "é",
        "number": 10,
        "flag": True,
        "none": None,
        "bytes": bytearray(b"\xff\x01"),
        "list": ["a", 1],
        "table": {"inner": "b"},
        "price": Decimal("1.5"),
        "when": datetime(2024, 12, 31, 23, 59, 1, tzinfo=UTC),
    }
    assert rabbitmq.record_of(rabbit(headers=headers))["basicProperties"]["headers"] == {
        "text": {"bytes": [-61, -87]},
        "number": 10,
        "flag": True,
        "none": None,
        "bytes": [-1, 1],
        "list": [{"bytes": [97]}, 1],
        "table": {"inner": {"bytes": [98]}},
        "price": 1.5,
        "when": "Dec 31, 2024, 11:59:01 PM",
    }


@pytest.mark.parametrize(
    ("hour", "text"), [(0, "12:33:41 AM"), (11, "11:33:41 AM"), (12, "12:33:41 PM"), (13, "1:33:41 PM")]
)
def test_times_have_two_halves_of_a_day(hour: int, text: str) -> None:
    moment = datetime(1970, 1, 1, hour, 33, 41, tzinfo=UTC)
    properties = rabbitmq.record_of(rabbit(timestamp=moment))["basicProperties"]
    assert properties["timestamp"] == f"Jan 1, 1970, {text}"


def test_a_message_of_activemq_that_says_little() -> None:
    headers = {"message-id": "ID:1", "destination": "/queue/a.b", "ack": "1", "subscription": "0", "color": "red"}
    assert activemq.record_of(headers, b"ABC", 7) == {
        "messageID": "ID:1",
        "messageType": "jms/text-message",
        "deliveryMode": 1,
        "replyTo": None,
        "type": None,
        "expiration": 0,
        "priority": 4,
        "correlationId": None,
        "redelivered": False,
        "destination": {"physicalName": "a.b"},
        "data": "QUJD",
        "timestamp": 7,
        "brokerInTime": 7,
        "brokerOutTime": 7,
        "properties": {"color": "red"},
    }


def test_the_frame_of_an_event_is_json() -> None:
    frame = frame_of('arn:"quoted"', "aws:rmq", f'"rmqMessagesByQueue":{{{json.dumps("q::/")}:[', "]}}")
    assert json.loads(frame.event([b"1", b"2"])) == {
        "eventSource": "aws:rmq",
        "eventSourceArn": 'arn:"quoted"',
        "rmqMessagesByQueue": {"q::/": [1, 2]},
    }
    assert frame.size == len(frame.event([]))


@pytest.mark.parametrize(
    ("body", "expected"),
    [(b'{"a": "b"}', {"a": "b"}), (b" []", []), (b"12", "12"), (b'"a"', '"a"'), (b"{a}", "{a}"), (b"\xff", None)],
)
def test_filters_see_json_texts_or_nothing(body: bytes, expected: Any) -> None:
    assert content(body) == expected


# Where brokers are


@pytest.mark.parametrize(
    ("setting", "url"),
    [
        (None, None),
        ("", None),
        ("amqp://h:1", "amqp://h:1"),
        ("other=amqp://h:1", None),
        ("other=amqp://h:1, orders=amqps://h:2?cafile=/a,b", "amqps://h:2?cafile=/a,b"),
        ("b-1234=stomp://h:3,amqp://h:1", "stomp://h:3"),
        ("amqp://h:1,orders=mongodb://a:1,b:2/?x=y", "mongodb://a:1,b:2/?x=y"),
        ("other=mongodb://a:1,b:2/,mongodb://c:3,d:4/", "mongodb://c:3,d:4/"),
    ],
)
def test_a_setting_says_where_things_are(setting: str | None, url: str | None) -> None:
    assert overridden(setting, {"orders", "b-1234"}) == url


async def find(services: Services, *access: SourceAccess) -> Broker:
    return await find_broker(source_with(services, World, mq_mapping(access=access or (BASIC_AUTH,))))


async def test_a_setting_spares_the_host_s_amazon_mq() -> None:
    services = Services({"LAMBDA_MQ_ENDPOINTS": "orders=amqp://localhost:5673"}, get_secret_value=ALICE)
    broker = await find(services, BASIC_AUTH, SourceAccess(type="VIRTUAL_HOST", uri="shop"))
    assert (broker.engine, broker.address, broker.virtual_host) == (RABBITMQ, ("localhost", 5673), "shop")
    assert (broker.credentials.username, broker.credentials.password, broker.tls) == ("alice", "p", False)
    assert repr(broker.credentials) == "Credentials(username='alice')"
    assert services.calls == [("secretsmanager", "get_secret_value", {"SecretId": SECRET})]


@pytest.mark.parametrize(
    ("setting", "port"),
    [("named=amqp://localhost:1,amqp://localhost:2", 1), ("other=amqp://localhost:1,amqp://localhost:2", 2)],
)
async def test_a_setting_may_have_the_name_that_amazon_mq_knows(setting: str, port: int) -> None:
    services = Services(
        {"LAMBDA_MQ_ENDPOINTS": setting}, describe_broker={"BrokerName": "named"}, get_secret_value=ALICE
    )
    assert (await find(services)).address == ("localhost", port)


async def test_a_setting_for_all_needs_no_amazon_mq() -> None:
    missing = client_error("NotFoundException")
    services = Services({"LAMBDA_MQ_ENDPOINTS": "stomp://localhost"}, describe_broker=missing, get_secret_value=ALICE)
    assert (await find(services)).address == ("localhost", 61613)


@pytest.mark.parametrize(
    ("engine", "endpoints", "found"),
    [
        ("RABBITMQ", ["amqps://b:5671"], (RABBITMQ, ("b", 5671))),
        ("RabbitMQ", ["amqps://b"], (RABBITMQ, ("b", 5671))),
        ("ACTIVEMQ", ["ssl://b:61617", "amqp+ssl://b:5671", "stomp+ssl://b:61614"], (ACTIVEMQ, ("b", 61614))),
    ],
)
async def test_amazon_mq_says_where_a_broker_is(engine: str, endpoints: list[str], found: Any) -> None:
    described = {"EngineType": engine, "BrokerInstances": [{"Endpoints": endpoints}]}
    services = Services(describe_broker=described, get_secret_value=ALICE)
    broker = await find(services)
    assert (broker.engine, broker.address) == found
    assert broker.tls
    assert services.calls[0] == ("mq", "describe_broker", {"BrokerId": "b-1234"})


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ({"describe_broker": client_error("NotFoundException")}, NOT_VALID),
        ({"describe_broker": client_error("ForbiddenException")}, AUTHORIZATION_ERROR),
        ({"describe_broker": {"EngineType": "ACTIVEMQ", "BrokerInstances": []}}, NOT_VALID),
        ({"get_secret_value": client_error("ResourceNotFoundException")}, NOT_VALID),
        ({"get_secret_value": client_error("AccessDeniedException")}, AUTHORIZATION_ERROR),
        ({"get_secret_value": {"SecretString": "no JSON"}}, AUTHENTICATION_ERROR),
        ({"get_secret_value": {"SecretString": '{"username": "alice"}'}}, AUTHENTICATION_ERROR),
        ({"get_secret_value": {}}, AUTHENTICATION_ERROR),
    ],
)
async def test_what_is_missing_has_aws_s_reason(answers: dict[str, Any], reason: str) -> None:
    fine = {"EngineType": "RABBITMQ", "BrokerInstances": [{"Endpoints": ["amqps://b:5671"]}]}
    with pytest.raises(SourceProblem) as raised:
        await find(Services(**{"describe_broker": fine, "get_secret_value": ALICE, **answers}))
    assert raised.value.reason == reason


async def test_an_endpoint_that_nobody_speaks_to_is_told() -> None:
    services = Services({"LAMBDA_MQ_ENDPOINTS": "orders=http://localhost"}, get_secret_value=ALICE)
    with pytest.raises(SourceProblem, match="stomp:// and stomp"):
        await find(services)


async def test_without_credentials_nobody_is_asked() -> None:
    services = Services({"LAMBDA_MQ_ENDPOINTS": "orders=amqp://localhost"})
    with pytest.raises(SourceProblem) as raised:
        await find(services, SourceAccess(type="VIRTUAL_HOST", uri="/"))
    assert raised.value.reason == AUTHENTICATION_ERROR


def test_a_missing_library_says_how_to_get_it() -> None:
    with pytest.raises(SourceProblem, match=r"pip install 'lambda-provider\[mq\]'") as raised:
        library("no_such_library", extra="mq")
    assert raised.value.reason.startswith("ESM_CONFIG_NOT_VALID: ")


def test_the_broker_of_the_tests_is_the_mapping_s() -> None:
    assert mq_mapping().event_source_arn == BROKER_ARN
