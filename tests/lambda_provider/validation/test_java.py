"""How Java prints values and reads patterns."""

from __future__ import annotations

import unicodedata

import pytest

from lambda_provider.validation import java


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        (None, "null"),
        (True, "true"),
        (7, "7"),
        (2.0, "2.0"),
        (-0.5, "-0.5"),
        (12345678.0, "1.2345678E7"),
        (0.0001, "1.0E-4"),
        (1e300, "1.0E300"),
        (float("-inf"), "-Infinity"),
        ("text", "text"),
        (b"12345", "java.nio.HeapByteBuffer[pos=0 lim=5 cap=5]"),
        (["a", None, ["b"]], "[a, null, [b]]"),
        ({"k": 1, "l": {"m": "n"}}, "{k=1, l={m=n}}"),
        ([], "[]"),
    ],
)
def test_values_are_printed_as_to_string_does(value, printed):
    assert java.text(value) == printed


def test_the_unicode_classes_of_tags_are_those_of_unicode():
    matches = java.matcher(r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)")
    for code in range(0x10000):
        character = chr(code)
        category = unicodedata.category(character)
        if category in ("Cs", "Cn"):
            continue
        expected = category[0] in "LZN" or character in "_.:/=+-@"
        assert bool(matches(character)) == expected, f"U+{code:04X} {category}"


def test_patterns_match_the_whole_value_and_know_only_ascii_digits():
    matches = java.matcher(r"\d{2}")
    assert matches("12")
    assert not matches("12\n")
    assert not matches("123")
    assert not matches("١٢")
