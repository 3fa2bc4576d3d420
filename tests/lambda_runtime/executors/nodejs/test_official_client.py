"""Our client next to AWS's own, `aws-lambda-ric` 3.x: same functions, same answers, same log.

Skipped unless the npm package is installed globally or LAMBDA_TEST_NODEJS_RIC names its directory.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.node

EVENTS = 2
FUNCTIONS = {
    "echo": "async (event) => event",
    "nothing": "async () => {}",
    "synchronous": "() => 'ignored'",
    "callback": "(event, context, callback) => { setTimeout(() => callback(null, 'late'), 1) }",
    "callback error": "(event, context, callback) => { callback(new TypeError('no')) }",
    "callback string": "(event, context, callback) => { callback('no') }",
    "succeed": "(event, context) => context.succeed({ ok: true })",
    "fail": "(event, context) => context.fail('no')",
    "never": "() => new Promise(() => {})",
    "throws": "async () => { throw Object.assign(new RangeError('m'), { code: 'C', more: [1] }) }",
    "throws null": "async () => { throw null }",
    "throws object": "async () => { throw { a: 1 } }",
    "circular": "async () => { const a = {}; a.a = a; return a }",
    "function": "async () => () => 1",
    "console": "async () => { console.log('%s', 'a', {}); console.error('e\\ne'); console.trace('t'); console.warn() }",
    "context": "async (event, { getRemainingTimeInMillis, succeed, fail, done, ...rest }) => rest",
    "stream": "awslambda.streamifyResponse(async (event, stream) => { stream.write('a'); stream.end('b') })",
    "http stream": "awslambda.streamifyResponse(async (event, stream) => {"
    " awslambda.HttpResponseStream.from(stream, { statusCode: 418 }).end('tea') })",
    "stream error": "awslambda.streamifyResponse(async (event, stream) => { stream.write('a'); throw new TypeError('mid') })",
}


@pytest.fixture(scope="session")
def official_client() -> Path:
    directory = os.environ.get("LAMBDA_TEST_NODEJS_RIC")
    if directory is None and (npm := shutil.which("npm")):
        root = subprocess.run([npm, "root", "-g"], capture_output=True, text=True, check=True).stdout.strip()
        directory = f"{root}/aws-lambda-ric"
    entry = Path(directory or "/nonexistent") / "bin" / "index.mjs"
    if not entry.exists():
        pytest.skip("the npm package aws-lambda-ric 3.x is not installed (LAMBDA_TEST_NODEJS_RIC)")
    return entry


def without_frames(text: str) -> str:
    """Stack frames, times and directories differ between the two; nothing else may."""
    text = re.sub(r'(,"    at [^"]*")+', "", text)
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME", text)
    return re.sub(r"/[^ \"]*/fn\d+/", "/", text)


def outcome(runtime: Any) -> tuple[list[Any], list[str]]:
    posts = [runtime.invoke({"n": n}) for n in range(EVENTS)]
    runtime.process.kill()
    runtime.process.wait()
    answers = [(post.kind, without_frames(post.body.decode()), post.headers["content-type"]) for post in posts]
    trailers = [post.trailers.get("lambda-runtime-function-error-type") for post in posts]
    lines = [without_frames(line) for line in runtime.lines() if not line.startswith("Executing ")]
    return [*answers, *trailers], lines


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("log_format", ["Text", "JSON"])
def test_same_as_the_official_client(node_runtimes: Any, official_client: Path, name: str, log_format: str) -> None:
    source = f"console.log('init'); exports.handler = {FUNCTIONS[name]}"
    variables = {"AWS_LAMBDA_LOG_FORMAT": log_format}
    command = [node_runtimes.node, str(official_client), "index.handler"]
    theirs = outcome(node_runtimes.start(source, variables=variables, command=command))
    assert json.dumps(outcome(node_runtimes.start(source, variables=variables)), indent=1) == json.dumps(
        theirs, indent=1
    )
