"""Colours of log lines, for people who watch them in a terminal."""

from __future__ import annotations

import os
import re
from typing import TextIO

_RED, _YELLOW, _FAINT, _RESET = "\033[31m", "\033[33m", "\033[2m", "\033[0m"

# The platform's own lines; levels as awslambdaric's text format and Node.js's console write them, or in a JSON record.
_PLATFORM = re.compile(
    r'(?:START|END|REPORT) RequestId: |INIT_START |RESTORE_(?:START|REPORT) |EXTENSION\t|\{"time":"[^"]*","type":"platform\.'
)
_ERROR = re.compile(
    r"\[(?:ERROR|CRITICAL|FATAL)\]|Traceback |RequestId: \S+ Error: |\S+ \S+ Task timed out "
    r"|INIT_REPORT .*Status: (?:error|timeout)"
    r'|\S+\t\S+\t(?:ERROR|FATAL)\t|\{.*"level": ?"(?:ERROR|CRITICAL|FATAL)"'
)
_WARNING = re.compile(r'\[WARN(?:ING)?\]|\S+\t\S+\tWARN\t|\{.*"level": ?"WARN(?:ING)?"')
_FAILED = re.compile(r"\tStatus: (?:error|timeout)|\"status\":\"(?:error|timeout|failure)\"")


def wanted(stream: TextIO) -> bool:
    """Whether to colour what is written there: it is a terminal that can, and nobody said no (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def coloured(moment: str, message: str) -> str:
    """A log line: errors red, warnings yellow, what the platform writes and the time faint."""
    if _ERROR.match(message) or (_PLATFORM.match(message) and _FAILED.search(message)):
        message = f"{_RED}{message}{_RESET}"
    elif _WARNING.match(message):
        message = f"{_YELLOW}{message}{_RESET}"
    elif _PLATFORM.match(message):
        message = f"{_FAINT}{message}{_RESET}"
    return f"{_FAINT}{moment}{_RESET}  {message}"
