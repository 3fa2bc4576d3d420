"""Which lines of a function go to its log, where it logs in JSON and asks for less than everything.

https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html: a function of any runtime writes JSON
objects with a `level`; a line whose level is missing or invalid counts as INFO, and so does one without a valid timestamp
(RFC 3339). What is no JSON object has no level and is never left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from lambda_runtime.types import FunctionVersion

_LEVELS = {"TRACE": 5, "DEBUG": 10, "INFO": 20, "WARN": 30, "ERROR": 40, "FATAL": 50}
_OTHER_NAMES = {"WARNING": "WARN", "CRITICAL": "FATAL"}
"""Those of Python's logging."""
_TIMESTAMPS = ("timestamp", "time", "@timestamp")
"""What the managed runtimes and the usual libraries call it."""
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


def application_filter(version: FunctionVersion) -> Callable[[str], bool] | None:
    """Tells whether a message goes to the log of this version; None if all do."""
    if version.log_format != "JSON":
        return None
    threshold = _LEVELS[version.application_log_level or "INFO"]
    if threshold == _LEVELS["TRACE"]:
        return None

    def passes(message: str) -> bool:
        return not message.startswith("{") or _level(message) >= threshold

    return passes


def _level(message: str) -> int:
    try:
        found = json.loads(message)
    except ValueError:
        return max(_LEVELS.values())
    if not any(_is_moment(found.get(name)) for name in _TIMESTAMPS):
        return _LEVELS["INFO"]
    return _level_named(found)


def _level_named(record: Mapping[str, Any]) -> int:
    name = str(record.get("level")).upper()
    return _LEVELS.get(_OTHER_NAMES.get(name, name), _LEVELS["INFO"])


def _is_moment(value: object) -> bool:
    return isinstance(value, str) and _RFC_3339.fullmatch(value) is not None
