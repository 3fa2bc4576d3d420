"""The condition operators of the IAM policy language (IAM user guide, reference_policies_elements_condition_operators.html)."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambda_provider.operations.conditions import arn_match, holds, is_operator, wildcard_match

BUCKET = "arn:aws:s3:::bucket"


@pytest.mark.parametrize(
    ("operator", "expected", "found", "result"),
    [
        ("StringEquals", "a", "a", True),
        ("StringEquals", "a", "A", False),
        ("StringEquals", ["a", "b"], "b", True),
        ("StringEquals", "a*", "ab", False),
        ("StringNotEquals", ["a", "b"], "b", False),
        ("StringNotEquals", ["a", "b"], "c", True),
        ("StringEqualsIgnoreCase", "a", "A", True),
        ("StringNotEqualsIgnoreCase", "a", "A", False),
        ("StringLike", "a?c*", "abcd\n", True),
        ("StringLike", "a?c", "ac", False),
        ("StringNotLike", "a*", "ab", False),
        ("ArnLike", "arn:aws:s3:::b*", BUCKET, True),
        ("ArnEquals", "arn:aws:*:*:*:bucket", BUCKET, True),
        ("ArnLike", "arn:aws:s3*bucket", BUCKET, False),
        ("ArnLike", "*", BUCKET, True),
        ("ArnNotLike", "arn:aws:s3:::b*", BUCKET, False),
        ("Bool", "true", "true", True),
        ("Bool", True, "true", True),
        ("Bool", "True", "false", False),
        ("NumericLessThanEquals", 3, "3", True),
        ("NumericLessThan", "3", "3.0", False),
        ("NumericEquals", "three", "3", False),
        ("NumericNotEquals", "4", "3", True),
        ("DateGreaterThan", "2024-01-01T00:00:00Z", "2024-01-01T00:00:01Z", True),
        ("DateLessThan", "2024-01-01", "1704067199", True),
        ("DateEquals", "soon", "2024-01-01", False),
        ("IpAddress", "10.0.0.0/8", "10.1.2.3", True),
        ("NotIpAddress", "10.0.0.0/8", "10.1.2.3", False),
        ("IpAddress", "10.0.0.0/8", "::1", False),
        ("IpAddress", "here", "10.0.0.1", False),
        ("BinaryEquals", "YQ==", "YQ==", True),
        ("BinaryEquals", "?", "YQ==", False),
        ("Null", "true", "a", False),
        ("Null", "false", "a", True),
        ("Null", "true", None, True),
        ("Null", "false", None, False),
        ("StringEquals", "a", None, False),
        ("StringNotEquals", "a", None, True),
        ("StringEqualsIfExists", "a", None, True),
        ("StringEqualsIfExists", "a", "b", False),
        ("ForAllValues:StringEquals", ["a", "b"], ["a", "b"], True),
        ("ForAllValues:StringEquals", ["a", "b"], ["a", "c"], False),
        ("ForAllValues:StringEquals", "a", None, True),
        ("ForAnyValue:StringEquals", ["a", "b"], ["c", "b"], True),
        ("ForAnyValue:StringEquals", "a", None, False),
        ("ForAnyValue:StringNotEquals", "a", None, False),
    ],
)
def test_operators(operator, expected, found, result):
    assert is_operator(operator)
    assert holds({operator: {"AWS:Key": expected}}, {} if found is None else {"aws:key": found}) is result


def test_every_key_of_every_operator_has_to_hold():
    condition = {"StringEquals": {"a:a": "1", "a:b": "2"}, "Bool": {"a:c": "true"}}
    request = {"a:a": "1", "a:b": "2", "a:c": "true"}
    assert holds(condition, request)
    assert holds({}, request)
    for key in request:
        assert not holds(condition, {**request, key: "other"})


@pytest.mark.parametrize("name", ["Like", "stringequals", "NullIfExists", "Some:StringEquals", "IfExists", ""])
def test_what_is_no_operator(name):
    assert not is_operator(name)


@given(st.text(alphabet="a.:[+\\*?\n"), st.text(alphabet="a.:[+\\\n"))
def test_wildcards_are_the_only_special_characters(pattern, value):
    translated = re.escape(pattern).replace(r"\*", r"[\s\S]*").replace(r"\?", r"[\s\S]")
    assert wildcard_match(pattern, value) == bool(re.fullmatch(translated, value))


@given(st.lists(st.text(alphabet="ab"), min_size=6, max_size=6), st.sets(st.integers(0, 5)))
def test_an_arn_is_like_itself_with_any_parts_left_open(parts, open_parts):
    pattern = ":".join("*" if index in open_parts else part for index, part in enumerate(parts))
    assert arn_match(pattern, ":".join(parts))
    for index in set(range(6)) - open_parts:
        other = [*parts[:index], parts[index] + "c", *parts[index + 1 :]]
        assert not arn_match(pattern, ":".join(other))
