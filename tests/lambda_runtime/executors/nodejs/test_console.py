"""What a function prints: text lines, JSON records, telemetry frames."""

from __future__ import annotations

import json
import os
import re
import struct
from typing import Any

import pytest

pytestmark = pytest.mark.node

TIMESTAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
JSON = {"AWS_LAMBDA_LOG_FORMAT": "JSON"}


def handler(body: str) -> str:
    return f"exports.handler = async (event, context) => {{ {body} }}"


def test_text_lines(node_runtimes: Any) -> None:
    runtime = node_runtimes.start(
        "console.log('at init');"
        + handler(
            "console.log('a %s', 'b', { x: 1 }); console.info('i'); console.warn('w'); console.error('e'); console.debug('d');"
            "console.trace('t'); console.fatal('f'); console.log({}); console.log(); process.stdout.write('raw\\n')"
        )
    )
    runtime.invoke()
    lines = runtime.lines()
    assert all(re.match(TIMESTAMP + "\t", line) for line in lines[:-1])
    assert [line.split("\t", 1)[-1] for line in lines] == [
        "undefined\tINFO\tat init",
        "request-1\tINFO\ta b { x: 1 }",
        "request-1\tINFO\ti",
        "request-1\tWARN\tw",
        "request-1\tERROR\te",
        "request-1\tDEBUG\td",
        "request-1\tTRACE\tt",
        "request-1\tFATAL\tf",
        "request-1\tINFO\t{}",
        "request-1\tINFO\tundefined",
        "raw",
    ]


def test_output_is_there_before_the_response(node_runtimes: Any) -> None:
    runtime = node_runtimes.start(handler("console.log('line')"))
    for count in range(1, 20):
        runtime.invoke()
        assert len(runtime.lines()) == count


def test_json_records(node_runtimes: Any) -> None:
    runtime = node_runtimes.start(
        "console.log('at init');"
        + handler(
            "console.log('a %s', 'b'); console.log({ x: 1 }); console.error(new TypeError('alone'));"
            "console.error('with', new RangeError('others')); console.warn();"
            "const c = {}; c.c = c; console.log(c); console.log(1n)"
        ),
        variables=JSON,
    )
    runtime.invoke(headers={"Lambda-Runtime-Aws-Tenant-Id": "tenant"})
    init, text, value, alone, others, nothing, circular, big = map(json.loads, runtime.lines())
    assert list(init) == ["timestamp", "level", "message"]
    assert re.fullmatch(TIMESTAMP, init["timestamp"])
    del text["timestamp"]
    assert text == {"level": "INFO", "requestId": "request-1", "tenantId": "tenant", "message": "a b"}
    assert value["message"] == {"x": 1}
    assert list(alone["message"]) == ["errorType", "errorMessage", "stackTrace"]
    assert alone["message"]["errorType"] == "TypeError"
    assert others["message"].startswith("with RangeError: others\n")
    assert (others["errorType"], others["errorMessage"]) == ("RangeError", "others")
    assert others["stackTrace"][0] == "RangeError: others"
    assert "message" not in nothing
    assert circular["message"] == "<ref *1> { c: [Circular *1] }"
    assert big["message"] == "1n"


def test_json_invoke_error(node_runtimes: Any) -> None:
    runtime = node_runtimes.start(handler("throw new Error('m')"), variables=JSON)
    runtime.invoke()
    record = json.loads(runtime.lines()[0])
    assert (record["level"], record["requestId"]) == ("ERROR", "request-1")
    assert (record["message"]["errorType"], record["message"]["errorMessage"]) == ("Error", "m")


@pytest.mark.parametrize("variables", [JSON, {}])
def test_levels_below_the_threshold_are_dropped(node_runtimes: Any, variables: dict[str, str]) -> None:
    runtime = node_runtimes.start(
        handler("console.trace('t'); console.debug('d'); console.log('i'); console.warn('w'); console.error('e')"),
        variables={**variables, "AWS_LAMBDA_LOG_LEVEL": "WARN"},
    )
    runtime.invoke()
    levels = [json.loads(line)["level"] if variables else line.split("\t")[2] for line in runtime.lines()]
    assert levels == ["WARN", "ERROR"]


def frames(data: bytes) -> list[tuple[int, int, str]]:
    found = []
    while data:
        kind, length, microseconds = struct.unpack(">IIQ", data[:16])
        found.append((kind, microseconds, data[16 : 16 + length].decode()))
        data = data[16 + length :]
    return found


@pytest.mark.parametrize(("variables", "low_bits"), [({}, 3), (JSON, 2)])
def test_telemetry_frames(node_runtimes: Any, variables: dict[str, str], low_bits: int) -> None:
    runtime = node_runtimes.start(
        handler(
            "console.trace('1'); console.debug('2'); console.info('3'); console.warn('4'); console.error('5');"
            "console.fatal('ü\\n6');"
            "return process.env._LAMBDA_TELEMETRY_LOG_FD ?? null"
        ),
        variables=variables,
        telemetry=True,
    )
    assert runtime.invoke().json() is None
    runtime.process.kill()
    found = frames(runtime.telemetry())
    assert [kind for kind, _, _ in found] == [0xA55A0000 | level << 2 | low_bits for level in range(1, 7)]
    assert all(microseconds % 1000 == 0 and microseconds > 1_700_000_000_000_000 for _, microseconds, _ in found)
    text = found[-1][2]
    assert json.loads(text)["message"] == "ü\n6" if variables else text.endswith("\trequest-1\tFATAL\tü\n6\n")
    assert runtime.output() == ""


def test_full_pipe_that_does_not_block_loses_nothing(node_runtimes: Any) -> None:
    runtime = node_runtimes.start(
        handler("console.log('x'.repeat(1 << 20)); console.log('end')"), telemetry=True, non_blocking=True
    )
    runtime.api.put()
    received = b""
    while not received.endswith(b"\tend\n"):
        received += os.read(runtime.telemetry_fd, 1 << 16)
    assert len(frames(received)[0][2]) > 1 << 20
    assert runtime.post().kind == "response"
