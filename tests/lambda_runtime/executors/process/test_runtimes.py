"""Python of several versions, Node.js, programs of one's own, exec wrappers, layers."""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from lambda_runtime.errors import VersionFailed
from lambda_runtime.executors.base import ExitStatus
from lambda_runtime.executors.process.interpreters import Interpreters
from tests.scenarios.compiled import jar, java_classes
from tests.scenarios.machine import running_with, until

EVALUATE = "import os, sys\ndef handler(event, context):\n    return eval(event)\n"
OWN = f"python{sys.version_info[0]}.{sys.version_info[1]}"


def _other_pythons() -> list[str]:
    found = []
    for minor in range(8, 15):
        runtime = f"python3.{minor}"
        if runtime != OWN:
            try:
                if not Interpreters({}).find(runtime)[1]:
                    found.append(runtime)
            except VersionFailed:
                continue
    return found


async def test_search_path_is_in_the_order_of_aws(isolated: Any) -> None:
    environment = await isolated.run(EVALUATE, OWN)
    assert (await environment.invoke("sys.path"))[:4] == [
        "/var/task",
        f"/opt/python/lib/{OWN}/site-packages",
        "/opt/python",
        "/var/runtime",
    ]


async def test_our_own_packages_are_not_importable_but_the_sdk_is(machine: Any) -> None:
    environment = await machine.run("import importlib.util\n" + EVALUATE, OWN)
    found = "[importlib.util.find_spec(n) is not None for n in ('boto3', 'botocore', 'pytest', 'uvicorn', 'lambda_runtime')]"
    assert await environment.invoke(found) == [True, True, False, False, False]
    assert await environment.invoke("__import__('boto3').__name__") == "boto3"


async def test_a_module_of_the_function_wins_over_one_that_was_imported_before(machine: Any) -> None:
    environment = await machine.run({"index.py": EVALUATE, "queue.py": "MINE = True\n", "email.py": "MINE = True\n"})
    assert await environment.invoke("[__import__('queue').MINE, __import__('email').MINE]") == [True, True]


async def test_the_context_knows_how_much_time_remains(machine: Any) -> None:
    environment = await machine.run(EVALUATE, OWN)
    deadline_s = 4102444800
    remaining_ms = await environment.invoke("context.get_remaining_time_in_millis()")
    assert abs((deadline_s - time.time()) * 1000 - remaining_ms) < 60_000


@pytest.mark.parametrize("runtime", [OWN, *_other_pythons()])
async def test_python_is_of_the_version_that_was_asked_for(isolated: Any, runtime: str) -> None:
    environment = await isolated.run(EVALUATE, runtime)
    assert await environment.invoke("'python%d.%d' % sys.version_info[:2]") == runtime
    assert await environment.invoke("'ä' * 70000") == "ä" * 70000
    kind, error = await environment.api.invoke("1 / 0")
    assert (kind, error["errorType"], error["errorMessage"]) == ("error", "ZeroDivisionError", "division by zero")


@pytest.mark.parametrize("name", ["PYTHONHASHSEED", "LD_PRELOAD"])
async def test_variables_that_need_a_fresh_interpreter_get_one(machine: Any, name: str) -> None:
    prepared = await machine.prepare(EVALUATE, OWN)
    environment = await machine.start(prepared, **{name: "0" if name == "PYTHONHASHSEED" else ""})
    assert await environment.invoke("hash('a') if os.environ.get('PYTHONHASHSEED') else 1") is not None
    assert await environment.invoke("sys.flags.isolated") == 0


async def test_json_log_format_is_followed(machine: Any) -> None:
    prepared = await machine.prepare(
        "import logging\ndef handler(event, context):\n    logging.warning('hello')\n", OWN
    )
    environment = await machine.start(prepared, AWS_LAMBDA_LOG_FORMAT="JSON", AWS_LAMBDA_LOG_LEVEL="INFO")
    await environment.invoke()
    environment.sandbox.drain_output()
    assert b'"message": "hello"' in environment.output


