"""Functions on a Swarm of two engines of this machine."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Functions, TwoEngines

pytestmark = pytest.mark.docker

PATIENCE_S = 60

WAITS = """
import socket, os
def handler(event, context):
    if event:
        with socket.create_connection(event) as there:
            there.recv(1)
    return [socket.gethostbyname(socket.gethostname()), os.stat("/etc/hostname").st_ino]
"""


async def assert_nothing_is_left(engines: TwoEngines) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while engines.containers() or engines.volumes():  # Engines remove them a moment after the task.
            await asyncio.sleep(0.05)
    assert engines.manager.client.services() == []
    assert [list(engine.var_tmp.iterdir()) for engine in engines.engines] == [[], []]


def places(functions: Functions) -> dict[str, set[str]]:
    """The ids of running environments by node."""
    found: dict[str, set[str]] = {}
    for task in functions.engines.manager.client.tasks(filters={"desired-state": "running"}):
        if task["Status"]["State"] == "running":
            found.setdefault(task["NodeID"], set()).add(task["ServiceID"])
    return found


async def placed(functions: Functions, count: int, *, without: str = "") -> dict[str, set[str]]:
    """The environments on all nodes but one, once they are so many: nodes tell of them a moment after these began."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            found = {node: those for node, those in places(functions).items() if node != without}
            if sum(map(len, found.values())) == count:
                return found
            await asyncio.sleep(0.05)


async def test_environments_are_placed_on_both_nodes_reused_and_leave_nothing(functions: Functions) -> None:
    engines = functions.engines
    arn = await functions.deploy(WAITS, layers=(functions.archive({"python/a.txt": "a"}),))
    brought = [
        sorted(entry.name.partition("-")[0] for entry in next(engine.var_tmp.iterdir()).iterdir())
        for engine in engines.engines
    ]
    assert brought == [["code", "layers"], ["code", "layers"]]
    async with functions.meeting(4) as place:
        await asyncio.gather(*(functions.invoke(arn, place) for _ in range(4)))
    before = await placed(functions, 4)
    assert set(before) == set(engines.ids())
    for _ in range(20):
        await functions.invoke(arn)
    assert places(functions) == before
    await functions.service.stop()
    await assert_nothing_is_left(engines)


LOOKS = """
import os, socket, subprocess
def refused(action):
    try:
        action()
    except OSError as error:
        return error.strerror
def handler(event, context):
    with open("/tmp/program", "w") as file:
        file.write("#!/bin/sh\\necho ran")
    os.chmod("/tmp/program", 0o755)
    status = open("/proc/self/status").read().split("\\n")
    return {
        "ids": [os.getuid(), os.getgid()],
        "root": refused(lambda: open("/x", "w")),
        "code": refused(lambda: open("/var/task/x", "w")),
        "layer": open("/opt/python/a.txt").read(),
        "ran": subprocess.check_output(["/tmp/program"], text=True),
        "capabilities": [line.split()[1] for line in status if line.startswith(("CapEff", "CapBnd"))],
        "variables": sorted(os.environ),
        "files": sorted(os.listdir("/var/task")),
    }
"""


async def test_what_an_environment_may_and_sees(functions: Functions) -> None:
    layers = (functions.archive({"python/a.txt": "a layer"}),)
    source = {"index.py": LOOKS, "data/with a space.txt": "", "tool": "#!/bin/sh\n"}
    arn = await functions.deploy(source, layers=layers, environment={"MINE": "1"})
    found = await functions.invoke(arn)
    assert found["ids"] == [993, 990]
    assert found["root"] == found["code"] == "Read-only file system"
    assert found["layer"] == "a layer"
    assert found["ran"] == "ran\n"
    assert found["capabilities"] == ["0" * 16] * 2
    assert "MINE" in found["variables"] and not {"HOSTNAME", "HOME", "GATE"} & set(found["variables"])
    assert found["files"] == ["data", "index.py", "tool"]


async def test_ends_of_runtimes_are_told_as_on_aws(functions: Functions) -> None:
    arn = await functions.deploy(
        "import os\n"
        "def handler(event, context):\n"
        "    print('last words', flush=True)\n"
        "    if event == 'memory':\n"
        "        x = bytearray(300 << 20)\n"
        "    if event == 'kill':\n"
        "        os.kill(os.getpid(), 9)\n"
        "    os._exit(event)\n"
    )
    assert (await functions.invoke(arn, 7))["errorMessage"].endswith("Runtime exited with error: exit status 7")
    await functions.until_logged("last words")
    assert (await functions.invoke(arn, "kill"))["errorMessage"].endswith("Runtime exited with error: signal: killed")
    assert not any("Runtime.OutOfMemory" in line for line in functions.log)
    assert (await functions.invoke(arn, "memory"))["errorMessage"].endswith("Runtime exited with error: signal: killed")
    await functions.until_logged("Runtime.OutOfMemory")
    missing = await functions.deploy({"other": ""}, runtime="provided.al2023")
    assert "entrypoint" in json.dumps(await functions.invoke(missing)).lower()


