"""The tests of filter patterns: one element of the list that a pattern has for a field. The language is in `filters`."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, DecimalException
from functools import cached_property
from typing import Any

_LARGEST_NUMBER = Decimal("5e9")


class InvalidPattern(ValueError):
    """A text is not a filter pattern; the message says what is wrong with it."""


@dataclass(frozen=True)
class Number:
    """A JSON number as it is written."""

    text: str

    @cached_property
    def value(self) -> Decimal | None:
        """The number if it can be compared: AWS does so within ±5,000,000,000."""
        try:
            value = Decimal(self.text)
        except DecimalException:
            return None
        return value if value.copy_abs() <= _LARGEST_NUMBER else None


Test = Callable[[Any], bool]
"""Holds for one leaf: a text, `Number`, bool or None."""


def compile_test(value: Any) -> Test | bool:
    """The test, or for `exists` whether there has to be a leaf. Raises InvalidPattern."""
    if isinstance(value, list):
        raise InvalidPattern("Match value must be String, number, true, false, or null")
    if not isinstance(value, dict):
        return _is(value)
    if len(value) != 1:
        raise InvalidPattern("Only one key allowed in match expression")
    ((name, argument),) = value.items()
    if name == "exists":
        if not isinstance(argument, bool):
            raise InvalidPattern("exists match pattern must be either true or false.")
        return argument
    compile_operator = _OPERATORS.get(name)
    if compile_operator is None:
        raise InvalidPattern(f"Unrecognized match type {name}")
    return compile_operator(argument)


def _is(expected: Any) -> Test:
    kind = type(expected)
    return lambda leaf: type(leaf) is kind and leaf == expected


def _text(name: str, argument: Any) -> str:
    if not isinstance(argument, str):
        raise InvalidPattern(f"{name} match pattern must be a string")
    return argument


def _exactly(argument: Any) -> Test:
    return _is(_text("exact", argument))


def _equals_ignore_case(argument: Any) -> Test:
    expected = _text("equals-ignore-case", argument).lower()
    return lambda leaf: isinstance(leaf, str) and leaf.lower() == expected


def _end(name: str, has: Callable[[str, str], bool]) -> Callable[[Any], Test]:
    """`prefix` or `suffix`, which know a form that ignores case."""

    def compile_end(argument: Any) -> Test:
        if isinstance(argument, dict):
            if list(argument) != ["equals-ignore-case"]:
                raise InvalidPattern(f"Unsupported {name} pattern: {', '.join(argument)}")
            part = _text("equals-ignore-case", argument["equals-ignore-case"]).lower()
            return lambda leaf: isinstance(leaf, str) and has(leaf.lower(), part)
        part = _text(name, argument)
        return lambda leaf: isinstance(leaf, str) and has(leaf, part)

    return compile_end


def _wildcard(argument: Any) -> Test:
    parts = _literal_parts(_text("wildcard", argument))

    def holds(leaf: Any) -> bool:
        if not isinstance(leaf, str):
            return False
        if len(parts) == 1:
            return leaf == parts[0]
        first, *middle, last = parts
        if len(leaf) < len(first) + len(last) or not (leaf.startswith(first) and leaf.endswith(last)):
            return False
        # Each part at the first place where it fits: what is left for the others is never less. No backtracking.
        position, end = len(first), len(leaf) - len(last)
        for part in middle:
            found = leaf.find(part, position, end)
            if found < 0:
                return False
            position = found + len(part)
        return True

    return holds


def _literal_parts(text: str) -> list[str]:
    """What stands between the wildcards."""
    parts, characters = [""], iter(text)
    after_wildcard = False
    for character in characters:
        if character == "*":
            if after_wildcard:
                raise InvalidPattern("Consecutive wildcard characters")
            parts.append("")
        elif character == "\\":
            escaped = next(characters, "")
            if escaped not in ("*", "\\"):
                raise InvalidPattern("Invalid escape character")
            parts[-1] += escaped
        else:
            parts[-1] += character
        after_wildcard = character == "*"
    return parts


def _anything_but(argument: Any) -> Test:
    if isinstance(argument, dict):
        return _none_of(*_nested_tests(argument))
    values = argument if isinstance(argument, list) else [argument]
    if not all(isinstance(each, (str, Number)) for each in values):
        raise InvalidPattern("Inside anything but list, start|null|boolean is not supported.")
    kinds = {type(each) for each in values}
    if len(kinds) != 1:
        raise InvalidPattern(
            "Inside anything but list, either all values are number or string, mixed type is not supported"
        )
    if kinds == {str}:
        return _none_of(*map(_is, values))
    return _none_of(*(_numeric(["=", each]) for each in values))


def _nested_tests(argument: dict[str, Any]) -> list[Test]:
    if len(argument) != 1:
        raise InvalidPattern("Only one key allowed in match expression")
    ((name, value),) = argument.items()
    if name not in ("prefix", "suffix", "wildcard", "equals-ignore-case"):
        raise InvalidPattern(f"Unsupported anything-but pattern: {name}")
    texts = value if isinstance(value, list) else [value]
    if not texts or (name in ("prefix", "suffix") and "" in texts):
        raise InvalidPattern("Null prefix/suffix not allowed")
    return [_OPERATORS[name](_text(name, each)) for each in texts]


def _none_of(*tests: Test) -> Test:
    return lambda leaf: not any(test(leaf) for test in tests)


_COMPARISONS: Mapping[str, Callable[[Decimal, Decimal], bool]] = {
    "=": lambda value, bound: value == bound,
    "<": lambda value, bound: value < bound,
    "<=": lambda value, bound: value <= bound,
    ">": lambda value, bound: value > bound,
    ">=": lambda value, bound: value >= bound,
}


def _numeric(argument: Any) -> Test:
    if not isinstance(argument, list) or len(argument) not in (2, 4):
        raise InvalidPattern("Value of numeric must be an array of an operator and a number, or of two of each.")
    comparisons = [(argument[at], _bound(argument[at + 1])) for at in range(0, len(argument), 2)]
    for operator, _ in comparisons:
        if not isinstance(operator, str) or operator not in _COMPARISONS:
            raise InvalidPattern(f"Unrecognized numeric range operator: {operator}")
    if len(comparisons) == 2:
        (lower, bottom), (upper, top) = comparisons
        if lower not in (">", ">=") or upper not in ("<", "<="):
            raise InvalidPattern(f"Bad numeric range operator: {upper}")
        if bottom > top:
            raise InvalidPattern("Bottom must be less than top")
    compare = [(_COMPARISONS[operator], bound) for operator, bound in comparisons]

    def holds(leaf: Any) -> bool:
        value = leaf.value if isinstance(leaf, Number) else None
        return value is not None and all(compares(value, bound) for compares, bound in compare)

    return holds


def _bound(value: Any) -> Decimal:
    bound = value.value if isinstance(value, Number) else None
    if bound is None:
        raise InvalidPattern("Value must be numeric, between -5.0E9 and +5.0E9")
    return bound


def _cidr(argument: Any) -> Test:
    text = _text("cidr", argument)
    address, slash, bits = text.partition("/")
    try:
        if not slash or not bits.isdecimal():
            raise ValueError("no mask")
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise InvalidPattern(f"Malformed CIDR, one '/' required: {address}{slash}{bits}") from None

    def holds(leaf: Any) -> bool:
        try:
            return isinstance(leaf, str) and ipaddress.ip_address(leaf) in network
        except ValueError:
            return False

    return holds


_OPERATORS: Mapping[str, Callable[[Any], Test]] = {
    "exactly": _exactly,
    "equals-ignore-case": _equals_ignore_case,
    "prefix": _end("prefix", str.startswith),
    "suffix": _end("suffix", str.endswith),
    "wildcard": _wildcard,
    "anything-but": _anything_but,
    "numeric": _numeric,
    "cidr": _cidr,
}