async def test_layers_are_merged_in_order_and_a_later_one_wins(machine: Any) -> None:
    layers = (
        machine.archive({"python/shared.py": "NAME = 'first'\n", "python/only_first.py": ""}),
        machine.archive({"python/shared.py": "NAME = 'second'\n"}),
    )
    environment = await machine.run("import only_first, shared\n" + EVALUATE, layers=layers)
    assert await environment.invoke("shared.NAME") == "second"


async def test_exec_wrapper_runs_the_runtime(machine: Any) -> None:
    wrapper = '#!/bin/sh\nexport WRAPPED="$1"\nexec "$@"\n'
    prepared = await machine.prepare({"index.py": EVALUATE, "bootstrap": wrapper}, OWN)
    environment = await machine.start(prepared, AWS_LAMBDA_EXEC_WRAPPER=f"{prepared.places.code}/bootstrap")
    assert (await environment.invoke("os.environ['WRAPPED']")).rpartition("/")[2].startswith("python")


async def test_missing_exec_wrapper_ends_with_status_127(machine: Any) -> None:
    """Recorded: TestLambdaErrors::test_lambda_runtime_wrapper_not_found."""
    prepared = await machine.prepare(EVALUATE, OWN)
    environment = await machine.start(prepared, AWS_LAMBDA_EXEC_WRAPPER="/idontexist")
    async with asyncio.timeout(60):
        assert await environment.sandbox.exited == ExitStatus(code=127)
    assert environment.output == b"/idontexist: does not exist\n"


@pytest.mark.node
async def test_nodejs_function_answers(machine: Any) -> None:
    if shutil.which("node") is None:
        pytest.skip("needs Node.js")
    source = "exports.handler = async (event) => ({ event, cwd: process.cwd(), node: process.version });\n"
    prepared = await machine.prepare({"index.js": source}, "nodejs20.x")
    environment = await machine.start(prepared)
    answer = await environment.invoke({"a": 1})
    assert answer["event"] == {"a": 1}
    assert answer["cwd"] == prepared.places.code


async def test_own_program_is_executed_in_the_function_or_in_a_layer(machine: Any) -> None:
    script = '#!/bin/sh\necho "$0 in $(pwd)"\nexec sleep 1000\n'
    in_code = await machine.prepare({"bootstrap": script}, "provided.al2023")
    in_layer = await machine.prepare({"other": ""}, "provided.al2023", layers=(machine.archive({"bootstrap": script}),))
    for prepared, place in ((in_code, in_code.places.code), (in_layer, in_layer.places.layers)):
        environment = await machine.start(prepared)
        async with asyncio.timeout(60):
            while b"\n" not in environment.output:
                await asyncio.sleep(0.005)
                environment.sandbox.drain_output()
        assert environment.output.decode() == f"{place}/bootstrap in {prepared.places.code}\n"


@pytest.mark.parametrize(
    ("files", "code", "reason"),
    [
        ({"other": ""}, 127, "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]"),
        ({"bootstrap": "#!/no/such/interpreter\n"}, 126, "fork/exec {}/bootstrap: no such file or directory"),
        ({"bootstrap": b"\x00not a program"}, 126, "fork/exec {}/bootstrap: exec format error"),
    ],
)
async def test_program_that_cannot_be_executed_says_why(machine: Any, files: Any, code: int, reason: str) -> None:
    prepared = await machine.prepare(files, "provided.al2023")
    environment = await machine.start(prepared)
    async with asyncio.timeout(60):
        status = await environment.sandbox.exited
    assert status == ExitStatus(code=code, entry_point_error=reason.format(prepared.places.code))


async def test_runtimes_that_cannot_run_are_refused(machine: Any) -> None:
    for runtime in ("perl5.40", "dotnetcore", "java"):
        with pytest.raises(VersionFailed, match=f"{runtime} cannot run here") as failed:
            await machine.prepare(EVALUATE, runtime)
        assert failed.value.code == "InvalidRuntime"


