"""Requests to APIs of API Gateway: which API they are for, what they carry, and how they are answered.

An API is at `http://API-ID.execute-api.REGION.localhost:PORT/STAGE/path`, as on AWS with another domain. Where such names cannot
be resolved, the same is at `http://GATEWAY/_aws/execute-api/API-ID/STAGE/path`, and, for REST APIs,
`http://GATEWAY/restapis/API-ID/STAGE/_user_request_/path`, which other emulators made known.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import unquote

from lambda_provider.hosts.services import quick_create
from lambda_provider.hosts.services.patches import replace
from lambda_provider.urls.requests import UrlRequest
from lambda_provider.wire.http import HttpResponse

WsgiApplication = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

HEADERS = "lambda_provider.headers"
"""The headers of a request as they came, in the WSGI environment."""

_HOST = re.compile(r"(?P<api>[a-z0-9]+)\.execute-api\.(?:(?P<region>[a-z]{2}[a-z-]*-\d)\.)?.+", re.IGNORECASE)
_PATH = re.compile(r"/_aws/execute-api/(?P<api>[A-Za-z0-9]+)(?P<rest>/.*)?")
_USER_REQUEST = re.compile(r"/restapis/(?P<api>[A-Za-z0-9]+)/(?P<stage>[^/]+)/_user_request_(?P<rest>/.*)?")


@dataclass(frozen=True, slots=True)
class ApiCall:
    """A request to an API. `path` is all behind the host, still encoded: stage and resource."""

    api_id: str
    path: str
    request: UrlRequest
    domain: str
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))


def call_of(environ: Mapping[str, Any]) -> ApiCall | None:
    """The API that a request is for; None if it is for something else."""
    path, _, query = str(environ.get("RAW_URI") or environ["PATH_INFO"]).partition("?")
    host = str(environ.get("HTTP_HOST", ""))
    domain = host
    if found := _HOST.fullmatch(host):
        api_id = found["api"]
    elif found := _USER_REQUEST.fullmatch(path):
        api_id, path = found["api"], f"/{found['stage']}{found['rest'] or '/'}"
    elif found := _PATH.fullmatch(path):
        api_id, path = found["api"], found["rest"] or "/"
    else:
        return None
    listed = environ.get(HEADERS) or []
    request = UrlRequest(
        method=environ["REQUEST_METHOD"],
        path=path,
        query=query,
        headers=[(name.lower(), value) for name, value in listed],
        body=environ["wsgi.input"].read(),
        client=environ.get("REMOTE_ADDR", "127.0.0.1"),
    )
    return ApiCall(api_id.lower(), path, request, domain.rpartition(":")[0] or domain)


def install() -> None:
    """Have moto's API Gateway keep which bodies are binary when an API is created, as it does when that is changed, and make
    what the target of an HTTP API needs."""
    from moto.apigateway import responses

    def keeping(create: Any) -> Any:
        def create_rest_api(self: Any) -> Any:
            answer = create(self)
            types = self._get_param("binaryMediaTypes")
            if answer[0] != 200 or not types:
                return answer
            api = self.backend.get_rest_api(json.loads(answer[2])["id"])
            api.binaryMediaTypes = list(types)
            return 200, answer[1], json.dumps(api.to_dict())

        return create_rest_api

    replace(responses.APIGatewayResponse, "create_rest_api", "self", keeping)
    quick_create.install()


def with_apis(application: WsgiApplication) -> WsgiApplication:
    """The application, and the APIs that clients made in it."""

    def serve(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        call = call_of(environ)
        if call is None:
            return application(environ, start_response)
        # What APIs are made of is imported when the first one is called.
        from lambda_provider.hosts.services import http_apis, rest_apis

        handle = rest_apis.find(call) or http_apis.find(call) or partial(message, 404, "Not Found")
        response = handle()
        headers = [*response.headers, ("x-amzn-RequestId", call.request_id)]
        start_response(f"{response.status} ", headers)
        assert isinstance(response.body, bytes)
        return [response.body]

    return serve


def broken(text: str = "Internal server error", status: int = 500) -> HttpResponse:
    """The answer when it is not the client's fault."""
    return message(status, text, error="InternalServerErrorException")


def message(status: int, text: str | None, *, error: str = "", key: str = "message") -> HttpResponse:
    """What API Gateway itself answers: a message, and in a header which kind of error it is."""
    headers = [("Content-Type", "application/json")]
    if error:
        headers.append(("x-amzn-ErrorType", error))
    return HttpResponse(status, headers, json.dumps({key: text}).encode())


def match(template: str, path: str) -> dict[str, str] | None:
    """The path parameters if a path is that of a template (`/a/{b}/{rest+}`); values are decoded."""
    wanted, given = template.strip("/").split("/"), path.strip("/").split("/")
    found: dict[str, str] = {}
    for index, part in enumerate(wanted):
        if part.startswith("{") and part.endswith("+}"):
            rest = "/".join(given[index:])
            if not rest:
                return None
            return {**found, part[1:-2]: unquote(rest)}
        if index >= len(given):
            return None
        if part.startswith("{") and part.endswith("}"):
            if not given[index]:
                return None
            found[part[1:-1]] = unquote(given[index])
        elif part != unquote(given[index]):
            return None
    return found if len(wanted) == len(given) else None


def specificity(template: str) -> tuple[Any, ...]:
    """Orders templates: literal parts before parameters, and those before the greedy ones."""
    return tuple(
        2 if part.endswith("+}") else 1 if part.startswith("{") else 0 for part in template.strip("/").split("/")
    )


def function_of(uri: str, variables: Mapping[str, str]) -> str | None:
    """The ARN of the function that a URI leads to; `${stageVariables.name}` is replaced."""
    filled = re.sub(r"\$\{stageVariables\.([^}]+)\}", lambda found: variables.get(found[1], ""), uri)
    if filled.startswith("arn:") and filled.split(":")[2] == "lambda":
        return filled
    found = re.search(r":lambda:path/2015-03-31/functions/(.+)/invocations", filled)
    return found[1] if found else None
