"""The way of a request to a function URL: found, authorised, made an event, run, answered."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit
from uuid import uuid4

from lambda_provider.api import RequestEntityTooLargeException, ServiceException
from lambda_provider.api.errors import LambdaError
from lambda_provider.model.function import LATEST, Function, Version
from lambda_provider.model.url import FunctionUrl
from lambda_provider.operations.urls import url_of
from lambda_provider.store.store import Store
from lambda_provider.urls import cors, prelude
from lambda_provider.urls.access import authorize
from lambda_provider.urls.addresses import Address
from lambda_provider.urls.callers import Callers, Principal
from lambda_provider.urls.events import event_of
from lambda_provider.urls.requests import UrlRequest
from lambda_provider.urls.responses import BODYLESS, JSON, BrokenResponse, MalformedResponse, head_of, response_of
from lambda_provider.validation.names import FunctionId
from lambda_provider.wire.http import HttpResponse
from lambda_provider.wire.serializer import INTERNAL_ERROR, REQUEST_ID, error_response
from lambda_runtime.tracing import new_trace_header
from lambda_runtime.types import Invocation, InvocationResult

logger = logging.getLogger(__name__)

STREAMED = "RESPONSE_STREAM"
_NOT_SAMPLED = ";Sampled=0"
_ROOT = re.compile(r"(?i)\bRoot=([^;\s]+)")


class Invoker(Protocol):
    """Runs functions: `InvokeOperations`."""

    async def ready(self, identity: FunctionId) -> tuple[Function, Version, str]: ...
    async def run(self, invocation: Invocation) -> InvocationResult: ...
    def sampled(self, trace_header: str | None, function: Function, version: Version) -> str | None: ...
    def count(self, metric: str, version_arn: str, invoked_arn: str, value: float = 1.0) -> None: ...


@dataclass(frozen=True, slots=True)
class _Call:
    """A request that may be answered by the function."""

    function: Function
    qualifier: str
    url: FunctionUrl
    address: Address
    request: UrlRequest
    request_id: str
    principal: Principal | None

    @property
    def identity(self) -> FunctionId:
        alias = None if self.qualifier == LATEST else self.qualifier
        return FunctionId(self.function.account_id, self.function.region, self.function.name, alias)

    def event(self, trace_header: str) -> bytes:
        principal, host = self.principal, self.request.header("host")
        root = _ROOT.search(trace_header)
        # By the path, the name that the URL would have here.
        named = url_of(self.url.url_id, self.function.region, f"http://{host}")
        return event_of(
            self.request,
            url_id=self.url.url_id,
            domain=host if self.address.region else urlsplit(named).netloc,
            path=self.address.path,
            request_id=self.request_id,
            trace_header=f"Root={root[1]}" if root else trace_header,
            account_id="anonymous" if principal is None else principal.account_id,
            iam=None if principal is None else principal.describe(),
        )


class FunctionUrls:
    """Answers requests to function URLs, on the runtime's loop.

    `payload_limit` bounds the event, in bytes.
    """

    def __init__(self, store: Store, invoker: Invoker, callers: Callers, payload_limit: int) -> None:
        self.payload_limit = payload_limit
        self._store = store
        self._invoker = invoker
        self._callers = callers

    async def handle(self, address: Address, request: UrlRequest) -> HttpResponse:
        """Answer a request. Errors are responses too; a streamed body may raise BrokenResponse."""
        began = time.monotonic()
        request_id = str(uuid4())
        found = self._store.url(address.url_id)
        if found is None or address.region not in (None, found[0].region):
            headers = [
                ("Content-Type", JSON),
                (REQUEST_ID, request_id),
                ("x-amzn-ErrorType", "ResourceNotFoundException"),
            ]
            return HttpResponse(404, headers, b'{"Message":null}')
        function, qualifier = found
        response, version_arn = await self._answer(function, qualifier, address, request, request_id)
        if version_arn is None:
            alias = function.aliases.get(qualifier)
            version_arn = f"{function.arn}:{alias.version if alias is not None else qualifier}"
        invoked_arn, latency_ms = f"{function.arn}:{qualifier}", (time.monotonic() - began) * 1000
        # https://docs.aws.amazon.com/lambda/latest/dg/urls-monitoring.html
        self._invoker.count("UrlRequestCount", version_arn, invoked_arn)
        self._invoker.count("Url4xxCount", version_arn, invoked_arn, float(400 <= response.status < 500))
        self._invoker.count("Url5xxCount", version_arn, invoked_arn, float(response.status >= 500))
        self._invoker.count("UrlRequestLatency", version_arn, invoked_arn, latency_ms)
        return response

    async def _answer(
        self, function: Function, qualifier: str, address: Address, request: UrlRequest, request_id: str
    ) -> tuple[HttpResponse, str | None]:
        """The response, and the ARN of the version that was to run, if it came to that."""
        url = function.urls[qualifier]
        version_arn = None
        if url.cors and cors.is_preflight(request):
            headers = [("Content-Type", JSON), (REQUEST_ID, request_id), *cors.preflight_headers(url.cors, request)]
            return HttpResponse(200, headers), None
        try:
            principal = await authorize(function, qualifier, url, request, self._callers)
            invocation = await self._invocation(
                _Call(function, qualifier, url, address, request, request_id, principal)
            )
            version_arn = invocation.version_arn
            response = await _response(await self._invoker.run(invocation), invocation)
        except LambdaError as error:
            response = error_response(error, request_id)
        except Exception:
            logger.exception("Request %s to the URL %s failed", request_id, url.url_id)
            response = error_response(ServiceException(INTERNAL_ERROR), request_id)
        if url.cors:
            response.headers += cors.response_headers(url.cors, request)
        return response, version_arn

    def refuse_too_large(self) -> HttpResponse:
        """The answer to a request whose body is over the limit and was not read to the end."""
        return error_response(self._too_large(), str(uuid4()))

    async def _invocation(self, call: _Call) -> Invocation:
        """What is to be run, once the function is ready for it."""
        received = call.request.header("x-amzn-trace-id")
        trace_header = received or new_trace_header()
        event = call.event(trace_header)
        if len(event) > self.payload_limit:
            raise self._too_large()
        function, version, invoked_arn = await self._invoker.ready(call.identity)
        # Nobody has decided about a trace that we have just made.
        undecided = received or trace_header.removesuffix(_NOT_SAMPLED)
        sampled = self._invoker.sampled(undecided, function, version)
        return Invocation(
            version_arn=f"{function.arn}:{version.number}",
            invoked_arn=invoked_arn,
            payload=event,
            request_id=call.request_id,
            trace_header=trace_header if sampled == undecided else sampled,
            streaming=call.url.invoke_mode == STREAMED,
        )

    def _too_large(self) -> LambdaError:
        return RequestEntityTooLargeException(
            f"Request must be smaller than {self.payload_limit} bytes for the InvokeFunction operation"
        )


async def _response(result: InvocationResult, invocation: Invocation) -> HttpResponse:
    try:
        response = await (_streamed(result) if invocation.streaming else _buffered(result))
    except MalformedResponse as error:
        logger.info("the URL of %s answers 502: %s", invocation.invoked_arn, error)
        response = HttpResponse(502, [("Content-Type", JSON)], b"Internal Server Error")
    response.headers += [(REQUEST_ID, invocation.request_id), ("X-Amzn-Trace-Id", invocation.trace_header or "")]
    return response


async def _buffered(result: InvocationResult) -> HttpResponse:
    """The response of a URL that waits for the whole answer, of a function that may stream nevertheless."""
    if result.function_error is not None:
        raise MalformedResponse("the function failed")
    if result.content_type == prelude.CONTENT_TYPE:
        metadata, body = prelude.split(result.payload)
        status, headers = head_of(metadata, prelude.BODY_CONTENT_TYPE)
        return HttpResponse(status, headers, b"" if status in BODYLESS else body)
    try:
        return response_of(result.payload)
    except MalformedResponse:
        if result.content_type in (None, JSON):
            raise
        # A function that streamed says what it is; the others answer JSON.
        return HttpResponse(200, [("Content-Type", result.content_type)], result.payload)


async def _streamed(result: InvocationResult) -> HttpResponse:
    """The response of a URL that passes chunks on as they come; what a function did not stream is not looked into."""
    if result.stream is None:
        if result.function_error is not None:
            raise MalformedResponse("the function failed")
        return HttpResponse(200, [("Content-Type", result.content_type or JSON)], result.payload)
    status, headers = 200, [("Content-Type", result.content_type or prelude.BODY_CONTENT_TYPE)]
    try:
        if result.content_type == prelude.CONTENT_TYPE:
            metadata, first = await prelude.read(result.stream)
            status, headers = head_of(metadata, prelude.BODY_CONTENT_TYPE)
        else:
            first = await anext(result.stream, b"")
            if not first and result.function_error is not None:
                raise MalformedResponse("the function failed before its first byte")
    except BaseException:
        await _close(result.stream)
        raise
    if status in BODYLESS:
        await _close(result.stream)
        return HttpResponse(status, headers)
    return HttpResponse(status, headers, _body(first, result))


async def _body(first: bytes, result: InvocationResult) -> AsyncGenerator[bytes, None]:
    assert result.stream is not None
    try:
        if first:
            yield first
        async for chunk in result.stream:
            yield chunk
        if result.function_error is not None:
            raise BrokenResponse(result.payload.decode("utf-8", "replace"))
    finally:
        await _close(result.stream)


async def _close(stream: AsyncIterator[bytes]) -> None:
    """Tell the function's side that nobody reads any more, now and not when garbage is collected."""
    if isinstance(stream, AsyncGenerator):
        await stream.aclose()
