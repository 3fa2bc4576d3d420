"""Snapshots: a process is initialised once and goes on in many environments, each of which has everything to itself."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from lambda_runtime.executors.base import ExitStatus
from lambda_runtime.executors.process.memory import family

DEADLINE_S = 60


async def ended(environment: Any) -> ExitStatus:
    async with asyncio.timeout(DEADLINE_S):
        return await asyncio.shield(environment.sandbox.exited)


async def test_code_is_initialised_once_and_goes_on_in_every_environment(machine: Any) -> None:
    taken = await machine.take("import uuid\nprint('initialised')\nID = str(uuid.uuid4())\ncount = []\n")
    environments = [await taken.restore() for _ in range(3)]
    assert len({await environment.invoke("ID") for environment in environments}) == 1
    assert [await environment.invoke("count.append(1) or len(count)") for environment in environments] == [1, 1, 1]
    assert taken.output == b"initialised\n"
    assert [bytes(environment.output) for environment in environments] == [b"", b"", b""]


async def test_variables_are_those_of_the_restore_and_what_the_function_made_of_them(machine: Any) -> None:
    source = "import os\nos.environ['MINE'] = 'set'\nos.environ['KEPT'] = 'changed'\ndel os.environ['GONE']\n"
    taken = await machine.take(source, LOG="of the snapshot", KEPT="old", GONE="here", DROPPED="only then")
    environment = await taken.restore(LOG="of the environment", KEPT="old", GONE="here", ADDED="new")
    names = ["LOG", "MINE", "KEPT", "GONE", "DROPPED", "ADDED"]
    found = await environment.invoke(f"[os.environ.get(name) for name in {names}]")
    assert found == ["of the environment", "set", "changed", None, None, "new"]


async def test_output_goes_to_the_environment_that_writes(machine: Any) -> None:
    taken = await machine.take("import os, sys\ncopy = os.dup(1)\n")
    first, second = await taken.restore(), await taken.restore()
    await first.invoke("[print('one'), os.write(copy, b'duplicate\\n'), os.system('echo child')]")
    await second.invoke("sys.stderr.write('two\\n') and None")
    for environment in (first, second):
        environment.sandbox.drain_output()
    assert bytes(first.output) == b"one\nduplicate\nchild\n"
    assert bytes(second.output) == b"two\n"
    assert taken.output == b""


async def test_tmp_is_as_it_was_and_then_the_environments_own(isolated: Any) -> None:
    source = """
import os, pathlib
tmp = pathlib.Path("/tmp")
(tmp / "directory").mkdir(mode=0o700)
(tmp / "directory" / "file").write_text("content")
(tmp / "link").symlink_to("directory/file")
os.chmod(tmp / "directory" / "file", 0o640)
os.mkfifo(tmp / "pipe")
os.chdir(tmp / "directory")
"""
    taken = await isolated.take(source)
    first, second = await taken.restore(), await taken.restore()
    assert await first.invoke("(tmp / 'link').read_text()") == "content"
    assert await first.invoke("oct((tmp / 'directory' / 'file').stat().st_mode)") == "0o100640"
    assert await first.invoke("sorted(os.listdir('/tmp'))") == ["directory", "link"]
    assert await first.invoke("(tmp / 'link').write_text('changed') and open('file').read()") == "changed"
    assert await second.invoke("open('file').read()") == "content"
    assert await (await taken.restore()).invoke("(tmp / 'link').read_text()") == "content"


async def test_an_open_directory_is_that_of_the_environment(isolated: Any) -> None:
    source = "import os\nopened = os.open('/tmp', os.O_DIRECTORY)\n"
    taken = await isolated.take(source)
    first, second = await taken.restore(), await taken.restore()
    assert await first.invoke("os.close(os.open('file', os.O_CREAT, dir_fd=opened))") is None
    assert await first.invoke("os.listdir('/tmp')") == ["file"]
    assert await second.invoke("os.listdir(opened)") == []


async def test_temporary_files_of_plain_processes_are_copied(make_machine: Any) -> None:
    machine = await make_machine(isolation="none")
    source = "import pathlib, tempfile\npathlib.Path(tempfile.gettempdir(), 'file').write_text('content')\n"
    taken = await machine.take(source)
    first, second = await taken.restore(), await taken.restore()
    read = "pathlib.Path(tempfile.gettempdir(), 'file').read_text()"
    assert (
        await first.invoke("pathlib.Path(tempfile.gettempdir(), 'file').write_text('changed') and " + read) == "changed"
    )
    assert await second.invoke(read) == "content"


async def test_open_files_keep_their_place_and_share_it_with_nobody(machine: Any) -> None:
    source = """
