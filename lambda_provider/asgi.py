"""The provider as an ASGI application: Lambda's requests are answered here, any other goes to the application behind.

`app` and `create_app` are for servers (`uvicorn lambda_provider.asgi:app`) and for applications that mount us: docs/hosts.md.

This is on the way of every invoke, so it does little: no framework, one dict for the headers, the body as it came.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, MutableMapping
from typing import Any, Protocol
from urllib.parse import unquote

from lambda_provider.api.errors import LambdaError
from lambda_provider.hosts.embedded import EmbeddedApplication
from lambda_provider.urls.addresses import Address, address_of
from lambda_provider.urls.requests import UrlRequest
from lambda_provider.urls.responses import BrokenResponse
from lambda_provider.wire import MAX_JSON_BODY_BYTES, HttpRequest, HttpResponse
from lambda_provider.wire.serializer import error_response

logger = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

INTERNAL_PREFIX = "/_lambda/"
BODY_IDLE_TIMEOUT_S = 30.0
"""How long a client may stop in the middle of a request body."""

_SIGNED = "/aws4_request"


class Wire(Protocol):
    """Requests in, responses out: `lambda_provider.wire.LambdaWire`."""

    def matches(self, method: str, path: str) -> bool:
        """Is this a path of the Lambda API?"""
        ...

    async def handle(self, request: HttpRequest) -> HttpResponse:
        """Answer a request; errors are responses too."""
        ...

    def refuse_too_large(self, request: HttpRequest) -> HttpResponse:
        """The answer to a request whose body is over the limit and was not read to the end."""
        ...


class Urls(Protocol):
    """Answers requests to function URLs: `lambda_provider.urls.serving.FunctionUrls`."""

    payload_limit: int

    async def handle(self, address: Address, request: UrlRequest) -> HttpResponse: ...

    def refuse_too_large(self) -> HttpResponse: ...


class Behind(Protocol):
    """Where requests for other services go; `service` is the signing name of the request, or empty."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send, *, service: str = "") -> None: ...


class RequestTimeoutException(LambdaError):
    """The body of a request stopped half-way. AWS only closes the connection; we say why."""

    code = "RequestTimeoutException"
    status_code = 408


class BodyTooLarge(Exception):
    """The body of a request is over the limit of every operation."""


class ClientGone(Exception):
    """The client closed the connection before its request was complete."""


class LambdaApplication:
    """ASGI application in front of a wire.

    A signed request is Lambda's if its credential scope says so, whatever its path: an S3 bucket may be called `2015-03-31`.
    An unsigned one, or one with a broken scope, is Lambda's if its path is. `internal` answers paths under `/_lambda/`.
    `urls` answers what is for the host of a function URL, or its path, before anything else is asked.
    `learn` is awaited with the access key of every request for Lambda, before the wire has to know its account.
    """

    def __init__(
        self,
        wire: Wire,
        *,
        behind: Behind | None = None,
        internal: Callable[[HttpRequest], Awaitable[HttpResponse]] | None = None,
        learn: Callable[[str], Awaitable[None]] | None = None,
        urls: Urls | None = None,
    ) -> None:
        self._wire = wire
        self._behind = behind
        self._internal = internal
        self._learn = learn
        self._urls = urls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await _not_http(scope, receive, send)
            return
        headers = _headers(scope["headers"])
        path = scope["raw_path"].decode("latin-1")
        if self._urls is not None and (address := address_of(headers.get("host", ""), path)) is not None:
            await self._call_url(self._urls, address, scope, receive, send)
            return
        query = scope["query_string"].decode("latin-1")
        method = scope["method"]
        handle: Callable[[HttpRequest], Awaitable[HttpResponse]] = self._wire.handle
        credential = credential_scope(headers.get("authorization", ""), query)
        service = signing_service(credential)
        if service == "lambda":
            if self._learn is not None:
                await self._learn(credential.partition("/")[0])
        else:
            if self._internal is not None and path.startswith(INTERNAL_PREFIX):
                handle = self._internal
            elif self._behind is not None and (service or not self._wire.matches(method, path)):
                await self._behind(scope, receive, send, service=service)
                return
        try:
            body = await _receive_body(receive, headers.get("content-length"), MAX_JSON_BODY_BYTES)
        except ClientGone:
            return
        except BodyTooLarge:
            response = self._wire.refuse_too_large(HttpRequest(method, path, query, headers))
        except TimeoutError:
            response = _too_late()
        else:
            response = await handle(HttpRequest(method, path, query, headers, body))
        await _send_response(response, receive, send)

    async def _call_url(self, urls: Urls, address: Address, scope: Scope, receive: Receive, send: Send) -> None:
        request = url_request(scope)
        try:
            request.body = await _receive_body(receive, request.header("content-length") or None, urls.payload_limit)
        except ClientGone:
            return
        except BodyTooLarge:
            response = urls.refuse_too_large()
        except TimeoutError:
            response = _too_late()
        else:
            response = await urls.handle(address, request)
        await _send_response(response, receive, send)


