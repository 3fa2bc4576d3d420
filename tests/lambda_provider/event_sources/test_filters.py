"""Filter patterns: what is one, and which events it keeps."""

from __future__ import annotations

import contextlib
import fnmatch
import json
import re
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lambda_provider.event_sources.filters import Filter, Filters, InvalidPattern, parse


def keeps(pattern: Any, event: Any) -> bool:
    return Filter(json.dumps(pattern)).matches(event)


def field(test: Any, value: Any) -> bool:
    return keeps({"field": [test]}, {"field": value})


@pytest.mark.parametrize(
    "pattern",
    [
        # Recorded: test_sqs_invalid_event_filter.
        "null",
        '"simple string"',
        '{"eventSource": "aws:sqs"}',
        '{"eventSource": []}',
        "",
        "{",
        "[]",
        "{}",
        '{"a": {}}',
        '{"a": null}',
        '{"a": 1}',
        '{"a": [[1]]}',
        '{"a": [NaN]}',
        '{"a": [{}]}',
        '{"a": [{"unknown": "x"}]}',
        '{"a": [{"prefix": "x", "suffix": "y"}]}',
        '{"a": [{"prefix": 1}]}',
        '{"a": [{"prefix": {"suffix": "x"}}]}',
        '{"a": [{"suffix": ["x"]}]}',
        '{"a": [{"equals-ignore-case": ["x"]}]}',
        '{"a": [{"exactly": 1}]}',
        '{"a": [{"exists": "true"}]}',
        '{"a": [{"exists": 1}]}',
        '{"a": [{"wildcard": "a**b"}]}',
        '{"a": [{"wildcard": "a\\\\b"}]}',
        '{"a": [{"wildcard": "a\\\\"}]}',
        '{"a": [{"anything-but": []}]}',
        '{"a": [{"anything-but": null}]}',
        '{"a": [{"anything-but": [true]}]}',
        '{"a": [{"anything-but": ["a", 1]}]}',
        '{"a": [{"anything-but": {}}]}',
        '{"a": [{"anything-but": {"numeric": ["=", 1]}}]}',
        '{"a": [{"anything-but": {"prefix": ""}}]}',
        '{"a": [{"anything-but": {"suffix": []}}]}',
        '{"a": [{"anything-but": {"wildcard": ["x", 1]}}]}',
        '{"a": [{"numeric": 1}]}',
        '{"a": [{"numeric": []}]}',
        '{"a": [{"numeric": ["="]}]}',
        '{"a": [{"numeric": ["=", "1"]}]}',
        '{"a": [{"numeric": ["==", 1]}]}',
        '{"a": [{"numeric": [["="], 1]}]}',
        '{"a": [{"numeric": ["=", true]}]}',
        '{"a": [{"numeric": ["<", 1, ">", 0]}]}',
        '{"a": [{"numeric": [">", 1, "<", 0]}]}',
        '{"a": [{"numeric": ["=", 1, "=", 1]}]}',
        '{"a": [{"numeric": [">", 5000000001]}]}',
        '{"a": [{"numeric": [">", 1e99999999999999999999]}]}',
        '{"a": [{"cidr": "10.0.0.0"}]}',
        '{"a": [{"cidr": "10.0.0.0/33"}]}',
        '{"a": [{"cidr": "10.0.0.0/255.0.0.0"}]}',
        '{"$or": {"a": [1]}}',
        '{"$or": [{"a": [1]}]}',
        '{"$or": [{"a": [1]}, 1]}',
        '{"$or": [{"a": [1]}, {}]}',
        '{"$or": [{"a": [1]}, {"prefix": ["x"]}]}',
        '{"$or": [{"a": [1]}, {"b": {"numeric": [1]}}]}',
        '{"a":' * 700 + "[1]" + "}" * 700,
        "[" * 4096,
    ],
)
def test_what_is_no_pattern_is_refused(pattern):
    with pytest.raises(InvalidPattern):
        Filter(pattern)


def test_words_of_the_language_are_fields_outside_of_or():
    assert keeps({"prefix": {"numeric": ["x"]}}, {"prefix": {"numeric": "x"}})


