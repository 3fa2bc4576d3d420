"""What a function can see, change and use in a sandbox made of namespaces."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from lambda_runtime.executors.process.host import counts_processes_by_namespace

EVALUATE = (
    "import os, sys, socket, subprocess, resource, stat, pwd\ndef handler(event, context):\n    return eval(event)\n"
)


async def test_host_environment_variables_do_not_leak_in(isolated: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOST_SECRET", "s3cr3t")
    environment = await isolated.run(EVALUATE)
    assert "HOST_SECRET" not in await environment.invoke("dict(os.environ)")
    assert "HOST_SECRET" not in await environment.invoke("subprocess.run('env', capture_output=True, text=True).stdout")


async def test_host_files_are_invisible(isolated: Any, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cr3t")
    home = str(Path.home())
    environment = await isolated.run(EVALUATE)
    for path in (
        secret,
        Path(__file__),
        f"{home}/.profile",
        "/etc/shadow",
        "/etc/hostname",
        "/home",
        "/proc/1/root/etc",
    ):
        assert await environment.invoke(f"os.path.exists({str(path)!r})") is False, path
    root = await environment.invoke("sorted(os.listdir('/'))")
    assert set(root) <= {
        *(
            "bin",
            "dev",
            "etc",
            "lambda-entrypoint.sh",
            "lib",
            "lib32",
            "lib64",
            "libx32",
            "nix",
            "opt",
            "proc",
            "run",
            "sbin",
        ),
        *("tmp", "usr", "var", home.split("/")[1]),
    }


async def test_interpreter_of_a_private_home_shows_nothing_else_of_it(isolated: Any) -> None:
    environment = await isolated.run(EVALUATE)
    home = str(Path.home())
    inside = await environment.invoke(f"[os.path.join(d, n) for d, _, names in os.walk({home!r}) for n in names]")
    assert inside == []


async def test_code_and_layers_of_other_functions_are_invisible(isolated: Any) -> None:
    other = await isolated.prepare({"index.py": EVALUATE, "other_secret.py": ""})
    environment = await isolated.run(EVALUATE)
    found = await environment.invoke(
        "subprocess.run('find /run /var /tmp /opt /mnt -name other_secret.py', shell=True, capture_output=True).stdout.decode()"
    )
    assert found == ""
    assert await environment.invoke("os.listdir('/run/lambda/cache')") == []
    assert await (await isolated.start(other)).invoke("sorted(os.listdir('/var/task'))") == [
        "index.py",
        "other_secret.py",
    ]


@pytest.mark.parametrize(
    "path", ["/var/task/index.py", "/var/task/new", "/opt/new", "/new", "/usr/new", "/var/runtime/x", "/etc/passwd"]
)
async def test_everything_but_tmp_is_read_only(isolated: Any, path: str) -> None:
    environment = await isolated.run(EVALUATE)
    kind, answer = await environment.api.invoke(f"open({path!r}, 'w')")
    assert kind == "error"
    assert answer["errorType"] in ("OSError", "PermissionError")
    assert any(reason in answer["errorMessage"] for reason in ("Read-only file system", "Permission denied"))


async def test_tmp_is_private_empty_and_of_the_configured_size(isolated: Any) -> None:
    prepared = await isolated.prepare(EVALUATE, ephemeral_storage_mib=16)
    first, second = await isolated.start(prepared), await isolated.start(prepared)
    assert await first.invoke("open('/tmp/mine', 'w').write('x')") == 1
    assert await second.invoke("os.listdir('/tmp')") == []
    kind, answer = await first.api.invoke("open('/tmp/large', 'wb').write(b'x' * (17 << 20))")
    assert (kind, answer["errorMessage"]) == ("error", "[Errno 28] No space left on device")


async def test_user_paths_and_modes_are_those_of_aws(isolated: Any) -> None:
    """Recorded: TestLambdaBehavior::test_runtime_introspection_x86."""
    environment = await isolated.run(EVALUATE)
    assert await environment.invoke("[os.getuid(), os.getgid(), pwd.getpwuid(os.getuid()).pw_name, os.getcwd()]") == [
        993,
        990,
        "sbx_user1051",
        "/var/task",
    ]
    modes = {
        path: await environment.invoke(f"stat.filemode(os.stat({path!r}).st_mode)")
        for path in ("/var/task", "/opt", "/tmp", "/lambda-entrypoint.sh")
    }
    assert modes == {
        "/var/task": "drwxr-xr-x",
        "/opt": "drwxr-xr-x",
        "/tmp": "drwxrwxrwt",
        "/lambda-entrypoint.sh": "-rwxr-xr-x",
    }
    if os.getuid() == 0:
        owners = (
            "[[os.stat(p).st_uid, os.stat(p).st_gid] for p in ('/var/task', '/opt', '/tmp', '/lambda-entrypoint.sh')]"
        )
        assert await environment.invoke(owners) == [[0, 0]] * 4


async def test_limits_are_those_of_aws(isolated: Any) -> None:
    """Recorded: TestLambdaBehavior::test_runtime_ulimits; never more than this machine permits."""
    environment = await isolated.run(EVALUATE)
    assert await environment.invoke("list(resource.getrlimit(resource.RLIMIT_NOFILE))") == [1024, 1024]
    assert await environment.invoke("list(resource.getrlimit(resource.RLIMIT_MEMLOCK))") == [65536, 65536]
    if os.getuid() == 0:
        assert await environment.invoke("list(resource.getrlimit(resource.RLIMIT_NPROC))") == [742, 742]


async def test_no_privileges_and_none_to_be_had(isolated: Any) -> None:
    environment = await isolated.run(EVALUATE)
    status = await environment.invoke("open('/proc/self/status').read()")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert (fields["CapEff"], fields["CapPrm"], fields["NoNewPrivs"]) == ("0" * 16, "0" * 16, "1")
    kind, _ = await environment.api.invoke("os.setuid(0)")
    assert kind == "error"


async def test_processes_outside_are_invisible_and_out_of_reach(isolated: Any) -> None:
    environment = await isolated.run(EVALUATE)
    assert await environment.invoke("sorted(int(n) for n in os.listdir('/proc') if n.isdigit())") == [1, 2]
    if os.getuid() == 0:
        assert (await environment.api.invoke("os.kill(1, 15)"))[0] == "error"


async def test_two_environments_have_different_users_on_the_host(isolated: Any) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can give each environment a user id of its own")
    prepared = await isolated.prepare(EVALUATE)
    environments = [await isolated.start(prepared) for _ in range(2)]
    owners = set()
    for environment in environments:
        await environment.invoke("1")
        server = await isolated.executor._servers.of(prepared.interpreter)
        pid = server._find_runtime(environment.sandbox._pid)
        owners.add(Path(f"/proc/{pid}").stat().st_uid)
    assert len(owners) == 2
    assert 0 not in owners
    assert 993 not in owners


async def test_network_of_the_host_can_be_reached(isolated: Any) -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    environment = await isolated.run(EVALUATE)
    for host in ("127.0.0.1", "localhost"):
        assert await environment.invoke(f"socket.create_connection(({host!r}, {port})).close()") is None
    server.close()


async def test_standard_streams_can_be_opened_by_path(isolated: Any) -> None:
    environment = await isolated.run(EVALUATE)
    await environment.invoke("open('/dev/stdout', 'w').write('by path\\n')")
    environment.sandbox.drain_output()
    assert b"by path\n" in environment.output


async def test_mounts_of_the_host_are_not_changed(isolated: Any) -> None:
    before = mounts()
    environment = await isolated.run(EVALUATE)
    await environment.invoke("1")
    new = mounts() - before
    places = (
        "/var/task",
        "/opt",
        "/tmp",
        "/run/lambda",
        "/proc",
        "/dev",
        str(isolated.executor._workspace.scratch.path),
    )
    assert not [place for place in new if place.startswith(places)], "others may mount elsewhere meanwhile"


def mounts() -> set[str]:
    """Where something is mounted on this machine."""
    return {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()}


FORK_BOMB = """
import os, time
def handler(event, context):
    for started in range(5000):
        try:
            if os.fork() == 0:
                time.sleep(60)
                os._exit(0)
        except BlockingIOError:
            return started
