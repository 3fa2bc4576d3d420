"""Passes requests for other AWS services on to moto as they came, and the responses back, without holding either whole."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterable, AsyncIterator
from typing import Any

from lambda_provider.asgi import ClientGone, Receive, Scope, Send, receive_body_part, until_gone
from lambda_provider.host import ServiceUnavailable
from lambda_provider.hosts.moto_process import MotoProcess
from lambda_provider.hosts.telemetry import Telemetry
from lambda_provider.hosts.upstream import Header, Upstream, UpstreamError

logger = logging.getLogger(__name__)

# RFC 9110, 7.6.1: what is about one connection and not about the message. `Expect` is answered by our server.
_NOT_FORWARDED = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade", b"expect")
)
# Our server sends its own.
_NOT_RETURNED = _NOT_FORWARDED | {b"date", b"server"}


class MotoProxy:
    """An ASGI application: everything that reaches it is moto's.

    A request for CloudWatch Logs or CloudWatch first has what functions wrote delivered, so that a reader sees it.
    """

    def __init__(self, moto: MotoProcess, upstream: Upstream, telemetry: Telemetry) -> None:
        self._moto = moto
        self._upstream = upstream
        self._telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send, *, service: str = "") -> None:
        """Forward one request. `service` is the signing name in its credential scope, empty if it has none."""
        try:
            await self._moto.ready()
            if service in Telemetry.SERVICES:
                await self._telemetry.flush_for_reader()
            await self._forward(scope, receive, send)
        except ServiceUnavailable as error:
            await _answer_error(send, 503, "ServiceUnavailable", str(error))
        except (UpstreamError, OSError) as error:
            logger.warning("moto did not answer %s %s: %s", scope["method"], scope["path"], error)
            await _answer_error(send, 503, "ServiceUnavailable", "moto did not answer; it may be starting again")
        except TimeoutError:
            await _answer_error(send, 408, "RequestTimeout", "The request body did not arrive in time.", close=True)
        except ClientGone:
            logger.debug("the client left during %s %s", scope["method"], scope["path"])

    async def _forward(self, scope: Scope, receive: Receive, send: Send) -> None:
        raw_path, query = scope["raw_path"], scope["query_string"]
        target = raw_path + b"?" + query if query else raw_path
        headers: list[Header] = []
        length: Header | None = None
        for header in scope["headers"]:
            if header[0] == b"content-length":
                length = header
            elif header[0] not in _NOT_FORWARDED:
                headers.append(header)
        first, more = await receive_body_part(receive)
        body: bytes | AsyncIterator[bytes] = first
        if more:
            body = _rest_of_body(first, receive)
            if length:
                headers.append(length)
        elif first or length:
            headers.append((b"content-length", b"%d" % len(first)))
        response = await self._upstream.request(
            scope["method"].encode("ascii"), target, headers, body, chunked=more and length is None
        )
        answer = _return(response.status, response.headers, response, send)
        try:
            if response.request_is_sent:
                await until_gone(answer, receive)
            else:
                # Moto answered before it had the whole request. The upload reads from the client, and sees it leave.
                await answer
        finally:
            response.close()


async def _rest_of_body(first: bytes, receive: Receive) -> AsyncIterator[bytes]:
    yield first
    more = True
    while more:
        data, more = await receive_body_part(receive)
        yield data


async def _return(status: int, headers: Any, body: AsyncIterable[bytes], send: Send) -> None:
    bodyless = status in (204, 304)
    kept = [
        (name, value)
        for name, value in ((name.lower(), value) for name, value in headers)
        if name not in _NOT_RETURNED and not (bodyless and name == b"content-length")
    ]
    await send({"type": "http.response.start", "status": status, "headers": kept})
    try:
        async for chunk in body:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    except UpstreamError as error:
        # The head is out: all that is left is to end the connection, so that the client sees an incomplete response.
        logger.warning("moto ended in the middle of a response: %s", error)
        return
    await send({"type": "http.response.body", "body": b""})


async def _answer_error(send: Send, status: int, code: str, message: str, *, close: bool = False) -> None:
    body = json.dumps({"__type": code, "message": message}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"x-amzn-errortype", code.encode()),
        (b"content-length", b"%d" % len(body)),
    ]
    if close:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