@pytest.mark.parametrize(
    ("test", "kept", "dropped"),
    [
        ("x", ["x", ["y", "x"], [["x"]]], ["X", 1, None, True, ["y"], {"x": "x"}, []]),
        ("1", ["1"], [1]),
        (1, [1], [1.0, "1", True]),
        (True, [True], [1, "true", False]),
        (None, [None, [None]], ["null", [], 0, False, {}]),
        ("", [""], [None, [], {}, " "]),
        ({"exactly": "x"}, ["x"], ["xy"]),
        ({"equals-ignore-case": "ÄbC"}, ["äBc", "ÄbC"], ["abc", 1]),
        ({"prefix": "us-1"}, ["us-1", "us-1-other"], ["us", "US-1", 1, None]),
        ({"prefix": {"equals-ignore-case": "US-"}}, ["us-1", "Us-"], ["u"]),
        ({"prefix": ""}, ["", "x"], [1, None]),
        ({"suffix": ".png"}, [".png", "a.png"], ["a.PNG", "png", 1]),
        ({"suffix": {"equals-ignore-case": ".PNG"}}, ["a.png", "a.pNg"], ["a.jpg"]),
        ({"wildcard": "a*b*c"}, ["abc", "a--b--c", "abbcc"], ["ab", "bc", "acb", "xabc", "abcx", 1]),
        ({"wildcard": "*"}, ["", "x"], [1, None]),
        ({"wildcard": "a*a"}, ["aa", "aba"], ["a"]),
        ({"wildcard": "a\\*b\\\\*"}, ["a*b\\", "a*b\\x"], ["axb\\", "a*b"]),
        ({"wildcard": "plain"}, ["plain"], ["plainer"]),
        ({"anything-but": "x"}, ["y", "", 1, None, True, ["x", "y"]], ["x", ["x"], [], {"y": "y"}]),
        ({"anything-but": ["x", "y"]}, ["z", ["x", "z"]], ["x", "y", ["x", "y"]]),
        ({"anything-but": 1}, [2, "1"], [1, 1.0]),
        ({"anything-but": [1, 2]}, [3], [1, 2]),
        ({"anything-but": {"prefix": "a"}}, ["b", "ba", 1], ["a", "ab"]),
        ({"anything-but": {"prefix": ["a", "b"]}}, ["c"], ["ax", "bx"]),
        ({"anything-but": {"suffix": "a"}}, ["ab"], ["ba"]),
        ({"anything-but": {"equals-ignore-case": ["A", "b"]}}, ["c"], ["a", "B"]),
        ({"anything-but": {"wildcard": "*.tmp"}}, ["a.txt"], ["a.tmp"]),
        ({"numeric": ["=", 100]}, [100, 100.0, 1e2], [101, "100", True]),
        ({"numeric": [">", 100]}, [100.5, 5_000_000_000], [100, "101", 5_000_000_001]),
        ({"numeric": [">=", 100, "<", 200]}, [100, 199.9, [1, 150]], [99.9, 200, [1, 250]]),
        ({"numeric": ["<=", -1.5]}, [-1.5, -2], [-1, None]),
        ({"cidr": "10.0.0.0/24"}, ["10.0.0.255"], ["10.0.1.0", "x", 1]),
        ({"cidr": "2001:db8::/32"}, ["2001:db8::1"], ["2001:db9::1", "10.0.0.1"]),
        ({"exists": True}, ["x", None, 0, [None]], [{"x": 1}, [], [{}]]),
        # Recorded for DynamoDB: test_dynamodb_event_filter[exists_false_filter].
        ({"exists": False}, [{"S": "presentValue"}, []], ["x", None]),
    ],
)
def test_operators(test, kept, dropped):
    assert [value for value in kept if not field(test, value)] == []
    assert [value for value in dropped if field(test, value)] == []


def test_a_missing_field_has_only_absence():
    assert keeps({"a": [{"exists": False}]}, {})
    assert keeps({"a": {"b": [{"exists": False}]}}, {"a": "text"})
    assert not keeps({"a": [{"anything-but": "x"}]}, {})
    assert keeps({"a": ["x", {"exists": False}]}, {})
    assert keeps({"a": ["x", {"exists": False}]}, {"a": "x"})
    assert not keeps({"a": ["x", {"exists": False}]}, {"a": "y"})


def test_fields_and_their_alternatives():
    pattern = {"body": {"testItem": ["test24", "test45"], "test2": ["go"]}}
    assert keeps(pattern, {"body": {"testItem": "test45", "test2": "go"}})
    assert not keeps(pattern, {"body": {"testItem": "test67", "test2": "go"}})
    assert not keeps(pattern, {"body": {"testItem": "test45"}})


def test_or_is_beside_the_other_fields():
    pattern = {"source": ["s"], "$or": [{"a": [1]}, {"b": {"c": ["x"]}, "d": [2]}]}
    assert keeps(pattern, {"source": "s", "a": 1})
    assert keeps(pattern, {"source": "s", "b": {"c": "x"}, "d": 2})
    assert not keeps(pattern, {"source": "s", "b": {"c": "x"}})
    assert not keeps(pattern, {"a": 1})
    nested = {"outer": {"$or": [{"a": [1]}, {"$or": [{"b": [1]}, {"c": [1]}]}]}}
    assert keeps(nested, {"outer": {"c": 1}})
    assert not keeps(nested, {"outer": {"d": 1}, "c": 1})


