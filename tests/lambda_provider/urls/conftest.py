from __future__ import annotations

from lambda_provider.urls.requests import UrlRequest

from ..operations.conftest import active, host, provider, publish, runtime

__all__ = ["active", "host", "provider", "publish", "request", "runtime"]

HOST = "abc.lambda-url.eu-west-1.localhost:4566"


def request(method: str = "GET", path: str = "/", body: bytes = b"", query: str = "", **headers: str) -> UrlRequest:
    """A request to a URL; `user_agent="x"` is the header `user-agent`."""
    pairs = [("host", HOST), *((name.replace("_", "-"), value) for name, value in headers.items())]
    return UrlRequest(method=method, path=path, query=query, headers=pairs, body=body)