def url_request(scope: Scope) -> UrlRequest:
    """A request to a function URL, its body still to come."""
    client = scope.get("client")
    return UrlRequest(
        method=scope["method"],
        path=scope["raw_path"].decode("latin-1"),
        query=scope["query_string"].decode("latin-1"),
        headers=[(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]],
        client=client[0] if client else "127.0.0.1",
        scheme=scope.get("scheme", "http"),
        protocol=f"HTTP/{scope.get('http_version', '1.1')}",
    )


def signing_service(scope: str) -> str:
    """The service in a credential scope, in lower case; empty if the scope is empty or broken."""
    if not scope.endswith(_SIGNED):
        return ""
    return scope[: -len(_SIGNED)].rpartition("/")[2].lower()


def credential_scope(authorization: str, query: str) -> str:
    """`KEY/DATE/REGION/SERVICE/aws4_request` of a SigV4 request as it was sent, or an empty string."""
    start = authorization.find("Credential=")
    if start >= 0:
        return authorization[start + 11 :].partition(",")[0].strip()
    if "X-Amz-Credential=" in query:
        return unquote(query.partition("X-Amz-Credential=")[2].partition("&")[0])
    return ""


async def receive_body_part(receive: Receive) -> tuple[bytes, bool]:
    """The next part of a request body, and whether more follows.

    Raises `ClientGone`, and `TimeoutError` when nothing came for `BODY_IDLE_TIMEOUT_S`.
    """
    async with asyncio.timeout(BODY_IDLE_TIMEOUT_S):
        message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGone
    return message.get("body", b""), message.get("more_body", False)


def _too_late() -> HttpResponse:
    response = error_response(RequestTimeoutException("The request body did not arrive in time."), str(uuid.uuid4()))
    response.headers.append(("connection", "close"))
    return response


async def _receive_body(receive: Receive, content_length: str | None, limit: int) -> bytes:
    if content_length is not None and len(content_length) > 6 and int(content_length) > limit:
        raise BodyTooLarge
    body, more = await receive_body_part(receive)
    if not more:
        return body
    parts = [body]
    size = len(body)
    while more:
        body, more = await receive_body_part(receive)
        parts.append(body)
        size += len(body)
        if size > limit:
            # The server reads and forgets what still comes, so the client gets to see the answer.
            raise BodyTooLarge
    return b"".join(parts)


def _headers(raw: list[tuple[bytes, bytes]]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for raw_name, raw_value in raw:
        name = raw_name.decode("latin-1")
        value = raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


async def _send_response(response: HttpResponse, receive: Receive, send: Send) -> None:
    body = response.body
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers]
    if isinstance(body, bytes):
        headers.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        return
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    try:
        await until_gone(_send_stream(body, send), receive)
    except ClientGone:
        logger.debug("the client left during a streamed response")
    except BrokenResponse as error:
        logger.info("a function failed in the middle of its response: %s", error)
    except Exception:
        # The head is out: the server ends the connection, so that the client sees an incomplete response.
        logger.exception("a streamed response broke off")


async def until_gone(work: Coroutine[Any, Any, None], receive: Receive) -> None:
    """Send a response whose request was read to its end; `work` is cancelled when the client leaves: `ClientGone`."""
    sending = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait({sending, gone}, return_when=asyncio.FIRST_COMPLETED)
        left = not sending.done()
    finally:
        for task in (sending, gone):
            task.cancel()
        await asyncio.gather(sending, gone, return_exceptions=True)
    if left:
        raise ClientGone
    sending.result()


async def _send_stream(body: AsyncIterator[bytes], send: Send) -> None:
    try:
        async for chunk in body:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    finally:
        if (close := getattr(body, "aclose", None)) is not None:
            await close()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _not_http(scope: Scope, receive: Receive, send: Send) -> None:
    """Lifespan events are acknowledged; websockets are refused."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008})
        return
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


create_app = EmbeddedApplication
"""Makes an application that is told by its arguments, where `app` is told by the environment."""

app = create_app()
