"""REST APIs of API Gateway: what a request to a stage of one does.

https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html and
https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-custom-integrations.html
"""

from __future__ import annotations

import base64
import json
import re
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, unquote

import urllib3

from lambda_provider.context import partition_of
from lambda_provider.hosts.services.api_requests import ApiCall, broken, function_of, match, message, specificity
from lambda_provider.hosts.services.authorizers import Caller, Refused, ask, claims_of, token_event, unauthorized
from lambda_provider.hosts.services.link import Answer, Origin, link
from lambda_provider.urls.events import headers_of, request_time
from lambda_provider.urls.requests import UrlRequest
from lambda_provider.wire.http import HttpResponse
from lambda_runtime.tracing import new_trace_header

_TIMEOUT_MS = 29_000
_PROXY_ANSWER = frozenset(("statusCode", "headers", "multiValueHeaders", "body", "isBase64Encoded"))
_WHOLE_INPUT = ("$input.json('$')", '$input.json("$")', "$input.body", "")
_IDENTITY = (
    "cognitoIdentityPoolId", "accountId", "cognitoIdentityId", "caller", "sourceIp", "principalOrgId", "accessKey",
    "cognitoAuthenticationType", "cognitoAuthenticationProvider", "userArn", "userAgent", "user",
)  # fmt: skip


def find(call: ApiCall) -> Callable[[], HttpResponse] | None:
    """What answers a request, if it is for a REST API."""
    models = sys.modules.get("moto.apigateway.models")
    if models is None:
        return None
    for account in list(models.apigateway_backends.values()):
        for backend in list(account.values()):
            for api_id, api in list(backend.apis.items()):
                if api_id.lower() == call.api_id:
                    return partial(_answer, backend, api, call)
    return None


@dataclass(frozen=True, slots=True)
class Target:
    """The method that a request is for."""

    api: Any
    stage: Any
    resource: Any
    method: Any
    parameters: Mapping[str, str]
    path: str
    """The path within the stage, decoded."""
    arn: str

    @property
    def template(self) -> str:
        return str(self.resource.get_path())


def _answer(backend: Any, api: Any, call: ApiCall) -> HttpResponse:
    _, stage_name, *rest = call.path.split("/", 2)
    stage = api.stages.get(unquote(stage_name))
    if stage is None:
        return message(403, "Forbidden", error="ForbiddenException")
    target = _target(backend, api, stage, call.request.method, "/" + (rest[0] if rest else ""))
    if target is None:
        return message(403, "Missing Authentication Token", error="MissingAuthenticationTokenException")
    try:
        _require_key(backend, target, call.request)
        caller = _authorize(target, call)
    except Refused as refused:
        return message(refused.status, refused.text, error=refused.error, key=refused.key)
    integration = target.method.method_integration
    kind = integration.integration_type if integration is not None else None
    if kind == "MOCK":
        return _mock(integration)
    arn = function_of(integration.uri or "", stage.variables) if integration is not None else None
    if arn is None or kind not in ("AWS_PROXY", "AWS"):
        return broken(f"integrations of the type {kind} are answered for functions only")
    payload = event_of(target, call, caller) if kind == "AWS_PROXY" else _mapped(integration, call.request)
    if payload is None:
        return broken("mapping templates other than $input.json('$') are not supported")
    # With credentials it is the role that runs the function, and the function's policy need not name the service.
    service = None if integration.credentials else "apigateway.amazonaws.com"
    origin = Origin(account_id=api.account_id, service=service, arn=target.arn)
    asynchronous = (integration.request_parameters or {}).get(
        "integration.request.header.X-Amz-Invocation-Type"
    ) == "'Event'"
    try:
        answer = link().invoke(
            arn,
            payload,
            origin,
            kind="Event" if asynchronous else "RequestResponse",
            timeout_s=int(integration.timeout_in_millis or _TIMEOUT_MS) / 1000,
        )
    except urllib3.exceptions.TimeoutError:
        return broken("Endpoint request timed out", 504)
    if answer.error is not None:
        return broken()
    return proxied(answer, broken(status=502)) if kind == "AWS_PROXY" else _integrated(integration, answer)


