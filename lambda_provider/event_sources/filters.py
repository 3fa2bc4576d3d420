"""Filter patterns: which records of an event source reach the function.

The language is that of AWS's rule engine (github.com/aws/event-ruler, which Lambda and EventBridge share) as the page
lambda/latest/dg/invocation-eventfiltering.html describes it:

    {"field": [TEST, …]}            one of the tests holds for a value of the field
    {"a": {"b": [TEST, …]}, "c": …} all fields hold
    {"$or": [{…}, {…}]}             one of at least two objects holds, beside the other fields

    TEST  text, number, true, false, null       the value itself; numbers by their digits: 300 is not 300.0 (AWS's page)
          {"exactly": text}  {"equals-ignore-case": text}
          {"prefix": text}  {"suffix": text}    or {"prefix": {"equals-ignore-case": text}}
          {"wildcard": text}                    `*` is any text, `\\*` and `\\\\` stand for themselves
          {"anything-but": value | [value, …]}  texts or numbers, not both
          {"anything-but": {"prefix" | "suffix" | "wildcard" | "equals-ignore-case": text | [text, …]}}
          {"numeric": ["=" | "<" | "<=" | ">" | ">=", n]}  {"numeric": [">" | ">=", n, "<" | "<=", m]}
          {"exists": true | false}              of leaves: an object has none itself (recorded: exists_false_filter)
          {"cidr": "10.0.0.0/8"}

A value that is a list stands for each of its elements; an object in a list satisfies the fields below it alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, NoReturn

from lambda_provider.event_sources.operators import InvalidPattern, Number, Test, compile_test

__all__ = ["Filter", "Filters", "InvalidPattern", "Number", "parse"]

_OR = "$or"
_DEEPEST = 200
_RESERVED_IN_OR = frozenset(
    {"exactly", "equals-ignore-case", "prefix", "suffix", "anything-but", "exists", "wildcard", "numeric", "cidr"}
    | {"=", "<", "<=", ">", ">=", "regex", "not-wildcard", "not-equals-ignore-case"}
    | {"date-after", "date-on-or-after", "date-before", "date-on-or-before", "in-date-range"}
    | {"ip-address-in-range", "ip-address-not-in-range"}
)
"""Words that the engine does not take for fields within $or."""

Matcher = Callable[[Any], bool]
"""Holds for the value of a field, which may be missing."""

_MISSING: Any = object()


class Filter:
    """One compiled pattern."""

    def __init__(self, pattern: str) -> None:
        """Raises InvalidPattern."""
        document = _load_pattern(pattern)
        if not isinstance(document, dict):
            raise InvalidPattern("Filter is not an object")
        self.pattern = pattern
        self._holds = _compile_object(document, 1, within_or=False)

    def matches(self, event: Any) -> bool:
        """Whether an event satisfies the pattern. `event` is JSON: as `parse` gives it, or as Python's own `json` does."""
        return self._holds(event)


class Filters:
    """The filters of an event source mapping: a record that satisfies one of them is kept, and each if there is none."""

    def __init__(self, patterns: Iterable[str]) -> None:
        """Raises InvalidPattern."""
        self.filters = tuple(Filter(pattern) for pattern in patterns)

    def match(self, event: Any) -> bool:
        """Whether the record belongs to the function."""
        return not self.filters or any(each.matches(event) for each in self.filters)


def parse(text: str | bytes) -> Any:
    """JSON in which numbers are still as they are written. Raises ValueError for what is not JSON."""
    try:
        return json.loads(text, parse_int=Number, parse_float=Number, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("the JSON is too deep") from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _load_pattern(pattern: str) -> Any:
    try:
        return parse(pattern)
    except ValueError as error:
        raise InvalidPattern(str(error)) from None


# Fields


def _compile_object(document: dict[str, Any], depth: int, *, within_or: bool) -> Matcher:
    if not document:
        raise InvalidPattern("Empty objects are not allowed")
    if depth > _DEEPEST:
        raise InvalidPattern("The pattern is too deep")
    fields: list[tuple[str, Matcher]] = []
    choices: list[list[Matcher]] = []
    for name, value in document.items():
        if name == _OR:
            choices.append(_compile_or(value, depth))
        elif within_or and name in _RESERVED_IN_OR:
            raise InvalidPattern(f"{name} is a reserved name which cannot be used inside {_OR}")
        else:
            fields.append((name, _compile_field(name, value, depth, within_or)))

    def holds_for_one(candidate: Mapping[str, Any]) -> bool:
        for name, holds in fields:
            if not holds(candidate.get(name, _MISSING)):
                return False
        return all(any(holds(candidate) for holds in choice) for choice in choices)

    def holds(value: Any) -> bool:
        if isinstance(value, Mapping):
            return holds_for_one(value)
        candidates = [each for each in _elements(value) if isinstance(each, Mapping)]
        return any(map(holds_for_one, candidates or [{}]))

    return holds


def _compile_or(value: Any, depth: int) -> list[Matcher]:
    if not isinstance(value, list):
        raise InvalidPattern(f"It must be an Array followed with {_OR}.")
    if len(value) < 2:
        raise InvalidPattern(f"There must have at least 2 Objects in {_OR} relationship.")
    if not all(isinstance(each, dict) for each in value):
        raise InvalidPattern(f"Only JSON object is allowed in array of {_OR} relationship.")
    return [_compile_object(each, depth + 1, within_or=True) for each in value]


def _compile_field(name: str, value: Any, depth: int, within_or: bool) -> Matcher:
    if isinstance(value, dict):
        return _compile_object(value, depth + 1, within_or=within_or)
    if not isinstance(value, list):
        raise InvalidPattern(f'"{name}" must be an object or an array')
    if not value:
        raise InvalidPattern("Empty arrays are not allowed")
    return _one_of([compile_test(each) for each in value])


def _one_of(tests: list[Test | bool]) -> Matcher:
    """The tests of a field. A bool stands for `exists`: whether there have to be leaves, or must not be."""
    expected = {test for test in tests if isinstance(test, bool)}
    of_leaves = [test for test in tests if not isinstance(test, bool)]

    def holds(value: Any) -> bool:
        present = False
        for leaf in _leaves(value):
            present = True
            if any(test(leaf) for test in of_leaves):
                return True
        return present in expected

    return holds


def _leaves(value: Any) -> Iterator[Any]:
    for element in _elements(value):
        if element is not _MISSING and not isinstance(element, Mapping):
            yield _as_written(element)


def _elements(value: Any) -> Iterator[Any]:
    """The value, or what is in a list, and in the lists in it."""
    pending = [value]
    while pending:
        each = pending.pop()
        if isinstance(each, (list, tuple)):
            pending.extend(reversed(each))
        else:
            yield each


def _as_written(leaf: Any) -> Any:
    if isinstance(leaf, (int, float)) and not isinstance(leaf, bool):
        return Number(json.dumps(leaf))
    if isinstance(leaf, Decimal):
        return Number(str(leaf))
    return leaf
