"""What stands behind Lambda where there are no other AWS services: an answer that says so."""

from __future__ import annotations

import json

from lambda_provider.asgi import Receive, Scope, Send


class NothingBehind:
    """Answers 501 to everything."""

    def __init__(self, host_name: str) -> None:
        self._host_name = host_name

    async def __call__(self, scope: Scope, receive: Receive, send: Send, *, service: str = "") -> None:
        """`service` is the signing name of the request, or empty."""
        what = f"service {service!r}" if service else f"answer to {scope['method']} {scope['path']}"
        message = f"The host {self._host_name!r} has no {what}; it has Lambda alone."
        body = json.dumps({"__type": "NotImplemented", "message": message}).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"x-amzn-errortype", b"NotImplemented"),
            (b"content-length", b"%d" % len(body)),
        ]
        await send({"type": "http.response.start", "status": 501, "headers": headers})
        await send({"type": "http.response.body", "body": body})
