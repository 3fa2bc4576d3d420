"""What a consumer of RabbitMQ tells the broker, frame by frame."""

from __future__ import annotations

import asyncio
from typing import Any

import aiormq
import pytest

from lambda_provider.event_sources.credentials import Credentials
from lambda_provider.event_sources.mq_brokers import Broker
from lambda_provider.event_sources.mq_messages import Message
from lambda_provider.event_sources.rabbitmq import RabbitMqConsumer
from lambda_provider.event_sources.source import AUTHENTICATION_ERROR, AUTHORIZATION_ERROR, NOT_VALID, SourceProblem

from .fakes import World
from .mq_fakes import mq_mapping
from .stand_ins import Services, source_with
from .test_mq_messages import rabbit


class Channel:
    """Remembers the frames that it is given; `gone` is a connection that is lost."""

    def __init__(self) -> None:
        self.frames: list[Any] = []
        self.gone: BaseException | None = None

    def __getattr__(self, name: str) -> Any:
        async def send(*arguments: Any, **options: Any) -> None:
            if self.gone is not None:
                raise self.gone
            options.pop("wait", None)
            self.frames.append((name.removeprefix("basic_"), *arguments, *options.items()))

        return send


class Inbox:
    def __init__(self) -> None:
        self.messages: list[Message] = []

    def put(self, message: Message) -> None:
        self.messages.append(message)

    def lose(self, problem: SourceProblem) -> None:
        raise problem


@pytest.fixture
async def consumer() -> RabbitMqConsumer:
    broker = Broker("amqps://[::1]:5671?no_verify_ssl=1", Credentials("a/b", "p@:?"), "shop/eu")
    made = RabbitMqConsumer(source_with(Services(), World, mq_mapping()), broker, Inbox())
    made._aiormq, made._channel = aiormq, Channel()
    await made.resume()
    made._channel.frames.clear()
    return made


def delivered(consumer: RabbitMqConsumer, *tags: int) -> list[Message]:
    for tag in tags:
        message = rabbit()
        message.delivery.delivery_tag = tag
        consumer._came(message)
    inbox: Any = consumer._inbox
    return list(inbox.messages)


async def test_everything_up_to_a_message_is_acknowledged_by_one_frame(consumer: RabbitMqConsumer) -> None:
    messages = delivered(consumer, 1, 2, 3, 4)
    await consumer.acknowledge(messages[:3])
    assert consumer._channel.frames == [("ack", 3, ("multiple", True))]
    await consumer.acknowledge(messages[3:])
    assert consumer._channel.frames[1:] == [("ack", 4, ("multiple", True))]


async def test_nobody_s_message_is_acknowledged_with_another_one(consumer: RabbitMqConsumer) -> None:
    messages = delivered(consumer, 1, 2, 3, 4, 5)
    await consumer.acknowledge([messages[1], messages[3]])
    assert consumer._channel.frames == [("ack", 2), ("ack", 4)]
    await consumer.reject([messages[2]])
    await consumer.acknowledge([messages[0], messages[4]])
    assert consumer._channel.frames[2:] == [("nack", 3, ("requeue", False)), ("ack", 5, ("multiple", True))]


async def test_a_pause_gives_everything_back_and_hears_nothing_more(consumer: RabbitMqConsumer) -> None:
    delivered(consumer, 1, 2)
    await consumer.pause()
    assert [frame[0] for frame in consumer._channel.frames] == ["cancel", "nack"]
    assert consumer._channel.frames[1] == ("nack", 0, ("multiple", True), ("requeue", True))
    assert len(delivered(consumer, 3)) == 2
    await consumer.resume()
    assert [each.tag for each in delivered(consumer, 4)] == [1, 2, 4]


@pytest.mark.parametrize(
    "gone", [aiormq.exceptions.ChannelInvalidStateError("closed"), asyncio.CancelledError()], ids=repr
)
async def test_a_lost_connection_needs_no_acknowledgement(consumer: RabbitMqConsumer, gone: BaseException) -> None:
    messages = delivered(consumer, 1, 2)
    consumer._channel.gone = gone
    await consumer.acknowledge(messages)
    await consumer.reject(messages)
    await consumer.pause()
    with pytest.raises(SourceProblem):
        await consumer.resume()


async def test_names_and_passwords_may_have_any_characters(consumer: RabbitMqConsumer) -> None:
    connection = aiormq.Connection(consumer._url())
    assert (connection.url.user, connection.url.password) == ("a/b", "p@:?")
    assert (connection.url.host, connection.url.port, connection.vhost) == ("::1", 5671, "shop/eu")
    assert not connection.ssl_certs.verify


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (aiormq.exceptions.ProbableAuthenticationError("ACCESS_REFUSED"), AUTHENTICATION_ERROR),
        (aiormq.exceptions.ChannelAccessRefused(403, "no"), AUTHORIZATION_ERROR),
        (aiormq.exceptions.ChannelNotFoundEntity(404, "no queue"), NOT_VALID),
        (aiormq.exceptions.AMQPConnectionError(111, "refused"), NOT_VALID),
    ],
)
async def test_what_rabbitmq_refuses_has_aws_s_reason(
    consumer: RabbitMqConsumer, error: Exception, reason: str
) -> None:
    assert consumer._problem(error).reason == reason
