"""Requests that no client should send: a 4xx that says why, no traceback, and a gateway that works on."""

from __future__ import annotations

import base64
import json
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from . import http
from .http import FUNCTIONS, exchange, refusal, request
from .rendezvous import MEET, Rendezvous

pytestmark = pytest.mark.scenario

ECHO = "def handler(event, context):\n    return event\n"
FINE = {
    "FunctionName": "never-made",
    "Role": "arn:aws:iam::000000000000:role/r",
    "Runtime": "python3.12",
    "Handler": "index.handler",
    "Code": {"ZipFile": "UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA=="},
}


@pytest.fixture
def port(gateway):
    return gateway.port


@pytest.fixture(autouse=True)
def works_on(gateway, lasting, port):
    """After each test: the same gateway runs functions as before."""
    name = lasting(ECHO)
    yield
    answer = exchange(port, request("POST", f"{FUNCTIONS}/{name}/invocations", b'{"still": "here"}'))
    assert (answer.status, answer.body) == (200, b'{"still": "here"}')
    assert gateway.process.poll() is None


@pytest.fixture
def invocations(lasting):
    return f"{FUNCTIONS}/{lasting(ECHO)}/invocations"


# --- JSON


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"}",
        b"not json",
        b"'single'",
        b'{"FunctionName": }',
        b'{"FunctionName": "a",}',
        b'{"a": NaN}',
        b'{"a": \xff\xfe}',
        b'{"a": "\xc3"}',
        b"\x00",
        b"\xef\xbb\xbf{}",
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b'{"Timeout": ' + b"9" * 5000 + b"}",
        b"[]",
        b'"text"',
        b"1",
        b"null",
        b"true",
        b"",
        b"{}",
    ],
    ids=lambda body: repr(body[:20]),
)
def test_a_body_that_is_no_json_object_or_lacks_everything_is_refused(port, body):
    answer = refusal(port, request("POST", FUNCTIONS, body))
    assert answer.status == 400
    assert answer.error in ("SerializationException", "ValidationException")


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("FunctionName", 5),
        ("FunctionName", None),
        ("FunctionName", ["a"]),
        ("FunctionName", {"a": "b"}),
        ("FunctionName", True),
        ("FunctionName", "\ud800"),
        ("Timeout", "3"),
        ("Timeout", 1.5),
        ("Timeout", 1e300),
        ("Timeout", -1),
        ("Timeout", 10**30),
        ("Timeout", True),
        ("MemorySize", []),
        ("Publish", "yes"),
        ("Publish", 1),
        ("Code", "zip"),
        ("Code", []),
        ("Code", None),
        ("Code", {"ZipFile": 5}),
        ("Code", {"ZipFile": "not base64!"}),
        ("Code", {"ZipFile": "ä"}),
        ("Code", {"ZipFile": None}),
        ("Environment", {"Variables": {"A": 5}}),
        ("Environment", {"Variables": {"A": None}}),
        ("Environment", {"Variables": ["A"]}),
        ("Environment", {"Variables": {"": "x"}}),
        ("Environment", {"Variables": {"A\x00B": "x"}}),
        ("Environment", {"Variables": {"A=B": "x"}}),
        ("Layers", "arn"),
        ("Layers", [None]),
        ("Layers", [{}]),
        ("Layers", ["\x00"]),
        ("Tags", []),
        ("Tags", {"a": {}}),
        ("VpcConfig", "none"),
        ("Architectures", ["vax"]),
        ("EphemeralStorage", {"Size": 1}),
        ("Role", "root"),
        ("Runtime", "cobol85"),
        ("Handler", "x" * 1000),
        ("Handler", "with blank and \n newline"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_member_of_a_wrong_type_or_value_is_refused(port, member, value):
    answer = refusal(port, request("POST", FUNCTIONS, json.dumps({**FINE, member: value})))
    assert answer.status == 400


def test_members_that_nobody_knows_are_ignored_but_never_executed(port):
    body = {**FINE, "__class__": "x", "Nonsense": {"a": [1]}, "functionname": "x"}
    assert refusal(port, request("POST", FUNCTIONS, json.dumps(body))).error == "InvalidParameterValueException"


@pytest.mark.parametrize("body", [b"{", b"\xff", b'"\xed\xa0\x80"', b"{} {}", b"\x00", b"[" * 200_000, b"-", b'"\n"'])
def test_an_event_that_is_no_json_is_refused(port, invocations, body):
    answer = refusal(port, request("POST", invocations, body))
    assert (answer.status, answer.error) == (400, "InvalidRequestContentException")


# --- paths and operations


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/2015-03-31"),
        ("GET", "/2015-03-31/"),
        ("GET", "/2015-03-31/nonsense"),
        ("DELETE", FUNCTIONS),
        ("PATCH", FUNCTIONS),
        ("PUT", f"{FUNCTIONS}/f/invocations"),
        ("GET", f"{FUNCTIONS}/f/invocations"),
        ("POST", f"{FUNCTIONS}/f/g/h/i/j/k"),
        ("GET", "/1999-01-01/functions"),
        ("POST", "//2015-03-31/functions"),
        ("POST", f"{FUNCTIONS}/../../etc/passwd"),
        ("GET", "/2015-03-31/functions%2ff"),
    ],
)
def test_an_operation_that_does_not_exist_is_refused(port, method, path):
    answer = refusal(port, request(method, path))
    assert answer.status in (403, 404)