def test_the_fields_of_an_object_in_a_list_belong_together():
    pattern = {"items": {"name": ["n"], "size": [1]}}
    assert keeps(pattern, {"items": [{"name": "n", "size": 1}, {"name": "m"}]})
    assert not keeps(pattern, {"items": [{"name": "n", "size": 2}, {"name": "m", "size": 1}]})


def test_numbers_are_compared_as_they_are_written():
    """Lambda uses the string representation: 300, 300.0 and 3.0e2 are not equal (invocation-eventfiltering)."""
    assert Filter('{"n": [3.0e2]}').matches(parse('{"n": 3.0e2}'))
    assert not Filter('{"n": [3.0e2]}').matches(parse('{"n": 300}'))
    assert Filter('{"n": [12345678901234567890]}').matches(parse('{"n": 12345678901234567890}'))


def test_the_recorded_numeric_filter_of_dynamodb():
    """Numbers of DynamoDB are texts: never in a numeric range, and 101 is what the other test leaves out."""
    pattern = {"N": [{"numeric": [">", 100]}, {"anything-but": "101"}]}
    assert keeps(pattern, {"N": "42"})
    assert not keeps(pattern, {"N": "101"})


def test_one_of_the_filters_is_enough_and_none_keeps_everything():
    filters = Filters(['{"a": [1]}', '{"b": [1]}'])
    assert filters.match({"a": 1}) and filters.match({"b": 1}) and not filters.match({"c": 1})
    assert Filters([]).match("anything at all")


SCALARS = st.one_of(
    st.text(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), st.none()
)
NUMBERS = st.one_of(
    st.integers(-5_000_000_000, 5_000_000_000), st.floats(-5e9, 5e9, allow_nan=False, allow_infinity=False)
)
EVENTS = st.recursive(
    SCALARS, lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)), max_leaves=20
)


def pattern_of(event: dict[str, Any]) -> dict[str, Any]:
    """The pattern that asks for every leaf of an event."""
    return {
        name: pattern_of(value)
        if isinstance(value, dict) and value
        else [{"exists": False}]
        if value == {}
        else [value]
        for name, value in event.items()
    }


OBJECTS = st.recursive(
    st.dictionaries(st.text().filter(lambda name: name != "$or"), SCALARS, min_size=1, max_size=4),
    lambda inner: st.dictionaries(st.text().filter(lambda name: name != "$or"), st.one_of(SCALARS, inner), min_size=1),
    max_leaves=10,
)


@given(OBJECTS)
def test_an_event_satisfies_the_pattern_that_was_made_of_it(event):
    text = json.dumps(event)
    assert Filter(json.dumps(pattern_of(event))).matches(parse(text))
    assert keeps(pattern_of(event), event)


@given(st.one_of(st.text(), st.integers()), SCALARS)
def test_anything_but_is_the_opposite(value, leaf):
    assume(not (isinstance(leaf, float) and leaf == value))
    assume(not isinstance(value, int) or abs(value) <= 5_000_000_000)
    assert field({"anything-but": value}, leaf) is not field(value, leaf)


@given(NUMBERS, NUMBERS, NUMBERS)
def test_ranges_are_those_of_numbers(bottom, top, value):
    bottom, top = sorted((bottom, top))
    assert field({"numeric": [">=", bottom, "<", top]}, value) is (bottom <= value < top)
    assert field({"numeric": ["=", bottom]}, value) is (bottom == value)


@given(st.text("ab*?[x", max_size=8), st.text("ab?[x", max_size=12))
def test_wildcards_are_those_of_a_shell(pattern, text):
    assume("**" not in pattern)
    reference = fnmatch.translate(pattern.replace("[", "[[]").replace("?", "[?]"))
    assert field({"wildcard": pattern}, text) is (re.fullmatch(reference, text) is not None)


@given(st.text())
def test_any_text_is_a_pattern_or_refused(text):
    with contextlib.suppress(InvalidPattern):
        Filter(text).matches({"a": 1})


@given(EVENTS, EVENTS)
def test_any_json_is_a_pattern_or_refused_and_any_event_is_matched(document, event):
    try:
        compiled = Filter(json.dumps(document))
    except InvalidPattern:
        return
    assert compiled.matches(event) in (True, False)


def test_many_wildcards_cost_no_more_than_the_text():
    assert not field({"wildcard": "*a" * 500 + "*b"}, "a" * 100_000)
