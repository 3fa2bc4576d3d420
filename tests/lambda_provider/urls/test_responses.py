"""How a payload becomes a response; recorded for the inferred ones: test_lambda_url_invocation[*]."""

from __future__ import annotations

import json

import pytest

from lambda_provider.urls.responses import MalformedResponse, head_of, response_of


@pytest.mark.parametrize(
    ("value", "body"),
    [
        ("hello", b"hello"),
        (3, b"3"),
        (3.1, b"3.1"),
        (True, b"true"),
        (None, b"null"),
        (["hello", 3, True], b'["hello",3,true]'),
        ({"hello": "world"}, b'{"hello":"world"}'),
        ({"headers": {"a": "b"}, "body": "x"}, b'{"headers":{"a":"b"},"body":"x"}'),
    ],
)
def test_json_without_a_status_code_is_the_body(value, body):
    response = response_of(json.dumps(value).encode())
    assert (response.status, response.headers, response.body) == (200, [("Content-Type", "application/json")], body)


def test_an_answer_with_a_status_code_says_the_rest():
    response = response_of(
        json.dumps(
            {
                "statusCode": 201,
                "headers": {"Content-Type": "text/html", "X-Number": 5, "X-Flag": True, "X-None": None},
                "multiValueHeaders": {"X-Other": ["1", "2"]},
                "cookies": ["a=b; Secure", "c=d"],
                "body": "body ü",
            }
        ).encode()
    )
    assert response.status == 201
    assert response.headers == [
        ("Content-Type", "text/html"),
        ("X-Number", "5"),
        ("X-Flag", "true"),
        ("Set-Cookie", "a=b; Secure"),
        ("Set-Cookie", "c=d"),
    ]
    assert response.body == "body ü".encode()


def test_a_body_in_base64_is_decoded():
    assert response_of(b'{"statusCode":200,"isBase64Encoded":true,"body":"AP8="}').body == b"\x00\xff"


def test_a_body_stays_as_the_function_wrote_it():
    """Recorded: test_lambda_url_invocation[http-response-json]."""
    response = response_of(b'{"statusCode":"200","body":"{\\"hello\\": \\"world\\"}"}')
    assert response.body == b'{"hello": "world"}'
    assert response.headers == [("Content-Type", "application/json")]


def test_a_status_without_a_body_has_none():
    assert response_of(b'{"statusCode":204,"body":"x"}').body == b""


@pytest.mark.parametrize(
    "answer",
    [
        "not json",
        '{"statusCode":"abc"}',
        '{"statusCode":null}',
        '{"statusCode":true}',
        '{"statusCode":2.5}',
        '{"statusCode":100}',
        '{"statusCode":700}',
        '{"statusCode":200,"body":{"a":1}}',
        '{"statusCode":200,"body":"!","isBase64Encoded":true}',
        '{"statusCode":200,"headers":["a"]}',
        '{"statusCode":200,"headers":{"a":["b"]}}',
        '{"statusCode":200,"headers":{"a b":"c"}}',
        '{"statusCode":200,"headers":{"a":"b\\r\\nx-injected: 1"}}',
        '{"statusCode":200,"cookies":"a=b"}',
        '{"statusCode":200,"cookies":["a=b\\nc"]}',
    ],
)
def test_what_is_malformed_is_refused(answer):
    with pytest.raises(MalformedResponse):
        response_of(answer.encode())


def test_headers_that_are_the_fronts_own_get_another_name():
    _, headers = head_of(
        {
            "headers": {
                "Connection": "close",
                "Date": "today",
                "Content-Length": "5",
                "WWW-Authenticate": "Basic",
                "Transfer-Encoding": "chunked",
                "content-type": "a/b",
            }
        },
        "application/json",
    )
    assert headers == [
        ("x-amzn-Remapped-Connection", "close"),
        ("x-amzn-Remapped-Date", "today"),
        ("x-amzn-Remapped-Content-Length", "5"),
        ("x-amzn-Remapped-WWW-Authenticate", "Basic"),
        ("content-type", "a/b"),
    ]


def test_other_characters_than_latin_go_as_utf_8():
    _, headers = head_of({"headers": {"x": "ü€"}}, "a/b")
    assert headers[0][1].encode("latin-1") == "ü€".encode()