import tempfile
named = tempfile.NamedTemporaryFile()
unnamed = tempfile.TemporaryFile()
for file in (named, unnamed):
    file.write(b"0123456789")
    file.flush()
    file.seek(2)
code = open(__file__, buffering=1)
code.readline()
"""
    taken = await machine.take(source)
    first, second = await taken.restore(), await taken.restore()
    assert await first.invoke("[file.read(3).decode() for file in (named, unnamed)]") == ["234", "234"]
    assert await second.invoke("[file.read(3).decode() for file in (named, unnamed)]") == ["234", "234"]
    assert await first.invoke("unnamed.seek(0) or unnamed.write(b'x') and unnamed.flush()") is None
    assert await second.invoke("unnamed.seek(0) or unnamed.read(1).decode()") == "0"
    assert await first.invoke("code.readline()") == "import tempfile\n" == await second.invoke("code.readline()")


async def test_an_event_loop_of_the_init_phase_works_in_every_environment(machine: Any) -> None:
    source = """
import asyncio, threading
loop = asyncio.new_event_loop()
async def wait():
    done = asyncio.Event()
    threading.Timer(0.05, lambda: loop.call_soon_threadsafe(done.set)).start()
    await asyncio.wait_for(done.wait(), 10)
    return await loop.run_in_executor(None, lambda: "woken")
"""
    taken = await machine.take(source)
    environments = [await taken.restore() for _ in range(4)]
    answers = await asyncio.gather(*(each.invoke("loop.run_until_complete(wait())") for each in environments))
    assert answers == ["woken"] * 4


async def test_pipes_and_pairs_of_sockets_are_each_environments_own(machine: Any) -> None:
    source = """
import os, socket
reader, writer = os.pipe()
left, right = socket.socketpair()
other, another = socket.socketpair(type=socket.SOCK_DGRAM)
def send(text):
    os.write(writer, text); right.send(text); other.send(text)
def received():
    return [os.read(reader, 9).decode(), left.recv(9).decode(), another.recv(9).decode()]
"""
    taken = await machine.take(source)
    first, second = await taken.restore(), await taken.restore()
    await first.invoke("send(b'first')")
    await second.invoke("send(b'second')")
    assert await first.invoke("received()") == ["first"] * 3
    assert await second.invoke("received()") == ["second"] * 3


async def test_connections_do_not_outlive_the_snapshot(machine: Any) -> None:
    connected: asyncio.Queue[asyncio.StreamReader] = asyncio.Queue()
    server = await asyncio.start_server(lambda reader, _: connected.put_nowait(reader), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    source = f"""
import socket
connection = socket.create_connection(("127.0.0.1", {port}))
connection.sendall(b"hello")
def use():
    try:
        connection.sendall(b"again")
    except OSError as error:
        return type(error).__name__
"""
    taken = await machine.take(source)
    assert await (await taken.restore()).invoke("use()") == "BrokenPipeError"
    taken.sandbox.kill()
    assert await (await connected.get()).read() == b"hello"
    server.close()


async def test_randomness_is_the_systems_where_aws_has_it_from_there(machine: Any) -> None:
    """`random` goes on from the snapshot's state, as AWS says of seeds; everything that is for secrets differs."""
    taken = await machine.take("import random, secrets, ssl, uuid\nrandom.seed(7)\nssl.RAND_bytes(1)\n")
    environments = [await taken.restore() for _ in range(4)]
    assert len({await each.invoke("random.random()") for each in environments}) == 1
    for drawn in ("secrets.token_hex()", "ssl.RAND_bytes(16).hex()", "str(uuid.uuid4())"):
        assert len({await each.invoke(drawn) for each in environments}) == len(environments)