@pytest.mark.parametrize(
    "name",
    [
        "a" * 65,
        "a" * 5000,
        "a" * 60_000,
        "%",
        "%zz",
        "%4",
        "%FF",
        "%00",
        "a%00b",
        "%2e%2e",
        "..%2f..%2fetc%2fpasswd",
        "%0d%0aX-Injected:%201",
        "%F0%9F%98%80",
        "a%20b",
        "null",
        "%22%3E%3Cscript%3E",
        "arn:aws:lambda:us-east-1:000000000000:function:",
        "arn:aws:lambda:us-east-1:999:function:f",
        "arn:aws:s3:::bucket",
        "f:$LATEST:x",
        "f:%20",
        ":::::",
        "000000000000:function",
    ],
    ids=lambda name: name[:30],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_name_that_cannot_be_is_refused_without_repeating_it_raw(port, method, name):
    path = f"{FUNCTIONS}/{name}" if method == "GET" else f"{FUNCTIONS}/{name}/invocations"
    answer = refusal(port, request(method, path, b"{}" if method == "POST" else b""))
    assert answer.status in (400, 403, 404, 414, 431)
    assert "x-injected" not in answer.headers
    json.loads(answer.body)


@pytest.mark.parametrize(
    "query",
    [
        "MaxItems=ten",
        "MaxItems=0",
        "MaxItems=-1",
        "MaxItems=99999999999999999999",
        "MaxItems=%FF",
        "MaxItems=1_0",
        "MaxItems=%D9%A3",
        "MasterRegion=%00",
        "FunctionVersion=SOME",
        "Marker=nonsense",
    ],
)
def test_a_query_that_cannot_be_is_refused(port, query):
    assert refusal(port, request("GET", f"{FUNCTIONS}/?{query}")).status == 400


def test_a_query_of_a_thousand_parameters_and_broken_escapes_is_harmless(port):
    query = "&".join(f"p{number}=%zz" for number in range(1000)) + "&=&&;&%"
    answer = exchange(port, request("GET", f"{FUNCTIONS}/?{query}"))
    assert answer is not None
    assert answer.status in (200, 400, 414, 431)


# --- signatures


@pytest.mark.parametrize(
    "authorization",
    [
        "nonsense",
        "Basic dXNlcjpwYXNz",
        "Bearer x",
        "AWS4-HMAC-SHA256",
        "AWS4-HMAC-SHA256 Credential=",
        "AWS4-HMAC-SHA256 Credential=,",
        http.signed("a/b"),
        http.signed("/20260101/us-east-1/lambda/aws4_request"),
        http.signed("000000000000/2026/us-east-1/lambda/aws4_request"),
        http.signed("000000000000/20260101//lambda/aws4_request"),
        http.signed("000000000000/20260101/../lambda/aws4_request"),
        http.signed("000000000000/20260101/us east/lambda/aws4_request"),
        http.signed("000000000000/20260101/us-east-1/lambda/aws5_request"),
        http.signed("000000000000/20260101/us-east-1/lambda/aws4_request/more"),
        http.signed("\xff/\xff/\xff/\xff/\xff"),
        http.signed("/" * 6000),
    ],
    ids=lambda text: text[:70],
)
def test_a_broken_credential_scope_is_refused(port, invocations, authorization):
    answer = refusal(port, request("POST", invocations, b"{}", {"Authorization": authorization}))
    assert answer.status in (400, 403)
    assert answer.error in ("IncompleteSignatureException", "InvalidSignatureException")


@pytest.mark.parametrize("key", ["0000000000000", "00000000000", "AKIAXXXXXXXXXXXXXXXX", "\xb2" * 12, "-" * 12])
def test_an_access_key_that_is_no_account_belongs_to_the_default_account(port, invocations, key):
    scope = f"{key}/20260101/us-east-1/lambda/aws4_request"
    answer = exchange(port, request("POST", invocations, b"1", {"Authorization": http.signed(scope)}))
    assert (answer.status, answer.body) == (200, b"1")


@pytest.mark.parametrize("query", ["X-Amz-Credential=a%2Fb", "X-Amz-Credential=%00", "X-Amz-Credential=%2F%2F%2F%2F"])
def test_a_broken_scope_in_a_presigned_url_is_refused(port, query):
    assert refusal(port, request("GET", f"{FUNCTIONS}/?{query}", headers={"Authorization": ""})).status in (400, 403)


# --- headers


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Amz-Client-Context", "not base64!"),
        ("X-Amz-Client-Context", "e30"),
        ("X-Amz-Client-Context", "W10="),
        ("X-Amz-Client-Context", "/w=="),
        ("X-Amz-Client-Context", "bnVsbA=="),
        ("X-Amz-Client-Context", "\xff"),
        ("X-Amz-Invocation-Type", "Sometimes"),
        ("X-Amz-Log-Type", "Everything"),
    ],
)
def test_a_header_that_cannot_be_is_refused(port, invocations, name, value):
    assert refusal(port, request("POST", invocations, b"{}", {name: value})).status == 400


