"""For every operation: what botocore sends we read, and what we send botocore reads, to the same values."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.awsrequest import HeadersDict, create_request_object, prepare_request_dict
from botocore.model import OperationModel, ServiceModel, Shape
from botocore.parsers import create_parser
from botocore.response import StreamingBody
from botocore.serialize import create_serializer
from hypothesis import given
from hypothesis import strategies as st

from lambda_provider.api import LambdaError, exceptions
from lambda_provider.api.spec import SERVICE_MODEL, load
from lambda_provider.wire import HttpResponse

MODEL = ServiceModel(json.loads(SERVICE_MODEL.read_text("utf-8")), "lambda")
SERIALIZER = create_serializer("rest-json", include_validation=False)
PARSER = create_parser("rest-json")
OPERATIONS = sorted(load().operations)

HEADER_TEXT = st.characters(min_codepoint=0x21, max_codepoint=0x7E)
MAX_LENGTH = 6


def values(shape: Shape, *, header: bool = False, path: bool = False, milliseconds: bool = False) -> st.SearchStrategy:
    """Values of a shape within its bounds. Patterns are left out: they are validation's, and the wire must carry anything."""
    bounds = shape.metadata
    low = bounds.get("min")
    high = bounds.get("max")
    match shape.type_name:
        case "structure" if shape.serialization.get("eventstream"):
            kinds = [st.fixed_dictionaries({name: values(member)}) for name, member in shape.members.items()]
            return st.lists(st.one_of(kinds), max_size=3)
        case "structure":
            return structures(shape, milliseconds=milliseconds)
        case "list":
            return st.lists(values(shape.member, header=header, milliseconds=milliseconds), max_size=2)
        case "map":
            members = values(shape.key), values(shape.value, milliseconds=milliseconds)
            return st.dictionaries(*members, max_size=2)
        case "string" if bounds.get("enum"):
            return st.sampled_from(bounds["enum"])
        case "string":
            least = max(low or 0, 1 if header or path else 0)
            most = max(least, min(high if high is not None else MAX_LENGTH, least + MAX_LENGTH))
            return st.text(HEADER_TEXT if header else st.characters(codec="utf-8"), min_size=least, max_size=most)
        case "integer" | "long":
            return st.integers(low if low is not None else -(2**31), high if high is not None else 2**31 - 1)
        case "double":
            return st.floats(low, high, allow_nan=False, allow_infinity=False)
        case "boolean":
            return st.booleans()
        case "blob":
            return st.binary(max_size=MAX_LENGTH)
        case "timestamp":
            step = 1 if milliseconds else 1000
            return st.integers(0, 4_000_000_000_000 // step).map(
                lambda moment: datetime.fromtimestamp(moment * step / 1000, UTC)
            )
    raise AssertionError(shape.type_name)


def structures(shape: Shape, *, milliseconds: bool = False) -> st.SearchStrategy:
    members = {
        name: values(
            member,
            header=member.serialization.get("location") == "header",
            path=member.serialization.get("location") == "uri",
            milliseconds=milliseconds,
        )
        for name, member in shape.members.items()
    }
    # The payload of an event is the frame's own, so it cannot be absent.
    payloads = [name for name, member in shape.members.items() if member.serialization.get("eventpayload")]
    required = {name: members.pop(name) for name in [*shape.required_members, *payloads]}
    return st.fixed_dictionaries(required, optional=members)


@pytest.mark.parametrize("operation", OPERATIONS)
@given(data=st.data())
def test_what_botocore_sends_is_parsed_to_the_same_values(peer, operation: str, data: st.DataObject) -> None:
    model = MODEL.operation_model(operation)
    sent = data.draw(structures(model.input_shape))
    raw = SERIALIZER.serialize_to_request(sent, model)
    prepare_request_dict(raw, endpoint_url="http://127.0.0.1:4566")
    request = create_request_object(raw).prepare()
    url = urlsplit(request.url)

    peer.answer = {"EventStream": no_events()}
    response = peer.send(
        request.method,
        url.path,
        query=url.query,
        headers={name.lower(): value for name, value in request.headers.items()},
        body=as_bytes(request.body),
    )

    assert response.status < 300, response
    assert peer.requests.pop() == (operation, as_carried(model.input_shape, sent))
    assert peer.wire.matches(request.method, url.path)


def as_bytes(body: Any) -> bytes:
    if body is None:
        return b""
    return body.encode() if isinstance(body, str) else bytes(body)


async def no_events() -> Any:
    for event in ():
        yield event


