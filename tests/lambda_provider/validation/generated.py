"""Requests made from the model: valid ones, and every way to break one of them in one place."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from lambda_provider.api import spec
from lambda_provider.api.spec import Shape
from lambda_provider.validation import java

MODEL = spec.load()


@dataclass(frozen=True)
class Broken:
    """A value with one broken constraint: the path that AWS names and its phrase for the constraint.

    What is broken inside a list or map is reported at the list or map, and `container` is how that report begins.
    """

    value: Any
    path: str
    phrase: str
    container: str = ""

    def inside(self, value: Any) -> Broken:
        """The same, seen as a part of `value`."""
        return replace(self, value=value)


def requests(operation: str, *, complete: bool) -> st.SearchStrategy[dict[str, Any]]:
    """Valid requests of an operation; complete ones have every member that the model knows."""
    return values(MODEL.input_of(operation), complete)


def values(shape: Shape, complete: bool) -> st.SearchStrategy[Any]:
    if shape.type == "structure":
        members = {name: values(MODEL.shape(member.shape), complete) for name, member in shape.members.items()}
        if complete:
            return st.fixed_dictionaries(members)
        required = {name: members.pop(name) for name in shape.required}
        return st.fixed_dictionaries(required, optional=members)
    if shape.type == "list":
        element = MODEL.shape(shape.element or "")
        elements = st.sampled_from(shape.enum) if shape.enum else values(element, complete)
        return st.lists(elements, min_size=max(int(shape.min or 0), 1), max_size=int(min(shape.max or 2, 2)))
    if shape.type == "map":
        keys = values(MODEL.shape(shape.key or ""), complete)
        return st.dictionaries(keys, values(MODEL.shape(shape.element or ""), complete), min_size=1, max_size=1)
    return _scalars(shape)


def _scalars(shape: Shape) -> st.SearchStrategy[Any]:
    if shape.enum:
        return st.sampled_from(shape.enum)
    if shape.type == "string":
        return _strings(shape)
    if shape.type in ("integer", "long"):
        least = None if shape.min is None else int(shape.min)
        return st.integers(min_value=least, max_value=None if shape.max is None else int(shape.max))
    if shape.type == "double":
        return st.floats(min_value=shape.min, max_value=shape.max, allow_nan=False)
    if shape.type == "blob":
        return st.binary(min_size=int(shape.min or 0), max_size=9)
    return st.booleans() if shape.type == "boolean" else st.just(datetime(2026, 1, 2, tzinfo=UTC))


def _strings(shape: Shape) -> st.SearchStrategy[str]:
    least, most = int(shape.min or 0), int(shape.max or 10**9)
    if shape.pattern is None:
        return st.text(min_size=least, max_size=min(most, least + 8))
    if r"\p{" in shape.pattern:
        return st.text("aZ é1٣_.:/=+-@\u3000", min_size=least, max_size=8)
    pattern = re.compile(shape.pattern, re.ASCII)
    return st.from_regex(pattern, fullmatch=True).filter(lambda text: least <= len(text) <= most)


def breakages(shape: Shape, value: Any, path: str = "") -> Iterator[Broken]:
    """Every way to break what is inside a value in one place."""
    if shape.type == "structure":
        for name, member in shape.members.items():
            at = (f"{path}." if path else "") + name[0].lower() + name[1:]
            inner = MODEL.shape(member.shape)
            if name in shape.required:
                without = {key: item for key, item in value.items() if key != name}
                yield Broken(without, at, "Member must not be null")
            for broken, phrase in _broken(inner, value[name]):
                yield Broken({**value, name: broken}, at, phrase)
            for deeper in breakages(inner, value[name], at):
                yield deeper.inside({**value, name: deeper.value})
    elif shape.type == "list":
        element = MODEL.shape(shape.element or "")
        for broken, phrase in _broken(element, value[0]):
            yield Broken([broken, *value[1:]], path, phrase, "Member must satisfy constraint: [")
        for deeper in breakages(element, value[0], f"{path}.1.member"):
            yield deeper.inside([deeper.value, *value[1:]])
    elif shape.type == "map":
        ((key, item),) = value.items()
        element = MODEL.shape(shape.element or "")
        for broken, phrase in _broken(MODEL.shape(shape.key or ""), key):
            yield Broken({broken: item}, path, phrase, "Map keys must satisfy constraint: [")
        for broken, phrase in _broken(element, item):
            yield Broken({key: broken}, path, phrase, "Map value must satisfy constraint: [")
        for deeper in breakages(element, item, f"{path}.{key}.member"):
            yield deeper.inside({key: deeper.value})


def _broken(shape: Shape, value: Any) -> Iterator[tuple[Any, str]]:
    """Values that break one of the constraints of a value itself, and AWS's phrase for that constraint."""
    if shape.enum is not None:
        broken = [*value, "no such value"] if shape.type == "list" else "no such value"
        yield broken, f"Member must satisfy enum value set: [{', '.join(shape.enum)}]"
    elif shape.type in ("integer", "long", "double"):
        number = float if shape.type == "double" else int
        if shape.max is not None:
            yield number(shape.max + 1), f"Member must have value less than or equal to {number(shape.max)}"
        if shape.min is not None:
            yield number(shape.min - 1), f"Member must have value greater than or equal to {number(shape.min)}"
    elif shape.type in ("string", "list", "blob"):
        yield from _wrong_lengths(shape, value)
        if shape.pattern is not None:
            yield from _mismatches(shape, shape.pattern, value)


def _wrong_lengths(shape: Shape, value: Any) -> Iterator[tuple[Any, str]]:
    matches = java.matcher(shape.pattern) if shape.pattern else lambda _: True
    filler = b"x" if shape.type == "blob" else value[-1:] or "x"
    if shape.max is not None:
        too_long = value + filler * (int(shape.max) - len(value) + 1)
        if matches(too_long):
            yield too_long, f"Member must have length less than or equal to {int(shape.max)}"
    if shape.min:
        too_short = value[: int(shape.min) - 1]
        if matches(too_short):
            yield too_short, f"Member must have length greater than or equal to {int(shape.min)}"


def _mismatches(shape: Shape, pattern: str, value: str) -> Iterator[tuple[str, str]]:
    matches = java.matcher(pattern)
    for character in ("\n", "#", " "):
        # In the last place, so that the length stays what it is.
        mismatch = value[:-1] + character
        if not matches(mismatch) and len(mismatch) <= (shape.max or len(mismatch)):
            yield mismatch, f"Member must satisfy regular expression pattern: {pattern}"
            return
