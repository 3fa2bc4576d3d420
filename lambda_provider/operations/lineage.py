"""Recursive loops: how often a chain of requests has run a function, carried in the trace header.

Every invocation gets `Lineage=1:HASH:COUNT|HASH:COUNT…` in its `X-Amzn-Trace-Id`: the functions that the chain ran, each with
how often it had been run before. AWS SDKs send the header on with what a function calls, and services hand it to what they
invoke, so a function that causes its own next invocation is seen
(https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable

from lambda_runtime.tracing import new_trace_header

LIMIT = 16
"""A chain may run a function so often; the next invocation is stopped (the same page: approximately 16 times)."""

_FIELD = "Lineage="
_VERSION = "1:"


def extend(trace_header: str | None, function_arn: str) -> tuple[str, int]:
    """The header for an invocation of the function, and how often the chain has run it before.

    `function_arn` is without a qualifier: versions of one function are one. A lineage that cannot be read begins anew.
    """
    name = f"{zlib.crc32(function_arn.encode()):08x}"
    if trace_header is None:
        return f"{new_trace_header()};{_FIELD}{_VERSION}{name}:0", 0
    if _FIELD not in trace_header:
        return f"{trace_header};{_FIELD}{_VERSION}{name}:0", 0
    fields = trace_header.split(";")
    index = next((index for index, field in enumerate(fields) if field.startswith(_FIELD)), None)
    if index is None:
        return f"{trace_header};{_FIELD}{_VERSION}{name}:0", 0
    counts = _counts(fields[index].removeprefix(_FIELD))
    before = counts.get(name, -1) + 1
    counts[name] = before
    fields[index] = f"{_FIELD}{_VERSION}{'|'.join(f'{each}:{count}' for each, count in counts.items())}"
    return ";".join(fields), before


def furthest(trace_headers: Iterable[str | None], function_arn: str) -> str | None:
    """Which chain an invocation goes on that several messages cause together: the one that ran the function most often.

    None if no message has a header. For pollers: the header of an SQS message is its attribute `AWSTraceHeader`.
    """
    headers = [header for header in trace_headers if header]
    return max(headers, key=lambda header: extend(header, function_arn)[1], default=None)


def _counts(lineage: str) -> dict[str, int]:
    counts = {}
    for entry in lineage.removeprefix(_VERSION).split("|"):
        name, _, count = entry.rpartition(":")
        if not name or not (count.isascii() and count.isdigit() and len(count) < 6):
            return {}
        counts[name] = int(count)
    return counts
