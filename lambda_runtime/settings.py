"""Settings as a host gives them, texts by name, and as what they stand for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Settings = Mapping[str, tuple[str, Callable[[str], Any]]]
"""The name of a setting -> the attribute that it sets, and how its text is understood: ValueError says what it must be."""


def values_of(given: Mapping[str, str], known: Settings) -> dict[str, Any]:
    """The attributes that were set. Raises ValueError that names the setting when a value cannot be used."""
    values = {}
    for name, (attribute, convert) in known.items():
        if (text := given.get(name)) not in (None, ""):
            try:
                values[attribute] = convert(str(text))
            except ValueError as error:
                raise ValueError(f"setting {name}={text!r}: {error}") from None
    return values


def positive(text: str) -> float:
    number = float(text)
    if not number > 0:
        raise ValueError("must be a number above 0")
    return number


def count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError("must be a whole number of at least 0")
    return number


def at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError("must be a whole number of at least 1")
    return number


def milliseconds(text: str) -> float:
    """In seconds."""
    return count(text) / 1000


def switch(text: str) -> bool:
    known = {"1": True, "true": True, "on": True, "0": False, "false": False, "off": False}
    if text.lower() not in known:
        raise ValueError("must be one of 1, true, on, 0, false, off")
    return known[text.lower()]


def one_of(*words: str) -> Callable[[str], str]:
    def convert(text: str) -> str:
        if text not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return text

    return convert
