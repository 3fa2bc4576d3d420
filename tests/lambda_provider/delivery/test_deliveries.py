"""What is sent where when an event leaves the queue, and what happens when it cannot be sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lambda_provider.api import ResourceNotFoundException
from lambda_provider.delivery.deliveries import Deliveries
from lambda_provider.delivery.records import Parcel
from lambda_provider.provider import LambdaProvider
from lambda_runtime.clock import ManualClock
from lambda_runtime.event_queue import Outcome, QueuedEvent
from lambda_runtime.types import Invocation, InvocationResult

from ..fakes import ACCOUNT, REGION, FakeHost, FakeRuntime, arn, client_error, context, creation

QUEUE = f"arn:aws:sqs:{REGION}:{ACCOUNT}:records"
LETTERS = f"arn:aws:sqs:{REGION}:{ACCOUNT}:letters"
TOPIC = f"arn:aws:sns:{REGION}:{ACCOUNT}:t"
BUS = f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/b"
BUCKET = "arn:aws:s3:::bucket"


class Client:
    """Any botocore client: remembers calls, raises what `problems` holds for the next ones."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.problems: list[Exception] = []
        self.answer: dict[str, Any] = {"QueueUrl": "http://queue"}

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        def call(**parameters: Any) -> Any:
            self.calls.append((operation, parameters))
            if operation != "get_queue_url" and self.problems:
                raise self.problems.pop(0)
            return self.answer

        return call

    def sent(self) -> list[dict[str, Any]]:
        return [parameters for operation, parameters in self.calls if operation != "get_queue_url"]


class World:
    """A store with the function `f`, a host, and deliveries between them."""

    def __init__(self, runtime: FakeRuntime) -> None:
        self.host = FakeHost()
        self.client = Client()
        self.host.clients = dict.fromkeys(("sqs", "sns", "s3", "events"), self.client)
        self.provider = LambdaProvider(self.host, runtime)  # type: ignore[arg-type]
        self.provider.start()
        self.clock = ManualClock()
        self.invoked: list[tuple[str, Parcel]] = []
        self.refusal: Exception | None = None
        self.failed: list[tuple[str, str]] = []
        self.deliveries = Deliveries(
            self.provider.store,
            self.host,  # type: ignore[arg-type]
            self.clock,
            self._invoke,
            lambda metric, version_arn, invoked_arn: self.failed.append((metric, invoked_arn)),
        )

    async def _invoke(self, target: str, parcel: Parcel) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.invoked.append((target, parcel))

    def close(self) -> None:
        self.deliveries.close()
        self.provider.stop()

    def leaves(self, outcome: Outcome, invoked_arn: str = arn("f")) -> Any:
        call = Invocation(arn("f", "$LATEST"), invoked_arn, b'{"n":1}', "r-1", trace_header="Root=1-2-3")
        failed = None if outcome is Outcome.SUCCESS else "Unhandled"
        result = InvocationResult(b'{"errorMessage":"no"}', "$LATEST", failed)
        return self.deliveries.event_left(QueuedEvent(call, 0, attempts=1, last_result=result), outcome)


@pytest.fixture
def world() -> Iterator[World]:
    runtime = FakeRuntime()
    world = World(runtime)
    yield world
    world.close()
    runtime.close()


def set_up(world: World, letters: str | None = None, qualifier: str | None = None, **sides: str) -> None:
    """The function with these destinations (`OnSuccess=…`) and dead-letter queue."""
    provider = world.provider
    if provider.store.find(ACCOUNT, REGION, "f") is None:
        member = {"DeadLetterConfig": {"TargetArn": letters}} if letters else {}
        provider.create_function(context(), creation("f", Publish=True, **member))
        world.client.calls.clear()
    if sides:
        config: Any = {
            "FunctionName": "f",
            "DestinationConfig": {side: {"Destination": target} for side, target in sides.items()},
        }
        provider.put_function_event_invoke_config(context(), config | ({"Qualifier": qualifier} if qualifier else {}))


async def turns(world: World, delivery: Any) -> None:
    """Let the delivery end, the clock jumping to whatever it waits for."""
    task = asyncio.ensure_future(delivery)
    while not task.done():
        await asyncio.wait({task}, timeout=0.005)
        if (moment := world.clock.next_moment()) is not None:
            world.clock.advance(moment - world.clock.now())
    await task


async def test_success_goes_to_the_destination_for_success_alone(world: World) -> None:
    set_up(world, LETTERS, OnSuccess=QUEUE, OnFailure=TOPIC)
    await turns(world, world.leaves(Outcome.SUCCESS))
    (sent,) = world.client.sent()
    assert json.loads(sent["MessageBody"])["requestContext"]["condition"] == "Success"
    assert world.client.calls[0] == ("get_queue_url", {"QueueName": "records"})
    assert sent["MessageSystemAttributes"]["AWSTraceHeader"]["StringValue"] == "Root=1-2-3"


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome is not Outcome.SUCCESS])
async def test_every_kind_of_failure_goes_to_destination_and_dead_letter_queue(world: World, outcome: Outcome) -> None:
    set_up(world, LETTERS, OnFailure=TOPIC)
    await turns(world, world.leaves(outcome))
    by_target = {sent.get("TopicArn", "letters"): sent for sent in world.client.sent()}
    assert json.loads(by_target[TOPIC]["Message"])["requestContext"]["condition"] == outcome.value
    assert by_target["letters"]["MessageBody"] == '{"n":1}'
    assert by_target["letters"]["MessageAttributes"]["ErrorMessage"] == {"DataType": "String", "StringValue": "no"}