async def test_an_environment_is_isolated_from_the_snapshot_and_from_others(isolated: Any) -> None:
    taken = await isolated.take("import os, resource\n")
    first, second = await taken.restore(), await taken.restore()
    processes = "[name for name in os.listdir('/proc') if name.isdigit()]"
    assert len(await first.invoke(processes)) == 2 == len(await second.invoke(processes))
    assert await first.invoke("[os.getuid(), os.getgid()]") == [993, 990]
    capabilities = "[line.split()[1] for line in open('/proc/self/status') if line[:6] in ('CapPrm', 'CapEff')]"
    assert await first.invoke(capabilities) == ["0" * 16] * 2
    if os.getuid() == 0:
        assert await first.invoke("resource.getrlimit(resource.RLIMIT_NPROC)") == [742, 742]
    assert await first.invoke("os.listdir('/run/lambda/cache')") == []
    assert first.sandbox.admits(("127.0.0.1", 1), ("127.0.0.1", 2)) is None


async def test_an_environment_ends_by_itself(machine: Any) -> None:
    taken = await machine.take("import os, signal\n")
    exits, dies, stays = [await taken.restore() for _ in range(3)]
    for environment, event in ((exits, "os._exit(7)"), (dies, "os.kill(os.getpid(), signal.SIGSEGV)")):
        asking = asyncio.create_task(environment.api.invoke(event))
        await ended(environment)
        asking.cancel()
    assert await ended(exits) == ExitStatus(code=7)
    assert await ended(dies) == ExitStatus(signal=signal.SIGSEGV)
    assert await stays.invoke("1") == 1
    assert await (await taken.restore()).invoke("2") == 2


async def test_an_environment_can_be_asked_to_end_and_is_ended(machine: Any) -> None:
    taken = await machine.take("import os\n")
    asked, killed = await taken.restore(), await taken.restore()
    await asked.invoke("None")
    asked.sandbox.terminate()
    assert await ended(asked) == ExitStatus(signal=signal.SIGTERM)
    await killed.invoke("os.system('sleep 1000 &')")
    killed.sandbox.check_memory()
    inside = family(killed.sandbox._root)  # type: ignore[attr-defined]
    assert len(inside) > 2
    killed.sandbox.kill()
    assert await ended(killed) == ExitStatus(signal=signal.SIGKILL)
    async with asyncio.timeout(DEADLINE_S):
        while any(_runs(pid) for pid in inside):
            await asyncio.sleep(0.01)


async def test_an_environment_rests_frozen(machine: Any) -> None:
    taken = await machine.take()
    environment: Any = await taken.restore()
    await environment.invoke("1")
    environment.sandbox.check_memory()
    runtime = family(environment.sandbox._root)[1]
    environment.sandbox.work_ends()
    environment.sandbox.freeze()
    async with asyncio.timeout(DEADLINE_S):
        while _state(runtime) != "T":
            await asyncio.sleep(0.01)
    environment.sandbox.work_begins()
    assert await environment.invoke("2") == 2


async def test_the_memory_limit_holds(machine: Any) -> None:
    taken = await machine.take("kept = []\n")
    environment = await taken.restore()
    assert 10 < (environment.sandbox.max_memory_mib() or 0) < 100
    asking = asyncio.create_task(environment.api.invoke("[kept.append(b'x' * 2**20) for _ in range(10**6)]"))
    assert (await ended(environment)).out_of_memory
    asking.cancel()


async def test_the_end_of_a_snapshot_is_that_of_its_environments(machine: Any) -> None:
    taken = await machine.take()
    environments = [await taken.restore() for _ in range(2)]
    assert taken.snapshot.alive
    taken.sandbox.kill()
    for each in (taken, *environments):
        assert await ended(each) == ExitStatus(signal=signal.SIGKILL)
    assert not taken.snapshot.alive
    with pytest.raises(OSError, match="could not start"):
        await taken.restore()


async def test_a_burst_of_environments(machine: Any) -> None:
    taken = await machine.take("import uuid\nID = str(uuid.uuid4())\n")
    environments = await asyncio.gather(*(taken.restore() for _ in range(20)))
    assert len(set(await asyncio.gather(*(each.invoke("ID") for each in environments)))) == 1
    assert len({each.sandbox._pid for each in environments}) == 20  # type: ignore[attr-defined]


