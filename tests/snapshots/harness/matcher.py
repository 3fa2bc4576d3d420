"""Compares JSON with an expectation that contains placeholders.

A placeholder stands for a value that differs from run to run: `<uuid:1>`, `<region>`, or a bare word such as `date`. It may be
a whole value or a part of a text. What it stands for is decided where it is met first:

- one placeholder is one value throughout a scenario, and two numbers of one family (`<uuid:1>`, `<uuid:2>`) are two values;
- a few stand for any value each time, because they were recorded so (`FREE`).

Everything else has to be equal; a missing and an extra member are differences.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

_MOMENT = r"<timestamp:2022-07-13T13:48:01(?:\.000)?Z>"
"""A moment in the form of this one."""
TOKEN = re.compile(rf"<<[a-z0-9-]+>:\d+>|<[a-z][a-z0-9_-]*(?::\d+)?>|{_MOMENT}|\b1{{12}}\b|\bdate(?=\t)")
BARE = frozenset(
    {"date", "datetime", "timestamp", "code-sha256", "log-result", "function-url", "lambda-url"}
    | {"sent-timestamp", "sender-id"}
)
FREE = frozenset(
    {
        *BARE,
        "<approximate-arrival-timestamp>",
        "<approximate-creation-datetime>",
        "<approximate-first-receive-timestamp>",
        "<code-sha256>",
        "<code-size>",
        "<date>",
        "<datetime>",
        "<duration>",
        "<execution-start>",
        "<layer-location>",
        "<location>",
        "<md5-body>",
        "<memory>",
        "<request-id>",
        "<runtime-release>",
        "<stack-trace>",
        "<timeout_error_msg>",
        "<timestamp>",
        "<timestamp:2022-07-13T13:48:01.000Z>",
        "<timestamp:2022-07-13T13:48:01Z>",
        "<uuid>",
    }
)
_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
SHAPES = {
    "account": r"\d{12}",
    "region": r"[a-z]{2,4}(?:-[a-z]+)+-\d",
    "partition": r"aws(?:-[a-z]+)*",
    "uuid": _UUID,
    "request-id": _UUID,
    "function-name": r"[A-Za-z0-9_-]+",
    # Or the label of a DynamoDB stream.
    "resource": r"[^:]+|\d{4}-\d\d-\d\dT[\d:.]+",
    "duration": r"\d+(?:\.\d+)?",
    "memory": r"\d+",
    "runtime-release": r"\d+",
    "timestamp:2022-07-13T13:48:01.000Z": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z",
    "timestamp:2022-07-13T13:48:01Z": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ",
}
MISSING = "(missing)"


@dataclass(frozen=True, slots=True)
class Difference:
    """At `path` (`$.step.member[0]`) stood `actual` where `expected` should; either may be `MISSING`."""

    path: str
    expected: Any
    actual: Any
    note: str = ""


@dataclass(slots=True)
class Bindings:
    """What the placeholders of one scenario stand for, so far."""

    values: dict[str, Any] = field(default_factory=dict)

    def bind(self, token: str, value: Any) -> str:
        """Let `token` stand for `value`; returns what speaks against it, or an empty string."""
        if token in FREE:
            return ""
        if token in self.values:
            return "" if self.values[token] == value else f"{token} stood for {self.values[token]!r} before"
        if token.endswith(">") and ":" in token:
            family = _family(token)
            for other, taken in self.values.items():
                if taken == value and ":" in other and _family(other) == family:
                    return f"{value!r} is {other} already"
        self.values[token] = value
        return ""


def compare(expected: Any, actual: Any, bindings: Bindings, path: str = "$") -> Iterator[Difference]:
    """The differences between an expectation and a value, outermost first; binds placeholders on the way."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        for key in [*expected, *(key for key in actual if key not in expected)]:
            yield from compare(expected.get(key, MISSING), actual.get(key, MISSING), bindings, f"{path}.{key}")
    elif isinstance(expected, list) and isinstance(actual, list):
        for index in range(max(len(expected), len(actual))):
            yield from compare(
                expected[index] if index < len(expected) else MISSING,
                actual[index] if index < len(actual) else MISSING,
                bindings,
                f"{path}[{index}]",
            )
    elif isinstance(expected, str) and expected is not MISSING and actual is not MISSING:
        problem = _match_text(expected, actual, bindings)
        if problem is not None:
            yield Difference(path, expected, actual, problem)
    elif type(expected) is not type(actual) or expected != actual:
        yield Difference(path, expected, actual)


def _match_text(expected: str, actual: Any, bindings: Bindings) -> str | None:
    """None when `actual` is what `expected` describes, else a remark, which may be empty."""
    if expected in BARE:
        return None if isinstance(actual, (str, int)) else ""
    if not TOKEN.search(expected):
        return None if expected == actual else ""
    if not isinstance(actual, str):
        stands_for_anything = TOKEN.fullmatch(expected) and _family(expected) not in SHAPES
        return bindings.bind(expected, actual) or None if stands_for_anything else ""
    tokens: list[str] = []
    match = re.fullmatch(_pattern(expected, bindings, tokens), actual, re.DOTALL)
    if match is None:
        return _known(expected, bindings)
    return next(filter(None, map(bindings.bind, tokens, match.groups())), None)


def _pattern(expected: str, bindings: Bindings, tokens: list[str]) -> str:
    """A regular expression for `expected`; appends to `tokens` the placeholder of each group."""
    parts, end = [], 0
    for found in TOKEN.finditer(expected):
        token = found[0]
        parts.append(re.escape(expected[end : found.start()]))
        end = found.end()
        if token in bindings.values:
            parts.append(re.escape(str(bindings.values[token])))
        elif token in tokens and token not in FREE:
            parts.append(f"\\{tokens.index(token) + 1}")
        else:
            tokens.append(token)
            parts.append(f"({SHAPES.get(_family(token), '.+?')})")
    return "".join([*parts, re.escape(expected[end:])])


def _family(token: str) -> str:
    if token.startswith("<timestamp:"):
        return token.strip("<>")
    return "account" if token[0] == "1" else token.strip("<>").partition(":")[0].strip("<>")


def _known(expected: str, bindings: Bindings) -> str:
    known = [f"{token} is {bindings.values[token]!r}" for token in TOKEN.findall(expected) if token in bindings.values]
    return ", ".join(dict.fromkeys(known))
