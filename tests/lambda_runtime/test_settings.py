"""Settings: what they may say, and what is said of those that cannot be used."""

from __future__ import annotations

import pytest

from lambda_runtime.config import RuntimeConfig
from lambda_runtime.settings import count, milliseconds, one_of, positive, switch, values_of

KNOWN = {"COUNT": ("number", count), "MS": ("seconds", milliseconds), "ON": ("on", switch)}


def test_what_is_not_set_is_left_out() -> None:
    assert values_of({"COUNT": "", "OTHER": "x"}, KNOWN) == {}


def test_texts_become_values_of_attributes() -> None:
    assert values_of({"COUNT": "0", "MS": "250", "ON": "True"}, KNOWN) == {"number": 0, "seconds": 0.25, "on": True}


@pytest.mark.parametrize(
    ("convert", "text", "says"),
    [
        (count, "-1", "must be a whole number of at least 0"),
        (count, "1.5", "invalid literal"),
        (milliseconds, "-1", "must be a whole number of at least 0"),
        (positive, "0", "must be a number above 0"),
        (positive, "nan", "must be a number above 0"),
        (switch, "yes", "must be one of 1, true, on, 0, false, off"),
        (one_of("a", "b"), "c", "must be one of a, b"),
    ],
)
def test_what_cannot_be_used_is_said_with_the_name(convert, text, says) -> None:
    with pytest.raises(ValueError, match=f"^setting NAME='{text}': {says}"):
        values_of({"NAME": text}, {"NAME": ("attribute", convert)})


def test_what_the_host_says_itself_counts_more_than_a_setting() -> None:
    assert RuntimeConfig.from_settings({"LAMBDA_CLOCK_RATE": "2"}, clock_rate=3.0).clock_rate == 3.0


def test_executors_find_all_settings_as_they_were_given() -> None:
    given = {"LAMBDA_CLOCK_RATE": "2", "LAMBDA_PYTHON3_12": "/opt/python"}
    assert RuntimeConfig.from_settings(given).settings == given