def test_a_client_context_cannot_smuggle_headers_to_the_function(port, invocations):
    context = base64.b64encode(b'{"a":\r\n"b",\r\n"Lambda-Runtime-Deadline-Ms:": 1}').decode()
    answer = exchange(port, request("POST", invocations, b'"event"', {"X-Amz-Client-Context": context}))
    assert (answer.status, answer.body) == (200, b'"event"')


@pytest.mark.parametrize("trace", ["nonsense", "Root=", "=" * 500, ";;;", "Root=1-2-3;Sampled=1", "\xff\xfe"])
def test_a_broken_trace_header_does_not_break_the_invoke(port, invocations, trace):
    answer = exchange(port, request("POST", invocations, b"2", {"X-Amzn-Trace-Id": trace}))
    assert (answer.status, answer.body) == (200, b"2")


def test_a_flood_of_headers_is_refused_or_survived(port, invocations):
    flood = {f"X-Header-{number}": "x" * 100 for number in range(5000)}
    answer = exchange(port, request("POST", invocations, b"{}", flood))
    assert answer is None or answer.status in (200, 400, 431)


def test_a_header_without_end_is_not_collected_for_ever(port):
    with http.connect(port) as connection:
        connection.settimeout(2)
        connection.sendall(b"GET / HTTP/1.1\r\nX: ")
        try:
            for _ in range(16):
                connection.sendall(b"x" * (1 << 20))
            answer = http.read(connection)
        except ConnectionError:
            return
        assert answer is None or answer.status in (400, 431)


# --- bodies


@pytest.mark.parametrize("length", ["-1", "abc", "1e3", "0x10", "1, 2", "9" * 400, "+5", "\xb2", ""])
def test_a_broken_content_length_is_refused(port, invocations, length):
    data = f"POST {invocations} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{{}}".encode("latin-1")
    answer = exchange(port, data, hang_up=True)
    assert answer is None or 400 <= answer.status < 500


def test_two_lengths_and_a_length_with_chunks_are_refused(port, invocations):
    head = f"POST {invocations} HTTP/1.1\r\nHost: x\r\n"
    for lengths in (
        "Content-Length: 2\r\nContent-Length: 3\r\n",
        "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
    ):
        answer = exchange(port, f"{head}{lengths}\r\n{{}}".encode(), hang_up=True)
        assert answer is None or answer.status == 400


