from __future__ import annotations

import asyncio
import base64
import json
import re
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from lambda_provider.api import (
    InvalidRequestContentException,
    InvalidRuntimeException,
    OperationNotImplemented,
    RecursiveInvocationException,
    RequestEntityTooLargeException,
    ResourceConflictException,
    ResourceNotFoundException,
    ServiceException,
    TooManyRequestsException,
)
from lambda_provider.delivery.records import Parcel
from lambda_provider.operations import lineage
from lambda_provider.provider import LambdaProvider
from lambda_runtime.errors import ServiceStopped, Throttled, VersionFailed
from lambda_runtime.event_queue import Outcome
from lambda_runtime.types import Invocation, InvocationResult

from ..fakes import FakeHost, arn, context, creation
from .conftest import configuration


@pytest.fixture
def invoke(provider, runtime):
    def invoke(name: str = "f", **members: Any) -> Any:
        return runtime.run(provider.invoke(context("Invoke"), {"FunctionName": name, **members}))

    return invoke


def test_a_synchronous_invoke_answers_what_the_function_returned(invoke, active, runtime):
    active("f")
    assert invoke(Payload=b'{"a":1}') == {"StatusCode": 200, "ExecutedVersion": "$LATEST", "Payload": b'{"a":1}'}
    (invocation,) = runtime.invocations
    assert (invocation.version_arn, invocation.invoked_arn) == (arn("f", "$LATEST"), arn("f"))
    assert invocation.request_id == context().request_id


def test_no_payload_is_an_empty_object(invoke, active, runtime):
    active("f")
    invoke()
    invoke(Payload=b"")
    assert [invocation.payload for invocation in runtime.invocations] == [b"{}", b"{}"]


def test_an_error_of_the_function_and_its_log_are_in_the_answer(invoke, active, runtime):
    active("f")
    runtime.answer = lambda invocation: InvocationResult(
        payload=b'{"errorType":"E"}', executed_version="$LATEST", function_error="Unhandled", log_tail=b"START"
    )
    answer = invoke(LogType="Tail")
    assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")
    assert base64.b64decode(answer["LogResult"]) == b"START"
    assert runtime.invocations[0].want_log_tail


def test_an_event_is_accepted_and_queued(invoke, active, runtime):
    active("f")
    assert invoke(InvocationType="Event", Payload=b"1") == {"StatusCode": 202, "Payload": b""}
    assert [event.payload for event in runtime.events] == [b"1"]
    assert runtime.invocations == []


def test_a_dry_run_runs_nothing(invoke, active, runtime):
    active("f")
    assert invoke(InvocationType="DryRun")["StatusCode"] == 204
    assert (runtime.invocations, runtime.events) == ([], [])


def test_invoke_async_accepts_an_event(provider, runtime, active):
    active("f")
    request = {"FunctionName": "f", "InvokeArgs": b'"x"'}
    assert runtime.run(provider.invoke_async(context(), request)) == {"Status": 202}
    assert [event.payload for event in runtime.events] == [b'"x"']


def test_an_unknown_function_is_named_with_latest(invoke, active):
    with pytest.raises(ResourceNotFoundException, match=rf"^Function not found: {arn('nope')}:.LATEST$"):
        invoke("nope")
    active("f")
    with pytest.raises(ResourceNotFoundException, match=rf"^Function not found: {arn('f', 'none')}$"):
        invoke(Qualifier="none")


def test_the_function_sees_the_arn_that_was_invoked(invoke, provider, active, runtime):
    active("f", Publish=True)
    provider.create_alias(context(), {"FunctionName": "f", "Name": "live", "FunctionVersion": "1"})
    for members in ({"Qualifier": "live"}, {"name": arn("f", "live")}, {"Qualifier": "1"}):
        assert invoke(**members)["ExecutedVersion"] == "1"
    assert [invocation.invoked_arn for invocation in runtime.invocations] == [
        arn("f", "live"),
        arn("f", "live"),
        arn("f", "1"),
    ]


def test_an_alias_divides_its_invokes_by_weight(invoke, provider, active, publish, monkeypatch):
    active("f", Publish=True)
    publish("f")
    routing = {"AdditionalVersionWeights": {"2": 0.25}}
    provider.create_alias(
        context(), {"FunctionName": "f", "Name": "live", "FunctionVersion": "1", "RoutingConfig": routing}
    )
    configuration(provider, qualifier="1")  # Active from here on: an invoke that waits would draw again
    draws = iter([number / 100 for number in range(100)])
    monkeypatch.setattr("random.random", lambda: next(draws))
    assert Counter(invoke(Qualifier="live")["ExecutedVersion"] for _ in range(100)) == {"1": 75, "2": 25}


def test_an_invoke_waits_for_a_function_that_is_being_prepared(provider, runtime):
    runtime.hold_preparations()
    provider.create_function(context(), creation("f"))
    waiting = runtime.submit(provider.invoke(context(), {"FunctionName": "f", "Payload": b"1"}))
    runtime.run(asyncio.sleep(0))
    assert not waiting.done()
    runtime.release_preparations()
    assert waiting.result(30)["Payload"] == b"1"
    assert configuration(provider)["State"] == "Active"


