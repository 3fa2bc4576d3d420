"""Queues of a real ActiveMQ as event sources of a real gateway."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from ..conftest import RunningGateway, short_name
from .broker_mappings import Mappings, broker_arn, gateway_that_knows, mappings_of, text
from .message_brokers import USER, JavaBrokers, why_no_java_brokers
from .rendezvous import MEET, Rendezvous
from .witness import TELLS

pytestmark = [
    pytest.mark.scenario,
    pytest.mark.skipif(why_no_java_brokers() is not None, reason=why_no_java_brokers() or ""),
]

ARN = broker_arn("active")

TELLS_WHEN_IT_ENDS = (
    TELLS
    + MEET
    + """
import base64, os
def handler(event, context):
    names = "".join(base64.b64decode(each["data"]).decode() for each in event["messages"])
    tell(int(os.environ["PORT"]), f"{names} begins")
    meet(int(os.environ["PLACE"]))
    tell(int(os.environ["PORT"]), f"{names} ends")
"""
)


@pytest.fixture(scope="module")
def broker() -> Iterator[JavaBrokers]:
    running = JavaBrokers()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def gateway(broker: JavaBrokers) -> Iterator[RunningGateway]:
    yield from gateway_that_knows("active", broker.activemq_url, broker.activemq_tls_url, broker.certificate)


@pytest.fixture
def mappings(gateway: RunningGateway) -> Iterator[Mappings]:
    yield from mappings_of(gateway)


def texts(events: list[dict[str, Any]]) -> list[list[str]]:
    """What was in each batch."""
    return [[text(each) for each in event["messages"]] for event in events]


def test_messages_reach_the_function_as_aws_writes_them(broker: JavaBrokers, mappings: Mappings) -> None:
    queue, begun_ms = short_name("queue"), time.time() * 1000
    headers = {"priority": "1", "correlation-id": "myJMSCoID", "myCustomProperty": "value", "persistent": "true"}
    broker.send(queue, ["ABC:AAAA"], **headers)
    broker.send(queue, [b"\xdc4\xce"])
    mappings.connect(ARN, mappings.function(), Queues=[queue])
    [event] = mappings.events(1)
    of_text, of_bytes = event["messages"]
    assert event == {"eventSource": "aws:mq", "eventSourceArn": ARN, "messages": [of_text, of_bytes]}
    times = [of_text.pop(name) for name in ("timestamp", "brokerInTime", "brokerOutTime")]
    assert [type(each) for each in times] == [int, int, int]
    assert begun_ms - 1 <= times[0] == times[1]
    assert of_text.pop("messageID").startswith("ID:")
    assert of_text == {
        "messageType": "jms/text-message",
        "deliveryMode": 2,
        "replyTo": None,
        "type": None,
        "expiration": 0,
        "priority": 1,
        "correlationId": "myJMSCoID",
        "redelivered": False,
        "destination": {"physicalName": queue},
        "data": "QUJDOkFBQUE=",
        "properties": {"myCustomProperty": "value"},
    }
    assert (of_bytes["messageType"], of_bytes["data"], of_bytes["deliveryMode"]) == ("jms/bytes-message", "3DTO", 1)


def test_a_batch_that_fails_is_given_again_six_times_and_is_then_dead_letters(
    broker: JavaBrokers, mappings: Mappings
) -> None:
    queue = short_name("queue")
    broker.send(queue, ["bad", "with it"], persistent="true")
    uuid = mappings.connect(ARN, mappings.function(FAILS='"data": "YmFk"'), Queues=[queue], BatchSize=2)
    events = mappings.events(7)
    broker.send(queue, ["good"], persistent="true")
    dead = broker.receive("ActiveMQ.DLQ", 2)
    assert [bytes(each.body) for each in dead] == [b"bad", b"with it"]
    assert texts(events) == [["bad", "with it"]] * 7
    assert [event["messages"][0]["redelivered"] for event in events] == [False] + [True] * 6
    mappings.until(uuid, lambda mapping: mapping["LastProcessingResult"] == "OK")
    assert texts(mappings.events(8))[7:] == [["good"]]


def test_five_batches_are_with_the_function_and_groups_keep_their_order(
    broker: JavaBrokers, mappings: Mappings
) -> None:
    queue = short_name("queue")
    with Rendezvous() as place:
        function = mappings.function(TELLS_WHEN_IT_ENDS, PLACE=str(place.port))
        broker.send(queue, ["a1", "a2"], JMSXGroupID="a")
        broker.send(queue, [str(number) for number in range(6)])
        mappings.connect(ARN, function, Queues=[queue], BatchSize=1)
        for guests in (5, 3):
            place.await_guests(guests)
            place.let_go()
        heard = mappings.witness.until(lambda lines: len(lines) == 16)
    running = most = 0
    for line in heard:
        running += 1 if line.endswith("begins") else -1
        most = max(most, running)
    assert most == 5
    assert [line for line in heard if line.startswith("a")] == ["a1 begins", "a1 ends", "a2 begins", "a2 ends"]


def test_a_disabled_mapping_leaves_messages_to_the_queue(broker: JavaBrokers, mappings: Mappings) -> None:
    queue = short_name("queue")
    uuid = mappings.connect(ARN, mappings.function(), Queues=[queue], MaximumBatchingWindowInSeconds=300)
    broker.send(queue, ["kept"])
    mappings.update(uuid, Enabled=False)
    assert [bytes(each.body) for each in broker.receive(queue, 1)] == [b"kept"]
    assert mappings.witness.heard == []


def test_messages_that_a_filter_drops_leave_the_queue(broker: JavaBrokers, mappings: Mappings) -> None:
    queue = short_name("queue")
    broker.send(queue, ['{"a": 1}', "keep me", "not me"])
    criteria = {"Filters": [{"Pattern": '{"data": [{"prefix": "keep"}]}'}]}
    uuid = mappings.connect(ARN, mappings.function(), Queues=[queue], FilterCriteria=criteria)
    assert texts(mappings.events(1)) == [["keep me"]]
    mappings.update(uuid, Enabled=False)
    broker.send(queue, ["last"])
    assert [bytes(each.body) for each in broker.receive(queue, 1)] == [b"last"]


def test_wrong_credentials_are_told(broker: JavaBrokers, mappings: Mappings) -> None:
    secret = mappings.secret(username=USER, password="wrong")
    uuid = mappings.connect(ARN, mappings.function(), secret=secret, Queues=["queue"])
    mappings.until(uuid, lambda mapping: mapping["StateTransitionReason"] == "EVENT_SOURCE_AUTHN_ERROR")


@pytest.mark.parametrize("name", ["trusted", "anybody"])
def test_a_broker_may_speak_tls(broker: JavaBrokers, mappings: Mappings, name: str) -> None:
    queue = short_name("queue")
    broker.send(queue, ["secret"])
    mappings.connect(broker_arn(name), mappings.function(), Queues=[queue])
    assert texts(mappings.events(1)) == [["secret"]]


def test_a_certificate_of_an_unknown_authority_is_not_trusted(mappings: Mappings) -> None:
    uuid = mappings.connect(broker_arn("stranger"), mappings.function(), Queues=["queue"])
    mappings.until(uuid, lambda mapping: mapping["StateTransitionReason"] == "ESM_CONFIG_NOT_VALID")


def test_a_queue_that_we_may_not_read_is_told(mappings: Mappings) -> None:
    uuid = mappings.connect(ARN, mappings.function(), Queues=["others.queue"])
    mappings.until(uuid, lambda mapping: mapping["StateTransitionReason"] == "EVENT_SOURCE_AUTHZ_ERROR")
