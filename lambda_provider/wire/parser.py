"""HTTP request -> request dictionary. Compiled once an operation, from the model.

Members that the model does not know, and nulls, are ignored.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from lambda_provider.api.errors import RequestEntityTooLargeException, SerializationException
from lambda_provider.api.spec import Member, Operation, ServiceSpec
from lambda_provider.wire.router import Query
from lambda_provider.wire.values import (
    JSON_READERS,
    TEXT_READERS,
    Reader,
    TextReader,
    list_reader,
    map_reader,
    refuse_for_collection,
)

Parser = Callable[[Sequence[str], Query, Mapping[str, str], bytes], dict[str, Any]]

# What AWS takes for CreateFunction and UpdateFunctionCode: 50 MiB of archive in Base64, and a little.
MAX_JSON_BODY_BYTES = 70_167_211


class ParserCompiler:
    """Makes the parsers of operations; structures that several operations share are compiled once."""

    def __init__(self, spec: ServiceSpec) -> None:
        self._spec = spec
        self._readers: dict[str, Reader] = {}

    def compile(self, operation: Operation) -> Parser:
        """The parser of an operation: (path parameters, query, headers, body) -> request.

        It raises SerializationException for what cannot be read and RequestEntityTooLargeException for too large a body.
        Constraints of the model are not its business.
        """
        shape = self._spec.shape(operation.input)
        members = shape.members.values()
        parameters = {member.location_name: member for member in members if member.location == "uri"}
        path_readers = [
            (parameters[name].name, self._text_reader(parameters[name]))
            for name in _template_parameters(operation.request_uri)
        ]
        query_readers = [
            (member.location_name, member.name, self._query_reader(member))
            for member in members
            if member.location == "querystring"
        ]
        header_readers = [
            (member.location_name.lower(), member.name, self._text_reader(member))
            for member in members
            if member.location == "header"
        ]
        read_body = self._body_reader(operation)

        def parse(path: Sequence[str], query: Query, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
            request: dict[str, Any] = {}
            for (name, read), text in zip(path_readers, path, strict=True):
                request[name] = read(text)
            if query:
                for parameter, name, read in query_readers:
                    if parameter in query:
                        request[name] = read(query[parameter])
            for header, name, read in header_readers:
                if header in headers:
                    request[name] = read(headers[header])
            if read_body is not None:
                read_body(body, request)
            return request

        return parse

    def _body_reader(self, operation: Operation) -> Callable[[bytes, dict[str, Any]], None] | None:
        shape = self._spec.shape(operation.input)
        if shape.payload is None:
            body_members = {name: member for name, member in shape.members.items() if member.location is None}
            if not body_members:
                return None
            read_members = self._members_reader(body_members)

            def read_json(body: bytes, request: dict[str, Any]) -> None:
                request.update(read_members(_load(body, operation.name)))

            return read_json
        name = shape.payload
        payload = self._spec.shape(shape.members[name].shape)
        if payload.type == "blob":
            always = name in shape.required

            def read_blob(body: bytes, request: dict[str, Any]) -> None:
                # An empty body and an absent payload are the same on the wire.
                if body or always:
                    request[name] = body

            return read_blob
        read_structure = self.reader(payload.name)

        def read_payload(body: bytes, request: dict[str, Any]) -> None:
            # `{}` is what SDKs send for an absent structure.
            value = read_structure(_load(body, operation.name))
            if value:
                request[name] = value

        return read_payload

    def reader(self, shape_name: str) -> Reader:
        """The reader of a JSON value for a shape."""
        if shape_name in self._readers:
            return self._readers[shape_name]
        shape = self._spec.shape(shape_name)
        if shape.type == "structure":
            return self._members_reader(shape.members, shape_name)
        if shape.type in ("list", "map"):
            element = self.reader(shape.element or "")
            make = list_reader if shape.type == "list" else map_reader
            reader = make(element, drop_nulls=shape.sparse)
        else:
            reader = JSON_READERS[shape.type]
        return self._readers.setdefault(shape_name, reader)

    def _members_reader(self, members: Mapping[str, Member], shape_name: str | None = None) -> Reader:
        readers: dict[str, Reader] = {}

        def read(value: Any) -> dict[str, Any]:
            if type(value) is not dict:
                refuse_for_collection(value, "structure or map")
            result = {}
            for name, item in value.items():
                if item is not None and name in readers:
                    result[name] = readers[name](item)
            return result

        if shape_name is not None:
            self._readers[shape_name] = read  # before the members: a structure may contain itself
        readers.update((name, self.reader(member.shape)) for name, member in members.items())
        return read

    def _text_reader(self, member: Member) -> TextReader:
        return TEXT_READERS[self._spec.shape(member.shape).type]

    def _query_reader(self, member: Member) -> Callable[[Sequence[str]], Any]:
        shape = self._spec.shape(member.shape)
        if shape.type == "list":
            read_element = TEXT_READERS[self._spec.shape(shape.element or "").type]
            return lambda texts: [read_element(text) for text in texts]
        read = TEXT_READERS[shape.type]
        return lambda texts: read(texts[0])


def _template_parameters(template: str) -> list[str]:
    return [part.strip("{}") for part in template.partition("?")[0].split("/") if part.startswith("{")]


def _load(body: bytes, operation: str) -> Any:
    if len(body) > MAX_JSON_BODY_BYTES:
        raise RequestEntityTooLargeException(
            f"Request must be smaller than {MAX_JSON_BODY_BYTES} bytes for the {operation} operation"
        )
    if not body:
        return {}
    try:
        return json.loads(body.decode("utf-8"), parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        problem = f"{error.msg} at line {error.lineno}, column {error.colno}"
    except UnicodeDecodeError as error:
        problem = f"Invalid UTF-8 at byte {error.start}"
    except RecursionError:
        problem = "The document is nested too deeply"
    except ValueError as error:  # NaN and its like, and numbers with thousands of digits
        problem = str(error)
    raise SerializationException(f"Could not parse request body into json: {problem}")


def _refuse_constant(token: str) -> NoReturn:
    raise ValueError(f"Unrecognized token '{token}'")
