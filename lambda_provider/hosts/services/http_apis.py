"""HTTP APIs of API Gateway: what a request to a stage of one does.

https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html and
https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-routes.html
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, unquote

import urllib3

from lambda_provider.context import partition_of
from lambda_provider.hosts.services.api_requests import ApiCall, function_of, match, message, specificity
from lambda_provider.hosts.services.authorizers import Caller, Refused, ask, claims_of, unauthorized
from lambda_provider.hosts.services.link import Origin, link
from lambda_provider.hosts.services.rest_apis import proxied
from lambda_provider.urls.events import payload_of, query_parameters
from lambda_provider.urls.responses import MalformedResponse, response_of
from lambda_provider.wire.http import HttpResponse
from lambda_runtime.tracing import new_trace_header

_DEFAULT = "$default"
_TIMEOUT_MS = 30_000
_OURS = ("cookie", "x-forwarded-for")
"""Headers that come with several values and are one for functions."""
_IDENTITY = (
    "accessKey", "accountId", "caller", "cognitoAuthenticationProvider", "cognitoAuthenticationType", "cognitoIdentityId",
    "cognitoIdentityPoolId", "principalOrgId", "sourceIp", "user", "userAgent", "userArn",
)  # fmt: skip


def find(call: ApiCall) -> Callable[[], HttpResponse] | None:
    """What answers a request, if it is for an HTTP API."""
    models = sys.modules.get("moto.apigatewayv2.models")
    if models is None:
        return None
    for account_id, account in list(models.apigatewayv2_backends.items()):
        for region, backend in list(account.items()):
            for api_id, api in list(backend.apis.items()):
                if api_id.lower() == call.api_id and api.protocol_type == "HTTP":
                    return partial(_answer, api, call, account_id, region)
    return None


@dataclass(frozen=True, slots=True)
class Target:
    """The route that a request takes."""

    api: Any
    stage: Any
    route: Any
    parameters: Mapping[str, str]
    path: str
    """The path within the stage, still encoded."""
    account_id: str
    arn: str


def _answer(api: Any, call: ApiCall, account_id: str, region: str) -> HttpResponse:
    if (preflight := _preflight(api, call)) is not None:
        return preflight
    _, first, *rest = call.path.split("/", 2)
    stage = api.stages.get(unquote(first))
    path = "/" + (rest[0] if rest else "")
    if stage is None or first == _DEFAULT:
        stage, path = api.stages.get(_DEFAULT), call.path
    found = _route(api, call.request.method, path) if stage is not None else None
    if found is None:
        return _with_cors(api, call, message(404, "Not Found"))
    route, parameters = found
    arn = f"arn:{partition_of(region)}:execute-api:{region}:{account_id}:{api.api_id}/{stage.name}/" + (
        _DEFAULT if route.route_key == _DEFAULT else f"{call.request.method}{route.route_key.partition(' ')[2]}"
    )
    target = Target(api, stage, route, parameters, path, account_id, arn)
    try:
        caller = _authorize(target, call)
    except Refused as refused:
        return _with_cors(api, call, message(refused.status, refused.text))
    return _with_cors(api, call, _integrate(target, call, caller))


def _route(api: Any, verb: str, path: str) -> tuple[Any, Mapping[str, str]] | None:
    """A full match first, then one with parameters, a greedy one, and `$default`; a method before ANY."""
    found: list[tuple[tuple[Any, ...], bool, Any, Mapping[str, str]]] = []
    for route in api.routes.values():
        if route.route_key == _DEFAULT:
            found.append(((9,), True, route, {}))
            continue
        method, _, template = route.route_key.partition(" ")
        parameters = match(template, path) if method in (verb, "ANY") else None
        if parameters is not None:
            found.append((specificity(template), method == "ANY", route, parameters))
    if not found:
        return None
    best = min(found, key=lambda each: each[:2])
    return best[2], best[3]


def _integrate(target: Target, call: ApiCall, caller: Caller | None) -> HttpResponse:
    broken = message(500, "Internal Server Error")
    integration = target.api.integrations.get(str(target.route.target or "").rpartition("/")[2])
    variables = target.stage.stage_variables or {}
    arn = function_of(integration.integration_uri or "", variables) if integration is not None else None
    if integration is None or arn is None:
        return broken
    simple = integration.payload_format_version == "2.0"
    payload = event_of(target, call, caller) if simple else old_event_of(target, call, caller)
    origin = Origin(account_id=target.account_id, service="apigateway.amazonaws.com", arn=target.arn)
    timeout_s = int(integration.timeout_in_millis or _TIMEOUT_MS) / 1000
    try:
        answer = link().invoke(arn, payload, origin, timeout_s=timeout_s)
    except urllib3.exceptions.TimeoutError:
        return message(503, "Service Unavailable")
    if answer.error is not None or answer.function_error is not None:
        return broken
    try:
        return response_of(answer.payload) if simple else proxied(answer, broken)
    except MalformedResponse:
        return broken


def event_of(target: Target, call: ApiCall, caller: Caller | None) -> dict[str, Any]:
    """The event in payload format 2.0."""
    request, more = call.request, {}
    if target.parameters:
        more["pathParameters"] = dict(target.parameters)
    if target.stage.stage_variables:
        more["stageVariables"] = dict(target.stage.stage_variables)
    return payload_of(
        request,
        raw_path=unquote(call.path if target.stage.name != _DEFAULT else target.path),
        account_id=target.account_id,
        api_id=target.api.api_id,
        domain=call.domain,
        domain_prefix=call.domain.partition(".")[0],
        request_id=call.request_id,
        trace_header=request.header("x-amzn-trace-id") or new_trace_header(),
        route_key=target.route.route_key,
        stage=target.stage.name,
        signed={"authorizer": dict(caller.context)} if caller is not None else {},
        more=more,
    )


def old_event_of(target: Target, call: ApiCall, caller: Caller | None) -> dict[str, Any]:
    """The event in payload format 1.0, as REST APIs have it, with its version."""
    request, new = call.request, event_of(target, call, caller)
    values: dict[str, list[str]] = {}
    for name, value in parse_qsl(request.query, keep_blank_values=True):
        values.setdefault(name, []).append(value)
    resource = target.route.route_key.partition(" ")[2] or _DEFAULT
    headers = dict(new["headers"])
    if "cookies" in new:
        headers["cookie"] = "; ".join(new["cookies"])
    several: dict[str, list[str]] = {}
    for name, value in request.headers:
        several.setdefault(name, []).append(value)
    return {
        "version": "1.0",
        "resource": resource,
        "path": new["rawPath"],
        "httpMethod": request.method,
        "headers": headers,
        "multiValueHeaders": {
            name: several[name] if len(several.get(name, ())) > 1 and name not in _OURS else [value]
            for name, value in headers.items()
        },
        "queryStringParameters": {name: each[-1] for name, each in values.items()} or None,
        "multiValueQueryStringParameters": values or None,
        "requestContext": _old_context(new, request.protocol, resource, caller),
        "pathParameters": new.get("pathParameters"),
        "stageVariables": new.get("stageVariables"),
        "body": new.get("body"),
        "isBase64Encoded": new["isBase64Encoded"],
    }


def _old_context(new: Mapping[str, Any], protocol: str, resource: str, caller: Caller | None) -> dict[str, Any]:
    """`requestContext` of payload format 1.0, member by member as the page on integrations shows it."""
    context = new["requestContext"]
    http = context["http"]
    return {
        "accountId": context["accountId"],
        "apiId": context["apiId"],
        "authorizer": _old_authorizer(caller),
        "domainName": context["domainName"],
        "domainPrefix": context["domainPrefix"],
        "extendedRequestId": context["requestId"],
        "httpMethod": http["method"],
        "identity": {**dict.fromkeys(_IDENTITY), "sourceIp": http["sourceIp"], "userAgent": http["userAgent"]},
        "path": new["rawPath"],
        "protocol": protocol,
        "requestId": context["requestId"],
        "requestTime": context["time"],
        "requestTimeEpoch": context["timeEpoch"],
        "resourceId": None,
        "resourcePath": resource,
        "stage": context["stage"],
    }


def _old_authorizer(caller: Caller | None) -> dict[str, Any]:
    nobody = {"claims": None, "scopes": None}
    if caller is None:
        return nobody
    if "jwt" in caller.context:
        return nobody | dict(caller.context["jwt"])
    return dict(caller.context["lambda"] or {}) | ({"principalId": caller.principal_id} if caller.principal_id else {})


def _authorize(target: Target, call: ApiCall) -> Caller | None:
    authorizer = target.api.authorizers.get(target.route.authorizer_id or "")
    if authorizer is None or target.route.authorization_type in (None, "NONE"):
        return None
    sources = (
        [authorizer.identity_source] if isinstance(authorizer.identity_source, str) else authorizer.identity_source
    )
    identities = [_identity(each, call) for each in sources or ()]
    if authorizer.authorizer_type == "JWT":
        claims = claims_of(identities[0] if identities else None)
        return Caller(None, {"jwt": {"claims": {name: str(value) for name, value in claims.items()}, "scopes": None}})
    if sources and not all(identities):
        raise unauthorized()
    new = authorizer.auth_payload_format_version == "2.0"
    event = event_of(target, call, None) if new else old_event_of(target, call, None)
    for name in ("body", "isBase64Encoded"):
        event.pop(name, None)
    event |= {"type": "REQUEST", "identitySource": identities if new else ",".join(each or "" for each in identities)}
    event |= {"routeArn": target.arn} if new else {"methodArn": target.arn}
    function = function_of(authorizer.authorizer_uri or "", target.stage.stage_variables or {}) or ""
    simple = new and authorizer.enable_simple_response in (True, "true")
    caller = ask(function, event, target.arn, simple=simple)
    return Caller(caller.principal_id, {"lambda": dict(caller.context)})


def _identity(source: str, call: ApiCall) -> str | None:
    where, _, name = source.removeprefix("$request.").partition(".")
    if where == "header":
        return call.request.header(name.lower()) or None
    if where == "querystring":
        return query_parameters(call.request.query).get(name)
    return None


def _preflight(api: Any, call: ApiCall) -> HttpResponse | None:
    if not api.cors_configuration or call.request.method != "OPTIONS":
        return None
    if not call.request.header("access-control-request-method"):
        return None
    return _with_cors(api, call, HttpResponse(204))


def _with_cors(api: Any, call: ApiCall, response: HttpResponse) -> HttpResponse:
    """https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-cors.html: the API's settings win."""
    settings = {name[:1].lower() + name[1:]: value for name, value in (api.cors_configuration or {}).items()}
    origin, allowed = call.request.header("origin"), settings.get("allowOrigins") or []
    if not origin or not ("*" in allowed or origin in allowed):
        return response
    added = [("access-control-allow-origin", "*" if "*" in allowed else origin)]
    if settings.get("allowCredentials"):
        added.append(("access-control-allow-credentials", "true"))
    lists = [("exposeHeaders", "access-control-expose-headers")]
    if call.request.method == "OPTIONS":
        lists += [("allowMethods", "access-control-allow-methods"), ("allowHeaders", "access-control-allow-headers")]
        if settings.get("maxAge") is not None:
            added.append(("access-control-max-age", str(settings["maxAge"])))
    added += [(header, ",".join(settings[name])) for name, header in lists if settings.get(name)]
    kept = [(name, value) for name, value in response.headers if not name.lower().startswith("access-control-")]
    return HttpResponse(response.status, [*kept, *added], response.body)