async def test_only_who_knows_an_environments_name_reaches_its_runtime_api(functions: Functions) -> None:
    arn = await functions.deploy(
        "import os, socket\n"
        "def ask(host):\n"
        "    name, port = os.environ['AWS_LAMBDA_RUNTIME_API'].split(':')\n"
        "    with socket.create_connection((name, int(port)), 5) as connection:\n"
        "        connection.sendall(b'GET /2018-06-01/runtime/invocation/next HTTP/1.1\\r\\nHost: %s\\r\\n\\r\\n' % host)\n"
        "        return connection.recv(12).decode()\n"
        "def handler(event, context):\n"
        "    own = os.environ['AWS_LAMBDA_RUNTIME_API'].encode()\n"
        "    return [ask(own), ask(b'x' + own[1:]), ask(b'127.0.0.1')]\n"
    )
    assert await functions.invoke(arn) == ["HTTP/1.1 403", "", ""]


async def test_extensions_run_beside_the_runtime_and_get_their_shutdown(functions: Functions) -> None:
    extension = """#!/bin/bash
api="http://$AWS_LAMBDA_RUNTIME_API/2020-01-01/extension"
id=$(curl -sS -D - -o /dev/null -H "Lambda-Extension-Name: watcher" -d '{"events": ["INVOKE", "SHUTDOWN"]}' $api/register |
    tr -d '\r' | sed -n 's/^lambda-extension-identifier: //Ip')
while event=$(curl -sS -H "Lambda-Extension-Identifier: $id" $api/event/next); do
    echo "watcher has $(echo "$event" | grep -o 'INVOKE\\|SHUTDOWN' | head -1) and ${_HANDLER:-no handler}"
    case "$event" in *SHUTDOWN*) exit 0 ;; esac
done
"""
    layer = functions.archive({"extensions/watcher": extension})
    arn = await functions.deploy("def handler(event, context):\n    return event\n", layers=(layer,))
    assert await functions.invoke(arn, "hello") == "hello"
    await functions.until_logged("watcher has INVOKE and no handler")
    await functions.service.retire(arn)
    await functions.until_logged("watcher has SHUTDOWN")


async def test_an_image_that_one_node_has_runs_there(engines: TwoEngines, functions: Functions) -> None:
    client = engines.manager.client
    base = client.create_container("public.ecr.aws/lambda/provided:al2023", entrypoint=["/bin/true"])["Id"]
    bootstrap = (
        'api="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation"; while :; do '
        "id=$(curl -sS -D - -o /dev/null $api/next | tr -d '\\r' | sed -n 's/^lambda-runtime-aws-request-id: //Ip'); "
        'curl -sS -d "\\"$MINE $1\\"" $api/$id/response; done'
    )
    client.commit(base, "only-here", "1", conf={"Entrypoint": ["/bin/sh", "-c", bootstrap, "sh"], "Env": ["MINE=from"]})
    client.remove_container(base)
    try:
        arn = await functions.deploy(
            {}, runtime=None, code=None, handler=None, image_uri="only-here:1", image_command=("the image",)
        )
        assert await asyncio.gather(*(functions.invoke(arn) for _ in range(3))) == ["from the image"] * 3
        manager = next(node for node, engine in engines.ids().items() if engine is engines.manager)
        assert set(await placed(functions, functions.service.environment_count())) == {manager}
    finally:
        await functions.service.stop()
        client.remove_image("only-here:1", force=True)


async def test_a_start_that_no_node_can_do_says_why(functions: Functions) -> None:
    arn = await functions.deploy("def handler(event, context):\n    return 1\n", memory_mib=10_000_000)
    with pytest.raises(Exception, match="insufficient resources"):
        await functions.invoke(arn)