def _target(backend: Any, api: Any, stage: Any, verb: str, path: str) -> Target | None:
    candidates = sorted(api.resources.values(), key=lambda resource: specificity(resource.get_path()))
    for resource in candidates:
        parameters = match(resource.get_path(), path)
        if parameters is None:
            continue
        method = resource.resource_methods.get(verb) or resource.resource_methods.get("ANY")
        if method is not None:
            region = backend.region_name
            arn = (
                f"arn:{partition_of(region)}:execute-api:{region}:{api.account_id}:{api.id}/{stage.name}/{verb}"
                f"{resource.get_path() if '{' in resource.get_path() else unquote(path)}"
            )
            return Target(api, stage, resource, method, parameters, unquote(path), arn)
    return None


def _require_key(backend: Any, target: Target, request: UrlRequest) -> None:
    if target.method.api_key_required in (True, "true"):
        given = request.header("x-api-key")
        if not any(key.value == given and key.enabled in (True, "true", None) for key in backend.keys.values()):
            raise Refused(403, "Forbidden", "ForbiddenException")


def _authorize(target: Target, call: ApiCall) -> Caller | None:
    kind = target.method.authorization_type
    authorizer = target.api.authorizers.get(target.method.authorizer_id or "")
    if kind not in ("CUSTOM", "COGNITO_USER_POOLS") or authorizer is None:
        return None
    source = str(authorizer.identity_source or "method.request.header.Authorization")
    arn = target.arn.replace(target.template, target.path) if "{" in target.template else target.arn
    header = source.split(",")[0].strip().rpartition(".")[2].lower()
    if kind == "COGNITO_USER_POOLS":
        return Caller(None, {"claims": claims_of(call.request.header(header))})
    function = function_of(authorizer.authorizer_uri or "", target.stage.variables) or ""
    if authorizer.type == "TOKEN":
        value, expression = call.request.header(header), authorizer.identity_validation_expression
        return ask(function, token_event(header, value, expression, arn), arn)
    query = dict(parse_qsl(call.request.query, keep_blank_values=True))
    for each in filter(None, (part.strip() for part in source.split(","))) if authorizer.identity_source else ():
        where, _, name = each.removeprefix("method.request.").partition(".")
        if (where == "header" and not call.request.header(name.lower())) or (
            where == "querystring" and not query.get(name)
        ):
            raise unauthorized()
    event = {"type": "REQUEST", "methodArn": arn, **event_of(target, call, None)}
    for name in ("body", "isBase64Encoded"):
        event.pop(name)
    return ask(function, event, arn)


def event_of(target: Target, call: ApiCall, caller: Caller | None) -> dict[str, Any]:
    """The event of a proxy integration: payload format 1.0."""
    request = call.request
    single, several = _headers(request)
    pairs = parse_qsl(request.query, keep_blank_values=True)
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    body, encoded = _body(target.api, request)
    return {
        "resource": target.template,
        "path": target.path,
        "httpMethod": request.method,
        "headers": single,
        "multiValueHeaders": several,
        "queryStringParameters": {name: each[-1] for name, each in values.items()} or None,
        "multiValueQueryStringParameters": values or None,
        "pathParameters": dict(target.parameters) or None,
        "stageVariables": dict(target.stage.variables or {}) or None,
        "requestContext": context_of(target, call, caller),
        "body": body,
        "isBase64Encoded": encoded,
    }


def context_of(target: Target, call: ApiCall, caller: Caller | None) -> dict[str, Any]:
    """`requestContext` of payload format 1.0."""
    request, now = call.request, time.time()
    identity = dict.fromkeys(_IDENTITY) | {
        "sourceIp": request.client,
        "userAgent": request.header("user-agent") or None,
    }
    context: dict[str, Any] = {
        "resourceId": target.resource.id,
        "resourcePath": target.template,
        "httpMethod": request.method,
        "extendedRequestId": call.request_id.replace("-", "")[:15] + "=",
        "requestTime": request_time(now),
        "path": unquote(f"/{target.stage.name}{target.path}"),
        "accountId": target.api.account_id,
        "protocol": request.protocol,
        "stage": target.stage.name,
        "domainPrefix": call.domain.partition(".")[0],
        "requestTimeEpoch": int(now * 1000),
        "requestId": call.request_id,
        "identity": identity,
        "domainName": call.domain,
        "deploymentId": target.stage.deployment_id,
        "apiId": target.api.id,
    }
    if caller is not None:
        context["authorizer"] = dict(caller.context)
        if caller.principal_id is not None:
            context["authorizer"]["principalId"] = caller.principal_id
    if target.method.operation_name:
        context["operationName"] = target.method.operation_name
    return context


