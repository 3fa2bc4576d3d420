"""Where the application hands a request to a function URL, and how it reads the body of one."""

from __future__ import annotations

from typing import Any

import pytest

from lambda_provider.asgi import LambdaApplication
from lambda_provider.wire.http import HttpResponse

AUTHORIZATION = b"AWS4-HMAC-SHA256 Credential=k/20240101/eu-west-1/lambda/aws4_request, SignedHeaders=host, Signature=0"


class Urls:
    payload_limit = 10

    def __init__(self) -> None:
        self.requests: list[Any] = []

    async def handle(self, address: Any, request: Any) -> HttpResponse:
        self.requests.append((address, request))
        return HttpResponse(200, [("a", "ü")], b"answer")

    def refuse_too_large(self) -> HttpResponse:
        return HttpResponse(413)


async def call(urls: Urls, *parts: bytes, path: str = "/x", **headers: bytes) -> Any:
    bodies, sent = list(parts) or [b""], []

    async def receive() -> dict[str, Any]:
        body = bodies.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(bodies)}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "raw_path": path.encode(),
        "query_string": b"a=b",
        "headers": [(b"authorization", AUTHORIZATION), *((name.encode(), value) for name, value in headers.items())],
        "client": ("10.0.0.1", 5),
        "scheme": "https",
    }
    await LambdaApplication(object(), urls=urls)(scope, receive, send)  # type: ignore[arg-type]
    return sent


@pytest.mark.parametrize(
    ("host", "path"), [(b"abc.lambda-url.eu-west-1.localhost", "/x"), (b"localhost", "/_lambda/url/abc/x")]
)
async def test_host_or_path_make_a_request_a_urls_even_if_it_is_signed_for_lambda(host, path):
    urls = Urls()
    sent = await call(urls, b"12", b"34", path=path, host=host)
    ((address, request),) = urls.requests
    assert (address.url_id, address.path) == ("abc", "/x")
    assert (request.method, request.path, request.query, request.body) == ("POST", path, "a=b", b"1234")
    assert (request.client, request.scheme, request.header("host")) == ("10.0.0.1", "https", host.decode())
    assert (sent[0]["status"], sent[1]["body"]) == (200, b"answer")


@pytest.mark.parametrize("headers", [{}, {"content-length": b"11000000"}])
async def test_a_body_over_the_limit_is_refused_while_it_comes(headers):
    urls = Urls()
    sent = await call(urls, b"12345678", b"9012", b"never asked for", host=b"abc.lambda-url.x.localhost", **headers)
    assert sent[0]["status"] == 413
    assert not urls.requests