async def test_java_runs_with_jars_of_layers_on_every_machine(machine: Any) -> None:
    classes = java_classes("rules")
    layer = machine.archive({"java/lib/library.jar": jar(java_classes("library"))})
    prepared = await machine.prepare(classes, "java17", handler="rules.Functions::use", layers=(layer,), memory_mib=256)
    environment = await machine.start(prepared)
    assert await environment.invoke({"a": "b"}) == '{"a":"b"}'
    assert prepared.snapshot_obstacle == "only Python processes can be restored here"


@pytest.mark.skipif(shutil.which("ruby") is None, reason="Ruby is not installed")
async def test_ruby_runs_on_every_machine(machine: Any) -> None:
    prepared = await machine.prepare(
        {"f.rb": "def run(event:, context:) = [event, __FILE__]"}, "ruby3.4", handler="f.run"
    )
    environment = await machine.start(prepared)
    event, file = await environment.invoke("ä")
    assert (event, file) == ("ä", f"{prepared.places.code}/f.rb")


async def test_code_for_another_processor_runs_with_a_note(machine: Any) -> None:
    mine = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())
    other = "x86_64" if mine == "arm64" else "arm64"
    prepared = await machine.prepare(EVALUATE, OWN, architecture=other)
    assert prepared.warnings == (
        f"The function is for {other} and runs on {mine}: compiled parts of its code will not load.",
    )
    assert (await machine.prepare(EVALUATE, OWN, architecture=mine)).warnings == ()
    assert (await machine.prepare({"bootstrap": ""}, "provided.al2023", architecture=other)).warnings == ()


async def test_missing_version_warns_or_fails_as_configured(make_machine: Any) -> None:
    machine = await make_machine()
    prepared = await machine.prepare(EVALUATE, "python3.99")
    assert "python3.99 is not installed" in prepared.warnings[0]
    strict = await make_machine(runtime_mismatch="error")
    with pytest.raises(VersionFailed, match=r"python3\.99 is not installed"):
        await strict.prepare(EVALUATE, "python3.99")


async def test_released_code_is_deleted_when_its_last_environment_ended(machine: Any) -> None:
    prepared = await machine.prepare(EVALUATE)
    environment = await machine.start(prepared)
    code: Path = machine.executor._workspace.cache.root / prepared.code.package
    await machine.executor.release(prepared)
    assert code.exists()
    assert await environment.invoke("os.listdir(os.environ['LAMBDA_TASK_ROOT'])") == ["index.py"]
    environment.sandbox.kill()
    await environment.sandbox.exited
    await machine.executor._workspace.settle()
    assert not code.exists()


async def test_killing_the_gateway_ends_every_environment(tmp_path: Path) -> None:
    script = tmp_path / "gateway.py"
    script.write_text(
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from conftest import Machine, RuntimeConfig, ProcessExecutor\n"
        "async def main():\n"
        "    executor = ProcessExecutor(RuntimeConfig())\n"
        "    await executor.start()\n"
        "    machine = Machine(executor, Path(sys.argv[2]))\n"
        '    source = \'import os, subprocess\\nsubprocess.Popen(["sleep", "LONG"])\\ndef handler(e, c): pass\\n\'\n'
        "    source = source.replace('LONG', sys.argv[3])\n"
        "    environment = await machine.run(source)\n"
        "    await environment.api.first_next.wait()\n"
        "    server = await executor._servers.of(next(iter(executor._servers._launches)))\n"
        "    print(server._process.pid, executor._workspace.scratch.path, flush=True)\n"
        "    await asyncio.sleep(1000)\n"
        "asyncio.run(main())\n"
    )
    long = str(10**8 + os.getpid())  # Nobody else sleeps that many seconds.
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(script), str(Path(__file__).parent), str(tmp_path), long, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(60):
        pid, scratch = (await process.stdout.readline()).decode().split()
    process.kill()
    await process.wait()
    await until(lambda: not Path(f"/proc/{pid}").exists() and not running_with(long))
    shutil.rmtree(scratch, ignore_errors=True)  # Another gateway of this machine may have been faster.
