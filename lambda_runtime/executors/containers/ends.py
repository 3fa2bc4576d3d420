"""How a process in a container ended, as shells and engines tell it: by one number."""

from __future__ import annotations

import signal

from lambda_runtime.executors.base import ExitStatus

NOT_FOUND, NOT_EXECUTABLE = 127, 126
"""What a shell says of a program that it cannot start (POSIX, Shell & Utilities 2.8.2)."""
PROBLEMS = {NOT_FOUND: "no such file or directory", NOT_EXECUTABLE: "permission denied"}
KILLED = ExitStatus(signal=signal.SIGKILL)
SIGKILL_CODE = 128 + signal.SIGKILL
NO_HANDLER = 142
"""What the entry point of AWS's images ends with when the image or its configuration has no CMD. AWS says `exit status 142`,
and a shell or an engine says the same of SIGALRM, which next to no program leaves to end it."""


def status_of(code: int, *, out_of_memory: bool = False) -> ExitStatus:
    """Above 128 it is the number of a signal, if there is one of that number and nothing else is more likely."""
    number = code - 128
    if number > 0 and code != NO_HANDLER and number in signal.valid_signals():
        return ExitStatus(signal=number, out_of_memory=out_of_memory)
    return ExitStatus(code=code, out_of_memory=out_of_memory)


def not_executed(program: str, code: int) -> ExitStatus:
    """The program could not be started; `code` is one of `PROBLEMS`."""
    return ExitStatus(code=code, entry_point_error=f"fork/exec {program}: {PROBLEMS[code]}")
