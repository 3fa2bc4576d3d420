"""What holds for every operation, whatever it is asked: no 5xx, only errors that it may answer, and no trace of a refusal.

`HYPOTHESIS_PROFILE=thorough` looks longer.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lambda_provider.api import exceptions
from lambda_provider.api.coverage import implemented_operations
from lambda_provider.provider import LambdaProvider
from lambda_provider.wire import HttpResponse

from .every_operation import Spoil, World, requests
from .fakes import FakeRuntime
from .validation.generated import MODEL, breakages

# What AWS answers for any operation ("Common Errors" of the API reference), and what the wire refuses before it.
COMMON = {
    "AccessDeniedException",
    "InvalidParameterValueException",
    "RequestEntityTooLargeException",
    "SerializationException",
    "ValidationException",
}
_THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
PATIENT = settings(
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
OPERATIONS = sorted(MODEL.operations)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    runtime = FakeRuntime()
    with asyncio.Runner() as runner:
        world = World(runtime, runner)
        yield world
        world.close()
    runtime.close()


def check(world: World, operation: str, request: dict, spoil: Spoil = lambda body: body) -> str | None:
    """Send a request and hold the answer against the rules; the error's code, or None for an answer that is none."""
    response = world.send(operation, request, spoil)
    if response is None:
        return None
    code = error_code(response)
    if response.status == 501:
        assert code == "OperationNotImplemented"
    else:
        assert response.status < 500, (operation, request, response.body[:500])
    if code is None:
        if world.dump() != world.before:
            world.rebuild()
        return None
    if response.status != 501:
        assert code in COMMON | set(MODEL.operations[operation].errors), (operation, request, response.body[:500])
        expected = getattr(exceptions, code, None)
        assert expected is None or response.status == expected.status_code
        assert json.loads(response.body), "an error says what is wrong"
    assert world.dump() == world.before, f"{operation} refused {request} with {code}, and left a trace"
    return code


def error_code(response: HttpResponse) -> str | None:
    headers = {name.lower(): value for name, value in response.headers}
    code = headers.get("x-amzn-errortype")
    assert (code is not None) == (response.status >= 400)
    return code


@pytest.mark.parametrize("operation", OPERATIONS)
@settings(PATIENT, max_examples=500 if _THOROUGH else 12)
@given(data=st.data())
def test_what_the_model_allows_is_answered_or_refused_as_documented(world, operation, data):
    check(world, operation, data.draw(requests(operation, world.names, complete=False)))


@pytest.mark.parametrize("operation", OPERATIONS)
@settings(PATIENT, max_examples=30 if _THOROUGH else 1)
@given(data=st.data())
def test_a_request_broken_in_one_place_is_refused_and_leaves_no_trace(world, operation, data):
    request = data.draw(requests(operation, world.names, complete=True))
    shape = MODEL.input_of(operation)
    for broken in breakages(shape, request):
        member = next(name for name in shape.members if name[0].lower() + name[1:] == broken.path.partition(".")[0])
        unseen = shape.members[member].location in ("uri", "header") or member == shape.payload
        if unseen and not broken.value.get(member):
            continue  # Without it the path is another one, and no body is an empty one.
        assert world.send(operation, broken.value) is None or check(world, operation, broken.value) is not None, (
            broken.path,
            broken.phrase,
        )


@pytest.mark.parametrize("operation", OPERATIONS)
@settings(PATIENT, max_examples=100 if _THOROUGH else 3)
@given(data=st.data())
def test_a_body_of_other_types_is_answered_or_refused_as_documented(world, operation, data):
    request = data.draw(requests(operation, world.names, complete=True))

    def spoiled(body: bytes) -> bytes:
        try:
            document = json.loads(body)
        except ValueError:
            return body
        where = document
        while isinstance(where, dict) and where:
            key = data.draw(st.sampled_from(sorted(where)))
            if not isinstance(where[key], dict) or data.draw(st.booleans()):
                where[key] = data.draw(
                    st.sampled_from([None, "x", "", 1, -1.5, 10**30, True, [], [None], {}, {"x": [1]}])
                )
                break
            where = where[key]
        return data.draw(st.sampled_from([json.dumps(document).encode(), body[:-1], b"[]", b"null", b"\xff"]))

    check(world, operation, request, spoiled)


def test_every_operation_is_implemented_but_the_durable_ones():
    missing = set(OPERATIONS) - implemented_operations(LambdaProvider)
    assert {name for name in missing if "DurableExecution" not in name} == set()
