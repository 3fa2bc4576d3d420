"""Typed access to the service model in `service.json`.

The model is botocore's with this project's patches applied, written by `script/codegen`. Nothing at run time reads the
model of the botocore that happens to be installed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

SERVICE_MODEL = Path(__file__).with_name("service.json")


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a structure: the shape of its value and where it travels.

    `location` is `uri`, `querystring`, `header`, `statusCode`, or None for the body; `location_name` is its name there.
    """

    name: str
    shape: str
    location: str | None = None
    location_name: str = ""
    event_payload: bool = False
    idempotency_token: bool = False


@dataclass(frozen=True, slots=True)
class Shape:
    """A shape with its constraints.

    `type` is the model's: structure, list, map, string, integer, long, double, boolean, blob or timestamp. `min` and `max`
    bound the value of a number, the length of a string or blob, and the size of a list or map. `element` is the shape of a
    list's elements or a map's values, `key` that of a map's keys. `payload` names the member that is the whole body.

    Three things that botocore's model does not have come from our patches: `sparse`, a list or map that takes nulls, an
    `enum` on a list, which bounds its elements together, and `unnamed`, values that are taken beside those of the `enum`.
    """

    name: str
    type: str
    members: Mapping[str, Member] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    element: str | None = None
    key: str | None = None
    min: float | None = None
    max: float | None = None
    pattern: str | None = None
    enum: tuple[str, ...] | None = None
    unnamed: tuple[str, ...] = ()
    payload: str | None = None
    event_stream: bool = False
    streaming: bool = False
    sensitive: bool = False
    sparse: bool = False
    error_status: int | None = None


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation: its HTTP binding, its input and output structures, and the errors that the model names."""

    name: str
    method_name: str
    http_method: str
    request_uri: str
    status: int
    input: str
    output: str | None
    errors: tuple[str, ...]


class ServiceSpec:
    """The service model: `operations` by name, and `shape(name)`."""

    def __init__(self, model: Mapping[str, Any]) -> None:
        self.source_sha256: str = model["metadata"]["sourceSha256"]
        self.operations: Mapping[str, Operation] = {
            name: _operation(name, definition) for name, definition in model["operations"].items()
        }
        self._definitions: Mapping[str, Mapping[str, Any]] = model["shapes"]
        self._shapes: dict[str, Shape] = {}

    def shape(self, name: str) -> Shape:
        """The shape of that name. Raises KeyError if the model has none."""
        shape = self._shapes.get(name)
        if shape is None:
            shape = self._shapes[name] = _shape(name, self._definitions[name])
        return shape

    def shape_names(self) -> tuple[str, ...]:
        """The names of all shapes, in the order of the model."""
        return tuple(self._definitions)

    def input_of(self, operation: str) -> Shape:
        """The input structure of an operation."""
        return self.shape(self.operations[operation].input)


@cache
def load() -> ServiceSpec:
    """The model that is shipped with this package, read once."""
    return ServiceSpec(json.loads(SERVICE_MODEL.read_text("utf-8")))


def method_name(operation: str) -> str:
    """The name of an operation's method on `LambdaApi`: `CreateFunction` is `create_function`."""
    return _WORD_START.sub("_", operation).lower()


_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def _operation(name: str, definition: Mapping[str, Any]) -> Operation:
    http = definition["http"]
    return Operation(
        name=name,
        method_name=method_name(name),
        http_method=http["method"],
        request_uri=http["requestUri"],
        status=http["responseCode"],
        input=definition["input"]["shape"],
        output=definition["output"]["shape"] if "output" in definition else None,
        errors=tuple(error["shape"] for error in definition.get("errors", ())),
    )


def _shape(name: str, definition: Mapping[str, Any]) -> Shape:
    element = definition.get("member") or definition.get("value")
    return Shape(
        name=name,
        type=definition["type"],
        members={member: _member(member, given) for member, given in definition.get("members", {}).items()},
        required=tuple(definition.get("required", ())),
        element=element["shape"] if element else None,
        key=definition["key"]["shape"] if "key" in definition else None,
        min=definition.get("min"),
        max=definition.get("max"),
        pattern=definition.get("pattern"),
        enum=tuple(definition["enum"]) if "enum" in definition else None,
        unnamed=tuple(definition.get("unnamed", ())),
        payload=definition.get("payload"),
        event_stream=definition.get("eventstream", False),
        streaming=definition.get("streaming", False),
        sensitive=definition.get("sensitive", False),
        sparse=definition.get("sparse", False),
        error_status=definition.get("error", {}).get("httpStatusCode"),
    )


def _member(name: str, definition: Mapping[str, Any]) -> Member:
    return Member(
        name=name,
        shape=definition["shape"],
        location=definition.get("location"),
        location_name=definition.get("locationName", name),
        event_payload=definition.get("eventpayload", False),
        idempotency_token=definition.get("idempotencyToken", False),
    )
