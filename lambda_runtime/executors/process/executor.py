"""The executor that needs no Docker: functions run as sandboxed processes of this machine."""

from __future__ import annotations

import asyncio
import functools
import itertools
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lambda_runtime.config import RuntimeConfig
from lambda_runtime.errors import VersionFailed
from lambda_runtime.executors.base import Capability, PreparedVersion, Sandbox, SandboxSpec, Snapshot
from lambda_runtime.executors.code import Code
from lambda_runtime.executors.process import layout, programs
from lambda_runtime.executors.process.capabilities import describe
from lambda_runtime.executors.process.cgroups import Cgroups, CgroupUnusable
from lambda_runtime.executors.process.fork_server import ForkServer
from lambda_runtime.executors.process.fork_servers import ForkServers
from lambda_runtime.executors.process.freezer import Freezer
from lambda_runtime.executors.process.interpreters import Interpreter, Interpreters
from lambda_runtime.executors.process.languages import OS_ONLY
from lambda_runtime.executors.process.memory import MemoryWatch
from lambda_runtime.executors.process.remains import ProcessRemains
from lambda_runtime.executors.process.sandbox import ProcessSandbox, Watchers
from lambda_runtime.executors.process.snapshot import ProcessSnapshot
from lambda_runtime.executors.process.standby import PAUSE_S, may_stand_by
from lambda_runtime.executors.workspace import Workspace
from lambda_runtime.types import FunctionVersion

_ADDRESSES = 64 << 16
"""Loopback addresses of environments with extensions: 127.64.0.0 to 127.127.255.255."""


@dataclass(slots=True)
class PreparedProcessVersion(PreparedVersion):
    """Where a prepared version's code lies, and how its runtime is started."""

    interpreter: Interpreter | None = None
    code: Code = field(default_factory=Code)
    places: layout.Places = field(default_factory=layout.Places)
    program: list[str] = field(default_factory=list)
    """What to execute when the function does not run in a process forked from its interpreter's zygote."""


