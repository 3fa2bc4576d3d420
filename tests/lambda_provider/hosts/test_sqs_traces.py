"""Messages in moto's SQS keep the trace of who sent them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from moto.sns import models as sns
from moto.sqs import models as sqs

from lambda_provider.hosts.services import sqs as traces
from lambda_provider.hosts.services.link import request

ACCOUNT, REGION, HEADER = "111111111111", "eu-west-1", "Root=1-2-3;Sampled=0;Lineage=1:abcdef12:3"


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(sqs.SQSBackend, "send_message", sqs.SQSBackend.send_message)
    traces.install()
    backend = sqs.sqs_backends[ACCOUNT][REGION]
    backend.create_queue("q", {})
    yield backend
    request.trace_header = None
    backend.reset()


@pytest.fixture
def trace_of(backend: Any) -> Callable[[], Any]:
    def read() -> Any:
        (message,) = backend.receive_message("q", 1, 0, 30)
        return (message.system_attributes or {}).get("AWSTraceHeader", {}).get("StringValue")

    return read


def test_the_header_of_a_request_is_kept_with_its_message(backend: Any, trace_of: Callable[[], Any]) -> None:
    request.trace_header = HEADER
    backend.send_message("q", "hello", delay_seconds=0)
    assert trace_of() == HEADER


def test_an_attribute_that_was_sent_wins(backend: Any, trace_of: Callable[[], Any]) -> None:
    request.trace_header = HEADER
    own = {"AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1-9-9"}}
    backend.send_message("q", "hello", system_attributes=own)
    assert trace_of() == "Root=1-9-9"


def test_a_request_without_a_trace_leaves_none(backend: Any, trace_of: Callable[[], Any]) -> None:
    backend.send_message("q", "hello")
    assert trace_of() is None


def test_the_trace_goes_through_a_topic_to_its_queues(backend: Any, trace_of: Callable[[], Any]) -> None:
    topics = sns.sns_backends[ACCOUNT][REGION]
    topic = topics.create_topic("t")
    topics.subscribe(topic.arn, f"arn:aws:sqs:{REGION}:{ACCOUNT}:q", "sqs")
    request.trace_header = HEADER
    topics.publish("hello", arn=topic.arn)
    assert trace_of() == HEADER
    topics.reset()