def _headers(request: UrlRequest) -> tuple[dict[str, str], dict[str, list[str]]]:
    several: dict[str, list[str]] = {}
    names: dict[str, str] = {}
    for name, value in request.headers:
        shown = names.setdefault(name, "-".join(part.capitalize() for part in name.split("-")))
        several.setdefault(shown, []).append(value)
    # What AWS's own front adds, in its words; the page on proxy integrations shows them.
    added = headers_of(request, request.header("x-amzn-trace-id") or new_trace_header().partition(";")[0])
    for name in ("X-Amzn-Trace-Id", "X-Forwarded-For", "X-Forwarded-Port", "X-Forwarded-Proto"):
        several[name] = [added[name.lower()]]
    return {name: values[-1] for name, values in several.items()}, several


def _body(api: Any, request: UrlRequest) -> tuple[str | None, bool]:
    if not request.body:
        return None, False
    kind = request.header("content-type").partition(";")[0].strip().lower()
    binary = any(
        each == "*/*" or each.lower() == kind or (each.endswith("/*") and kind.startswith(each[:-1]))
        for each in api.binaryMediaTypes or ()
    )
    if not binary:
        return request.body.decode("utf-8", "replace"), False
    return base64.b64encode(request.body).decode(), True


def proxied(answer: Answer, malformed: HttpResponse) -> HttpResponse:
    """The response that a function's answer in payload format 1.0 stands for; `malformed` for what is none."""
    try:
        result = json.loads(answer.payload)
    except ValueError:
        return malformed
    if answer.function_error is not None or not isinstance(result, dict) or result.keys() - _PROXY_ANSWER:
        return malformed
    body = result.get("body")
    if body is not None and not isinstance(body, str):
        return malformed
    headers: list[tuple[str, str]] = []
    several = result.get("multiValueHeaders") or {}
    given = {name: value for name, value in (result.get("headers") or {}).items() if name not in several}
    try:
        status = int(result.get("statusCode", 200))
        headers = [(name, _text(value)) for name, value in given.items()]
        headers += [(name, _text(each)) for name, values in several.items() for each in values]
        content = base64.b64decode(body or "") if result.get("isBase64Encoded") else (body or "").encode()
    except (ValueError, TypeError):
        return malformed
    if not any(name.lower() == "content-type" for name, _ in headers):
        headers.append(("Content-Type", "application/json"))
    return HttpResponse(status, headers, content)


def _mapped(integration: Any, request: UrlRequest) -> bytes | None:
    """What a function gets through an integration without proxy: the body, if no template says otherwise."""
    kind = request.header("content-type").partition(";")[0].strip().lower() or "application/json"
    template = (integration.request_templates or {}).get(kind)
    if template is not None and template.strip() not in _WHOLE_INPUT:
        return None
    return request.body or b"{}"


def _integrated(integration: Any, answer: Answer) -> HttpResponse:
    """The response of an integration without proxy: the first whose pattern is that of the error, or the default."""
    error = ""
    if answer.function_error is not None:
        result = json.loads(answer.payload or b"{}")
        error = str(result.get("errorMessage", "")) if isinstance(result, dict) else ""
    default, chosen = None, None
    for each in (integration.integration_responses or {}).values():
        if not each.selection_pattern:
            default = default or each
        elif error and re.fullmatch(each.selection_pattern, error, re.DOTALL):
            chosen = chosen or each
    return _response(chosen or default, answer.payload)


def _mock(integration: Any) -> HttpResponse:
    """https://docs.aws.amazon.com/apigateway/latest/developerguide/how-to-mock-integration.html"""
    template = next(iter((integration.request_templates or {}).values()), '{"statusCode": 200}')
    found = re.search(r'"?statusCode"?\s*:\s*"?(\d+)', template)
    responses = integration.integration_responses or {}
    chosen = responses.get(found[1]) if found else None
    return _response(chosen or next(iter(responses.values()), None), b"")


def _response(response: Any, payload: bytes) -> HttpResponse:
    if response is None:
        return broken()
    headers = [("Content-Type", "application/json")]
    for name, value in (response.response_parameters or {}).items():
        where, _, header = name.removeprefix("method.response.").partition(".")
        if where == "header" and value.startswith("'"):
            headers.append((header, value.strip("'")))
    templates = response.response_templates or {}
    text = next((each for each in templates.values() if each is not None), None)
    body = payload if text is None or text.strip() in _WHOLE_INPUT else text.encode()
    return HttpResponse(int(response.status_code), headers, body)


def _text(value: Any) -> str:
    if isinstance(value, dict | list):
        raise TypeError("the value of a header is not a string")
    return value if isinstance(value, str) else json.dumps(value)
