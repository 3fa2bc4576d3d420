"""From an HTTP request to a method of the provider and back."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any, NamedTuple
from urllib.parse import parse_qs
from uuid import uuid4

from lambda_provider.api import spec
from lambda_provider.api.errors import (
    AccessDeniedException,
    LambdaError,
    RequestEntityTooLargeException,
    UnknownOperationException,
)
from lambda_provider.api.exceptions import ServiceException
from lambda_provider.api.interface import LambdaApi
from lambda_provider.context import DEFAULT_ACCOUNT_ID, DEFAULT_REGION, TRACE_ID, Caller, RequestContext
from lambda_provider.wire.credentials import CredentialScope, credential_scope
from lambda_provider.wire.http import HttpRequest, HttpResponse
from lambda_provider.wire.parser import MAX_JSON_BODY_BYTES, Parser, ParserCompiler
from lambda_provider.wire.router import Query, Router
from lambda_provider.wire.serializer import INTERNAL_ERROR, Serializer, SerializerCompiler, error_response

LOG = logging.getLogger(__name__)

Validate = Callable[[str, Mapping[str, Any]], None]
_NO_QUERY: Query = {}
_UNSIGNED = CredentialScope("", DEFAULT_REGION)


class _Endpoint(NamedTuple):
    """What one operation needs, looked up once."""

    operation: str
    parse: Parser
    serialize: Serializer
    call: Callable[[RequestContext, Any], Any]
    on_loop: bool
    takes_event: bool
    """The body is the event for a function, as it is."""


class Asker(NamedTuple):
    """Who asks, under which request id, where the host has found that out by its own rules."""

    account_id: str
    region: str
    request_id: str
    access_key_id: str = ""
    caller: Caller | None = None


class LambdaWire:
    """The Lambda API over HTTP.

    `handle` runs on the event loop. Operations that are `async def` are awaited there, from the request's bytes to the
    response's without leaving it; the others, which may block on disk or on another service, run as a whole in a thread,
    parsing included: a body may be 70 MB of Base64. `validate(operation, request)` checks the model's constraints.

    The account is that of the access key: a key of 12 digits is the account itself, otherwise `account_of(access_key_id)`
    may know a key that was issued here, and an unknown key or an unsigned request belongs to the default account.
    `payload_limit` is what an invoke takes, in bytes; it is looked at only to say so when a body is far too large.
    """

    def __init__(
        self,
        api: LambdaApi,
        *,
        validate: Validate,
        account_of: Callable[[str], str | None] = lambda access_key_id: None,
        executor: Executor | None = None,
        payload_limit: int = 6 * 1024 * 1024,
    ) -> None:
        self._validate = validate
        self._account_of = account_of
        self._payload_limit = payload_limit
        self._executor = executor or ThreadPoolExecutor(max_workers=32, thread_name_prefix="lambda-api")
        self._owns_executor = executor is None
        self._router: Router[_Endpoint] = Router()
        model = spec.load()
        parsers, serializers = ParserCompiler(model), SerializerCompiler(model)
        for operation in model.operations.values():
            method = getattr(api, operation.method_name)
            endpoint = _Endpoint(
                operation.name,
                parsers.compile(operation),
                serializers.compile(operation),
                method,
                inspect.iscoroutinefunction(method),
                _has_blob_body(model, operation),
            )
            self._router.add(operation.http_method, operation.request_uri, endpoint)

    def close(self) -> None:
        """End the worker threads once their operations are done. An executor that was passed in is left alone."""
        if self._owns_executor:
            self._executor.shutdown()

    def matches(self, method: str, path: str) -> bool:
        """Whether this path is Lambda's, so that nobody else should answer it. `method` decides nothing here: a wrong one
        on a path of ours is ours to refuse."""
        return self._router.covers(path)

    async def handle(self, request: HttpRequest, asker: Asker | None = None) -> HttpResponse:
        """Answer a request. Raises nothing but cancellation: errors are responses.

        With an `asker` the host has looked at the signature already, and nothing of it is looked at again.
        """
        request_id = str(uuid4()) if asker is None else asker.request_id
        try:
            query = parse_qs(request.query, keep_blank_values=True) if request.query else _NO_QUERY
            scope = (
                credential_scope(request.headers, query)
                if asker is None
                else CredentialScope(asker.access_key_id, asker.region)
            )
            found = self._router.match(request.method, request.path, query)
            if found is None:
                raise _unknown_operation(scope)
            endpoint, path = found
            context = self._context(request, request_id, endpoint.operation, scope, asker)
            if not endpoint.on_loop:
                return await asyncio.get_running_loop().run_in_executor(
                    self._executor, self._answer, endpoint, context, path, query, request
                )
            arguments = endpoint.parse(path, query, request.headers, request.body)
            self._validate(endpoint.operation, arguments)
            call: Awaitable[Any] = endpoint.call(context, arguments)
            response = endpoint.serialize(await call, request_id)
            if context.answer_headers:
                response.headers += context.answer_headers
            elif context.trace_header is not None:
                response.headers.append((TRACE_ID, context.trace_header))
            return response
        except LambdaError as error:
            return error_response(error, request_id)
        except Exception:
            LOG.exception("Request %s (%s %s) failed", request_id, request.method, request.path)
            return error_response(ServiceException(INTERNAL_ERROR), request_id)

    def refuse_too_large(self, request: HttpRequest) -> HttpResponse:
        """The answer to a request whose body is over `MAX_JSON_BODY_BYTES`, so that nobody read it to the end.

        The words are those in which the operation refuses what is over its own limit.
        """
        query = parse_qs(request.query, keep_blank_values=True)
        found = self._router.match(request.method, request.path, query)
        if found is None:
            error = _unknown_operation(credential_scope(request.headers, query))
        elif found[0].takes_event:
            error = _too_large(self._payload_limit, "InvokeFunction")
        else:
            error = _too_large(MAX_JSON_BODY_BYTES, found[0].operation)
        return error_response(error, str(uuid4()))

    def _answer(
        self, endpoint: _Endpoint, context: RequestContext, path: Sequence[str], query: Query, request: HttpRequest
    ) -> HttpResponse:
        arguments = endpoint.parse(path, query, request.headers, request.body)
        self._validate(endpoint.operation, arguments)
        return endpoint.serialize(endpoint.call(context, arguments), context.request_id)

    def _context(
        self, request: HttpRequest, request_id: str, operation: str, scope: CredentialScope | None, asker: Asker | None
    ) -> RequestContext:
        access_key_id, region = scope or _UNSIGNED
        headers = request.headers
        host = headers.get("host")
        return RequestContext(
            account_id=self._account(access_key_id) if asker is None else asker.account_id,
            region=region,
            request_id=request_id,
            operation=operation,
            access_key_id=access_key_id or None,
            endpoint_url=(
                f"{headers.get('x-forwarded-proto', 'http')}://{host}{headers.get('x-forwarded-prefix', '')}"
                if host
                else None
            ),
            trace_header=headers.get("x-amzn-trace-id"),
            caller=None if asker is None else asker.caller,
        )

    def _account(self, access_key_id: str) -> str:
        if not access_key_id:
            return DEFAULT_ACCOUNT_ID
        if len(access_key_id) == 12 and access_key_id.isascii() and access_key_id.isdigit():
            return access_key_id
        return self._account_of(access_key_id) or DEFAULT_ACCOUNT_ID


def _has_blob_body(model: spec.ServiceSpec, operation: spec.Operation) -> bool:
    shape = model.shape(operation.input)
    return shape.payload is not None and model.shape(shape.members[shape.payload].shape).type == "blob"


def _too_large(limit: int, operation: str) -> LambdaError:
    return RequestEntityTooLargeException(f"Request must be smaller than {limit} bytes for the {operation} operation")


def _unknown_operation(scope: CredentialScope | None) -> LambdaError:
    """AWS asks first whether the caller may do it, and cannot say what "it" is
    (https://github.com/boto/boto3/issues/294); to a caller it does not know it says that there is no such operation."""
    if scope is not None:
        return AccessDeniedException("Unable to determine service/operation name to be authorized")
    return UnknownOperationException("No operation of AWS Lambda has this method and path.")