@pytest.mark.parametrize(
    "chunks",
    [
        b"zz\r\n{}\r\n0\r\n\r\n",
        b"-1\r\n{}\r\n",
        b"2\r\n{}0\r\n\r\n",
        b"\r\n\r\n",
        b"fffffffffffffffff\r\n{}\r\n",
        b"2;\x00=\x00\r\n{}\r\nX",
    ],
)
def test_bad_chunks_are_refused(port, invocations, chunks):
    head = f"POST {invocations} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    answer = exchange(port, head + chunks, hang_up=True)
    assert answer is None or 400 <= answer.status < 500


def test_a_body_that_ends_half_way_never_reaches_the_function(port, deploy, aws_client, result):
    name = deploy("seen = []\ndef handler(event, context):\n    seen.append(event)\n    return seen\n")
    path = f"{FUNCTIONS}/{name}/invocations"
    for half in (b'{"a":', b'{"a": 1}'):
        assert exchange(port, request("POST", path, half, {"Content-Length": "500"}), hang_up=True) is None
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n".encode()
    answer = exchange(port, head + b'{"a": 1}\r\n', hang_up=True)
    assert answer is None or answer.status == 400
    assert result(name, "whole") == ["whole"]


def test_a_hundred_connections_that_stop_half_way_do_not_keep_others_out(port, invocations):
    half = request("POST", invocations, b"{", {"Content-Length": "10"})
    with_nothing = [http.connect(port) for _ in range(50)]
    with_half = [http.connect(port) for _ in range(50)]
    for connection in with_half:
        connection.sendall(half)
    answer = exchange(port, request("POST", invocations, b"3"))
    assert (answer.status, answer.body) == (200, b"3")
    for connection in with_nothing + with_half:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # Reset, not closed.
        connection.close()


def test_a_client_that_goes_away_during_an_invoke_leaves_the_function_alone(port, deploy, result):
    name = deploy(MEET)
    with Rendezvous() as place:
        with http.connect(port) as connection:
            connection.sendall(request("POST", f"{FUNCTIONS}/{name}/invocations", b"%d" % place.port))
            place.await_guests(1)
        place.let_go()
    with Rendezvous() as place, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(result, name, place.port)
        place.await_guests(1)
        place.let_go()
        assert len(answer.result()) == 16, "it runs, and tells who it is"


@pytest.mark.parametrize("announced", [True, False], ids=["with its length", "in chunks"])
def test_an_oversized_body_is_refused_with_413(port, invocations, announced):
    size = 80 << 20
    kind = f"Content-Length: {size}" if announced else "Transfer-Encoding: chunked"
    head = f"POST {invocations} HTTP/1.1\r\nHost: x\r\n{kind}\r\n\r\n".encode()
    block = b"x" * (1 << 20)
    part = block if announced else b"100000\r\n" + block + b"\r\n"
    end = b"" if announced else b"0\r\n\r\n"
    answer = exchange(port, head, *[part] * 80, end)
    assert answer is None or (answer.status, answer.error) == (413, "RequestEntityTooLargeException")


def test_a_payload_of_more_than_six_megabytes_is_refused_with_413(port, invocations):
    answer = refusal(port, request("POST", invocations, b'"' + b"x" * 7_000_000 + b'"'))
    assert (answer.status, answer.error) == (413, "RequestEntityTooLargeException")


# --- what is no HTTP, and paths of our own


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 100,
        b"nonsense\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x00" * 1000,
        b"GET /\r\nX HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nA B: c\r\n\r\n",
        b"*1\r\n$4\r\nPING\r\n",
    ],
    ids=lambda data: repr(data[:20]),
)
def test_what_is_no_http_is_refused(port, data):
    answer = exchange(port, data, hang_up=True)
    assert answer is None or 400 <= answer.status < 506


@pytest.mark.parametrize(
    "path",
    [
        "/_lambda/",
        "/_lambda/nonsense",
        "/_lambda/code/../../etc/passwd",
        "/_lambda/code/%00",
        "/_lambda/code/x?%zz",
        "/_lambda/health/%FF",
    ],
)
def test_paths_of_the_gateway_itself_are_as_careful(port, path):
    answer = exchange(port, request("GET", path, headers={"Authorization": ""}))
    assert answer is not None
    assert answer.status in (200, 400, 403, 404)
    assert b"root:" not in answer.body
    answer = exchange(port, request("DELETE", path, headers={"Authorization": ""}))
    assert answer is not None
    assert 400 <= answer.status < 500
