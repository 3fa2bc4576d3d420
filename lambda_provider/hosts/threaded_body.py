"""A streamed body, made on the runtime's loop, for a server that reads it from a thread."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any


class ThreadedBody:
    """The chunks of a body, one crossing each; `call` runs a coroutine on the loop and waits for it.

    `close` tells the function's side that nobody reads any more, whether anything was read or not. Raises what the body raises:
    the response is incomplete then.
    """

    def __init__(self, chunks: AsyncIterator[bytes], call: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        self._chunks = chunks
        self._call = call

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        chunk: bytes | None = self._call(self._next())
        if chunk is None:
            raise StopIteration
        return chunk

    def close(self) -> None:
        """The server is done with the response."""
        if (close := getattr(self._chunks, "aclose", None)) is not None:
            self._call(close())

    async def _next(self) -> bytes | None:
        return await anext(self._chunks, None)
