"""A WSGI request answered on a loop in another thread."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lambda_provider.hosts.loop_thread import LoopThread
from lambda_provider.hosts.wsgi_exchange import Exchange, IncompleteResponse, scope_of


@pytest.fixture
def thread() -> Iterator[LoopThread]:
    running = LoopThread("test")
    yield running
    running.stop()


def environ(body: bytes = b"", **more: Any) -> dict[str, Any]:
    given = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/path",
        "QUERY_STRING": "a=b",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "CONTENT_LENGTH": str(len(body)),
    }
    return {**given, **more}


class Answer:
    """What a server got of the application."""

    def __init__(self, thread: LoopThread, application: Any, request: dict[str, Any]) -> None:
        self.exchange = Exchange(thread, application, request)
        self.exchange.begin(self._start_response)

    def _start_response(self, status: str, headers: list[tuple[str, str]]) -> None:
        self.status, self.headers = status, headers


async def head(send: Callable[[Any], Any], status: int = 200, headers: Any = ()) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})


async def whole_body(receive: Callable[[], Any]) -> list[bytes]:
    parts, more = [], True
    while more:
        message = await receive()
        parts.append(message["body"])
        more = message["more_body"]
    return parts


async def echo(scope: Any, receive: Any, send: Any) -> None:
    await head(send, 201, [(b"x-a", b"1"), (b"Connection", b"close"), (b"Transfer-Encoding", b"chunked")])
    await send({"type": "http.response.body", "body": b"".join(await whole_body(receive))})


def test_a_request_and_its_answer(thread: LoopThread) -> None:
    answer = Answer(thread, echo, environ(b"hello"))
    assert (answer.status, answer.headers) == ("201 Created", [("x-a", "1")])
    assert b"".join(answer.exchange) == b"hello"
    answer.exchange.close()


def test_a_body_is_read_in_parts_and_only_in_the_thread_of_the_server(thread: LoopThread) -> None:
    readers = set()

    class Input(io.BytesIO):
        def read(self, size: Any = -1) -> bytes:
            readers.add(threading.current_thread())
            return super().read(size)

    parts: list[bytes] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        parts.extend(await whole_body(receive))
        await head(send)
        await send({"type": "http.response.body"})

    body = bytes(200_000)
    assert b"".join(Answer(thread, application, environ(body, **{"wsgi.input": Input(body)})).exchange) == b""
    assert b"".join(parts) == body
    assert len(parts) == 4
    assert readers == {threading.current_thread()}


def test_a_chunked_body_has_no_length_and_ends_where_the_server_says(thread: LoopThread) -> None:
    request = environ(b"x" * 70_000, **{"wsgi.input_terminated": True, "CONTENT_LENGTH": ""})
    assert b"".join(Answer(thread, echo, request).exchange) == b"x" * 70_000


def test_a_body_without_length_is_empty(thread: LoopThread) -> None:
    assert b"".join(Answer(thread, echo, environ(b"never read", CONTENT_LENGTH="")).exchange) == b""


def test_a_body_that_breaks_off_is_the_servers_to_handle_and_tells_the_application(thread: LoopThread) -> None:
    heard: list[str] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        while (message := await receive())["type"] == "http.request":
            heard.append("part")
        heard.append(message["type"])

    with pytest.raises(ConnectionResetError):
        Answer(thread, application, environ(b"half", CONTENT_LENGTH="8"))
    thread.run(asyncio.sleep(0))
    assert heard == ["part", "http.disconnect"]


def test_parts_are_there_when_they_are_sent(thread: LoopThread) -> None:
    go_on = asyncio.Event()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await head(send)
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        await go_on.wait()
        await send({"type": "http.response.body", "body": b"two"})

    parts = iter(Answer(thread, application, environ()).exchange)
    assert next(parts) == b"one"
    thread.loop.call_soon_threadsafe(go_on.set)
    assert list(parts) == [b"two"]


def test_an_application_is_not_far_ahead_of_the_server(thread: LoopThread) -> None:
    sent = 0

    async def application(scope: Any, receive: Any, send: Any) -> None:
        nonlocal sent
        await head(send)
        for sent in range(1, 101):  # noqa: B007  # How far it came is what is asked.
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
        await send({"type": "http.response.body"})

    answer = Answer(thread, application, environ())
    for _ in range(50):
        thread.run(asyncio.sleep(0))
    assert sent < 20
    assert b"".join(answer.exchange) == b"x" * 100


def test_a_client_that_leaves_is_told_to_the_application(thread: LoopThread) -> None:
    left = threading.Event()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await whole_body(receive)
        await head(send)
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        assert (await receive())["type"] == "http.disconnect"
        left.set()

    answer = Answer(thread, application, environ())
    assert next(iter(answer.exchange)) == b"x"
    answer.exchange.close()
    assert left.wait(30)


def test_an_answer_that_is_not_complete_breaks_off(thread: LoopThread) -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await head(send)
        await send({"type": "http.response.body", "body": b"x", "more_body": True})

    parts = iter(Answer(thread, application, environ()).exchange)
    assert next(parts) == b"x"
    with pytest.raises(IncompleteResponse):
        next(parts)


def test_what_the_application_raises_before_its_answer_is_raised_to_the_server(thread: LoopThread) -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        Answer(thread, application, environ())


def test_no_answer_at_all_is_an_error(thread: LoopThread) -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        pass

    with pytest.raises(IncompleteResponse):
        Answer(thread, application, environ())


def test_a_server_does_not_wait_for_a_loop_that_ends(thread: LoopThread) -> None:
    begun = threading.Event()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        begun.set()
        await asyncio.Event().wait()

    stopper = threading.Thread(target=lambda: begun.wait(30) and thread.stop())
    stopper.start()
    with pytest.raises(IncompleteResponse):
        Answer(thread, application, environ())
    stopper.join(30)


def test_what_was_answered_before_the_loop_ended_is_sent_whole(thread: LoopThread) -> None:
    sent = threading.Event()

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await head(send)
        for number in range(3):
            await send({"type": "http.response.body", "body": b"x", "more_body": number < 2})
        sent.set()

    answer = Answer(thread, application, environ())
    assert sent.wait(30)
    thread.stop()
    assert b"".join(answer.exchange) == b"xxx"
    answer.exchange.close()


@pytest.mark.parametrize(
    ("given", "raw_path"),
    [
        ({"PATH_INFO": "/a/b", "REQUEST_URI": "/a%2Fb?x=y"}, b"/a%2Fb"),
        ({"PATH_INFO": "/a/b", "RAW_URI": "/a%2Fb"}, b"/a%2Fb"),
        ({"PATH_INFO": "/a/b", "REQUEST_URI": "/before/it/was/rewritten"}, b"/a/b"),
        ({"PATH_INFO": "/a/b", "REQUEST_URI": "http://proxy/a/b"}, b"/a/b"),
        ({"PATH_INFO": "/a b/\xc3\xbc"}, b"/a%20b/%C3%BC"),
        ({"PATH_INFO": "/b", "SCRIPT_NAME": "/aws", "REQUEST_URI": "/aws/b"}, b"/aws/b"),
        ({"PATH_INFO": "/arn:aws:lambda:us-east-1:1:function:f"}, b"/arn:aws:lambda:us-east-1:1:function:f"),
    ],
)
def test_the_path_is_the_one_on_the_wire_where_the_server_tells_it(given: dict[str, str], raw_path: bytes) -> None:
    assert scope_of(environ(**given))["raw_path"] == raw_path


def test_everything_else_of_a_request_is_handed_on() -> None:
    request = environ(
        b"ab",
        SCRIPT_NAME="/aws",
        HTTP_X_AMZ_TARGET="t",
        CONTENT_TYPE="application/json",
        REMOTE_ADDR="10.0.0.1",
        REMOTE_PORT="5",
        SERVER_PROTOCOL="HTTP/1.0",
    )
    scope = scope_of(request)
    assert dict(scope["headers"]) == {
        b"x-amz-target": b"t",
        b"content-type": b"application/json",
        b"content-length": b"2",
    }
    assert (scope["path"], scope["root_path"], scope["query_string"]) == ("/aws/path", "/aws", b"a=b")
    assert (scope["client"], scope["server"]) == (("10.0.0.1", 5), ("127.0.0.1", 8000))
    assert (scope["http_version"], scope["scheme"]) == ("1.0", "http")
