"""Node.js that was started before its function came."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from lambda_runtime.executors.process.fork_server import _children
from lambda_runtime.executors.process.standby import PAUSE_S, may_stand_by

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
LOOKS = """
const moduleVariables = { ...process.env };
exports.handler = async (event) => {
  const fs = require('node:fs');
  console.log('a line');
  return {
    start: Date.now() - performance.now(),
    argv: process.argv,
    directory: process.cwd(),
    files: fs.readdirSync('/var/task'),
    tmp: fs.readdirSync('/tmp'),
    descriptors: fs.readdirSync('/proc/self/fd').map(Number).filter((number) => number > 3 && isOpenFile(number)),
    layer: (() => { try { return require('of-a-layer'); } catch (error) { return error.code; } })(),
    variables: moduleVariables,
    child: require('node:child_process').execSync('echo "$MINE"; id -u').toString().split('\\n'),
    uid: process.getuid(),
  };
};
function isOpenFile(number) {
  try {
    return number === 4 && require('node:fs').readlinkSync(`/proc/self/fd/${number}`).startsWith('socket:[');
  } catch {
    return false;
  }
}
"""


def _node_processes(machine: Any) -> list[Path]:
    """The Node.js processes of an executor's zygotes."""
    found = []
    servers = [task.result() for task in machine.executor._servers._launches.values() if task.done()]
    for pid in [each for server in servers for each in _descendants(server._process.pid)]:
        try:
            if Path(f"/proc/{pid}/exe").readlink().name == "node":
                found.append(Path(f"/proc/{pid}"))
        except OSError:
            continue
    return found


def _descendants(pid: int) -> list[int]:
    try:
        children = _children(pid)
    except OSError:
        return []
    return children + [each for child in children for each in _descendants(child)]


async def _stands_by(machine: Any) -> int:
    """Wait until one interpreter more than there are environments waits for its request; its process."""
    async with asyncio.timeout(60):
        while True:
            for process in _node_processes(machine):
                if _is_standby(process) and _reads(process):
                    return int(process.name)
            await asyncio.sleep(0.02)


def _is_standby(process: Path) -> bool:
    try:
        return b"standby.cjs" in (process / "cmdline").read_bytes()
    except OSError:  # It ended while we looked.
        return False


def _reads(process: Path) -> bool:
    # The system call in which it waits: read(4, …). 0 is read on x86-64, 63 on AArch64.
    try:
        return (process / "syscall").read_text().split()[:2] in (["0", "0x4"], ["63", "0x4"])
    except OSError:
        return False


async def test_an_interpreter_that_stood_by_is_the_runtime_and_looks_like_any_other(isolated: Any) -> None:
    layer = isolated.archive({"nodejs/node_modules/of-a-layer/index.js": "module.exports = 'layered';"})
    prepared = await isolated.prepare({"index.js": LOOKS, "other.txt": ""}, "nodejs20.x", layers=(layer,))
    standing_by = await _stands_by(isolated)
    environment = await isolated.start(prepared, MINE="1")
    seen = await environment.invoke({})
    assert str(standing_by) in {process.name for process in _node_processes(isolated)}
    assert not _reads(Path(f"/proc/{standing_by}")), "it was woken"
    assert seen["directory"] == "/var/task"
    assert seen["files"] == ["index.js", "other.txt"]
    assert (seen["tmp"], seen["uid"], seen["layer"]) == ([], 993, "layered")
    assert seen["argv"][1] == "/var/runtime/bootstrap.cjs"
    assert seen["descriptors"] == [], "where it got its request is closed"
    assert seen["child"] == ["1", "993", ""]
    expected = {**prepared.variables, "MINE": "1"}
    assert {name: seen["variables"].get(name) for name in expected} == expected
    async with asyncio.timeout(60):
        while b"a line" not in environment.output:
            environment.sandbox.drain_output()
            await asyncio.sleep(0.01)


async def test_each_start_leaves_another_one_to_stand_by(isolated: Any) -> None:
    prepared = await isolated.prepare({"index.js": "exports.handler = async () => 1;"}, "nodejs20.x")
    first = await _stands_by(isolated)
    environment = await isolated.start(prepared)
    assert await environment.invoke() == 1
    second = await _stands_by(isolated)
    assert second != first
    environment.sandbox.kill()
    async with asyncio.timeout(60):
        await environment.sandbox.exited


