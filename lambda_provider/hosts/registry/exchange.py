"""One request to the registry and its answer, over ASGI."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO
from urllib.parse import parse_qs, unquote

from lambda_provider.asgi import Receive, Scope, Send, receive_body_part
from lambda_provider.hosts.registry.errors import RegistryError

PART_BYTES = 1024 * 1024
"""What goes to or from the disk at once."""


@dataclass(slots=True)
class Request:
    """A request whose body is still to come."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    receive: Receive

    @classmethod
    def of(cls, scope: Scope, receive: Receive) -> Request:
        """The request that an ASGI server has received."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        # Some clients percent-encode the colon of a digest.
        path = unquote(scope["raw_path"].decode("latin-1"))
        return cls(scope["method"], path, {name: values[-1] for name, values in query.items()}, headers, receive)

    async def parts(self) -> AsyncIterator[bytes]:
        """The body in parts of some `PART_BYTES`, never held whole. Raises ClientGone, TimeoutError."""
        pending: list[bytes] = []
        size, more = 0, True
        while more:
            data, more = await receive_body_part(self.receive)
            pending.append(data)
            size += len(data)
            if size >= PART_BYTES or not more:
                if size:
                    yield b"".join(pending)
                pending, size = [], 0

    async def body(self, limit: int) -> bytes:
        """The whole body. Raises RegistryError for more than `limit` bytes."""
        content = b""
        async for part in self.parts():
            content += part
            if len(content) > limit:
                raise RegistryError("SIZE_INVALID", f"The manifest is larger than {limit} bytes")
        return content


@dataclass(frozen=True, slots=True)
class Response:
    """An answer. `file`, from byte `start` on and `length` long, is its body instead of `body`; sending it closes it."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    file: BinaryIO | None = None
    start: int = 0
    length: int = 0

    async def send(self, send: Send, *, head: bool) -> None:
        """Send it; of a HEAD request only the head."""
        length = len(self.body) if self.file is None else self.length
        headers = [("docker-distribution-api-version", "registry/2.0"), *self.headers]
        if self.status != 204:
            headers.append(("content-length", str(length)))
        if self.file is not None:
            with self.file as file:
                if not head:
                    await self._send_file(send, file, headers)
                    return
        await _send_head(send, self.status, headers)
        await send({"type": "http.response.body", "body": b"" if head else self.body})

    async def _send_file(self, send: Send, file: BinaryIO, headers: list[tuple[str, str]]) -> None:
        await _send_head(send, self.status, headers)
        await asyncio.to_thread(file.seek, self.start)
        left = self.length
        while left:
            data = await asyncio.to_thread(file.read, min(left, PART_BYTES))
            if not data:
                return  # Shorter than it was: the server ends the connection, and the client sees that.
            left -= len(data)
            await send({"type": "http.response.body", "body": data, "more_body": left > 0})
        if not self.length:
            await send({"type": "http.response.body", "body": b""})


async def _send_head(send: Send, status: int, headers: list[tuple[str, str]]) -> None:
    encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
