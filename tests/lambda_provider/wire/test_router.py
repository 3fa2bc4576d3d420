from __future__ import annotations

from urllib.parse import parse_qs, quote

import pytest

from lambda_provider.api.spec import load
from lambda_provider.wire.router import Router

ARN = "arn:aws:lambda:us-east-1:123456789012:function:name:$LATEST/durable-execution/run/0a1b"


@pytest.fixture(scope="module")
def router() -> Router[str]:
    router: Router[str] = Router()
    for operation in load().operations.values():
        router.add(operation.http_method, operation.request_uri, operation.name)
    return router


def match(router: Router[str], method: str, path: str) -> tuple[str, list[str]] | None:
    path, _, query = path.partition("?")
    return router.match(method, path, parse_qs(query, keep_blank_values=True))


@pytest.mark.parametrize("operation", load().operations.values(), ids=lambda operation: operation.name)
@pytest.mark.parametrize("value", [ARN, "a b+c/d?e=f&g#h", "ä%2F", "invocations", "functions"])
def test_every_template_is_found_whatever_its_parameters_hold(router, operation, value) -> None:
    path, _, query = operation.request_uri.partition("?")
    filled = "/".join(quote(value, safe="") if part.startswith("{") else part for part in path.split("/"))

    found = match(router, operation.http_method, f"{filled}?{query}")

    assert found == (operation.name, [value] * path.count("{"))


@pytest.mark.parametrize(
    ("method", "path", "operation", "values"),
    [
        # Earlier versions of the model have these slashes, and SDKs built from them still send them.
        ("GET", "/2015-03-31/functions/", "ListFunctions", []),
        ("POST", "/2014-11-13/functions/f/invoke-async/", "InvokeAsync", ["f"]),
        ("GET", "/2015-03-31/functions/f/versions/", "ListVersionsByFunction", ["f"]),
        ("GET", "/2015-03-31/event-source-mappings/", "ListEventSourceMappings", []),
        # A fixed query tells operations on one path apart.
        ("GET", "/2018-10-31/layers?find=LayerVersion&Arn=a", "GetLayerVersionByArn", []),
        ("GET", "/2018-10-31/layers?find=other", "ListLayers", []),
        ("GET", "/2018-10-31/layers", "ListLayers", []),
        (
            "GET",
            "/2019-09-30/functions/f/provisioned-concurrency?List=ALL",
            "ListProvisionedConcurrencyConfigs",
            ["f"],
        ),
        (
            "GET",
            "/2019-09-30/functions/f/provisioned-concurrency?Qualifier=1",
            "GetProvisionedConcurrencyConfig",
            ["f"],
        ),
        ("GET", "/2019-09-30/functions/f/provisioned-concurrency", "GetProvisionedConcurrencyConfig", ["f"]),
        # Colons come encoded or not; a plus sign in a path is a plus sign.
        ("GET", "/2017-03-31/tags/arn:aws:lambda:x", "ListTags", ["arn:aws:lambda:x"]),
        ("GET", "/2017-03-31/tags/arn%3aaws%3Alambda:x", "ListTags", ["arn:aws:lambda:x"]),
        ("GET", "/2015-03-31/functions/a+b", "GetFunction", ["a+b"]),
        # An empty name in the middle is the operation's to refuse.
        ("POST", "/2015-03-31/functions//invocations", "Invoke", [""]),
        # Bytes that are not UTF-8 do not break the router.
        ("GET", "/2015-03-31/functions/%ff", "GetFunction", ["\ufffd"]),
    ],
)
def test_edges_of_routing(router, method, path, operation, values) -> None:
    assert match(router, method, path) == (operation, values)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", ""),
        ("GET", "/2015-03-31"),
        ("PATCH", "/2015-03-31/functions/f"),
        ("GET", "/2015-03-31/functions/f/invocations"),
        ("POST", "/2015-03-31/functions/f/invocations/more"),
        ("GET", "//2015-03-31/functions/f"),
        ("GET", "/2015-03-31/functions/arn:a/b"),
    ],
)
def test_what_is_no_operation_matches_nothing(router, method, path) -> None:
    assert match(router, method, path) is None


@pytest.mark.parametrize(
    ("path", "covered"),
    [
        ("/2015-03-31/functions", True),
        ("/2015-03-31/functions/", True),
        ("/2015-03-31/functions/f/nonsense", True),
        ("/2025-12-01/durable-executions/x", True),
        ("/2015-03-31", False),
        ("/2015-03-31/functionsx", False),
        ("/2020-05-31/distribution", False),
        ("/bucket/2015-03-31/functions", False),
        ("/", False),
        ("", False),
    ],
)
def test_covers_the_collections_of_the_api_and_nothing_else(router, path, covered) -> None:
    assert router.covers(path) is covered