class ProcessExecutor:
    """A `RuntimeExecutor` of local processes, forked from one zygote an interpreter.

    On the loop only; unpacking and looking for interpreters happen in threads. Where the machine allows no namespaces, functions
    run as plain processes, and `capabilities` says so.
    """

    name = "process"

    def __init__(self, config: RuntimeConfig) -> None:
        self._config = config
        self._interpreters = Interpreters(config.settings)
        self._versions: Counter[Interpreter | None] = Counter()
        """How many prepared versions an interpreter has: without one, none stands by."""
        self._workspace = Workspace(config.cache_dir)
        self._cgroups = Cgroups(config.cgroup) if config.cgroup is not None else None
        self._watchers = Watchers(MemoryWatch(), Freezer(config.freeze_after_s or None), self._cgroups)
        self._servers = ForkServers(config, self._watchers)
        self._addresses = itertools.count(random.randrange(_ADDRESSES))

    async def start(self) -> None:
        """Make the directories; nothing is started. Raises ValueError when the control group cannot be used."""
        if self._workspace.is_open:
            return
        if self._cgroups is not None:
            try:
                await asyncio.to_thread(self._cgroups.open)
            except CgroupUnusable as error:
                raise CgroupUnusable(f"setting LAMBDA_CGROUP: {error}") from None
        self._workspace.open()
        self._servers.start(self._workspace.cache.root, self._workspace.scratch)

    async def stop(self) -> None:
        """End every zygote with all that it forked, and delete what was unpacked into a temporary directory."""
        self._watchers.memory.stop()
        self._watchers.freezer.stop()
        await self._servers.stop()
        await self._workspace.settle()
        if self._cgroups is not None:
            await self._cgroups.settle()
        await self._workspace.close()

    def capabilities(self) -> list[Capability]:
        """What a sandbox enforces on this machine, and which interpreters it has.

        Starts each interpreter once, and a zygote if none has been started: half a second for `doctor`, not for the invoke path.
        """
        self._servers.look()
        return describe(self._interpreters, self._servers.why_not_isolated, self._cgroups, self._config.freeze_after_s)

    def why_not(self, runtime: str) -> str:
        """Why another executor should rather run functions of a runtime; "" if its very interpreter is here. Blocking."""
        if runtime in OS_ONLY:
            return ""
        try:
            return self._interpreters.find(runtime)[1]
        except VersionFailed as error:
            return str(error)

    def runtime_api_host(self, prepared: PreparedVersion) -> str:
        """Sandboxes share the machine's network."""
        return "127.0.0.1"

    async def prepare(self, version: FunctionVersion) -> PreparedProcessVersion:
        """Find the interpreter and unpack code and layers. Raises VersionFailed."""
        if version.runtime is None or version.image_uri is not None:
            raise VersionFailed(
                "InvalidRuntime", "Container images need the docker executor; this is the process executor."
            )
        interpreter, warning = None, ""
        if version.runtime not in OS_ONLY:
            interpreter, warning = await asyncio.to_thread(self._interpreters.find, version.runtime)
            if warning and self._config.runtime_mismatch == "error":
                raise VersionFailed("InvalidRuntime", warning)
        # Started while the control plane still says Pending, not at the first invoke.
        server = await self._servers.of(interpreter)
        cache = self._workspace.cache
        code = await Code.unpacked(version, cache)
        try:
            places = layout.Places() if server.isolated else self._servers.plain_places(interpreter, code)
            program = programs.program_of(
                version,
                interpreter,
                self._servers.files(interpreter),
                places,
                code=cache.path(code.package),
                layers=cache.path(code.layers),
                isolated=server.isolated,
            )
        except BaseException:
            await asyncio.to_thread(code.release, cache)
            raise
        prepared = PreparedProcessVersion(
            version,
            variables=layout.variables(version.runtime, interpreter, places),
            warnings=tuple(filter(None, (warning, programs.other_processor(version, interpreter)))),
            content=code.content,
            runtime_version=programs.runtime_version(version.runtime),
            interpreter=interpreter,
            code=code,
            places=places,
            program=program,
            extensions=cache.files(code.layers, "extensions"),
        )
        prepared.snapshot_obstacle = self._snapshot_obstacle(prepared)
        self._versions[interpreter] += 1
        self._stand_by(server, prepared)
        return prepared

    def _snapshot_obstacle(self, prepared: PreparedProcessVersion) -> str:
        if prepared.interpreter is None or prepared.interpreter.family != "python":
            return "only Python processes can be restored here"
        if prepared.extensions:
            return "its external extensions are processes of their own"
        if self._command(prepared, {**prepared.variables, **prepared.version.environment}) is not None:
            return "its environment variables need an interpreter that is started anew"
        if self._servers.prefer_compiled:
            return "with LAMBDA_PYTHON_CLIENT=compiled runtimes stay connected to where they began"
        return ""

    @staticmethod
    def _command(prepared: PreparedProcessVersion, variables: Mapping[str, str]) -> list[str] | None:
        return programs.command(prepared.program, prepared.interpreter, prepared.variables, variables)

    async def release(self, prepared: PreparedVersion) -> None:
        """Give up the unpacked code; environments that still run keep it until they end."""
        assert isinstance(prepared, PreparedProcessVersion)
        self._versions[prepared.interpreter] -= 1
        if not self._versions[prepared.interpreter] and (server := self._servers.launched(prepared.interpreter)):
            server.stand_down()
        await self._workspace.release(prepared.code)

    async def start_sandbox(self, prepared: PreparedVersion, spec: SandboxSpec) -> Sandbox:
        """Fork an environment. Raises OSError when the machine cannot."""
        assert isinstance(prepared, PreparedProcessVersion)
        return await self._fork(await self._servers.of(prepared.interpreter), prepared, spec)

    async def start_snapshot(self, prepared: PreparedVersion, spec: SandboxSpec) -> tuple[Sandbox, Snapshot]:
        """Fork an environment whose runtime becomes a snapshot. Raises OSError when the machine cannot."""
        assert isinstance(prepared, PreparedProcessVersion)
        server = await self._servers.of(prepared.interpreter)
        occupy = functools.partial(self._occupy, server, prepared)
        version = prepared.version
        custody = server.custody(version.memory_mib, version.ephemeral_storage_mib)
        snapshot = ProcessSnapshot(occupy, custody, server.limits)
        try:
            sandbox = await self._fork(server, prepared, spec, snapshot)
        except BaseException:
            snapshot.close()
            raise
        snapshot.host_id = sandbox.host_id
        return sandbox, snapshot

    def _occupy(
        self, server: ForkServer, prepared: PreparedProcessVersion, spec: SandboxSpec
    ) -> tuple[dict[str, str], Callable[[], None]]:
        """The variables of a process in a new environment, and what to call when nothing of that is left."""
        workspace, cache = self._workspace, self._workspace.cache
        variables = {
            **spec.variables,
            "AWS_LAMBDA_RUNTIME_API": spec.runtime_api,
            "_LAMBDA_TELEMETRY_LOG_FD": "3",
        }
        private: Path | None = None
        if not server.isolated:
            private = Path(tempfile.mkdtemp(prefix="env-", dir=workspace.scratch.directory("tmp")))
            variables.setdefault("TMPDIR", str(private))

        def clean_up() -> None:
            prepared.code.release(cache)
            if private is not None:
                shutil.rmtree(private, ignore_errors=True)

        prepared.code.add_user(cache)
        return variables, functools.partial(workspace.in_thread, clean_up)

    async def _fork(
        self,
        server: ForkServer,
        prepared: PreparedProcessVersion,
        spec: SandboxSpec,
        snapshot: ProcessSnapshot | None = None,
    ) -> ProcessSandbox:
        inherits = await spec.remains.take() if isinstance(spec.remains, ProcessRemains) else None
        variables, on_exit = self._occupy(server, prepared, spec)
        address, hosts = "127.0.0.1", None
        if prepared.extensions and server.isolated:
            # The network is the machine's, so environments of one function would fight for the ports of their extensions.
            number = next(self._addresses) % _ADDRESSES
            address = f"127.{64 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"
            hosts = layout.hosts(address)
        request = {
            "start": spec.environment_id,
            "code": prepared.code.package,
            "layers": prepared.code.layers,
            "tmp_mib": prepared.version.ephemeral_storage_mib,
            "limits": server.limits,
            "variables": variables,
            "directory": prepared.places.code,
            "command": self._command(prepared, variables),
            "extensions": prepared.extensions,
            "extensions_directory": f"{prepared.places.layers}/extensions",
            "extension_variables": dict(spec.extension_variables),
            "hosts": hosts,
            "inherits": inherits,
        }
        given = self._standby_variables(server, prepared)
        sandbox = await server.start(
            request,
            spec,
            on_exit,
            memory_mib=prepared.version.memory_mib,
            address=address,
            snapshot=snapshot,
            from_standby=given is not None
            and not prepared.extensions
            and inherits is None
            and request["command"] == prepared.program
            and may_stand_by(variables, given),
        )
        if given is not None:
            asyncio.get_running_loop().call_later(PAUSE_S, self._stand_by, server, prepared)
        return sandbox

    def _standby_variables(self, server: ForkServer, prepared: PreparedProcessVersion) -> dict[str, str] | None:
        """What an interpreter is started with that is to become a function of this version; None if none can."""
        own = [f"{prepared.places.runtime}/{programs.NODE_BOOTSTRAP}"]
        off = self._config.settings.get("LAMBDA_NODEJS_STANDBY") == "0"
        if off or not server.isolated or prepared.program[1:] != own:
            return None
        return {name: prepared.variables[name] for name in ("LANG", "LD_LIBRARY_PATH", "PATH", "TZ")}

    def _stand_by(self, server: ForkServer, prepared: PreparedProcessVersion) -> None:
        given = self._standby_variables(server, prepared) if self._versions[prepared.interpreter] else None
        if given is not None:
            server.stand_by([prepared.program[0], f"{prepared.places.runtime}/{programs.NODE_STANDBY}"], given)