def test_an_invoke_after_an_update_runs_what_was_updated(provider, runtime, active, invoke):
    active("f")
    provider.update_function_configuration(context(), {"FunctionName": "f", "Handler": "new.handler"})
    invoke()
    assert runtime.deployed[arn("f", "$LATEST")].handler == "new.handler"


def test_invokes_that_wait_end_when_the_provider_stops(provider, runtime):
    runtime.hold_preparations()
    provider.create_function(context(), creation("f"))
    waiting = runtime.submit(provider.invoke(context(), {"FunctionName": "f"}))
    runtime.run(asyncio.sleep(0))
    provider.stop()
    with pytest.raises(ServiceException):
        waiting.result(30)


def test_invokes_that_wait_end_when_the_function_is_deleted(provider, runtime):
    runtime.hold_preparations()
    provider.create_function(context(), creation("f"))
    waiting = runtime.submit(provider.invoke(context(), {"FunctionName": "f"}))
    runtime.run(asyncio.sleep(0))
    provider.delete_function(context(), {"FunctionName": "f"})
    runtime.release_preparations()
    with pytest.raises(ResourceNotFoundException):
        waiting.result(30)
    assert runtime.deployed == {}


def test_a_function_that_cannot_run_says_why(provider, runtime, invoke):
    runtime.failures[arn("f", "$LATEST")] = VersionFailed("InvalidRuntime", "no python3.12 here")
    provider.create_function(context(), creation("f"))
    with pytest.raises(InvalidRuntimeException, match=r"^no python3.12 here$"):
        invoke()
    runtime.failures[arn("g", "$LATEST")] = VersionFailed("InternalError", "broken")
    provider.create_function(context(), creation("g"))
    with pytest.raises(ResourceConflictException, match=r"currently in the following state: Failed$"):
        invoke("g")


def test_throttling_has_its_reason(invoke, active, runtime):
    active("f")
    runtime.refusal = Throttled("ReservedFunctionConcurrentInvocationLimitExceeded")
    with pytest.raises(TooManyRequestsException) as raised:
        invoke()
    assert raised.value.fields() == {
        "Type": "User",
        "message": "Rate Exceeded.",
        "Reason": "ReservedFunctionConcurrentInvocationLimitExceeded",
    }


def test_a_runtime_that_stops_is_a_server_error(invoke, active, runtime):
    active("f")
    runtime.refusal = ServiceStopped("bye")
    for members in ({}, {"InvocationType": "Event"}):
        with pytest.raises(ServiceException):
            invoke(**members)


def test_payloads_have_limits(runtime):
    limits = {
        "LAMBDA_LIMITS_MAX_FUNCTION_PAYLOAD_SIZE_BYTES": "20",
        "LAMBDA_LIMITS_MAX_EVENT_PAYLOAD_SIZE_BYTES": "10",
    }
    provider = LambdaProvider(FakeHost(limits), runtime)
    provider.create_function(context(), creation("f"))

    def invoke(**members: Any) -> Any:
        return runtime.run(provider.invoke(context(), {"FunctionName": "f", **members}))

    assert invoke(Payload=b"1" * 20)["StatusCode"] == 200
    assert invoke(Payload=b"1" * 10, InvocationType="Event")["StatusCode"] == 202
    for size, members in ((20, {}), (10, {"InvocationType": "Event"})):
        with pytest.raises(RequestEntityTooLargeException) as raised:
            invoke(Payload=b"1" * (size + 1), **members)
        assert raised.value.message == f"Request must be smaller than {size} bytes for the InvokeFunction operation"
    provider.stop()


@pytest.mark.parametrize("kind", ["RequestResponse", "Event", "DryRun"])
def test_a_payload_that_is_not_json_is_refused(invoke, active, runtime, kind):
    active("f")
    with pytest.raises(InvalidRequestContentException, match=r"^Could not parse request body into json: "):
        invoke(Payload=b"{", InvocationType=kind)
    assert (runtime.invocations, runtime.events) == ([], [])


def test_the_client_context_reaches_the_function_decoded(invoke, active, runtime):
    active("f")
    text = json.dumps({"custom": {"a": "b"}})
    invoke(ClientContext=base64.b64encode(text.encode()).decode())
    assert runtime.invocations[0].client_context == text
    for wrong in ("%%", base64.b64encode(b"[]").decode(), base64.b64encode(b"\xff").decode()):
        with pytest.raises(InvalidRequestContentException) as raised:
            invoke(ClientContext=wrong)
        assert raised.value.message == "Client context must be a valid Base64-encoded JSON object."


def test_durable_executions_are_not_pretended(invoke, active):
    active("f")
    with pytest.raises(OperationNotImplemented):
        invoke(DurableExecutionName="d")


async def _stream(*chunks: bytes):
    for chunk in chunks:
        yield chunk