def as_carried(shape: Shape, sent: dict[str, Any]) -> dict[str, Any]:
    """What can be told apart on the wire: an empty payload or an empty list in the query is the same as an absent one."""
    carried = dict(sent)
    payload = shape.serialization.get("payload")
    if payload and not carried.get(payload):
        carried.pop(payload, None)
        if payload in shape.required_members:
            carried[payload] = b""
    for name, member in shape.members.items():
        if member.serialization.get("location") == "querystring" and carried.get(name) == []:
            del carried[name]
    return carried


@pytest.mark.parametrize("operation", OPERATIONS)
@given(data=st.data())
def test_what_is_serialised_botocore_reads_back(peer, operation: str, data: st.DataObject) -> None:
    model = MODEL.operation_model(operation)
    shape = model.output_shape
    result = data.draw(structures(shape, milliseconds=True)) if shape else {}
    status_member = member_in(shape, "statusCode")
    if status_member:
        result[status_member] = data.draw(st.sampled_from([200, 202]))
    if model.has_event_stream_output:
        result.setdefault("EventStream", [])
        result.setdefault("ResponseStreamContentType", "application/vnd.amazon.eventstream")
        peer.answer = result | {"EventStream": stream_of(result["EventStream"])}
    else:
        peer.answer = result

    template = model.http["requestUri"]
    response = as_botocore(peer.send(model.http["method"], path_of(template), query=query_of(template)), model)

    parsed = PARSER.parse(response, shape)
    metadata = parsed.pop("ResponseMetadata")
    assert metadata["HTTPStatusCode"] == result.get(status_member, model.http["responseCode"])
    assert metadata["RequestId"] == peer.contexts[-1].request_id
    if model.has_event_stream_output:
        parsed["EventStream"] = list(parsed["EventStream"])
    elif model.has_streaming_output:
        parsed["Payload"] = parsed["Payload"].read()
        result.setdefault("Payload", b"")
    assert parsed == result


def member_in(shape: Shape | None, location: str) -> str | None:
    members = shape.members.items() if shape else ()
    return next((name for name, member in members if member.serialization.get("location") == location), None)


async def stream_of(events: list[dict[str, Any]]) -> Any:
    for event in events:
        yield event


def path_of(template: str) -> str:
    path = template.partition("?")[0]
    return "/".join("1" if segment.startswith("{") else segment for segment in path.split("/"))


def query_of(template: str) -> str:
    return template.partition("?")[2]


class RawStream:
    """What botocore reads a streamed body from; the pieces do not fall on frames."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self) -> Iterator[bytes]:
        for start in range(0, len(self._body), 7):
            yield self._body[start : start + 7]


def as_botocore(response: HttpResponse, model: OperationModel | None = None) -> dict[str, Any]:
    """The response as botocore's endpoint hands it to its parser."""
    assert isinstance(response.body, bytes)
    body: Any = response.body
    if model and model.has_event_stream_output:
        body = RawStream(response.body)
    elif model and model.has_streaming_output:
        body = StreamingBody(io.BytesIO(response.body), len(response.body))
    headers = HeadersDict(response.headers)
    return {"status_code": response.status, "headers": headers, "body": body, "context": {"operation_name": "Any"}}


ERRORS = sorted(exceptions.__all__)


@pytest.mark.parametrize("code", ERRORS)
@given(data=st.data())
def test_errors_are_read_back_with_code_status_and_members(peer, code: str, data: st.DataObject) -> None:
    error_class: type[LambdaError] = getattr(exceptions, code)
    shape = MODEL.shape_for_error_code(code)
    text = data.draw(st.text(st.characters(codec="utf-8"), min_size=1, max_size=20))
    extra = data.draw(structures(shape))
    extra = {name: value for name, value in extra.items() if name not in ("Type", "Message", "message")}
    peer.answer = error_class(text, **extra)

    response = as_botocore(peer.send("GET", "/2015-03-31/functions/f"))

    parsed = PARSER.parse(response, MODEL.operation_model("GetFunction").output_shape)
    assert (parsed["Error"]["Code"], parsed["Error"]["Message"]) == (code, text)
    assert parsed["ResponseMetadata"]["HTTPStatusCode"] == shape.metadata["error"]["httpStatusCode"]
    modelled = PARSER.parse(response, shape)
    for envelope in ("ResponseMetadata", "Error"):
        modelled.pop(envelope, None)
    message_member = "Message" if "Message" in shape.members else "message"
    origin = "User" if error_class.status_code < 500 else "Service"
    assert modelled == {"Type": origin, message_member: text, **extra}
