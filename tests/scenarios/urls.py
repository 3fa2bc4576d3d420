"""Function URLs as clients call them, by the gateway's address: not every resolver knows names under `localhost`."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

PATIENCE_S = 30.0


@dataclass(frozen=True)
class Answer:
    """A whole response. `headers` has lower-case names; `cookies` are the Set-Cookie headers in their order."""

    status: int
    headers: Mapping[str, str]
    cookies: list[str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@contextmanager
def opened(
    gateway: Any,
    url: str,
    method: str = "GET",
    body: Any = None,
    headers: Mapping[str, str] | None = None,
) -> Iterator[http.client.HTTPResponse]:
    """A response whose head has arrived."""
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=PATIENCE_S)
    try:
        connection.request(method, target, body, {"Host": parts.netloc, **(headers or {})})
        yield connection.getresponse()
    finally:
        connection.close()


def call(gateway: Any, url: str, *arguments: Any, **options: Any) -> Answer:
    """A whole response."""
    with opened(gateway, url, *arguments, **options) as response:
        headers = {name.lower(): value for name, value in response.getheaders()}
        cookies = [value for name, value in response.getheaders() if name.lower() == "set-cookie"]
        return Answer(response.status, headers, cookies, response.read())


def give_url(client: Any, name: str, auth_type: str = "NONE", *, permission: bool = True, **config: Any) -> str:
    """Give a function a URL, one that anybody may call, and answer it."""
    of = {"FunctionName": name} | ({"Qualifier": config["Qualifier"]} if "Qualifier" in config else {})
    url: str = client.create_function_url_config(**{**of, "AuthType": auth_type, **config})["FunctionUrl"]
    if permission:
        client.add_permission(
            **of,
            StatementId="url",
            Action="lambda:InvokeFunctionUrl",
            Principal="*",
            FunctionUrlAuthType=auth_type,
        )
    return url