def _streamed(provider, runtime, **members: Any) -> tuple[Any, list[Any]]:
    async def collect() -> tuple[Any, list[Any]]:
        answer = await provider.invoke_with_response_stream(context(), {"FunctionName": "f", **members})
        return answer, [event async for event in answer["EventStream"]]

    return runtime.run(collect())


def test_a_streamed_response_is_passed_on_in_chunks(provider, runtime, active):
    active("f")

    def answer(invocation: Invocation) -> InvocationResult:
        assert invocation.streaming
        return InvocationResult(
            payload=b"", executed_version="$LATEST", content_type="text/plain", stream=_stream(b"a", b"b")
        )

    runtime.answer = answer
    response, events = _streamed(provider, runtime)
    assert (response["StatusCode"], response["ResponseStreamContentType"]) == (200, "text/plain")
    assert events == [
        {"PayloadChunk": {"Payload": b"a"}},
        {"PayloadChunk": {"Payload": b"b"}},
        {"InvokeComplete": {}},
    ]


def test_a_failure_is_told_in_the_last_event_of_a_stream(provider, runtime, active):
    active("f")
    runtime.answer = lambda invocation: InvocationResult(
        payload=b'{"errorType":"E"}', executed_version="$LATEST", function_error="Unhandled", log_tail=b"log"
    )
    _, events = _streamed(provider, runtime, LogType="Tail")
    assert events[-1] == {
        "InvokeComplete": {
            "ErrorCode": "Unhandled",
            "ErrorDetails": '{"errorType":"E"}',
            "LogResult": base64.b64encode(b"log").decode(),
        }
    }


def test_a_client_that_goes_away_ends_the_functions_stream(provider, runtime, active):
    active("f")
    ended = []

    async def endless():
        try:
            while True:
                yield b"x"
        finally:
            ended.append(True)

    runtime.answer = lambda invocation: InvocationResult(b"", "$LATEST", stream=endless())

    async def leave() -> None:
        answer = await provider.invoke_with_response_stream(context(), {"FunctionName": "f"})
        async for _ in answer["EventStream"]:
            break
        await answer["EventStream"].aclose()

    runtime.run(leave())
    assert ended == [True]


def in_a_loop(name: str = "f") -> Any:
    """The context of an invoke whose chain of requests has run the function sixteen times."""
    header = None
    for _ in range(lineage.LIMIT):
        header, _ = lineage.extend(header, arn(name))
    return replace(context("Invoke"), trace_header=header)


def test_a_recursive_invocation_is_refused(provider, active, runtime):
    active("f")
    with pytest.raises(RecursiveInvocationException):
        runtime.run(provider.invoke(in_a_loop(), {"FunctionName": "f"}))
    with pytest.raises(RecursiveInvocationException):
        runtime.run(provider.invoke_with_response_stream(in_a_loop(), {"FunctionName": "f"}))
    assert runtime.invocations == []
    assert runtime.counted == [("RecursiveInvocationsDropped", arn("f", "$LATEST"), arn("f"))] * 2


def test_a_recursive_event_is_accepted_and_leaves_the_queue_without_being_run(provider, active, runtime):
    active("f")
    event = {"FunctionName": "f", "InvocationType": "Event"}
    runtime.run(provider.invoke(context("Invoke"), event))
    runtime.run(provider.invoke(in_a_loop(), event))
    assert runtime.outcomes == [None, Outcome.RECURSIVE_INVOCATION]
    assert [metric for metric, *_ in runtime.counted] == ["RecursiveInvocationsDropped"]


def test_a_loop_that_is_allowed_or_of_another_function_goes_on(provider, active, runtime):
    active("f")
    active("g")
    runtime.run(provider.invoke(in_a_loop("g"), {"FunctionName": "f"}))
    provider.put_function_recursion_config(context(), {"FunctionName": "f", "RecursiveLoop": "Allow"})
    runtime.run(provider.invoke(in_a_loop(), {"FunctionName": "f"}))
    assert len(runtime.invocations) == 2


def test_every_invocation_carries_its_lineage(invoke, active, runtime):
    active("f")
    invoke()
    invoke(InvocationType="Event")
    headers = [call.trace_header for call in (*runtime.invocations, *runtime.events)]
    assert [re.search(r";Lineage=1:[0-9a-f]{8}:0$", header) is not None for header in headers] == [True, True]


def test_a_destination_is_invoked_by_its_qualifier_with_the_record_as_its_event(provider, active, publish, runtime):
    active("f")
    publish("f")
    parcel = Parcel('{"version":"1.0"}', arn("source", "$LATEST"), "Root=1-2-3")
    runtime.run(provider.invoke_for(arn("f", "1"), parcel))
    (event,) = runtime.events
    assert (event.version_arn, event.invoked_arn, event.payload) == (arn("f", "1"), arn("f", "1"), b'{"version":"1.0"}')
    assert event.trace_header.startswith("Root=1-2-3;Lineage=")
    assert event.request_id != context().request_id
