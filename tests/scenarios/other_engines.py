"""Engines besides Docker's as root, each with its own socket, storage and, where it has one, user; none is the machine's."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

START_LIMIT_S = 30
ROOTLESS_SCRIPT = ("dockerd-rootless.sh", "/usr/share/docker.io/contrib/dockerd-rootless.sh")
ROOTLESS_USER = 64123
"""Nobody's on the machine: only the engine's own mount namespace has a name for it."""


class OtherEngine:
    """A running engine: its address, and how a gateway of its user is started."""

    def __init__(self, directory: Path, name: str, prefix: Sequence[str] = ()) -> None:
        self.address = f"unix://{directory}/{name}.sock"
        self.prefix = list(prefix)
        self.temporary = directory / "tmp"
        """For a gateway's temporary files."""

    def load(self, images: bytes) -> None:
        """Give it images that another engine has saved."""
        import docker

        with contextlib.closing(docker.DockerClient(base_url=self.address, timeout=120)) as client:
            client.images.load(images)


@contextlib.contextmanager
def podman() -> Iterator[OtherEngine]:
    """Podman's Docker API, run by root."""
    if os.getuid() != 0 or shutil.which("podman") is None:
        pytest.skip("needs root and podman")
    with _directory() as directory:
        command = ["podman", "--root", f"{directory}/root", "--runroot", f"{directory}/runroot"]
        engine = OtherEngine(directory, "podman")
        engine.temporary.mkdir()
        with _running([*command, "system", "service", "--time", "0", engine.address], engine, directory):
            try:
                yield engine
            finally:
                subprocess.run([*command, "rmi", "--all", "--force"], capture_output=True, check=False)
        _end_monitors(directory)
        subprocess.run(["umount", "--lazy", f"{directory}/root/overlay"], capture_output=True, check=False)


def _end_monitors(directory: Path) -> None:
    """Those of what was executed in containers stay for five minutes, and make the storage anew then."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # It has ended.
                program, *arguments = (entry / "cmdline").read_bytes().split(b"\0")
                if program.endswith(b"conmon") and f"{directory}/root".encode() in arguments:
                    os.kill(int(entry.name), signal.SIGKILL)


@contextlib.contextmanager
def rootless_docker() -> Iterator[OtherEngine]:
    """Docker run by a user, by its own script, who may not write core files: so one of AWS's limits cannot be set."""
    script = next((found for each in ROOTLESS_SCRIPT if (found := shutil.which(each))), None)
    missing = [each for each in ("rootlesskit", "slirp4netns", "newuidmap", "setpriv") if shutil.which(each) is None]
    if os.getuid() != 0 or script is None or missing:
        pytest.skip(f"needs root, dockerd-rootless.sh, and: {', '.join(missing)}")
    user = ["setpriv", "--reuid", str(ROOTLESS_USER), "--regid", str(ROOTLESS_USER), "--clear-groups"]
    with _directory() as directory:
        # Of other users' files it may read the interpreter that runs the tests, wherever that is.
        reading = ["--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"]
        engine = OtherEngine(directory, "docker", [*user, *reading])
        for path in (directory / "home", engine.temporary, directory / "run"):
            path.mkdir()
            os.chown(path, ROOTLESS_USER, ROOTLESS_USER)
        os.chown(directory, ROOTLESS_USER, ROOTLESS_USER)
        wrapper = directory / "wrapper"
        wrapper.write_text(_WRAPPER.format(directory=directory, user=ROOTLESS_USER))
        wrapper.chmod(0o755)
        variables = [
            f"HOME={directory}/home",
            f"XDG_RUNTIME_DIR={directory}/run",
            f"PATH={os.environ['PATH']}:/usr/sbin:/sbin",
        ]
        command = ["unshare", "--mount", str(wrapper), *user, "prlimit", "--core=0:0", "env", "-i", *variables, script]
        command += ["--host", engine.address, "--data-root", f"{directory}/home/data"]
        command += ["--exec-root", f"{directory}/run/exec", "--pidfile", f"{directory}/run/pid"]
        with _running(command, engine, directory):
            yield engine


# A user, its range of others, and a device that everybody may open, as distributions have it.
_WRAPPER = """#!/bin/sh
set -e
mount --make-rprivate /
for each in passwd group subuid subgid; do cat /etc/$each >{directory}/$each 2>/dev/null || true; done
echo 'lambda-rootless:x:{user}:{user}::{directory}/home:/bin/sh' >>{directory}/passwd
echo 'lambda-rootless:x:{user}:' >>{directory}/group
echo 'lambda-rootless:700000000:65536' | tee -a {directory}/subuid >>{directory}/subgid
for each in passwd group subuid subgid; do touch /etc/$each; mount --bind {directory}/$each /etc/$each; done
mknod -m 666 {directory}/tun c 10 200
mount --bind {directory}/tun /dev/net/tun
exec "$@"
"""


@contextlib.contextmanager
def _directory() -> Iterator[Path]:
    """One that other users can enter; pytest's own cannot be."""
    directory = Path(tempfile.mkdtemp(prefix="lpt-"))
    directory.chmod(0o755)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def _running(command: Sequence[str], engine: OtherEngine, directory: Path) -> Iterator[None]:
    """The engine, from its first answer on; skips, with its last words, where it does not start."""
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        until = time.monotonic() + START_LIMIT_S
        while not _answers(engine):
            if process.poll() is not None or time.monotonic() > until:
                words = (directory / "log").read_text("utf-8", "replace").strip().splitlines()[-1:]
                pytest.skip(f"{command[0]} does not start an engine here: {' '.join(words)}")
            time.sleep(0.05)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(engine: OtherEngine) -> bool:
    if not Path(engine.address.removeprefix("unix://")).is_socket():
        return False
    import docker
    import docker.errors

    try:
        with contextlib.closing(docker.DockerClient(base_url=engine.address, timeout=5)) as client:
            return bool(client.ping())
    except (docker.errors.DockerException, OSError):
        return False
