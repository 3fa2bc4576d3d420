"""Extensions as processes beside the runtime, with namespaces and without."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from typing import Any

import pytest

from lambda_runtime.executors.base import ExitStatus, SandboxSpec
from tests.scenarios.machine import running_with, until

from .conftest import Machine, RuntimeApi

EVALUATE = "import os, socket, signal\nprint('initialising', flush=True)\ndef handler(event, context):\n    return eval(event)\n"
CALLED = """
def called(name):
    numbers = []
    for each in os.listdir("/proc"):
        try:
            if each.isdigit() and open(f"/proc/{each}/comm").read() == name + "\\n":
                numbers.append(int(each))
        except OSError:  # It ended while we looked.
            continue
    return numbers
"""
SHELL = "#!/bin/sh\n"
LONG = str(10**8 + os.getpid())
"""So many seconds sleep the processes of this run, and nobody else's."""
WAITS = SHELL + f"echo up\nexec sleep {LONG}\n"


class Extended:
    """A sandbox with extensions, and what it told."""

    def __init__(self, api: RuntimeApi) -> None:
        self.api = api
        self.output, self.extension_output = bytearray(), bytearray()
        self.exits: dict[str, ExitStatus] = {}
        self.changed = asyncio.Event()
        self.sandbox: Any = None

    def on_exit(self, name: str, status: ExitStatus) -> None:
        self.exits[name] = status
        self.changed.set()

    def on_output(self, data: bytes) -> None:
        self.extension_output += data
        self.changed.set()

    async def until(self, condition: Any) -> None:
        async with asyncio.timeout(60):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    async def invoke(self, event: object) -> Any:
        kind, answer = await self.api.invoke(event)
        assert kind == "response", answer
        return answer


async def start(machine: Machine, *, source: str = EVALUATE, executable: bool = True, **extensions: str) -> Extended:
    files = {f"extensions/{name}": content for name, content in extensions.items()}
    layer = machine.archive(files, tuple(files) if executable else ())
    prepared = await machine.prepare(source, layers=(layer,))
    assert prepared.extensions == tuple(sorted(extensions))
    environment = Extended(RuntimeApi())
    machine.apis.append(environment.api)
    variables = {**prepared.variables, "_HANDLER": "index.handler", "AWS_LAMBDA_FUNCTION_NAME": "f"}
    spec = SandboxSpec(f"e{len(machine.apis)}", await environment.api.start(), variables, environment.output.extend)
    spec.extension_variables = {"PATH": os.environ["PATH"], "GREETING": "hello"}
    spec.on_extension_output, spec.on_extension_exit = environment.on_output, environment.on_exit
    environment.sandbox = await machine.executor.start_sandbox(prepared, spec)
    return environment


async def test_the_runtime_waits_until_it_may_start(machine: Any) -> None:
    environment = await start(machine, waits=WAITS)
    await environment.until(lambda: environment.extension_output)
    assert (environment.output, environment.api.requests) == (b"", [])
    environment.sandbox.start_runtime()
    environment.sandbox.start_runtime()
    assert await environment.invoke("1 + 1") == 2
    environment.sandbox.drain_output()
    assert b"initialising" in environment.output
    assert environment.extension_output == b"up\n"


async def test_an_extension_has_its_own_variables_and_no_others(machine: Any) -> None:
    environment = await start(machine, env=SHELL + "env\n")
    await environment.until(lambda: environment.exits)
    lines = environment.extension_output.decode().splitlines()
    assert {line.partition("=")[0] for line in lines} - {"PWD", "SHLVL", "_", "OLDPWD"} == {"PATH", "GREETING"}


async def test_ends_are_told_one_by_one_and_the_rest_goes_on(machine: Any) -> None:
    environment = await start(machine, one=SHELL + "exit 3\n", two=SHELL + "kill -9 $$\n", waits=WAITS)
    await environment.until(lambda: len(environment.exits) == 2)
    await until(lambda: running_with(LONG))  # The third may be slower than all that.
    assert environment.exits == {"one": ExitStatus(3), "two": ExitStatus(signal=9)}
    environment.sandbox.start_runtime()
    assert await environment.invoke("'still here'") == "still here"
    environment.sandbox.kill_runtime()
    async with asyncio.timeout(60):
        assert await environment.sandbox.exited == ExitStatus(signal=9)
    assert running_with(LONG), "the extension goes on"
    environment.sandbox.kill()
    await until(lambda: not running_with(LONG))