KILLED = """
import asyncio, sys, uuid
from pathlib import Path
from lambda_runtime.config import RuntimeConfig
from lambda_runtime.executors.swarm import SwarmExecutor
from lambda_runtime.service import RuntimeService
from lambda_runtime.types import CodeArchive, FunctionVersion, Invocation

async def main(socket, archive, settings):
    config = RuntimeConfig.from_settings({"DOCKER_HOST": socket, **settings})
    service = RuntimeService(config, SwarmExecutor(config), log_sink=lambda *entries: None)
    await service.start()
    arn = "arn:aws:lambda:us-east-1:000000000000:function:f:$LATEST"
    code = CodeArchive(Path(archive).stem, Path(archive))
    names = ("000000000000", "us-east-1", "f", "$LATEST", "r", "python3.12", "index.handler")
    await service.deploy(FunctionVersion(arn, *names, code, timeout_s=20))
    print((await service.invoke(Invocation(arn, arn, b"0", str(uuid.uuid4())))).payload.decode(), flush=True)
    if settings:
        await service.stop()
    else:
        await asyncio.Event().wait()

asyncio.run(main(sys.argv[1], sys.argv[2], dict(each.split("=", 1) for each in sys.argv[3:])))
"""


async def test_what_a_killed_gateway_left_goes_at_the_next_start(engines: TwoEngines, functions: Functions) -> None:
    archive = functions.archive({"index.py": WAITS}).path
    gateway = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", KILLED, engines.manager.socket, str(archive)), stdout=subprocess.PIPE
    )
    assert gateway.stdout is not None
    assert b"172." in await gateway.stdout.readline()
    assert len(functions.services()) == 2 and all(any(engine.var_tmp.iterdir()) for engine in engines.engines)
    gateway.kill()
    await gateway.wait()
    await functions.executor.stop()
    await functions.executor.start()  # Another gateway's.
    async with asyncio.timeout(PATIENCE_S):
        while functions.services():
            await asyncio.sleep(0.1)
    await assert_nothing_is_left(engines)


async def test_a_gateway_in_the_overlay_network_is_reached_over_it(engines: TwoEngines, functions: Functions) -> None:
    """The gateway has the network of a container that is in an overlay network, as if it ran in it."""
    client = engines.manager.client
    network = client.create_network("functions", driver="overlay", attachable=True)["Id"]
    holder = client.create_container(
        "public.ecr.aws/lambda/provided:al2023",
        entrypoint=["/bin/sleep", "600"],
        networking_config=client.create_networking_config({"functions": client.create_endpoint_config()}),
    )["Id"]
    try:
        client.start(holder)
        state = client.inspect_container(holder)
        address = state["NetworkSettings"]["Networks"]["functions"]["IPAddress"]
        archive = functions.archive({"index.py": WAITS}).path
        settings = [
            "LAMBDA_DOCKER_NETWORK=functions",
            f"LAMBDA_DOCKER_HOST_ADDRESS={address}",
            "LAMBDA_SWARM_CONSTRAINTS=node.role!=manager",
        ]
        gateway = await asyncio.create_subprocess_exec(
            *("nsenter", f"--net=/proc/{state['State']['Pid']}/ns/net", sys.executable, "-c", KILLED),
            *(engines.manager.socket, str(archive), *settings),
            stdout=subprocess.PIPE,
        )
        output, _ = await asyncio.wait_for(gateway.communicate(), 60)
        assert gateway.returncode == 0
        assert json.loads(output)[0].rpartition(".")[0] == address.rpartition(".")[0]
    finally:
        client.remove_container(holder, force=True, v=True)
        client.remove_network(network)
    await functions.service.stop()
    await assert_nothing_is_left(engines)


async def test_a_lost_node_takes_its_environments_and_others_are_started_elsewhere(functions: Functions) -> None:
    engines = functions.engines
    arn = await functions.deploy(WAITS)
    async with functions.meeting(2) as place:
        await asyncio.gather(*(functions.invoke(arn, place) for _ in range(2)))
    by_id = engines.ids()
    worker = next(node for node, engine in by_id.items() if engine is engines.worker)
    assert len((await placed(functions, 2))[worker]) == 1
    engines.worker.kill()
    try:
        async with asyncio.timeout(PATIENCE_S):
            while functions.service.environment_count() != 1:
                await asyncio.sleep(0.1)
        async with functions.meeting(2) as place:
            await asyncio.gather(*(functions.invoke(arn, place) for _ in range(2)))
        assert set(await placed(functions, 2, without=worker)) == set(by_id) - {worker}
    finally:
        engines.worker.come_back()
        await asyncio.to_thread(engines.wait_until_ready)
    await functions.service.stop()
    await assert_nothing_is_left(engines)
