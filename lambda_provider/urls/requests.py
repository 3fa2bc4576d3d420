"""A request to a function URL, as it came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property


@dataclass
class UrlRequest:
    """`path` and `query` are as they stood on the wire; `headers` in their order, duplicates and all, names in lower case."""

    method: str
    path: str
    query: str
    headers: Sequence[tuple[str, str]]
    body: bytes = b""
    client: str = "127.0.0.1"
    """The address of the other end."""
    scheme: str = "http"
    protocol: str = "HTTP/1.1"

    @cached_property
    def joined(self) -> dict[str, str]:
        """The headers by name, duplicates joined by commas as AWS does."""
        joined: dict[str, str] = {}
        for name, value in self.headers:
            joined[name] = f"{joined[name]},{value}" if name in joined else value
        return joined

    def header(self, name: str) -> str:
        """A header by its name in lower case; empty if it is not there."""
        return self.joined.get(name, "")
