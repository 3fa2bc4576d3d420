"""Which function a handler string names, and what a function's answer becomes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

pytestmark = pytest.mark.node

NODEJS24 = {"AWS_EXECUTION_ENV": "AWS_Lambda_nodejs24.x"}


@pytest.mark.parametrize(
    ("files", "handler"),
    [
        ({"index.js": "exports.handler = async () => 'found'"}, "index.handler"),
        ({"index.cjs": "exports.handler = async () => 'found'"}, "index.handler"),
        ({"index.mjs": "export const handler = async () => 'found'"}, "index.handler"),
        ({"index": "exports.handler = async () => 'found'"}, "index.handler"),
        ({"dir/file.js": "exports.nested = { handler: async () => 'found' }"}, "dir/file.nested.handler"),
        ({"package.json": '{"type":"module"}', "a/b.js": "export const handler = async () => 'found'"}, "a/b.handler"),
        ({"package.json": '{"type":"module"}', "index.cjs": "exports.handler = async () => 'found'"}, "index.handler"),
        (
            {"index.mjs": "const v = await Promise.resolve('found'); export const handler = async () => v"},
            "index.handler",
        ),
        ({"index.js": "exports.handler = async () => 'found'", "index.mjs": "throw 1"}, "index.handler"),
        ({"node_modules/pkg/index.js": "exports.handler = async () => 'found'"}, "pkg.handler"),
    ],
)
def test_handler_is_found(node_runtimes: Any, files: Mapping[str, str], handler: str) -> None:
    assert node_runtimes.start(files, handler).invoke().json() == "found"


def test_layer_modules_are_found_by_node_path(node_runtimes: Any, tmp_path: Any) -> None:
    package = tmp_path / "opt" / "nodejs" / "node_modules" / "shared"
    package.mkdir(parents=True)
    (package / "index.js").write_text("module.exports = 'from the layer'")
    runtime = node_runtimes.start(
        "const shared = require('shared'); exports.handler = async () => shared",
        variables={"NODE_PATH": str(package.parent)},
    )
    assert runtime.invoke().json() == "from the layer"


def test_node_path_is_awss_when_nobody_set_it(node_runtimes: Any) -> None:
    runtime = node_runtimes.start("exports.handler = async () => process.env.NODE_PATH.split(':').slice(0, 4)")
    assert runtime.invoke().json() == [
        "/opt/nodejs/node20/node_modules",
        "/opt/nodejs/node_modules",
        "/var/runtime/node_modules",
        "/var/runtime",
    ]


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ("async (event) => event", {"sent": 1}),
        ("() => Promise.resolve('promised')", "promised"),
        ("() => ({ then: (resolve) => resolve('thenable') })", "thenable"),
        ("async () => {}", None),
        ("() => 'a value that is not a promise is ignored'", None),
        ("(event, context, callback) => { setTimeout(() => callback(null, 'late'), 5) }", "late"),
        ("(event, context, callback) => { callback(null, 1); callback(null, 2) }", 1),
        ("(event, context) => context.succeed('succeeded')", "succeeded"),
        ("(event, context) => context.done(null, 'done')", "done"),
        ("async () => { await new Promise(() => {}) }", None),
    ],
)
def test_answer_of_a_handler_with_callbacks(node_runtimes: Any, body: str, answer: Any) -> None:
    post = node_runtimes.start(f"exports.handler = {body}").invoke({"sent": 1})
    assert (post.kind, post.json()) == ("response", answer)
    assert post.headers["content-type"] == "application/json"


def test_callback_waits_until_the_event_loop_is_empty(node_runtimes: Any) -> None:
    runtime = node_runtimes.start(
        "exports.handler = (event, context, callback) => { setTimeout(() => console.log('first'), 30); callback(null, 'then') }"
    )
    assert runtime.invoke().json() == "then"
    assert "\tfirst" in runtime.output()


def test_callback_does_not_wait_when_told_so(node_runtimes: Any) -> None:
    runtime = node_runtimes.start(
        "exports.handler = (event, context, callback) => {"
        " context.callbackWaitsForEmptyEventLoop = false; setInterval(() => {}, 1000); callback(null, 'now') }"
    )
    assert runtime.invoke().json() == "now"


def test_nodejs24_answers_with_what_the_handler_returns(node_runtimes: Any) -> None:
    runtime = node_runtimes.start("exports.handler = () => 'returned'", variables=NODEJS24)
    assert runtime.invoke().json() == "returned"


def test_nodejs24_refuses_a_handler_with_a_callback(node_runtimes: Any) -> None:
    runtime = node_runtimes.start("exports.handler = async (event, context, callback) => 1", variables=NODEJS24)
    post = runtime.post()
    assert (post.kind, runtime.exit_code()) == ("init/error", 1)
    assert post.json()["errorType"] == "Runtime.CallbackHandlerDeprecated"
    assert "\t-\tERROR\tInit Error \t" in runtime.output()


def test_nodejs24_promise_that_never_settles_ends_the_process(node_runtimes: Any) -> None:
    runtime = node_runtimes.start("exports.handler = async () => { await new Promise(() => {}) }", variables=NODEJS24)
    runtime.api.put()
    assert runtime.exit_code() == 0
    assert runtime.api.posts.empty()


def test_context_has_all_members(node_runtimes: Any) -> None:
    runtime = node_runtimes.start(
        "exports.handler = async (event, context) => ({ ...context, keys: Object.keys(context),"
        " remaining: context.getRemainingTimeInMillis() })"
    )
    context = runtime.invoke(
        headers={
            "Lambda-Runtime-Client-Context": json.dumps({"custom": {"name": "Ünal"}}, ensure_ascii=True),
            "Lambda-Runtime-Cognito-Identity": json.dumps({"cognitoIdentityId": "id", "cognitoIdentityPoolId": "pool"}),
            "Lambda-Runtime-Aws-Tenant-Id": "tenant",
        }
    ).json()
    assert context.pop("remaining") > 60_000
    assert context.pop("keys") == [
        "callbackWaitsForEmptyEventLoop",
        "functionVersion",
        "functionName",
        "memoryLimitInMB",
        "logGroupName",
        "logStreamName",
        "clientContext",
        "identity",
        "invokedFunctionArn",
        "awsRequestId",
        "tenantId",
        "getRemainingTimeInMillis",
        "succeed",
        "fail",
        "done",
    ]
    assert context == {
        "callbackWaitsForEmptyEventLoop": True,
        "functionVersion": "$LATEST",
        "functionName": "fn",
        "memoryLimitInMB": "128",
        "logGroupName": "/aws/lambda/fn",
        "logStreamName": "2024/01/01/[$LATEST]0",
        "clientContext": {"custom": {"name": "Ünal"}},
        "identity": {"cognitoIdentityId": "id", "cognitoIdentityPoolId": "pool"},
        "invokedFunctionArn": "arn:aws:lambda:eu-central-1:111111111111:function:fn",
        "awsRequestId": "request-1",
        "tenantId": "tenant",
    }


def test_trace_id_is_that_of_the_invocation(node_runtimes: Any) -> None:
    runtime = node_runtimes.start(
        "exports.handler = async () => [process.env._X_AMZN_TRACE_ID, awslambda.InvokeStore.getXRayTraceId()]"
    )
    assert runtime.invoke().json() == ["Root=1-1;Parent=2;Sampled=0"] * 2
    assert runtime.invoke().json() == ["Root=1-2;Parent=2;Sampled=0"] * 2


def test_invoke_store_is_empty_for_each_invocation(node_runtimes: Any) -> None:
    runtime = node_runtimes.start(
        "exports.handler = async () => { const store = awslambda.InvokeStore;"
        " const before = store.get('key'); store.set('key', 1); await null;"
        " return [before ?? null, store.get('key'), store.getRequestId()] }"
    )
    assert runtime.invoke().json() == [None, 1, "request-1"]
    assert runtime.invoke().json() == [None, 1, "request-2"]


def test_globals_survive_between_invocations_on_one_connection(node_runtimes: Any) -> None:
    runtime = node_runtimes.start(
        "let n = 0; exports.handler = async () => { if (++n === 2) throw new Error('x'); return n }"
    )
    assert [runtime.invoke().kind for _ in range(3)] == ["response", "error", "response"]
    assert runtime.invoke().json() == 4
    assert runtime.api.connections == 1


def test_event_and_response_of_six_megabytes(node_runtimes: Any) -> None:
    text = "ü" * 3 * 1024 * 1024
    assert node_runtimes.start("exports.handler = async (event) => event").invoke(text).json() == text
