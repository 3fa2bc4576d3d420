"""What clients should not do to a server, over raw connections: the gateway answers or closes, and serves the next one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from lambda_provider import asgi
from lambda_provider.wire.http import HttpRequest, HttpResponse

INVOKE = b"POST /2015-03-31/functions/f/invocations HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture(autouse=True)
def still_serves_afterwards(local_gateway: Any, read: Any) -> Any:
    yield
    with local_gateway.connect() as connection:
        connection.sendall(INVOKE + b"Content-Length: 2\r\n\r\nok")
        assert read(connection)[2] == b"ok"


def test_keep_alive_serves_many_requests_on_one_connection(local_gateway: Any, read: Any) -> None:
    with local_gateway.connect() as connection:
        for number in range(5):
            connection.sendall(INVOKE + b"Content-Length: 1\r\n\r\n%d" % number)
            assert read(connection)[2] == b"%d" % number


def test_pipelined_requests_are_answered_in_order(local_gateway: Any) -> None:
    with local_gateway.connect() as connection:
        requests = [INVOKE + b"Content-Length: 1\r\n\r\n%d" % number for number in range(4)]
        last = INVOKE + b"Connection: close\r\nContent-Length: 1\r\n\r\n4"
        connection.sendall(b"".join(requests) + last)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    bodies = [part[:1] for part in answer.split(b"\r\n\r\n")[1:]]
    assert bodies == [b"0", b"1", b"2", b"3", b"4"]


def test_a_chunked_body_is_put_together(local_gateway: Any, read: Any) -> None:
    with local_gateway.connect() as connection:
        connection.sendall(INVOKE + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
        assert read(connection)[2] == b"abcde"


def test_expect_100_continue_is_answered_before_the_body(local_gateway: Any, read: Any) -> None:
    with local_gateway.connect() as connection:
        connection.sendall(INVOKE + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert connection.recv(1024) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"hi")
        assert read(connection)[2] == b"hi"


def test_a_half_sent_body_is_answered_408_and_the_connection_closed(
    local_gateway: Any, read: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asgi, "BODY_IDLE_TIMEOUT_S", 0.05)
    with local_gateway.connect() as connection:
        connection.sendall(INVOKE + b"Content-Length: 100\r\n\r\n{")
        status, headers, _ = read(connection)
        assert (status, headers["x-amzn-errortype"]) == (408, "RequestTimeoutException")
        assert connection.recv(1) == b""
    assert local_gateway.wire.requests == []


def test_a_client_that_hangs_up_half_way_is_forgotten(local_gateway: Any) -> None:
    with local_gateway.connect() as connection:
        connection.sendall(INVOKE + b"Content-Length: 100\r\n\r\n{")
    assert local_gateway.wire.requests == []


def test_an_oversized_body_is_answered_413_and_the_connection_goes_on(
    local_gateway: Any, read: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asgi, "MAX_JSON_BODY_BYTES", 1_000_000)
    with local_gateway.connect() as connection:
        connection.sendall(INVOKE + b"Content-Length: 2000000\r\n\r\n" + b"x" * 2_000_000)
        assert read(connection)[0] == 413
        connection.sendall(INVOKE + b"Content-Length: 2\r\n\r\nok")
        assert read(connection)[2] == b"ok"


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"this is not HTTP\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /\x00 HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_not_http_is_refused_with_400(local_gateway: Any, read: Any, request_bytes: bytes) -> None:
    with local_gateway.connect() as connection:
        connection.sendall(request_bytes)
        assert read(connection)[0] == 400


def test_head_has_the_headers_of_get_and_no_body(local_gateway: Any, read: Any) -> None:
    async def answer(request: HttpRequest) -> HttpResponse:
        local_gateway.wire.handler = local_gateway.wire._echo
        return HttpResponse(200, [("content-type", "application/json")], b'{"a": 1}')

    local_gateway.wire.handler = answer
    with local_gateway.connect() as connection:
        connection.sendall(b"HEAD /2015-03-31/functions HTTP/1.1\r\nHost: x\r\n\r\n")
        status, headers, body = read(connection, head=True)
        assert (status, headers["content-length"], body) == (200, "8", b"")


def test_header_values_and_paths_of_any_bytes_reach_the_wire(local_gateway: Any, read: Any) -> None:
    with local_gateway.connect() as connection:
        connection.sendall(b"GET /2015-03-31/functions/%FF%00 HTTP/1.1\r\nHost: x\r\nX-A: \xe4\xff\r\nX-A: 2\r\n\r\n")
        assert read(connection)[0] == 200
    (request,) = local_gateway.wire.requests
    assert request.path == "/2015-03-31/functions/%FF%00"
    assert request.headers["x-a"] == "\xe4\xff, 2"


def test_a_stream_that_breaks_ends_the_connection_without_its_end(local_gateway: Any) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"some"
        raise RuntimeError("broke")

    async def answer(request: HttpRequest) -> HttpResponse:
        local_gateway.wire.handler = local_gateway.wire._echo
        return HttpResponse(200, [], broken())

    local_gateway.wire.handler = answer
    with local_gateway.connect() as connection:
        connection.sendall(INVOKE + b"Content-Length: 0\r\n\r\n")
        answered = b"".join(iter(lambda: connection.recv(65536), b""))
    assert b"some" in answered
    assert not answered.endswith(b"0\r\n\r\n")
    assert b"Traceback" not in answered


def test_a_failing_application_shows_no_traceback(local_gateway: Any, read: Any) -> None:
    async def fails(request: HttpRequest) -> HttpResponse:
        local_gateway.wire.handler = local_gateway.wire._echo
        raise RuntimeError("a secret")

    local_gateway.wire.handler = fails
    with local_gateway.connect() as connection:
        connection.sendall(INVOKE + b"Content-Length: 0\r\n\r\n")
        status, _, body = read(connection)
        assert status == 500
        assert b"secret" not in body
