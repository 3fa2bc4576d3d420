"""Which log lines stand out."""

from __future__ import annotations

import io

import pytest

from lambda_provider.commands.colours import coloured, wanted

RED, YELLOW, FAINT, PLAIN = "\033[31m", "\033[33m", "\033[2m", ""


@pytest.mark.parametrize(
    ("message", "colour"),
    [
        ("START RequestId: 1 Version: $LATEST", FAINT),
        ("REPORT RequestId: 1\tDuration: 1.00 ms", FAINT),
        ("REPORT RequestId: 1\tDuration: 1.00 ms\tStatus: timeout", RED),
        ("RequestId: 1 Error: Runtime exited with error: signal: killed\nRuntime.ExitError", RED),
        ("2026-01-01T00:00:00.000Z 1 Task timed out after 3.00 seconds", RED),
        ("[ERROR] ValueError: no\nTraceback (most recent call last):", RED),
        ("[ERROR]\t2026-01-01T00:00:00.000Z\t1\tno", RED),
        ("2026-01-01T00:00:00.000Z\t1\tERROR\tno", RED),
        ('{"timestamp": "x", "level": "ERROR", "message": "no"}', RED),
        ("[WARNING]\t2026-01-01T00:00:00.000Z\t1\thm", YELLOW),
        ('{"time":"x","type":"platform.report","record":{"status":"timeout"}}', RED),
        ('{"time":"x","type":"platform.start","record":{}}', FAINT),
        ("what a function prints, ERROR or not", PLAIN),
    ],
)
def test_colours_tell_errors_from_the_rest(message: str, colour: str) -> None:
    line = coloured("12:00", message)
    assert line.startswith("\033[2m12:00\033[0m  ")
    assert line.partition("  ")[2] == (f"{colour}{message}\033[0m" if colour else message)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_only_a_terminal_gets_colours_and_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    assert wanted(Terminal())
    assert not wanted(io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not wanted(Terminal())
