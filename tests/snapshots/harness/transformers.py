"""Writes expectations: replaces what differs from run to run by placeholders.

There are two kinds. A `Mask` replaces a value where it stands (`<location>`): what it was does not matter. A `Reference` finds
values, and each is then replaced wherever it stands in the scenario, also inside other texts (a function's name in its ARN and
its log group), by a placeholder of its own (`<function-name:1>`), numbered in the order in which they are met.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Mask:
    """`apply(key, value)` answers what stands in the snapshot for the value of a member called `key`."""

    apply: Callable[[str, Any], Any]


@dataclass(frozen=True, slots=True)
class Reference:
    """`find(key, value)` yields the texts in the value of a member called `key` that are to be replaced everywhere."""

    family: str
    find: Callable[[str, Any], Iterable[str]]


Transformer = Mask | Reference


def masked_member(key: str, family: str) -> Mask:
    """The value of every member called `key`, whatever it is, as `<family>`."""
    return Mask(lambda name, value: f"<{family}>" if name == key else value)


def masked_text(expression: str, replacement: str) -> Mask:
    """Each match in a text, as `replacement`, which may name groups of the expression."""
    compiled = re.compile(expression)
    return Mask(lambda _name, value: compiled.sub(replacement, value) if isinstance(value, str) else value)


def member(key: str, family: str) -> Reference:
    """The text of every member called `key`."""
    return Reference(family, lambda name, value: [value] if name == key and isinstance(value, str) else [])


def pattern(expression: str, family: str) -> Reference:
    """The first group of each match in any text, or the whole match when there is no group."""
    compiled = re.compile(expression)
    return Reference(family, lambda _name, value: compiled.findall(value) if isinstance(value, str) else [])


def value(text: str, family: str) -> Reference:
    """A text that the scenario itself chose."""
    return pattern(re.escape(text), family)


STANDARD: tuple[Transformer, ...] = (
    masked_member("CodeSize", "code-size"),
    masked_member("Location", "location"),
    masked_member("LastModified", "date"),
    masked_member("CreationTime", "date"),
    masked_member("LastModifiedTime", "date"),
    masked_member("CreatedDate", "date"),
    member("FunctionName", "function-name"),
    member("CodeSha256", "code-sha256"),
    member("LogResult", "log-result"),
    member("log_stream_name", "log-stream-name"),
    member("FunctionUrl", "function-url"),
    pattern(r":role/([^:]+)$", "resource"),
    pattern(r"::runtime:([0-9a-f]{64})", "resource"),
    pattern(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "uuid"),
)
LOG_LINES: tuple[Transformer, ...] = (
    masked_text(r"\d{4}-\d\d-\d\dT[\d:.]+Z(?=\t)", "date"),
    masked_text(r"RequestId: [0-9a-f-]{36}", "RequestId: <request-id>"),
    masked_text(r"(?<=date\t)[0-9a-f-]{36}(?=\t[A-Z]+\t)", "<request-id>"),
    masked_text(r"(Runtime Version: [\w:.]+)\.v\d+", r"\1.v<runtime-release>"),
    masked_text(r"([Dd]uration): [\d.]+ ms", r"\1: <duration> ms"),
    masked_text(r"Memory Used: \d+ MB", "Memory Used: <memory> MB"),
)


def mask(
    steps: dict[str, Any], transformers: Iterable[Transformer], constants: dict[str, str] | None = None
) -> dict[str, Any]:
    """`steps` with placeholders; `constants` are texts with a placeholder of their own (account, region)."""
    transformers = list(transformers)
    masks = [transformer.apply for transformer in transformers if isinstance(transformer, Mask)]
    references = [transformer for transformer in transformers if isinstance(transformer, Reference)]
    masked = {step: _masked("", response, masks) for step, response in steps.items()}
    names: dict[str, str] = {}
    counts: dict[str, int] = {}
    for key, found in _members("", masked):
        for reference in references:
            for text in reference.find(key, found):
                if text not in names:
                    counts[reference.family] = counts.get(reference.family, 0) + 1
                    names[text] = f"<{reference.family}:{counts[reference.family]}>"
    texts = (constants or {}) | names
    longest_first = sorted(texts, key=len, reverse=True)
    expression = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")

    def substituted(_key: str, value: Any) -> Any:
        return expression.sub(lambda match: texts[match[0]], value) if isinstance(value, str) else value

    return {step: _masked("", response, [substituted]) for step, response in masked.items()}


def _masked(key: str, value: Any, masks: list[Callable[[str, Any], Any]]) -> Any:
    for apply in masks:
        value = apply(key, value)
    if isinstance(value, dict):
        return {name: _masked(name, member, masks) for name, member in value.items()}
    if isinstance(value, list):
        return [_masked(key, member, masks) for member in value]
    return value


def _members(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _members(name, inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _members(key, inner)
    else:
        yield key, value