async def test_an_environment_that_forks_without_end_leaves_room_for_others(isolated: Any) -> None:
    source = """
import os, time
def forks():
    count = 0
    while count < 5000:
        try:
            if os.fork() == 0:
                time.sleep(60)
                os._exit(0)
        except BlockingIOError:
            break
        count += 1
    return count
"""
    taken = await isolated.take(source)
    first, second = await taken.restore(), await taken.restore()
    if os.getuid() == 0:
        assert 100 < await first.invoke("forks()") < 742
    assert await second.invoke("os.waitpid(os.spawnlp(os.P_NOWAIT, 'true', 'true'), 0)[1]") == 0
    assert await (await taken.restore()).invoke("1") == 1
    first.sandbox.kill()
    assert await ended(first) == ExitStatus(signal=signal.SIGKILL)


async def test_a_spare_that_dies_is_replaced(machine: Any) -> None:
    taken: Any = await machine.take()
    taken.sandbox.check_memory()
    runtime = family(taken.sandbox._root)[1]
    async with asyncio.timeout(DEADLINE_S):
        while len(spares := family(runtime)[1:]) < 2:
            await asyncio.sleep(0.01)
        os.kill(spares[0], signal.SIGKILL)
        while set(spares) & set(family(runtime)):
            await asyncio.sleep(0.01)
    assert await (await taken.restore()).invoke("1") == 1


async def test_a_cancelled_restore_leaves_nothing(machine: Any) -> None:
    taken = await machine.take()
    spec, _, _ = await machine.make_spec(taken.prepared)
    restoring = asyncio.ensure_future(taken.snapshot.start_sandbox(spec))
    await asyncio.sleep(0)
    restoring.cancel()
    await asyncio.gather(restoring, return_exceptions=True)
    assert await (await taken.restore()).invoke("1") == 1


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import threading\nthreading.Thread(target=threading.Event().wait, name='mine', daemon=True).start()\n",
         "it has 1 thread running (mine)"),
        ("import subprocess\nchild = subprocess.Popen(['sleep', '1000'])\n", "it has child processes"),
        ("import socket\nlistener = socket.create_server(('127.0.0.1', 0))\n", "it listens on a port"),
        ("import mmap\nshared = mmap.mmap(-1, 4096)\n", "it has memory that it shares with other processes"),
        ("import os\nr, w = os.pipe()\nos.write(w, b'x')\n", "it has a pipe with something in it that nobody has read"),
        ("import socket\nl, r = socket.socketpair()\nl.send(b'x')\n",
         "it has a socket with something in it that nobody has read"),
        ("import ctypes\nfd = ctypes.CDLL(None).inotify_init()\n", "it has inotify open"),
        ("import os\nfd = os.memfd_create('m')\n", "it has shared memory open"),
    ],
)  # fmt: skip
async def test_what_cannot_be_had_twice_is_named(machine: Any, source: str, reason: str) -> None:
    taken = await machine.initialise(source)
    assert await taken.obstacle() == reason


async def test_threads_that_end_for_a_fork_are_no_obstacle(machine: Any) -> None:
    """OpenBLAS, and so NumPy, ends its threads before a fork and starts them when they are needed."""
    source = """
import os, threading
stop = threading.Event()
thread = threading.Thread(target=stop.wait)
thread.start()
def end():
    stop.set()
    thread.join()
os.register_at_fork(before=end)
"""
    assert await (await machine.take(source)).restore()


async def test_a_function_that_patches_the_library_is_restored(machine: Any) -> None:
    source = """
import os, select, socket
class Broken:
    def __init__(self, *arguments, **more): raise RuntimeError("patched")
socket.socketpair = select.poll = os.fork = os.waitpid = os._exit = os.kill = Broken
"""
    taken = await machine.take(source)
    assert await (await taken.restore()).invoke("1") == 1


async def test_what_is_no_python_process_has_an_obstacle(machine: Any) -> None:
    prepared = await machine.prepare({"bootstrap": "#!/bin/sh\n"}, "provided.al2023", snap_start=True)
    assert prepared.snapshot_obstacle == "only Python processes can be restored here"
    prepared = await machine.prepare("", environment={"PYTHONHASHSEED": "1"})
    assert prepared.snapshot_obstacle == "its environment variables need an interpreter that is started anew"


def _runs(pid: int) -> bool:
    return _state(pid) not in ("", "Z")


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""