async def test_what_cannot_be_executed_is_told_with_the_reason(machine: Any) -> None:
    environment = await start(machine, executable=False, ext="x")
    await environment.until(lambda: environment.exits)
    problem = environment.exits["ext"].entry_point_error
    assert problem is not None
    assert problem.startswith("fork/exec /")
    assert problem.endswith("/extensions/ext: permission denied")


async def test_terminate_reaches_the_runtime_and_not_the_extensions(machine: Any) -> None:
    environment = await start(
        machine,
        source="import os, signal\nsignal.signal(signal.SIGTERM, lambda *_: os._exit(7))\n" + EVALUATE,
        waits=SHELL + "trap 'exit 9' TERM\necho up\nwhile true; do sleep 0.05; done\n",
    )
    environment.sandbox.start_runtime()
    await environment.invoke("1")
    await environment.until(lambda: environment.extension_output)
    environment.sandbox.terminate()
    async with asyncio.timeout(60):
        assert await environment.sandbox.exited == ExitStatus(7)
    assert environment.exits == {}


async def test_nothing_is_left_when_everybody_has_ended(machine: Any) -> None:
    environment = await start(machine, short=SHELL + "exit 0\n")
    environment.sandbox.start_runtime()
    await environment.invoke("1")
    environment.sandbox.kill_runtime()
    async with asyncio.timeout(60):
        while not environment.sandbox._ended:
            await asyncio.sleep(0.01)


async def test_a_sandbox_is_killed_before_its_runtime_may_start(machine: Any) -> None:
    environment = await start(machine, waits=WAITS)
    environment.sandbox.kill()
    async with asyncio.timeout(60):
        assert await environment.sandbox.exited == ExitStatus(signal=9)
    await until(lambda: not running_with(LONG))


async def test_memory_is_that_of_the_runtime_too(machine: Any) -> None:
    environment = await start(machine, waits=WAITS)
    environment.sandbox.start_runtime()
    await environment.invoke("len(bytearray(20 << 20))")
    assert environment.sandbox.max_memory_mib() > 20


async def test_extension_and_function_are_one_user_in_one_namespace(isolated: Any) -> None:
    source = (
        SHELL
        + f"echo x > /tmp/mine; id -u; id -g; grep -E '^(CapEff|NoNewPrivs)' /proc/self/status; exec sleep {LONG}\n"
    )
    environment = await start(isolated, source=CALLED + EVALUATE, ext=source)
    await environment.until(lambda: b"NoNewPrivs:\t1\n" in environment.extension_output)
    environment.sandbox.start_runtime()
    assert environment.extension_output.split()[:2] == [b"993", b"990"]
    assert b"CapEff:\t0000000000000000" in environment.extension_output
    assert await environment.invoke("open('/tmp/mine').read()") == "x\n"
    # `grep` may end while we look, and the shell has written, but perhaps not executed the last command yet.
    async with asyncio.timeout(60):
        while not (numbers := await environment.invoke("called('sleep')")):
            pass
    await environment.invoke(f"os.kill({numbers[0]}, signal.SIGTERM)")
    await environment.until(lambda: environment.exits)
    assert environment.exits == {"ext": ExitStatus(signal=signal.SIGTERM)}


async def test_every_environment_has_the_name_sandbox_for_itself(isolated: Any) -> None:
    first, second = await start(isolated, waits=WAITS), await start(isolated, waits=WAITS)
    addresses = []
    for environment in (first, second):
        environment.sandbox.start_runtime()
        address = await environment.invoke("socket.gethostbyname('sandbox.localdomain')")
        assert address == environment.sandbox.address == await environment.invoke("socket.gethostbyname('sandbox')")
        assert await environment.invoke("socket.gethostbyname('localhost')") == "127.0.0.1"
        kept = "globals().setdefault('kept', socket.create_server(('sandbox', 4243)))"
        assert await environment.invoke(f"{kept}.getsockname()[1]") == 4243
        addresses.append(address)
    assert addresses[0] != addresses[1]


@pytest.mark.parametrize("isolation", ["auto", "none"])
async def test_stop_leaves_no_process_and_no_descriptor(make_machine: Any, isolation: str) -> None:
    descriptors = set(os.listdir("/proc/self/fd"))
    machine = await make_machine(isolation=isolation)
    environment = await start(machine, waits=WAITS)
    environment.sandbox.start_runtime()
    assert json.dumps(await environment.invoke("1")) == "1"
    await machine.stop()
    assert not running_with(LONG)
    assert len(set(os.listdir("/proc/self/fd")) - descriptors) <= 1
