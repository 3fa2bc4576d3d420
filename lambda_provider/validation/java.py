"""How AWS's service prints values and reads patterns: it is written in Java, and its error messages show that."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from math import isfinite
from typing import Any

# The only Unicode classes in the model are those of tags, `[\p{L}\p{Z}\p{N}_…]`, which Python's `re` does not have. There
# `\w` is the letters, the numbers and the underscore; the separators are few.
_UNICODE_CLASSES = r"\p{L}\p{Z}\p{N}_"
_AS_PYTHON = "\\w\\u0020\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000"


def matcher(pattern: str) -> Callable[[str], object]:
    """A predicate for strings that match a pattern as a whole, with the classes (`\\d`, `\\s`) of ASCII as in Java."""
    if _UNICODE_CLASSES in pattern:
        return re.compile(pattern.replace(_UNICODE_CLASSES, _AS_PYTHON)).fullmatch
    return re.compile(pattern, re.ASCII).fullmatch


def text(value: Any) -> str:
    """A value as `toString()` prints it: `[a, b]`, `{k=v}`, `true`, `2.0`, `null`; of a blob only its size shows."""
    if isinstance(value, str):
        return value
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _double(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"java.nio.HeapByteBuffer[pos=0 lim={len(value)} cap={len(value)}]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{text(key)}={text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(text(item) for item in value) + "]"
    return str(value)


def _double(value: float) -> str:
    if not isfinite(value):
        return repr(value).replace("inf", "Infinity").replace("nan", "NaN")
    if value == 0 or 1e-3 <= abs(value) < 1e7:
        return repr(value)
    mantissa, exponent = f"{Decimal(repr(value)).normalize():e}".split("e")
    return f"{mantissa if '.' in mantissa else mantissa + '.0'}E{int(exponent)}"
