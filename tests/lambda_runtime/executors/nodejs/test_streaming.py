"""Responses that leave while the function still works."""

from __future__ import annotations

import base64
import json
import os
import queue
from typing import Any

import pytest

pytestmark = pytest.mark.node


def streaming(body: str) -> str:
    return f"exports.handler = awslambda.streamifyResponse(async (event, stream, context) => {{ {body} }})"


def test_chunks_leave_as_they_are_written(node_runtimes: Any) -> None:
    runtime = node_runtimes.start(
        streaming(
            "stream.setContentType('text/plain'); stream.write('one'); stream.write(Buffer.from('two')); stream.end('three')"
        )
    )
    post = runtime.invoke()
    assert post.chunks == [b"one", b"two", b"three"]
    assert post.headers["lambda-runtime-function-response-mode"] == "streaming"
    assert post.headers["transfer-encoding"] == "chunked"
    assert post.headers["content-type"] == "text/plain"
    assert post.trailers == {}


def test_first_chunk_arrives_before_the_last_is_written(node_runtimes: Any, tmp_path: Any) -> None:
    gate = tmp_path / "gate"
    runtime = node_runtimes.start(
        "const { existsSync, watch } = require('node:fs'); "
        + streaming(
            "stream.write('first');"
            "await new Promise((r) => { const w = watch(event.directory, () => existsSync(event.gate) && (w.close(), r())); });"
            "stream.end('last')"
        )
    )
    runtime.api.put({"directory": str(tmp_path), "gate": str(gate)})
    assert runtime.api.chunks.get(timeout=60) == b"first"
    assert runtime.api.posts.empty()
    # The directory may not be watched yet when the chunk is here: touch it until the function saw it.
    while True:
        gate.touch()
        try:
            assert runtime.api.chunks.get(timeout=0.1) == b"last"
            break
        except queue.Empty:
            gate.unlink()
    assert runtime.post().body == b"firstlast"


def test_default_content_type_and_objects(node_runtimes: Any) -> None:
    post = node_runtimes.start(streaming("stream.write({ a: 1 }); stream.end()")).invoke()
    assert (post.body, post.headers["content-type"]) == (b'{"a":1}', "application/octet-stream")


def test_http_response_stream_writes_a_prelude(node_runtimes: Any) -> None:
    post = node_runtimes.start(
        streaming(
            "const http = awslambda.HttpResponseStream.from(stream, { statusCode: 201, headers: { a: 'b' } });"
            "http.write('body'); http.end()"
        )
    ).invoke()
    metadata, _, body = post.body.partition(b"\0" * 8)
    assert json.loads(metadata) == {"statusCode": 201, "headers": {"a": "b"}}
    assert body == b"body"
    assert post.headers["content-type"] == "application/vnd.awslambda.http-integration-response"


def test_content_type_cannot_change_after_the_first_write(node_runtimes: Any) -> None:
    runtime = node_runtimes.start(streaming("stream.write('x'); stream.setContentType('a/b')"))
    assert runtime.invoke().trailers["lambda-runtime-function-error-type"] == "Runtime.InvalidStreamingOperation"


def test_http_response_stream_that_is_only_ended_has_no_prelude(node_runtimes: Any) -> None:
    """Surprising, but what aws-lambda-ric 3.3.0 and 4.0.2 do."""
    runtime = node_runtimes.start(
        streaming("awslambda.HttpResponseStream.from(stream, { statusCode: 418 }).end('tea')")
    )
    assert runtime.invoke().body == b"tea"


def test_pipeline_ends_the_response(node_runtimes: Any) -> None:
    runtime = node_runtimes.start(
        "const { pipeline } = require('node:stream/promises'); const { Readable } = require('node:stream'); "
        + streaming("await pipeline(Readable.from(['a', 'b', '', 'c']), stream)")
    )
    assert runtime.invoke().body == b"abc"
    assert runtime.invoke().body == b"abc"


def test_a_reader_that_does_not_read_slows_the_function(node_runtimes: Any) -> None:
    runtime = node_runtimes.start(
        streaming(
            "const { setImmediate } = require('node:timers/promises');"
            "const block = Buffer.alloc(1 << 20, 'x'); let taken = 0;"
            "for (let i = 0; i < 64; i++) stream.write(block, () => taken++);"
            "for (let i = 0; i < 100; i++) await setImmediate();"
            "console.log('taken', taken);"
            "await new Promise((resolve) => stream.end(resolve)); console.log('taken', taken)"
        ),
        telemetry=True,
    )
    runtime.api.reading_chunks.clear()
    runtime.api.put()
    unread = int(os.read(runtime.telemetry_fd, 1000).split()[-1])
    runtime.api.reading_chunks.set()
    assert len(runtime.post().body) == 64 << 20
    assert unread < 64, "the kernel's buffers do not hold 64 MiB"
    assert int(os.read(runtime.telemetry_fd, 1000).split()[-1]) == 64


def test_handler_that_is_not_async_is_refused(node_runtimes: Any) -> None:
    post = node_runtimes.start(
        "exports.handler = awslambda.streamifyResponse((event, stream) => { stream.end() })"
    ).invoke()
    error = json.loads(base64.b64decode(post.trailers["lambda-runtime-function-error-body"]))
    assert error["errorMessage"] == "Streaming does not support non-async handlers."


def test_return_value_is_ignored_with_a_warning(node_runtimes: Any) -> None:
    runtime = node_runtimes.start(streaming("stream.end('x'); return 'ignored'"))
    assert runtime.invoke().body == b"x"
    runtime.invoke()
    assert "\trequest-1\tWARN\tStreaming handlers ignore return values." in runtime.output()


def test_destroyed_stream_is_an_error_of_the_invocation(node_runtimes: Any) -> None:
    runtime = node_runtimes.start(streaming("stream.write('x'); stream.destroy(new RangeError('gone')); await null"))
    assert runtime.invoke().trailers["lambda-runtime-function-error-type"] == "RangeError"


def test_uncaught_exception_ends_the_stream_and_the_process(node_runtimes: Any) -> None:
    runtime = node_runtimes.start(
        streaming(
            "stream.write('x'); setTimeout(() => { throw new RangeError('late') }, 1); await new Promise(() => {})"
        )
    )
    assert runtime.invoke().trailers["lambda-runtime-function-error-type"] == "RangeError"
    assert runtime.exit_code() == 129


def test_marks_of_a_streaming_handler_are_awss(node_runtimes: Any) -> None:
    runtime = node_runtimes.start(
        "const handler = async () => {}; const marked = awslambda.streamifyResponse(handler, { highWaterMark: 7 });"
        "exports.handler = async () => [handler === marked,"
        " Object.getOwnPropertySymbols(marked).map((s) => [s.description, marked[s]])]"
    )
    assert runtime.invoke().json() == [
        True,
        [
            ["aws.lambda.runtime.handler.streaming", "response"],
            ["aws.lambda.runtime.handler.streaming.highWaterMark", 7],
        ],
    ]


def test_nodejs24_streaming_handler_has_three_parameters(node_runtimes: Any) -> None:
    runtime = node_runtimes.start(
        streaming("stream.end('x')"), variables={"AWS_EXECUTION_ENV": "AWS_Lambda_nodejs24.x"}
    )
    assert runtime.invoke().body == b"x"