"""


async def test_an_environment_has_a_thousand_processes_at_most(isolated: Any) -> None:
    if not counts_processes_by_namespace() and os.getuid() != 0:
        pytest.skip("this kernel counts all processes of a user")
    environment = await isolated.run(FORK_BOMB, memory_mib=3008)
    assert 100 < await environment.invoke() < 1024


async def test_an_unprivileged_user_gets_the_same_sandbox() -> None:
    if os.getuid() != 0:
        pytest.skip("the other tests run unprivileged already")
    python = shutil.which(f"python{sys.version_info[0]}.{sys.version_info[1]}", path="/usr/bin")
    if python is None:
        pytest.skip("needs an interpreter that another user may run")
    tests = Path(__file__).parent
    site_packages = [path for path in sys.path if path.endswith("site-packages")]
    with tempfile.TemporaryDirectory() as home:
        os.chown(home, 12345, 12345)
        command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={home}/tests", "-rs"]
        command += [f"--rootdir={tests.parents[3]}", f"--confcutdir={tests}"]
        command += ["-c", "/dev/null", "-o", "asyncio_mode=auto", "--import-mode=importlib"]
        command += [str(tests / name) for name in ("test_isolation.py", "test_snapshots.py", "test_admission.py")]
        command += ["-k", "not unprivileged_user and not private_home and not none"]
        environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": home,
            "TMPDIR": home,
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": os.pathsep.join([str(tests.parents[3]), *site_packages]),
        }
        process = await asyncio.create_subprocess_exec(
            *command, user=12345, group=12345, extra_groups=[], env=environment, cwd="/", stdout=-1, stderr=-2
        )
        output = (await process.communicate())[0].decode()
    if "no namespaces" in output:
        pytest.skip(f"this machine gives an unprivileged user no namespaces: {output[-500:]}")
    assert process.returncode == 0, output
