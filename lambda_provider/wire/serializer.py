"""Response dictionary -> HTTP response. Compiled once an operation, from the model."""

from __future__ import annotations

import json
import logging
from base64 import b64encode
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from datetime import datetime
from typing import Any

from lambda_provider.api.errors import LambdaError
from lambda_provider.api.exceptions import ServiceException
from lambda_provider.api.spec import Operation, ServiceSpec, Shape
from lambda_provider.wire import eventstream
from lambda_provider.wire.http import HttpResponse

LOG = logging.getLogger(__name__)

# A writer turns a value into what json.dumps takes; None stands for a shape whose values are that already.
Writer = Callable[[Any], Any]
Serializer = Callable[[Mapping[str, Any] | None, str], HttpResponse]

REQUEST_ID = "x-amzn-RequestId"
JSON_CONTENT = ("Content-Type", "application/json")
INTERNAL_ERROR = "The AWS Lambda service encountered an internal error."


class SerializerCompiler:
    """Makes the serialisers of operations; structures that several operations share are compiled once."""

    def __init__(self, spec: ServiceSpec) -> None:
        self._spec = spec
        self._writers: dict[str, Writer | None] = {}

    def compile(self, operation: Operation) -> Serializer:
        """The serialiser of an operation: (response, request id) -> HTTP response.

        Members that are not in the model are not sent, nor are members that are None.
        """
        if operation.output is None:
            return lambda _result, request_id: HttpResponse(operation.status, [(REQUEST_ID, request_id)])
        shape = self._spec.shape(operation.output)
        status_member = next((m.name for m in shape.members.values() if m.location == "statusCode"), None)
        headers = [(m.name, m.location_name) for m in shape.members.values() if m.location == "header"]
        payload = self._spec.shape(shape.members[shape.payload].shape) if shape.payload else None
        if payload is not None and payload.event_stream:
            return self._stream_serializer(operation, shape, payload)
        to_body = _blob_body(shape.payload) if shape.payload else self._json_body(shape)

        def serialize(result: Mapping[str, Any] | None, request_id: str) -> HttpResponse:
            result = result or {}
            status = result.get(status_member, operation.status) if status_member else operation.status
            sent = [(REQUEST_ID, request_id)]
            body = b""
            if status != 204:
                sent.append(JSON_CONTENT)
                body = to_body(result)
            for member, header in headers:
                value = result.get(member)
                if value is not None:
                    sent.append((header, value))
            return HttpResponse(status, sent, body)

        return serialize

    def _json_body(self, shape: Shape) -> Callable[[Mapping[str, Any]], bytes]:
        write = self._structure_writer(shape)

        def to_body(result: Mapping[str, Any]) -> bytes:
            return dump_json(write(result))

        return to_body

    def _stream_serializer(self, operation: Operation, shape: Shape, stream: Shape) -> Serializer:
        encode = eventstream.event_encoder(stream, self._spec.shape, self.writer)
        stream_member = shape.payload or ""
        status_member = next((m.name for m in shape.members.values() if m.location == "statusCode"), "")
        headers = {m.location_name: m.name for m in shape.members.values() if m.location == "header"}
        # ResponseStreamContentType travels as the Content-Type of the response, and AWS sends the stream's type there.
        content_type_member = headers.pop("Content-Type", "")

        def serialize(result: Mapping[str, Any] | None, request_id: str) -> HttpResponse:
            result = result or {}
            sent = [
                (REQUEST_ID, request_id),
                ("Content-Type", result.get(content_type_member, eventstream.CONTENT_TYPE)),
            ]
            sent.extend((header, result[member]) for header, member in headers.items() if member in result)
            # A dry run has nothing to stream.
            frames = _frames(result[stream_member], encode, request_id) if stream_member in result else b""
            return HttpResponse(result.get(status_member, operation.status), sent, frames)

        return serialize

    def writer(self, shape_name: str) -> Writer | None:
        """The writer of a shape's values, or None if they need no conversion."""
        if shape_name in self._writers:
            return self._writers[shape_name]
        shape = self._spec.shape(shape_name)
        if shape.type == "structure":
            return self._structure_writer(shape)
        if shape.type in ("list", "map"):
            element = self.writer(shape.element or "")
            writer = (
                None if element is None else _list_writer(element) if shape.type == "list" else _map_writer(element)
            )
        else:
            writer = _SCALARS.get(shape.type)
        self._writers[shape_name] = writer
        return writer

    def _structure_writer(self, shape: Shape) -> Writer:
        members: list[tuple[str, Writer | None]] = []

        def write(value: Mapping[str, Any]) -> dict[str, Any]:
            result = {}
            for name, writer in members:
                item = value.get(name)
                if item is not None:
                    result[name] = item if writer is None else writer(item)
            return result

        self._writers[shape.name] = write  # before the members: a structure may contain itself
        members.extend((m.name, self.writer(m.shape)) for m in shape.members.values() if m.location is None)
        return write


def error_response(error: LambdaError, request_id: str) -> HttpResponse:
    """The error as AWS sends it: the code in `x-amzn-ErrorType`, the members of the error's structure as the body."""
    fields = error.fields()
    headers = [(REQUEST_ID, request_id), JSON_CONTENT, ("x-amzn-ErrorType", error.code)]
    headers.extend((header, str(fields.pop(member))) for member, header in error.headers.items() if member in fields)
    return HttpResponse(error.status_code, headers, dump_json(fields))


def dump_json(value: Any) -> bytes:
    """Compact JSON in UTF-8."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


async def _frames(
    events: AsyncIterator[Mapping[str, Any]], encode: eventstream.EventEncoder, request_id: str
) -> AsyncIterator[bytes]:
    """The frames of a stream. The status is out already, so an error ends the stream as a frame of its own.

    When the client goes away this generator is closed, and closes the events with it, so that the provider learns of it.
    """
    try:
        async for event in events:
            yield encode(event)
    except LambdaError as error:
        yield eventstream.error_frame(error.code, error.message)
    except Exception:
        LOG.exception("The response stream of request %s broke", request_id)
        yield eventstream.error_frame(ServiceException.code, INTERNAL_ERROR)
    finally:
        if isinstance(events, AsyncGenerator):
            await events.aclose()


def _blob_body(member: str) -> Callable[[Mapping[str, Any]], bytes]:
    return lambda result: result.get(member, b"")


def _list_writer(write: Writer) -> Writer:
    return lambda values: [write(value) for value in values]


def _map_writer(write: Writer) -> Writer:
    return lambda values: {key: write(value) for key, value in values.items()}


def _write_blob(value: bytes) -> str:
    return b64encode(value).decode("ascii")


def _write_timestamp(value: datetime) -> float:
    seconds = round(value.timestamp(), 3)
    return int(seconds) if seconds.is_integer() else seconds


_SCALARS: dict[str, Writer] = {"blob": _write_blob, "timestamp": _write_timestamp}
