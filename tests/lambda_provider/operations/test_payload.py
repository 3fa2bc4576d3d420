from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambda_provider.api import InvalidRequestContentException
from lambda_provider.operations import jackson
from lambda_provider.operations.payload import check_json, decode_client_context

VALUES = "(JSON String, Number, Array, Object or token 'null', 'true' or 'false')"


def source(line: int, column: int) -> str:
    return (
        f"[Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); line: {line}, column: {column}]"
    )


def refusal(payload: bytes) -> str:
    with pytest.raises(InvalidRequestContentException) as raised:
        check_json(payload)
    prefix = "Could not parse request body into json: Could not parse payload into json: "
    assert raised.value.message.startswith(prefix)
    return raised.value.message.removeprefix(prefix)


def test_a_byte_that_starts_no_character_is_refused_as_recorded():
    assert refusal(b"n\x87r\x9e\xe9\xb5\xd7I\xee\x9bmt") == (f"Invalid UTF-8 start byte 0x87\n at {source(1, 3)}")


def test_a_byte_that_starts_no_value_is_refused_as_recorded():
    assert refusal(b"\x99\xeb,j\x07\xa1zYh") == (
        f"Unexpected character ((CTRL-CHAR, code 153)): expected a valid value {VALUES}\n at {source(1, 1)}"
    )


@pytest.mark.parametrize(
    ("payload", "message", "line", "column"),
    [
        (b"foo bar", f"Unrecognized token 'foo': was expecting {VALUES}", 1, 5),
        (b"tru", f"Unrecognized token 'tru': was expecting {VALUES}", 1, 4),
        (b"NaN", f"Unrecognized token 'NaN': was expecting {VALUES}", 1, 4),
        (b'{"a":1,', "Unexpected end-of-input within/between Object entries", 1, 8),
        (b"[1,]", "Unexpected character (']' (code 93)): expected a value", 1, 4),
        (b'{"a":1,}', "Unexpected character ('}' (code 125)): was expecting double-quote to start field name", 1, 8),
        (b"{'a':1}", "Unexpected character (''' (code 39)): was expecting double-quote to start field name", 1, 2),
        (
            b'{"a" 1}',
            "Unexpected character ('1' (code 49)): was expecting a colon to separate field name and value",
            1,
            6,
        ),
        (b"[1 2]", "Unexpected character ('2' (code 50)): was expecting comma to separate Array entries", 1, 4),
        (b"01", "Invalid numeric value: Leading zeroes not allowed", 1, 2),
        (b"0D", "Unexpected character ('D' (code 68)): Expected space separating root-level values", 1, 2),
        (b'"abc', "Unexpected end-of-input in VALUE_STRING", 1, 5),
        (b'"\\x"', "Unrecognized character escape 'x' (code 120)", 1, 3),
        (b'{"a":\n b}', f"Unrecognized token 'b': was expecting {VALUES}", 2, 4),
        (b'"\xc3("', "Invalid UTF-8 middle byte 0x28", 1, 4),
    ],
)
def test_the_parsers_words_and_positions(payload, message, line, column):
    assert refusal(payload) == f"{message}\n at {source(line, column)}"


def test_an_object_that_is_not_closed_names_where_it_starts():
    assert refusal(b' {"a":1') == (
        f"Unexpected end-of-input: expected close marker for Object (start marker at {source(1, 2)})\n at {source(1, 8)}"
    )


def test_values_nest_a_thousand_deep_and_no_deeper():
    check_json(b"[" * 1000 + b"]" * 1000)
    assert refusal(b"[" * 100_000).startswith("Document nesting depth (1001) exceeds the maximum allowed (1000")


def test_numbers_may_be_longer_than_python_likes():
    check_json(b"1" * 5000)
    check_json(b"1e999999")


def test_a_client_context_is_one_line_of_text_because_it_travels_in_a_header():
    encoded = base64.b64encode('{"a":\r\n"b\\n",\n"c": "ä"}'.encode()).decode()
    text = decode_client_context(encoded)
    assert text.splitlines() == [text]
    assert json.loads(text) == {"a": "b\n", "c": "ä"}


@pytest.mark.parametrize("payload", [b"null", b'"x"', b" 1.5e-3 ", b"[]", b'{"\xc3\xa4":"\\ud800"}'])
def test_any_json_value_is_a_payload(payload):
    check_json(payload)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(JSON, st.booleans())
def test_the_explaining_reader_accepts_what_is_json(value, ascii_only):
    text = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    try:
        text.decode()
    except UnicodeDecodeError:
        return
    assert jackson.find_error(text) is None


@given(JSON, st.data())
def test_both_readers_agree_about_damaged_json(value, data):
    text = bytearray(json.dumps(value).encode())
    position = data.draw(st.integers(0, len(text) - 1))
    text[position] = data.draw(st.integers(0, 255))
    try:
        json.loads(bytes(text).decode(), parse_constant=lambda constant: pytest.fail(constant))
    except (ValueError, pytest.fail.Exception):
        assert jackson.find_error(bytes(text)) is not None
    else:
        assert jackson.find_error(bytes(text)) is None
