"""The condition operators of the IAM policy language.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html and, for several values
of a key, reference_policies_condition-logic-multiple-context-keys-or-values.html. Policy variables are not replaced.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

Values = Sequence[str]
RequestContextKeys = Mapping[str, str | Sequence[str]]
"""What is known about a request: values by condition key in lower case. A key that is not known is absent."""

_Matches = Callable[[str, str], bool]


def holds(condition: Mapping[str, Mapping[str, Any]], request: RequestContextKeys) -> bool:
    """Whether a statement's Condition holds: each key of each operator has to."""
    return all(
        _key_holds(operator, _strings(expected), request.get(key.lower()))
        for operator, keys in condition.items()
        for key, expected in keys.items()
    )


def is_operator(name: str) -> bool:
    """Whether the policy language has this operator, with its prefix for several values and its suffix `IfExists`."""
    _, operator, if_exists = _split(name)
    return operator in _POSITIVE or operator in _NEGATED or (operator == "Null" and not if_exists)


def wildcard_match(pattern: str, value: str) -> bool:
    """Whether a value is what a pattern with `*` and `?` says, upper and lower case told apart."""
    return _wildcards(pattern).fullmatch(value) is not None


def arn_match(pattern: str, value: str) -> bool:
    """Whether an ARN is like another with wildcards: each of the six parts for itself, so `*` does not reach over a colon."""
    if pattern == "*":
        return True
    patterns, values = pattern.split(":", 5), value.split(":", 5)
    return len(patterns) == len(values) == 6 and all(map(wildcard_match, patterns, values))


def _key_holds(name: str, expected: Values, found: str | Sequence[str] | None) -> bool:
    quantifier, operator, if_exists = _split(name)
    if operator == "Null":
        return any((value.lower() == "true") == (found is None) for value in expected)
    negated = operator in _NEGATED
    matches = _POSITIVE[_NEGATED.get(operator, operator)]

    def value_holds(value: str) -> bool:
        return any(matches(each, value) for each in expected) is not negated

    if found is None:
        return if_exists or quantifier == "ForAllValues" or (negated and not quantifier)
    values = [found] if isinstance(found, str) else found
    if quantifier == "ForAllValues":
        return all(map(value_holds, values))
    return any(map(value_holds, values))


def _split(name: str) -> tuple[str, str, bool]:
    quantifier, separator, rest = name.partition(":")
    if not separator or quantifier not in ("ForAllValues", "ForAnyValue"):
        quantifier, rest = "", name
    operator = rest.removesuffix("IfExists")
    return quantifier, operator, operator != rest


def _strings(value: Any) -> Values:
    values = value if isinstance(value, (list, tuple)) else [value]
    return [str(item).lower() if isinstance(item, bool) else str(item) for item in values]


@lru_cache(maxsize=1024)
def _wildcards(pattern: str) -> re.Pattern[str]:
    parts = (".*" if part == "*" else "." if part == "?" else re.escape(part) for part in re.split(r"([*?])", pattern))
    return re.compile("".join(parts), re.DOTALL)


def _numbers(compare: Callable[[float, float], bool]) -> _Matches:
    def matches(expected: str, found: str) -> bool:
        try:
            return compare(float(found), float(expected))
        except ValueError:
            return False

    return matches


def _dates(compare: Callable[[float, float], bool]) -> _Matches:
    def matches(expected: str, found: str) -> bool:
        try:
            return compare(_epoch(found), _epoch(expected))
        except ValueError:
            return False

    return matches


def _epoch(text: str) -> float:
    """Seconds since the epoch of an ISO 8601 date, or of a number that is that already."""
    try:
        return float(text)
    except ValueError:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _in_network(expected: str, found: str) -> bool:
    try:
        return ipaddress.ip_address(found) in ipaddress.ip_network(expected, strict=False)
    except ValueError:
        return False


def _same_bytes(expected: str, found: str) -> bool:
    try:
        return base64.b64decode(expected, validate=True) == base64.b64decode(found, validate=True)
    except binascii.Error:
        return False


def _same(expected: str, found: str) -> bool:
    return expected == found


def _same_ignoring_case(expected: str, found: str) -> bool:
    return expected.lower() == found.lower()


_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "Equals": lambda found, expected: found == expected,
    "LessThan": lambda found, expected: found < expected,
    "LessThanEquals": lambda found, expected: found <= expected,
    "GreaterThan": lambda found, expected: found > expected,
    "GreaterThanEquals": lambda found, expected: found >= expected,
}

_POSITIVE: Mapping[str, _Matches] = {
    "StringEquals": _same,
    "StringEqualsIgnoreCase": _same_ignoring_case,
    "StringLike": wildcard_match,
    "ArnEquals": arn_match,
    "ArnLike": arn_match,
    "Bool": _same_ignoring_case,
    "BinaryEquals": _same_bytes,
    "IpAddress": _in_network,
    **{f"Numeric{name}": _numbers(compare) for name, compare in _COMPARISONS.items()},
    **{f"Date{name}": _dates(compare) for name, compare in _COMPARISONS.items()},
}

_NEGATED: Mapping[str, str] = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
    "NotIpAddress": "IpAddress",
    "NumericNotEquals": "NumericEquals",
    "DateNotEquals": "DateEquals",
}
