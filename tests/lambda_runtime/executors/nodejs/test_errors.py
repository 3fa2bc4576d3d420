"""What goes wrong, in AWS's words and forms."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import pytest

pytestmark = pytest.mark.node


@pytest.mark.parametrize(
    ("files", "handler", "error_type", "message"),
    [
        (
            {},
            "nope.handler",
            "Runtime.ImportModuleError",
            "Error: Cannot find module 'nope'\nRequire stack:\n- /var/runtime/index.mjs",
        ),
        ({"index.js": ""}, "index.handler", "Runtime.HandlerNotFound", "index.handler is undefined or not exported"),
        (
            {"index.js": "exports.handler = 1"},
            "index.handler",
            "Runtime.HandlerNotFound",
            "index.handler is not a function",
        ),
        ({"index.js": ""}, "index", "Runtime.MalformedHandlerName", "Bad handler"),
        (
            {"index.js": ""},
            "../index.handler",
            "Runtime.MalformedHandlerName",
            "'../index.handler' is not a valid handler name. "
            "Use absolute paths when specifying root directories in handler names.",
        ),
        ({"index.js": "x = = 1"}, "index.handler", "Runtime.UserCodeSyntaxError", "SyntaxError: Unexpected token '='"),
        ({"index.mjs": "x = = 1"}, "index.handler", "Runtime.UserCodeSyntaxError", "SyntaxError: Unexpected token '='"),
        ({"index.js": "throw new TypeError('at load')"}, "index.handler", "TypeError", "at load"),
        ({"index.js": "throw 'a string'"}, "index.handler", "string", "a string"),
        (
            {"index.js": "Promise.reject(new Error('left')); exports.handler = async () => 1"},
            "index.handler",
            "Runtime.UnhandledPromiseRejection",
            "Error: left",
        ),
    ],
)
def test_init_error(node_runtimes: Any, files: Mapping[str, str], handler: str, error_type: str, message: str) -> None:
    runtime = node_runtimes.start(files, handler)
    post = runtime.post()
    body = post.json()
    assert (post.kind, list(body)) == ("init/error", ["errorType", "errorMessage", "trace"])
    assert (body["errorType"], body["errorMessage"]) == (error_type, message)
    assert post.headers["lambda-runtime-function-error-type"] == error_type
    assert runtime.exit_code() == (128 if "Unhandled" in error_type else 129)
    assert runtime.output().startswith("20")
    assert "\tundefined\tERROR\tUn" in runtime.output()


def test_missing_dependency_names_the_require_stack(node_runtimes: Any) -> None:
    runtime = node_runtimes.start("require('left-pad')")
    task = runtime.output_file.parent / "task"
    expected = f"Error: Cannot find module 'left-pad'\nRequire stack:\n- {task}/index.js\n- /var/runtime/index.mjs"
    body = runtime.post().json()
    assert (body["errorType"], body["errorMessage"]) == ("Runtime.ImportModuleError", expected)
    assert body["trace"][0] == "Runtime.ImportModuleError: Error: Cannot find module 'left-pad'"


def test_top_level_await_that_never_resolves_ends_the_process(node_runtimes: Any) -> None:
    runtime = node_runtimes.start({"index.mjs": "await new Promise(() => {}); export const handler = async () => 1"})
    assert runtime.exit_code() == 13


@pytest.mark.parametrize(
    ("statement", "error_type", "message"),
    [
        ("throw new RangeError('thrown')", "RangeError", "thrown"),
        ("throw Object.assign(new Error('m'), { name: 'Named' })", "Named", "m"),
        ("throw 'text'", "string", "text"),
        ("throw 42", "number", "42"),
        ("throw { a: 1 }", "object", "[object Object]"),
        ("throw null", "string", "handled"),
        ("const a = {}; a.a = a; return a", "Error", "Unable to stringify response body"),
        ("return 1n", "Error", "Unable to stringify response body"),
        ("return () => 1", "TypeError", "Wrong arguments"),
    ],
)
def test_invoke_error_keeps_the_environment(node_runtimes: Any, statement: str, error_type: str, message: str) -> None:
    runtime = node_runtimes.start(f"exports.handler = async (event) => {{ if (event) return 'alive'; {statement} }}")
    post = runtime.invoke()
    body = post.json()
    assert (post.kind, body["errorType"], body["errorMessage"]) == ("error", error_type, message)
    assert post.headers["lambda-runtime-function-error-type"] == error_type
    is_error = message in {"thrown", "m", "Unable to stringify response body", "Wrong arguments"}
    assert body["trace"][0].endswith(message) if is_error else body["trace"] == []
    assert "\trequest-1\tERROR\tInvoke Error \t{" in runtime.output()
    assert runtime.invoke({"go": "on"}).json() == "alive"


@pytest.mark.parametrize(
    "call", ["callback(new Error('no'))", "context.fail(new Error('no'))", "context.done(new Error('no'))"]
)
def test_error_of_a_callback(node_runtimes: Any, call: str) -> None:
    post = node_runtimes.start(f"exports.handler = (event, context, callback) => {{ {call} }}").invoke()
    assert (post.kind, post.json()["errorType"], post.json()["errorMessage"]) == ("error", "Error", "no")


def test_nodejs24_names_serialisation_errors(node_runtimes: Any) -> None:
    runtime = node_runtimes.start(
        "exports.handler = () => 1n", variables={"AWS_EXECUTION_ENV": "AWS_Lambda_nodejs24.x"}
    )
    assert runtime.invoke().json()["errorType"] == "Runtime.JSONStringifyError"


def test_log_of_an_error_has_its_own_properties(node_runtimes: Any) -> None:
    runtime = node_runtimes.start(
        "exports.handler = async () => { "
        "throw Object.assign(new Error('m'), { extra: { a: 1 }, code: 'C', inner: new TypeError('i') }) }"
    )
    runtime.invoke()
    record = json.loads(runtime.lines()[0].rpartition("\t")[2])
    assert list(record) == ["errorType", "errorMessage", "code", "extra", "inner", "stack"]
    assert record["inner"]["errorType"] == "TypeError"
    assert record["stack"][0] == "Error: m"


def test_error_that_cannot_be_written_as_json_is_still_logged(node_runtimes: Any) -> None:
    runtime = node_runtimes.start("exports.handler = async () => { const e = new Error('m'); e.self = e; throw e }")
    runtime.invoke()
    assert list(json.loads(runtime.lines()[0].rpartition("\t")[2])) == ["errorType", "errorMessage", "trace"]


def test_xray_cause_names_the_frames(node_runtimes: Any) -> None:
    runtime = node_runtimes.start("exports.handler = async () => { throw new Error('Ü') }")
    cause = json.loads(runtime.invoke().headers["lambda-runtime-function-xray-error-cause"])
    file = str(runtime.output_file.parent / "task" / "index.js")
    assert (cause["exceptions"][0]["type"], cause["exceptions"][0]["message"]) == ("Error", "Ü")
    assert cause["exceptions"][0]["stack"][0] == {"path": file, "line": 1, "label": "exports.handler"}
    assert cause["paths"][0] == file


def test_uncaught_exception_answers_and_ends_the_process(node_runtimes: Any) -> None:
    runtime = node_runtimes.start(
        "exports.handler = (event, context, callback) => { setTimeout(() => { throw new Error('late') }, 1) }"
    )
    post = runtime.invoke()
    assert (post.kind, post.json()["errorType"], post.json()["errorMessage"]) == ("error", "Error", "late")
    assert runtime.exit_code() == 129
    assert "\trequest-1\tERROR\tUncaught Exception \t" in runtime.output()


def test_unhandled_rejection_answers_and_ends_the_process(node_runtimes: Any) -> None:
    runtime = node_runtimes.start(
        "exports.handler = (event, context, callback) => { Promise.reject(new RangeError('left')); setTimeout(callback, 10_000) }"
    )
    body = runtime.invoke().json()
    assert (body["errorType"], body["errorMessage"]) == ("Runtime.UnhandledPromiseRejection", "RangeError: left")
    assert runtime.exit_code() == 128
    line = runtime.lines()[0]
    assert "\trequest-1\tERROR\tUnhandled Promise Rejection \t" in line
    assert json.loads(line.rpartition("\t")[2])["reason"]["errorType"] == "RangeError"


def test_nodejs24_leaves_uncaught_exceptions_to_node(node_runtimes: Any) -> None:
    runtime = node_runtimes.start(
        "exports.handler = () => new Promise(() => setTimeout(() => { throw new Error('late') }, 1))",
        variables={"AWS_EXECUTION_ENV": "AWS_Lambda_nodejs24.x"},
    )
    runtime.api.put()
    assert runtime.exit_code() == 1
    assert "Error: late" in runtime.output()


def test_exit_of_the_function_is_left_to_the_supervisor(node_runtimes: Any) -> None:
    runtime = node_runtimes.start("exports.handler = async () => process.exit(3)")
    runtime.api.put()
    assert runtime.exit_code() == 3
    assert runtime.api.posts.empty()


def test_runtime_ends_when_the_runtime_api_is_gone(node_runtimes: Any) -> None:
    runtime = node_runtimes.start("exports.handler = async () => 1")
    runtime.invoke()
    runtime.api.events.put(None)
    assert runtime.exit_code() == 1


def test_error_in_the_middle_of_a_stream_is_in_the_trailers(node_runtimes: Any) -> None:
    runtime = node_runtimes.start(
        "exports.handler = awslambda.streamifyResponse(async (event, stream) => {"
        " stream.write('part'); await null; throw new TypeError('mid') })"
    )
    post = runtime.invoke()
    assert (post.kind, post.body) == ("response", b"part")
    assert post.trailers["lambda-runtime-function-error-type"] == "TypeError"
    error = json.loads(base64.b64decode(post.trailers["lambda-runtime-function-error-body"]))
    assert (error["errorType"], error["errorMessage"], error["trace"][0]) == ("TypeError", "mid", "TypeError: mid")
    assert "\tERROR\tInvoke Error \t" in runtime.output()
    assert runtime.invoke().body == b"part"
