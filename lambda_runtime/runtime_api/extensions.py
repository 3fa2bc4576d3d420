"""The endpoints of the Extensions API (version 2020-01-01), and the way to those of telemetry.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html.
Errors are 403 with `{"errorMessage": …, "errorType": …}`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from lambda_runtime.extensions import Extension, ExtensionGroup, ExtensionState
from lambda_runtime.runtime_api.connection import Exchange, RuntimeApiConnection
from lambda_runtime.runtime_api.routes import Headers, Refused, Trailers
from lambda_runtime.runtime_api.telemetry import parse_subscription
from lambda_runtime.subscriptions import SubscriptionRequest
from lambda_runtime.types import FunctionVersion

_MAX_BODY_BYTES = 1 << 20
_PREFIX = b"/2020-01-01/extension/"
_ACCEPTED = b'{"status":"OK"}\n'


class ExtensionsHost(Protocol):
    """The extension side of an environment, as the Extensions API sees it."""

    version: FunctionVersion
    group: ExtensionGroup

    def subscribe(self, extension: Extension, request: SubscriptionRequest) -> None:
        """Send telemetry to an extension from now on. Raises Refused after the init phase."""
        ...


class ExtensionsRouter:
    """Makes the exchange for each request of one environment that is not of the Runtime API."""

    __slots__ = ("_find_host",)

    def __init__(self, find_host: Callable[[], ExtensionsHost]) -> None:
        self._find_host = find_host

    def __call__(self, connection: RuntimeApiConnection, method: bytes, path: bytes, headers: Headers) -> Exchange:
        path = path.rstrip(b"/")
        if path.startswith(_PREFIX):
            name = path[len(_PREFIX) :]
            if (method, name) == (b"GET", b"event/next"):
                return _NextEvent(connection, headers, self._find_host())
            if handler := _HANDLERS.get((method, name)):
                return _Request(connection, headers, self._find_host, handler)
        elif method == b"PUT" and (handler := _SUBSCRIPTIONS.get(path)):
            return _Request(connection, headers, self._find_host, handler)
        return _Request(connection, headers, self._find_host, _no_such_endpoint)


def _register(host: ExtensionsHost, connection: RuntimeApiConnection, headers: Headers, body: bytes) -> None:
    name = _header(headers, b"lambda-extension-name")
    if not name:
        raise Refused(403, "Extension.InvalidExtensionName", "Empty extension name")
    extension = host.group.register(name, _events(body))
    version = host.version
    members = {"functionName": version.function_name, "functionVersion": version.version}
    members["handler"] = version.handler or ""
    features = (_header(headers, b"lambda-extension-accept-feature") or "").split(",")
    if "accountId" in [feature.strip() for feature in features]:
        members["accountId"] = version.account_id
    answer = json.dumps(members, separators=(",", ":")).encode()
    connection.reply(200, f"Lambda-Extension-Identifier: {extension.identifier}\r\n".encode(), answer)


def _init_error(host: ExtensionsHost, connection: RuntimeApiConnection, headers: Headers, body: bytes) -> None:
    _error(host, connection, headers, ExtensionState.INIT_ERROR)


def _exit_error(host: ExtensionsHost, connection: RuntimeApiConnection, headers: Headers, body: bytes) -> None:
    _error(host, connection, headers, ExtensionState.EXIT_ERROR)


def _error(host: ExtensionsHost, connection: RuntimeApiConnection, headers: Headers, state: ExtensionState) -> None:
    group = host.group
    extension = group.find(_identifier(headers))
    error_type = _header(headers, b"lambda-extension-function-error-type")
    if not error_type:
        text = "Missing Lambda-Extension-Function-Error-Type header"
        raise Refused(403, "Extension.MissingHeader", text)
    group.reported(extension, state, error_type)
    connection.reply(202, f"Lambda-Extension-Identifier: {extension.identifier}\r\n".encode(), _ACCEPTED)


def _subscribe(api: str, host: ExtensionsHost, connection: RuntimeApiConnection, headers: Headers, body: bytes) -> None:
    extension = host.group.find(_identifier(headers))
    host.subscribe(extension, parse_subscription(api, body))
    connection.reply(200, b"", b'"OK"')


def _no_such_endpoint(host: ExtensionsHost, connection: RuntimeApiConnection, headers: Headers, body: bytes) -> None:
    raise Refused(404, "NotFound", "No such endpoint")


def _header(headers: Headers, name: bytes) -> str | None:
    value = headers.get(name)
    return None if value is None else value.decode("utf-8", "replace").strip()


def _identifier(headers: Headers) -> str | None:
    return _header(headers, b"lambda-extension-identifier")


def _events(body: bytes) -> list[str]:
    """The events that a request to register names; none without a body."""
    try:
        request: Any = json.loads(body) if body.strip() else {}
        events = request.get("events") or []
        if not all(isinstance(event, str) for event in events):
            raise TypeError("events is not an array of strings")
    except (ValueError, AttributeError, TypeError) as error:
        raise Refused(403, "InvalidRequestFormat", f"Invalid request: {error}") from None
    return list(events)


Handler = Callable[[ExtensionsHost, RuntimeApiConnection, Headers, bytes], None]

_HANDLERS: dict[tuple[bytes, bytes], Handler] = {
    (b"POST", b"register"): _register,
    (b"POST", b"init/error"): _init_error,
    (b"POST", b"exit/error"): _exit_error,
}
_SUBSCRIPTIONS: dict[bytes, Handler] = {
    b"/2022-07-01/telemetry": partial(_subscribe, "telemetry"),
    b"/2020-08-15/logs": partial(_subscribe, "logs"),
}


class _Request:
    """A request whose body is taken whole."""

    __slots__ = ("_chunks", "_connection", "_find_host", "_handler", "_headers", "_size")

    def __init__(
        self,
        connection: RuntimeApiConnection,
        headers: Headers,
        find_host: Callable[[], ExtensionsHost],
        handler: Handler,
    ) -> None:
        self._connection = connection
        self._headers = headers
        self._find_host = find_host
        self._handler = handler
        self._chunks: list[bytes] = []
        self._size = 0

    def body(self, chunk: bytes) -> None:
        self._size += len(chunk)
        if self._size <= _MAX_BODY_BYTES:
            self._chunks.append(chunk)

    def end(self, trailers: Trailers) -> None:
        try:
            if self._size > _MAX_BODY_BYTES:
                raise Refused(413, "RequestEntityTooLarge", f"The request is larger than {_MAX_BODY_BYTES} bytes")
            self._handler(self._find_host(), self._connection, self._headers, b"".join(self._chunks))
        except Refused as refused:
            self._connection.reply(refused.status, b"", refused.body)

    def aborted(self) -> None:
        pass


class _NextEvent:
    """`GET event/next`: answered when there is an event."""

    __slots__ = ("_connection", "_extension", "_headers", "_host")

    def __init__(self, connection: RuntimeApiConnection, headers: Headers, host: ExtensionsHost) -> None:
        self._connection = connection
        self._headers = headers
        self._host = host
        self._extension: Extension | None = None

    def body(self, chunk: bytes) -> None:
        pass

    def end(self, trailers: Trailers) -> None:
        try:
            group = self._host.group
            self._extension = group.find(_identifier(self._headers))
            group.waits(self._extension, self._connection)
        except Refused as refused:
            self._connection.reply(refused.status, b"", refused.body)

    def aborted(self) -> None:
        if self._extension is not None:
            self._host.group.gone(self._extension, self._connection)
