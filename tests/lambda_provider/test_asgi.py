"""The ASGI application alone, without a server: whose request it is, how bodies are read, how responses are sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from lambda_provider import asgi
from lambda_provider.asgi import LambdaApplication, credential_scope, signing_service
from lambda_provider.wire.http import HttpRequest, HttpResponse

FUNCTIONS = "/2015-03-31/functions"


def signed(service: str, key: str = "111111111111") -> str:
    return (
        f"AWS4-HMAC-SHA256 Credential={key}/20240101/eu-west-1/{service}/aws4_request, SignedHeaders=host, Signature=0"
    )


class Wire:
    def __init__(self) -> None:
        self.request: HttpRequest | None = None
        self.response = HttpResponse(200, [("content-type", "application/json")], b"{}")

    def matches(self, method: str, path: str) -> bool:
        return path.startswith("/2015-03-31/")

    async def handle(self, request: HttpRequest) -> HttpResponse:
        self.request = request
        return self.response

    def refuse_too_large(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse(413, [], f"{request.method} {request.path}".encode())


class Behind:
    def __init__(self) -> None:
        self.services: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any, *, service: str = "") -> None:
        self.services.append(service)
        await send({"type": "http.response.start", "status": 299, "headers": []})
        await send({"type": "http.response.body", "body": b""})


class Client:
    """Drives an application: gives it the parts of a body, collects what it sends."""

    def __init__(self) -> None:
        self.wire = Wire()
        self.behind = Behind()
        self.application = LambdaApplication(self.wire, behind=self.behind, internal=self._internal)
        self.sent: list[Any] = []

    async def _internal(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse(200, [], b"internal")

    async def request(
        self,
        method: str = "GET",
        path: str = FUNCTIONS,
        *parts: bytes,
        query: str = "",
        gone: bool = False,
        **headers: str,
    ) -> int:
        bodies = list(parts) or [b""]

        async def receive() -> dict[str, Any]:
            if not bodies:
                if gone:
                    return {"type": "http.disconnect"}
                await asyncio.Event().wait()
            body = bodies.pop(0)
            return {"type": "http.request", "body": body, "more_body": bool(bodies) or gone}

        async def send(message: Any) -> None:
            self.sent.append(message)

        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
        }
        await self.application(scope, receive, send)
        return int(self.sent[0]["status"]) if self.sent else 0

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent[1:])


@pytest.fixture
def client() -> Client:
    return Client()


@pytest.mark.parametrize(
    ("path", "authorization", "query", "behind"),
    [
        (FUNCTIONS, signed("lambda"), "", None),
        ("/no-such-path", signed("lambda"), "", None),
        (FUNCTIONS, signed("s3"), "", "s3"),
        (FUNCTIONS, "", "", None),
        ("/bucket/key", "", "", ""),
        ("/bucket/key", signed("s3"), "", "s3"),
        (FUNCTIONS, "", "X-Amz-Credential=k%2F20240101%2Feu-west-1%2Fs3%2Faws4_request", "s3"),
        ("/x", "", "X-Amz-Credential=k%2F20240101%2Feu-west-1%2Flambda%2Faws4_request&a=b", None),
        (FUNCTIONS, "AWS4-HMAC-SHA256 Credential=broken", "", None),
        ("/bucket/key", "AWS4-HMAC-SHA256 Credential=broken", "", ""),
        ("/bucket/key", "AWS key:signature", "", ""),
        ("/_lambda/health", "", "", None),
    ],
)
async def test_the_credential_scope_decides_whose_request_it_is_and_else_the_path(
    client: Client, path: str, authorization: str, query: str, behind: str | None
) -> None:
    headers = {"authorization": authorization} if authorization else {}
    status = await client.request("GET", path, query=query, **headers)
    assert client.behind.services == ([] if behind is None else [behind])
    assert status == (200 if behind is None else 299)


async def test_a_wire_sees_the_request_as_it_came(client: Client) -> None:
    await client.request(
        "POST", "/2015-03-31/functions/a%2Fb", b"ab", b"cd", query="Qualifier=1", x_amz_log_type="Tail"
    )
    assert client.wire.request == HttpRequest(
        "POST", "/2015-03-31/functions/a%2Fb", "Qualifier=1", {"x-amz-log-type": "Tail"}, b"abcd"
    )


async def test_internal_paths_never_reach_the_wire(client: Client) -> None:
    await client.request("GET", "/_lambda/health")
    assert client.body == b"internal"
    assert client.wire.request is None


async def test_a_declared_oversized_body_is_refused_before_it_is_read(client: Client) -> None:
    assert await client.request("POST", FUNCTIONS, b"x", content_length="70167212") == 413
    assert client.body == b"POST /2015-03-31/functions"
    assert client.wire.request is None


async def test_an_oversized_chunked_body_is_refused_when_the_limit_is_passed(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asgi, "MAX_JSON_BODY_BYTES", 10)
    assert await client.request("POST", FUNCTIONS, b"12345", b"678901", b"never asked for") == 413
    assert client.body == b"POST /2015-03-31/functions"


async def test_a_body_of_exactly_the_limit_is_taken(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi, "MAX_JSON_BODY_BYTES", 10)
    assert await client.request("POST", FUNCTIONS, b"12345", b"67890") == 200


async def test_a_half_sent_body_is_given_up_after_the_idle_time(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asgi, "BODY_IDLE_TIMEOUT_S", 0.01)

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        client.sent.append(message)

    scope = {"type": "http", "method": "POST", "raw_path": FUNCTIONS.encode(), "query_string": b"", "headers": []}
    await client.application(scope, receive, send)
    assert client.sent[0]["status"] == 408
    assert (b"connection", b"close") in client.sent[0]["headers"]


async def test_a_client_that_leaves_half_way_gets_nothing_and_reaches_nobody(client: Client) -> None:
    assert await client.request("POST", FUNCTIONS, b"half", gone=True) == 0
    assert client.wire.request is None


async def test_a_streamed_response_is_sent_as_it_is_produced(client: Client) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"a"
        assert client.sent[-1]["body"] == b"a"
        yield b"b"

    client.wire.response = HttpResponse(200, [], chunks())
    await client.request()
    assert client.body == b"ab"
    assert client.sent[-1] == {"type": "http.response.body", "body": b""}


async def test_a_streamed_response_is_closed_when_the_client_leaves(client: Client) -> None:
    closed = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            yield b"a"
            await asyncio.Event().wait()
        finally:
            closed.set()

    client.wire.response = HttpResponse(200, [], endless())
    received = [{"type": "http.request", "body": b"", "more_body": False}, {"type": "http.disconnect"}]

    async def receive() -> Any:
        return received.pop(0)

    async def send(message: Any) -> None:
        client.sent.append(message)

    scope = {"type": "http", "method": "GET", "raw_path": FUNCTIONS.encode(), "query_string": b"", "headers": []}
    await asyncio.wait_for(client.application(scope, receive, send), 30)
    assert closed.is_set()


async def test_a_stream_that_fails_leaves_the_response_incomplete(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield b"a"
        raise RuntimeError("broke")

    client.wire.response = HttpResponse(200, [], failing())
    await client.request()
    assert client.sent[-1]["more_body"] is True
    assert "broke off" in caplog.text


def test_the_signing_service_is_empty_for_what_is_not_a_scope() -> None:
    for scope in ("", "a/b/c", "aws4_request", "k/20240101/eu-west-1/s3/aws5_request"):
        assert signing_service(scope) == ""
    assert signing_service("k/20240101/eu-west-1/LAMBDA/aws4_request") == "lambda"


def test_the_scope_is_found_in_the_header_or_in_a_presigned_query() -> None:
    scope = "111111111111/20240101/eu-west-1/s3/aws4_request"
    assert credential_scope(signed("s3"), "") == scope
    assert credential_scope("", "a=b&X-Amz-Credential=" + scope.replace("/", "%2F") + "&c=d") == scope
    assert credential_scope("Bearer x", "a=b") == ""


async def test_the_access_key_of_a_lambda_request_is_learnt_first(client: Client) -> None:
    learnt: list[str] = []

    async def learn(key: str) -> None:
        assert client.wire.request is None
        learnt.append(key)

    client.application = LambdaApplication(client.wire, behind=client.behind, learn=learn)
    await client.request("GET", FUNCTIONS, authorization=signed("lambda", "AKIAEXAMPLE"))
    await client.request("GET", FUNCTIONS, authorization=signed("s3", "AKIAOTHER"))
    assert learnt == ["AKIAEXAMPLE"]