async def test_nothing_to_send_costs_nothing(world: World) -> None:
    set_up(world)
    assert world.leaves(Outcome.SUCCESS) is None
    assert world.leaves(Outcome.RETRIES_EXHAUSTED) is None


async def test_deleted_function_has_no_targets(world: World) -> None:
    set_up(world, LETTERS, OnFailure=QUEUE)
    world.provider.delete_function(context(), {"FunctionName": "f"})
    assert world.leaves(Outcome.RETRIES_EXHAUSTED) is None


async def test_version_has_its_own_destinations_and_the_dead_letter_queue_of_the_function(world: World) -> None:
    set_up(world, LETTERS, OnFailure=QUEUE)
    await turns(world, world.leaves(Outcome.RETRIES_EXHAUSTED, arn("f", "1")))
    (sent,) = world.client.sent()
    assert sent["MessageBody"] == '{"n":1}'
    set_up(world, qualifier="1", OnFailure=TOPIC)
    world.client.calls.clear()
    await turns(world, world.leaves(Outcome.RETRIES_EXHAUSTED, arn("f", "1")))
    assert {sent.get("TopicArn") for sent in world.client.sent()} == {TOPIC, None}


async def test_bus_gets_an_event_of_lambda(world: World) -> None:
    set_up(world, OnFailure=BUS)
    world.client.answer = {"FailedEntryCount": 0}
    await turns(world, world.leaves(Outcome.RETRIES_EXHAUSTED))
    ((entry,),) = (sent["Entries"] for sent in world.client.sent())
    assert (entry["Source"], entry["DetailType"], entry["EventBusName"]) == (
        "lambda",
        "Lambda Function Invocation Result - Failure",
        "b",
    )
    assert entry["Resources"] == [BUS, arn("f", "$LATEST")]


async def test_bus_that_refuses_the_event_is_a_failure(world: World) -> None:
    set_up(world, OnFailure=BUS)
    world.client.answer = {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "NoBus", "ErrorMessage": "gone"}]}
    await turns(world, world.leaves(Outcome.RETRIES_EXHAUSTED))
    assert world.failed == [("DestinationDeliveryFailures", arn("f"))]


async def test_bucket_gets_an_object(world: World) -> None:
    set_up(world, OnFailure=BUCKET)
    await turns(world, world.leaves(Outcome.RETRIES_EXHAUSTED))
    (sent,) = world.client.sent()
    assert sent["Bucket"] == "bucket"
    assert sent["Key"].startswith("aws/lambda/async/f/")


async def test_function_gets_an_event(world: World) -> None:
    world.provider.create_function(context(), creation("g"))
    set_up(world, OnSuccess=arn("g"))
    await turns(world, world.leaves(Outcome.SUCCESS))
    ((target, parcel),) = world.invoked
    assert target == arn("g")
    assert parcel.trace_header == "Root=1-2-3"


async def test_function_that_does_not_take_the_event_is_a_failure(world: World) -> None:
    world.provider.create_function(context(), creation("g"))
    set_up(world, OnSuccess=arn("g"))
    world.refusal = ResourceNotFoundException("gone")
    await turns(world, world.leaves(Outcome.SUCCESS))
    assert world.failed == [("DestinationDeliveryFailures", arn("f"))]


async def test_what_the_target_refuses_is_counted_and_logged_at_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    set_up(world, LETTERS)
    world.client.problems = [client_error("AccessDenied", "not yours")]
    begun = world.clock.now()
    await turns(world, world.leaves(Outcome.RETRIES_EXHAUSTED))
    assert world.failed == [("DeadLetterErrors", arn("f"))]
    assert world.clock.now() == begun
    assert LETTERS in caplog.text
    assert "not yours" in caplog.text


async def test_what_may_work_later_is_tried_again(world: World) -> None:
    set_up(world, LETTERS)
    world.client.problems = [client_error("ThrottlingException"), OSError("connection refused")]
    begun = world.clock.now()
    await turns(world, world.leaves(Outcome.RETRIES_EXHAUSTED))
    assert len(world.client.sent()) == 3
    assert world.failed == []
    assert world.clock.now() - begun == 3


async def test_what_never_works_is_given_up(world: World) -> None:
    set_up(world, LETTERS)
    world.client.problems = [OSError("connection refused")] * 9
    await turns(world, world.leaves(Outcome.RETRIES_EXHAUSTED))
    assert len(world.client.sent()) == 3
    assert world.failed == [("DeadLetterErrors", arn("f"))]


async def test_service_that_the_host_does_not_have_is_a_failure(world: World) -> None:
    set_up(world, LETTERS)
    del world.host.clients["sqs"]
    await turns(world, world.leaves(Outcome.RETRIES_EXHAUSTED))
    assert world.failed == [("DeadLetterErrors", arn("f"))]


async def test_mistake_of_ours_is_a_failure_and_not_silence(world: World, caplog: pytest.LogCaptureFixture) -> None:
    set_up(world, LETTERS)
    world.client.problems = [ZeroDivisionError("oops")]
    await turns(world, world.leaves(Outcome.RETRIES_EXHAUSTED))
    assert world.failed == [("DeadLetterErrors", arn("f"))]
    assert "ZeroDivisionError" in caplog.text
