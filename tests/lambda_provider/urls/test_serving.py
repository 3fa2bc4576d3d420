"""The way of a request: with a real store and policies, and a function that is a list of answers."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from lambda_provider.api import TooManyRequestsException
from lambda_provider.urls.addresses import Address
from lambda_provider.urls.callers import TestCallers
from lambda_provider.urls.responses import BrokenResponse
from lambda_provider.urls.serving import FunctionUrls
from lambda_runtime.types import InvocationResult

from ..fakes import context
from .conftest import request
from .test_signatures import signed

PRELUDE = "application/vnd.awslambda.http-integration-response"


class Invoker:
    """Takes invocations instead of a function."""

    def __init__(self, provider) -> None:
        self.ready = provider.ready
        self.invocations = []
        self.answer: InvocationResult | Exception = InvocationResult(b'"ok"', "$LATEST")
        self.counted: dict[tuple[str, str, str], list[float]] = {}

    def count(self, metric, version_arn, invoked_arn, value=1.0):
        names = (metric, version_arn.rpartition(":")[2], invoked_arn.rpartition(":")[2])
        self.counted.setdefault(names, []).append(value)

    def sampled(self, trace_header, function, version):
        return trace_header

    async def run(self, invocation):
        self.invocations.append(invocation)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Site:
    """A function with a URL that anybody may call."""

    def __init__(self, provider) -> None:
        self.provider = provider
        self.invoker = Invoker(provider)
        self.urls = FunctionUrls(provider.store, self.invoker, TestCallers(), 10_000)
        self.url_id = ""

    def create(self, auth_type="NONE", qualifier=None, *, permission=True, **members):
        of = {"FunctionName": "f"} | ({"Qualifier": qualifier} if qualifier else {})
        created = self.provider.create_function_url_config(context(), {**of, "AuthType": auth_type, **members})
        self.url_id = created["FunctionUrl"].partition("://")[2].partition(".")[0]
        if permission:
            statement = {"StatementId": "s", "Action": "lambda:InvokeFunctionUrl", "Principal": "*"}
            self.provider.add_permission(context(), {**of, **statement, "FunctionUrlAuthType": auth_type})

    async def call(self, asked=None, *, region="eu-west-1", path="/"):
        return await self.urls.handle(Address(self.url_id, path, region), asked or request())

    async def forbidden(self, asked=None) -> bool:
        response = await self.call(asked)
        assert (response.status == 403) == (not self.invoker.invocations)
        if response.status != 403:
            return False
        assert dict(response.headers)["x-amzn-ErrorType"] == "AccessDeniedException"
        assert json.loads(response.body)["Message"].startswith("Forbidden. For troubleshooting")
        return True


@pytest.fixture
def site(provider, active: Callable[..., str]) -> Site:
    active()
    return Site(provider)


async def chunks(*parts: bytes):
    for part in parts:
        yield part


def streams(site: Site, *parts: bytes, content_type="text/plain", **members) -> None:
    site.invoker.answer = InvocationResult(b"", "$LATEST", content_type=content_type, stream=chunks(*parts), **members)


async def test_a_request_becomes_an_invoke_with_the_same_request_id(site):
    site.create()
    response = await site.call(request("POST", "/x", b"{}", content_type="application/json"), path="/x")
    (invocation,) = site.invoker.invocations
    event = json.loads(invocation.payload)
    assert (response.status, response.body) == (200, b"ok")
    assert dict(response.headers)["x-amzn-RequestId"] == invocation.request_id == event["requestContext"]["requestId"]
    assert (event["rawPath"], event["requestContext"]["apiId"]) == ("/x", site.url_id)
    assert invocation.invoked_arn == "arn:aws:lambda:eu-west-1:111111111111:function:f"
    assert not invocation.streaming


async def test_the_trace_of_a_client_is_continued(site):
    site.create()
    response = await site.call(request(x_amzn_trace_id="Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1"))
    (invocation,) = site.invoker.invocations
    assert invocation.trace_header == "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1"
    root = json.loads(invocation.payload)["headers"]["x-amzn-trace-id"]
    assert root == "Root=1-5759e988-bd862e3fe1be46a994272793"
    assert dict(response.headers)["X-Amzn-Trace-Id"] == invocation.trace_header


async def test_by_its_path_a_url_has_the_name_that_its_host_would_have(site):
    site.create()
    asked = request()
    asked.headers = [("host", "127.0.0.1:4566")]
    await site.call(asked, region=None)
    event = json.loads(site.invoker.invocations[0].payload)
    assert event["requestContext"]["domainName"] == f"{site.url_id}.lambda-url.eu-west-1.localhost:4566"
    assert event["headers"]["host"] == "127.0.0.1:4566"


async def test_a_url_that_does_not_exist_is_not_found(site):
    site.url_id = "nobody"
    assert (await site.call()).status == 404
    site.create()
    assert (await site.call(region="us-east-1")).status == 404
    assert not site.invoker.invocations


async def test_without_a_permission_nobody_may(site):
    site.create(permission=False)
    assert await site.forbidden()


async def test_a_permission_for_another_auth_type_is_none(site):
    site.create(permission=False)
    statement = {"StatementId": "s", "Action": "lambda:InvokeFunctionUrl", "Principal": "*"}
    site.provider.add_permission(context(), {"FunctionName": "f", **statement, "FunctionUrlAuthType": "AWS_IAM"})
    assert await site.forbidden()


async def test_the_url_of_an_alias_needs_the_aliass_permission_and_ends_with_the_alias(site):
    """Recorded: test_lambda_url_persists_after_alias_delete."""
    site.provider.create_alias(context(), {"FunctionName": "f", "Name": "live", "FunctionVersion": "$LATEST"})
    site.create(qualifier="live")
    assert not await site.forbidden()
    assert site.invoker.invocations.pop().invoked_arn.endswith(":f:live")
    site.provider.delete_alias(context(), {"FunctionName": "f", "Name": "live"})
    assert await site.forbidden()


async def test_who_signs_as_the_functions_account_may_and_is_named(site):
    site.create("AWS_IAM", permission=False)
    assert not await site.forbidden(signed())
    event = json.loads(site.invoker.invocations[0].payload)
    assert event["requestContext"]["accountId"] == "111111111111"
    assert event["requestContext"]["authorizer"]["iam"]["userArn"] == "arn:aws:iam::111111111111:root"


async def test_another_account_needs_a_permission(site):
    site.create("AWS_IAM", permission=False)
    assert await site.forbidden(signed(key="222222222222"))
    statement = {"StatementId": "s", "Action": "lambda:InvokeFunctionUrl", "Principal": "222222222222"}
    site.provider.add_permission(context(), {"FunctionName": "f", **statement, "FunctionUrlAuthType": "AWS_IAM"})
    assert not await site.forbidden(signed(key="222222222222"))


async def test_a_request_that_is_not_signed_is_forbidden_even_if_everybody_may(site):
    site.create("AWS_IAM")
    assert await site.forbidden()


async def test_a_wrong_signature_is_refused(site):
    site.create("AWS_IAM")
    response = await site.call(signed(secret="other"))
    assert (response.status, dict(response.headers)["x-amzn-ErrorType"]) == (403, "InvalidSignatureException")
    assert b"signature we calculated" in response.body


async def test_a_preflight_is_answered_without_the_function_and_without_permission(site):
    site.create(permission=False, Cors={"AllowOrigins": ["*"], "AllowMethods": ["GET"]})
    response = await site.call(request("OPTIONS", origin="http://x", access_control_request_method="GET"))
    assert (response.status, dict(response.headers)["Access-Control-Allow-Methods"]) == (200, "GET")
    assert not site.invoker.invocations


async def test_without_cors_settings_an_options_request_is_the_functions(site):
    site.create()
    await site.call(request("OPTIONS", origin="http://x", access_control_request_method="GET"))
    assert len(site.invoker.invocations) == 1


async def test_cors_headers_stand_beside_those_of_the_function(site):
    site.create(Cors={"AllowOrigins": ["http://x"]})
    site.invoker.answer = InvocationResult(
        b'{"statusCode":200,"headers":{"Access-Control-Allow-Origin":"*"}}', "$LATEST"
    )
    response = await site.call(request(origin="http://x"))
    assert [value for name, value in response.headers if name == "Access-Control-Allow-Origin"] == ["*", "http://x"]


@pytest.mark.parametrize(
    "answer",
    [
        InvocationResult(b'{"errorMessage":"x"}', "$LATEST", function_error="Unhandled"),
        InvocationResult(b'{"statusCode":"x"}', "$LATEST"),
        InvocationResult(b"not json", "$LATEST", content_type="application/json"),
    ],
)
async def test_a_failure_of_the_function_is_a_502(site, answer):
    site.create()
    site.invoker.answer = answer
    response = await site.call()
    assert (response.status, response.body) == (502, b"Internal Server Error")
    assert [name for name, _ in response.headers].count("x-amzn-RequestId") == 1


async def test_a_throttle_is_a_429(site):
    site.create()
    site.invoker.answer = TooManyRequestsException("Rate Exceeded.", Reason="CallerRateLimitExceeded")
    assert (await site.call()).status == 429


async def test_what_nobody_expected_is_a_500_that_tells_nothing(site, caplog):
    site.create()
    site.invoker.answer = RuntimeError("secret")
    response = await site.call()
    assert (response.status, dict(response.headers)["x-amzn-ErrorType"]) == (500, "ServiceException")
    assert b"secret" not in response.body
    assert "secret" in caplog.text


async def test_an_event_over_the_limit_is_a_413(site):
    site.create()
    assert (await site.call(request("POST", body=b"x" * 10_000))).status == 413
    assert not site.invoker.invocations


async def test_a_buffered_url_takes_metadata_from_a_function_that_streams(site):
    site.create()
    whole = b'{"statusCode":201,"headers":{"x":"y"},"cookies":["a=b"]}' + bytes(8) + b"body"
    site.invoker.answer = InvocationResult(whole, "$LATEST", content_type=PRELUDE)
    response = await site.call()
    assert (response.status, response.body) == (201, b"body")
    assert {("x", "y"), ("Set-Cookie", "a=b"), ("Content-Type", "application/octet-stream")} <= set(response.headers)


async def test_a_streamed_response_begins_with_its_metadata(site):
    site.create(InvokeMode="RESPONSE_STREAM")
    metadata = b'{"statusCode":201,"headers":{"content-type":"text/html"}}'
    streams(site, metadata, bytes(8), b"one", b"two", content_type=PRELUDE)
    response = await site.call()
    assert site.invoker.invocations[0].streaming
    assert (response.status, response.headers[0]) == (201, ("content-type", "text/html"))
    assert [chunk async for chunk in response.body] == [b"one", b"two"]


async def test_a_stream_without_metadata_is_the_body(site):
    site.create(InvokeMode="RESPONSE_STREAM")
    streams(site, b"one", b"two")
    response = await site.call()
    assert (response.status, response.headers[0]) == (200, ("Content-Type", "text/plain"))
    assert [chunk async for chunk in response.body] == [b"one", b"two"]


async def test_a_stream_that_fails_in_the_middle_is_broken_off(site):
    site.create(InvokeMode="RESPONSE_STREAM")
    streams(site, b"one", function_error="Unhandled")
    response = await site.call()
    seen = []
    with pytest.raises(BrokenResponse):
        async for chunk in response.body:
            seen.append(chunk)
    assert seen == [b"one"]


@pytest.mark.parametrize("content_type", ["text/plain", PRELUDE])
async def test_a_stream_that_fails_before_it_begins_is_a_502(site, content_type):
    site.create(InvokeMode="RESPONSE_STREAM")
    streams(site, content_type=content_type, function_error="Unhandled")
    assert (await site.call()).status == 502


async def test_a_function_that_does_not_stream_is_not_looked_into(site):
    site.create(InvokeMode="RESPONSE_STREAM")
    site.invoker.answer = InvocationResult(b'{"statusCode":404}', "$LATEST", content_type="application/json")
    response = await site.call()
    assert (response.status, response.body) == (200, b'{"statusCode":404}')


async def test_a_reader_that_leaves_closes_the_functions_stream(site):
    site.create(InvokeMode="RESPONSE_STREAM")
    closed = []

    async def endless():
        try:
            while True:
                yield b"x"
        finally:
            closed.append(True)

    site.invoker.answer = InvocationResult(b"", "$LATEST", content_type="text/plain", stream=endless())
    response = await site.call()
    assert await anext(response.body) == b"x"
    await response.body.aclose()
    assert closed == [True]


async def test_requests_are_counted_by_url_and_version(site):
    site.create()
    await site.call()
    site.invoker.answer = InvocationResult(b"{}", "$LATEST", function_error="Unhandled")
    assert (await site.call()).status == 502
    site.invoker.answer = TooManyRequestsException("Rate Exceeded.", Reason="ConcurrentInvocationLimitExceeded")
    assert (await site.call()).status == 429
    of_url = {metric: values for (metric, *names), values in site.invoker.counted.items() if names == ["$LATEST"] * 2}
    latencies = of_url.pop("UrlRequestLatency")
    assert of_url == {"UrlRequestCount": [1] * 3, "Url4xxCount": [0, 0, 1], "Url5xxCount": [0, 1, 0]}
    assert len(latencies) == 3
    assert all(0 < latency < 5000 for latency in latencies)


async def test_requests_to_the_url_of_an_alias_are_counted_for_the_version_that_ran(site, provider, publish):
    number = publish()
    provider.create_alias(context(), {"FunctionName": "f", "Name": "live", "FunctionVersion": number})
    site.create(qualifier="live", permission=False)
    assert (await site.call()).status == 403
    assert site.invoker.counted[("UrlRequestCount", number, "live")] == [1]
    assert site.invoker.counted[("Url4xxCount", number, "live")] == [1]