async def test_one_that_ended_while_it_waited_is_not_missed(isolated: Any) -> None:
    prepared = await isolated.prepare({"index.js": "exports.handler = async () => 1;"}, "nodejs20.x")
    standing_by = await _stands_by(isolated)
    init = Path("/proc", Path(f"/proc/{standing_by}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(standing_by, signal.SIGKILL)
    async with asyncio.timeout(60):
        while init.exists():
            await asyncio.sleep(0.01)
    environment = await isolated.start(prepared)
    assert await environment.invoke() == 1


async def test_none_stands_by_without_a_version_that_could_use_it(isolated: Any) -> None:
    versions = [
        await isolated.prepare({"index.js": f"exports.handler = async () => {n};"}, "nodejs20.x") for n in (1, 2)
    ]
    standing_by = Path(f"/proc/{await _stands_by(isolated)}")
    await isolated.executor.release(versions[0])
    await asyncio.sleep(2 * PAUSE_S)
    assert _reads(standing_by)
    environment = await isolated.start(versions[1])
    await isolated.executor.release(versions[1])
    assert await environment.invoke() == 2, "environments of before go on"
    environment.sandbox.kill()
    async with asyncio.timeout(60):
        while _node_processes(isolated):
            await asyncio.sleep(0.02)
    await asyncio.sleep(2 * PAUSE_S)
    assert not _node_processes(isolated), "and the start of before calls for none"


async def test_many_starts_at_once_share_one(isolated: Any) -> None:
    prepared = await isolated.prepare({"index.js": "exports.handler = async (event) => event;"}, "nodejs20.x")
    await _stands_by(isolated)
    environments = await asyncio.gather(*(isolated.start(prepared) for _ in range(4)))
    assert await asyncio.gather(*(each.invoke(number) for number, each in enumerate(environments))) == [0, 1, 2, 3]


@pytest.mark.parametrize(("name", "value"), [("NODE_OPTIONS", "--title=mine"), ("LD_PRELOAD", ""), ("TZ", ":CET")])
async def test_what_is_read_at_the_start_needs_a_start_of_its_own(isolated: Any, name: str, value: str) -> None:
    source = "exports.handler = async () => [process.title, process.argv0, new Date(0).getTimezoneOffset()];"
    prepared = await isolated.prepare({"index.js": source}, "nodejs20.x")
    standing_by = await _stands_by(isolated)
    environment = await isolated.start(prepared, **{name: value})
    title, _, offset = await environment.invoke()
    assert _reads(Path(f"/proc/{standing_by}")), "it still waits"
    assert (title == "mine") == (name == "NODE_OPTIONS")
    assert (offset == -60) == (name == "TZ")


async def test_none_stands_by_where_it_is_not_wanted(make_machine: Any) -> None:
    machine = await make_machine(settings={"LAMBDA_NODEJS_STANDBY": "0"})
    prepared = await machine.prepare({"index.js": "exports.handler = async () => process.pid;"}, "nodejs20.x")
    environment = await machine.start(prepared)
    await environment.invoke()
    await asyncio.sleep(2 * PAUSE_S)
    assert not [each for each in _node_processes(machine) if _is_standby(each)]


def test_what_an_interpreter_can_be_told_later() -> None:
    given = {"LANG": "en_US.UTF-8", "TZ": ":UTC", "PATH": "/bin"}
    assert may_stand_by({**given, "MINE": "1", "NODE_PATH": "/opt", "PATH": "/else"}, given)
    for name in ("NODE_OPTIONS", "NODE_EXTRA_CA_CERTS", "LC_ALL", "LD_PRELOAD", "UV_THREADPOOL_SIZE", "SSL_CERT_FILE"):
        assert not may_stand_by({**given, name: "x"}, given)
    assert not may_stand_by({**given, "TZ": "CET"}, given)


async def test_modules_with_an_await_at_their_top_run_and_errors_of_the_start_are_told(isolated: Any) -> None:
    source = "import path from 'node:path'; const up = await Promise.resolve(path.sep);\nexport const handler = async () => up;"
    prepared = await isolated.prepare({"index.mjs": source}, "nodejs20.x")
    await _stands_by(isolated)
    assert await (await isolated.start(prepared)).invoke() == "/"
    failing = await isolated.prepare({"index.js": "throw new RangeError('at the start');"}, "nodejs20.x")
    await _stands_by(isolated)
    environment = await isolated.start(failing)
    async with asyncio.timeout(60):
        status = await environment.sandbox.exited
    assert status.code not in (None, 0)
    path, body = environment.api._answers.get_nowait()
    assert path.endswith("/init/error")
    assert b"at the start" in body
