"""Two Docker engines that are one Swarm, each in a network and a file system of its own, on this machine.

A third network namespace is the switch between them and this machine's own network: there no firewall of the machine's own engine
drops what is bridged. Each engine has its own /var/tmp, so what is brought to one is not on the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
import zipfile
from collections.abc import AsyncIterator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lambda_runtime.config import RuntimeConfig
from lambda_runtime.executors.swarm import SwarmExecutor
from lambda_runtime.service import RuntimeService
from lambda_runtime.types import CodeArchive, FunctionVersion, Invocation

SWITCH, LINK = "lpswarm0", "lpswarm"
GATEWAY = "10.213.77.1"
_PATIENCE_S = 60


def why_not() -> str:
    """Why there can be none on this machine; empty if there can."""
    if os.getuid() != 0:
        return "only root makes network namespaces"
    for program in ("dockerd", "ip", "nsenter", "unshare", "iptables"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    probe = subprocess.run(["ip", "netns", "add", f"{LINK}-probe"], capture_output=True, text=True, check=False)
    if probe.returncode:
        return f"no network namespaces: {probe.stderr.strip()}"
    subprocess.run(["ip", "netns", "del", f"{LINK}-probe"], check=True)
    return ""


class EngineOnItsOwn:
    """One dockerd, in the namespace `lpswarm<number>`."""

    def __init__(self, root: Path, number: int) -> None:
        import docker

        self.namespace = f"{LINK}{number}"
        self.address = f"10.213.77.1{number}"
        self.root = root / f"engine{number}"
        self.socket = f"unix://{self.root}/sock"
        self.process: subprocess.Popen[bytes] | None = None
        self.client: Any = docker.APIClient(self.socket, version="1.41", timeout=60)

    @property
    def var_tmp(self) -> Path:
        """Its /var/tmp."""
        return self.root / "var-tmp"

    def start(self) -> None:
        """Start the engine, in the network that is there."""
        self.var_tmp.mkdir(parents=True, exist_ok=True)
        command = f"mount --bind {self.var_tmp} /var/tmp && exec dockerd --data-root {self.root}/data"
        command += f" --exec-root {self.root}/exec --pidfile {self.root}/pid -H {self.socket}"
        with (self.root / "log").open("ab") as log:
            self.process = subprocess.Popen(
                ["nsenter", f"--net=/run/netns/{self.namespace}", "unshare", "--mount", "sh", "-c", command],
                stdout=log,
                stderr=log,
            )

    def wait(self) -> None:
        """Until it answers."""
        until = time.monotonic() + _PATIENCE_S
        while True:
            try:
                self.client.ping()
                return
            except Exception as error:
                if time.monotonic() > until or self.process is None or self.process.poll() is not None:
                    log = (self.root / "log").read_text("utf-8", "replace")
                    raise RuntimeError(f"dockerd does not start here: {log[-1500:]}") from error
                time.sleep(0.05)

    def kill(self) -> None:
        """What a node looks like to others that lost its power: engine and containers, at once."""
        assert self.process is not None
        subprocess.run(["ip", "-n", self.namespace, "link", "set", "eth0", "down"], check=True)

    def come_back(self) -> None:
        """It is there again."""
        subprocess.run(["ip", "-n", self.namespace, "link", "set", "eth0", "up"], check=True)

    def load(self, archive: Path) -> None:
        """Give it an image."""
        with archive.open("rb") as file:
            for _ in self.client.load_image(file):
                pass

    def stop(self) -> None:
        """Wait until the engine, which was asked to, has ended."""
        if self.process is None:
            return
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.client.close()


class TwoEngines:
    """A manager and a worker."""

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="two-engines-"))
        self.manager, self.worker = EngineOnItsOwn(self.root, 1), EngineOnItsOwn(self.root, 2)
        self.engines = (self.manager, self.worker)

    def up(self, images: list[str]) -> None:
        """Networks, engines, the Swarm, and the images, from the machine's own engine, on both."""
        self._networks()
        for engine in self.engines:
            engine.start()
        for engine in self.engines:
            engine.wait()
        self.manager.client.init_swarm(advertise_addr=self.manager.address, listen_addr=f"{self.manager.address}:2377")
        self._hasten()
        token = self.manager.client.inspect_swarm()["JoinTokens"]["Worker"]
        self.worker.client.join_swarm(
            [f"{self.manager.address}:2377"], token, advertise_addr=self.worker.address, listen_addr=self.worker.address
        )
        import docker

        own = docker.from_env(timeout=120).api
        for image in images:
            archive = self.root / "image.tar"
            with archive.open("wb") as file:
                for chunk in own.get_image(image):
                    file.write(chunk)
            with ThreadPoolExecutor() as threads:
                for _ in threads.map(lambda engine, path=archive: engine.load(path), self.engines):
                    pass
            archive.unlink()
        own.close()

    def ids(self) -> dict[str, EngineOnItsOwn]:
        """Engines by their node's id."""
        return {engine.client.info()["Swarm"]["NodeID"]: engine for engine in self.engines}

    def wait_until_ready(self) -> None:
        """Until both take tasks."""
        until = time.monotonic() + _PATIENCE_S
        while any(node["Status"]["State"] != "ready" for node in self.manager.client.nodes()):
            assert time.monotonic() < until, "a node does not come back"
            time.sleep(0.1)

    def containers(self) -> list[dict[str, Any]]:
        """All that both have, running or not."""
        return [found for engine in self.engines for found in engine.client.containers(all=True)]

    def volumes(self) -> list[dict[str, Any]]:
        """All that both have."""
        return [found for engine in self.engines for found in engine.client.volumes()["Volumes"] or ()]

    def down(self) -> None:
        """Leave nothing: no process, network, mount or file."""
        for engine in self.engines:
            if engine.process is not None:
                engine.process.send_signal(signal.SIGTERM)
        for engine in self.engines:
            engine.stop()
        for name in (f"{LINK}1", f"{LINK}2", SWITCH):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
        subprocess.run(["ip", "link", "del", f"{LINK}-up"], capture_output=True, check=False)
        shutil.rmtree(self.root, ignore_errors=True)

    def _networks(self) -> None:
        for name in (SWITCH, f"{LINK}1", f"{LINK}2"):
            with contextlib.suppress(subprocess.CalledProcessError):  # Of a run that was killed.
                _ip("netns", "del", name)
        _ip("netns", "add", SWITCH)
        _ip("-n", SWITCH, "link", "add", "br0", "type", "bridge")
        _ip("-n", SWITCH, "link", "set", "br0", "up")
        _ip("link", "add", f"{LINK}-up", "type", "veth", "peer", "name", "uplink", "netns", SWITCH)
        _ip("-n", SWITCH, "link", "set", "dev", "uplink", "master", "br0", "up")
        _ip("addr", "add", f"{GATEWAY}/24", "dev", f"{LINK}-up")
        _ip("link", "set", f"{LINK}-up", "up")
        for engine in self.engines:
            _ip("netns", "add", engine.namespace)
            port = engine.namespace
            _ip("-n", SWITCH, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", engine.namespace)
            _ip("-n", SWITCH, "link", "set", port, "master", "br0", "up")
            _ip("-n", engine.namespace, "link", "set", "lo", "up")
            _ip("-n", engine.namespace, "addr", "add", f"{engine.address}/24", "dev", "eth0")
            _ip("-n", engine.namespace, "link", "set", "eth0", "up")

    def _hasten(self) -> None:
        """Nodes tell every second that they are there, so that a test sees soon that one is not."""
        found = self.manager.client.inspect_swarm()
        spec = found["Spec"]
        spec["Dispatcher"]["HeartbeatPeriod"] = 1_000_000_000
        self.manager.client.update_swarm(found["Version"]["Index"], swarm_spec=spec)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture(scope="session")
def engines(images: list[str]) -> Iterator[TwoEngines]:
    """Two engines that are one Swarm, with the stand-in images of Python and `provided`."""
    if reason := why_not():
        pytest.skip(f"no two engines: {reason}")
    made = TwoEngines()
    try:
        try:
            made.up([name for name in images if name.endswith(("/python:3.12", "/provided:al2023"))])
        except (RuntimeError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no two engines: {error}")
        yield made
    finally:
        made.down()


class Meeting:
    """A place on this machine where invocations wait until so many are there at the same time."""

    def __init__(self, guests: int) -> None:
        self._missing = guests
        self._complete = asyncio.Event()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> list[Any]:
        """Where it is, as the event of WAITS."""
        self._server = await asyncio.start_server(self._welcome, GATEWAY)
        return list(self._server.sockets[0].getsockname())

    async def __aexit__(self, *error: object) -> None:
        assert self._server is not None
        self._server.close()

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._missing -= 1
        if self._missing == 0:
            self._complete.set()
        try:
            await self._complete.wait()
        finally:
            writer.close()


@dataclass
class Functions:
    """A data plane on the cluster, functions made from source text, and what they log."""

    service: RuntimeService
    executor: SwarmExecutor
    engines: TwoEngines
    directory: Path
    log: list[str] = field(default_factory=list)

    async def deploy(self, source: str | Mapping[str, str], runtime: str | None = "python3.12", **fields: Any) -> str:
        """The ARN of a function with this code."""
        name = f"f{uuid.uuid4().hex[:8]}"
        arn = f"arn:aws:lambda:us-east-1:000000000000:function:{name}:$LATEST"
        files = {"index.py": source} if isinstance(source, str) else source
        fields = {"handler": "index.handler", "code": self.archive(files), "timeout_s": 20, "memory_mib": 128, **fields}
        version = FunctionVersion(arn, "000000000000", "us-east-1", name, "$LATEST", "r", runtime, **fields)
        await self.service.deploy(version)
        return arn

    async def invoke(self, arn: str, event: object = None) -> Any:
        """The answer; that of a function that failed, too."""
        call = Invocation(arn, arn, json.dumps(event).encode(), str(uuid.uuid4()))
        async with asyncio.timeout(60):
            return json.loads((await self.service.invoke(call)).payload)

    def archive(self, files: Mapping[str, str]) -> CodeArchive:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, content in files.items():
                info = zipfile.ZipInfo(name)
                info.external_attr = (0o100755 if content.startswith("#!") else 0o100644) << 16
                archive.writestr(info, content)
        sha256 = hashlib.sha256(buffer.getvalue()).hexdigest()
        path = self.directory / f"{sha256}.zip"
        path.write_bytes(buffer.getvalue())
        return CodeArchive(sha256, path)

    async def until_logged(self, text: str) -> None:
        """Until a line of the log has it."""
        async with asyncio.timeout(_PATIENCE_S):
            while not any(text in line for line in self.log):
                await asyncio.sleep(0.05)

    def meeting(self, guests: int) -> Meeting:
        """A place where so many invocations meet."""
        return Meeting(guests)

    def services(self) -> list[dict[str, Any]]:
        """All that the cluster has."""
        found: list[dict[str, Any]] = self.engines.manager.client.services()
        return found


@pytest.fixture
async def functions(engines: TwoEngines, tmp_path: Path) -> AsyncIterator[Functions]:
    log: list[str] = []
    config = RuntimeConfig.from_settings({"DOCKER_HOST": engines.manager.socket})
    executor = SwarmExecutor(config)
    service = RuntimeService(
        config, executor, log_sink=lambda version, stream, entries: log.extend(text for _, text in entries)
    )
    await service.start()
    try:
        yield Functions(service, executor, engines, tmp_path, log)
    finally:
        await service.stop()
