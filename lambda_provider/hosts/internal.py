"""What the gateway serves besides AWS: paths under `/_lambda/`."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from lambda_provider.asgi import INTERNAL_PREFIX
from lambda_provider.wire.http import HttpRequest, HttpResponse

Handler = Callable[[HttpRequest], Awaitable[HttpResponse]]


def json_response(status: int, value: Any) -> HttpResponse:
    """A JSON answer for people and scripts: indented, ending in a newline."""
    body = json.dumps(value, indent=2, default=str).encode() + b"\n"
    return HttpResponse(status, [("content-type", "application/json")], body)


class InternalRoutes:
    """Handlers by the first segment after `/_lambda/`: `handlers` for GET and HEAD, `actions` for POST."""

    def __init__(self, handlers: Mapping[str, Handler], actions: Mapping[str, Handler] | None = None) -> None:
        self._handlers = dict(handlers)
        self._actions = dict(actions or {})

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        name = request.path.removeprefix(INTERNAL_PREFIX).partition("/")[0]
        if request.method == "POST" and name in self._actions:
            return await self._actions[name](request)
        handler = self._handlers.get(name)
        if handler is None:
            known = [INTERNAL_PREFIX + name for name in sorted(self._handlers)]
            return json_response(404, {"message": f"nothing at {request.path}", "known": known})
        if request.method not in ("GET", "HEAD"):
            response = json_response(405, {"message": f"{request.path} takes GET"})
            response.headers.append(("allow", "GET, HEAD"))
            return response
        return await handler(request)


class Health:
    """`GET /_lambda/health`: that the gateway is up, and what it is doing."""

    def __init__(self, facts: Callable[[], Mapping[str, Any]]) -> None:
        self._facts = facts
        self._started = time.monotonic()

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        uptime_s = round(time.monotonic() - self._started, 3)
        return json_response(200, {"status": "running", "uptime_s": uptime_s, **self._facts()})
