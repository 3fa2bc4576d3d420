"""The interface between the data plane and the place where functions run.

An executor prepares a version once, then starts any number of sandboxes for it. It is registered under the entry-point group
`lambda_runtime.executors` and is created with the runtime's settings. All methods are called on the runtime's event loop;
blocking work belongs into threads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from lambda_runtime.types import FunctionVersion


@dataclass(frozen=True, slots=True)
class Capability:
    """One thing that a sandbox can or cannot enforce on this machine: for `doctor` and for warnings in a function's log."""

    name: str
    """`file isolation`, `process isolation`, `memory limit`, `python3.12`, …"""
    available: bool
    detail: str
    """What is used, or what is missing and what follows from that."""


@dataclass(frozen=True, slots=True)
class ExitStatus:
    """How the main process of a sandbox ended: an exit code, or a signal number."""

    code: int | None = None
    signal: int | None = None
    out_of_memory: bool = False
    """It was ended because the sandbox used more than the function's memory."""
    entry_point_error: str | None = None
    """Why the runtime's program could not be executed (`fork/exec /var/task/bootstrap: permission denied`): AWS's
    `Runtime.InvalidEntrypoint`."""


class Remains(Protocol):
    """What a sandbox that was reset leaves to the next one of its version: its /tmp, as it is."""

    def drop(self) -> None:
        """Nobody takes it. In any state, twice, and when it was taken, which has no effect."""
        ...


@dataclass(slots=True)
class SandboxSpec:
    """What differs from one environment of a version to the next."""

    environment_id: str
    runtime_api: str
    """`host:port` of this environment's own Runtime API, as the code inside can reach it."""
    variables: Mapping[str, str]
    """The complete environment of the process: nothing else may leak in."""
    on_output: Callable[[bytes], None]
    """Called on the loop with what the processes inside wrote to stdout, stderr and the telemetry log descriptor."""
    extension_variables: Mapping[str, str] = field(default_factory=dict)
    """The complete environment of an extension's process."""
    on_extension_output: Callable[[bytes], None] = lambda data: None
    """Called on the loop with what extensions wrote."""
    on_extension_exit: Callable[[str, ExitStatus], None] = lambda name, status: None
    """Called on the loop when the process of an external extension ended, or could not be executed (`entry_point_error`)."""
    remains: Remains | None = None
    """Of an earlier sandbox of this version, made by the same executor: the new one takes over what that left, if it can."""


class Sandbox(Protocol):
    """A running place for one execution environment.

    With extensions (`PreparedVersion.extensions`) it has several processes: the extensions start at once, the runtime when
    `start_runtime` is called, and the extensions go on when the runtime has ended; only `kill` ends them all.
    """

    exited: asyncio.Future[ExitStatus]
    """Done when the runtime ended, for whatever reason, and everything it wrote went to `on_output`."""
    address: str
    """Where listeners inside (`sandbox.localdomain` for them) are reached from here."""

    def admits(self, peer: tuple[str, int], local: tuple[str, int]) -> bool | None:
        """Whether a connection from `peer` to our Runtime API listener at `local` was made inside. Asked once a connection.

        None when who made it has gone since, so that it cannot be told: nobody waits for an answer.
        An executor that gives every sandbox a network of its own, in which nobody else reaches the listener, says True.
        """
        ...

    def start_runtime(self) -> None:
        """Start the runtime that a sandbox with extensions holds back. May be called twice."""
        ...

    def drain_output(self) -> None:
        """Hand everything written so far to `on_output`, now. Never waits."""
        ...

    def max_memory_mib(self) -> int | None:
        """The most memory that the sandbox's processes used so far; None when the machine does not tell."""
        ...

    def work_begins(self) -> None:
        """The function is about to run. A sandbox starts at work, with the initialisation; cheap, called for every invoke."""
        ...

    def work_ends(self) -> None:
        """The function waits for its next event: nothing inside needs to be watched. Cheap, like `work_begins`."""
        ...

    def rests(self) -> None:
        """All inside wait until the next `work_begins`: they may be stopped until then, as AWS does. Cheap, like `work_begins`.

        Not called while there are extensions: what they subscribed to is delivered between invocations.
        """
        ...

    def terminate(self) -> None:
        """Ask the runtime to end (SIGTERM)."""
        ...

    def kill_runtime(self) -> None:
        """End the runtime of a sandbox with extensions, and leave the extensions alone."""
        ...

    def kill(self) -> None:
        """End every process inside, now. May be called in any state, twice; `exited` follows."""
        ...


@runtime_checkable
class ResettableSandbox(Protocol):
    """A sandbox whose /tmp can outlive it, for the next one."""

    def keep(self) -> Remains | None:
        """Have the end of this sandbox leave its remains; `kill` follows, or it has ended by itself. None if there is nothing."""
        ...


class Snapshot(Protocol):
    """An initialised runtime that goes on in any number of sandboxes, each from the moment at which the snapshot was taken."""

    taken: asyncio.Future[str]
    """Done when the runtime has initialised and waits to be restored, with an empty text; or with the reason why what runs in it
    cannot be had more than once: `it has a thread running`. Cancelled when it ends before."""
    alive: bool
    """False when its process has ended."""

    async def start_sandbox(self, spec: SandboxSpec) -> Sandbox:
        """Restore the runtime in a sandbox of its own, with the variables of `spec`, and /tmp as it was.

        As `RuntimeExecutor.start_sandbox` otherwise. Its end is that of all its sandboxes.
        """
        ...


@dataclass(slots=True)
class PreparedVersion:
    """A version that can be started: its code is unpacked, its interpreter found.

    `variables` are what the executor adds to the environment (`LAMBDA_RUNTIME_DIR`, `PATH`, …); `warnings` go to the
    function's log when an environment starts. Executors subclass it to keep more.
    """

    version: FunctionVersion
    variables: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    content: object = None
    """What `lambda_runtime.live_code.look_at` found in the version's `code_folder`, if it has one, before it was taken over."""
    executor: str = ""
    """The name of the executor that prepared it, where there are several."""
    snapshot_obstacle: str = ""
    """Why a `SnapshotExecutor` cannot make a snapshot of this version."""
    runtime_version: str = ""
    """For the INIT_START line: `python:3.12.v1` and the like."""
    extensions: tuple[str, ...] = ()
    """Names of the files in `/opt/extensions`, each an external extension that the executor starts in every sandbox.

    An executor of container images finds them in the image. Its sandboxes run the runtime as the image's entry point says and
    the extensions beside it in the same container; where holding the runtime back is not possible, `start_runtime` does nothing.
    """


@runtime_checkable
class SnapshotExecutor(Protocol):
    """An executor that can also make snapshots, for versions with SnapStart whose `snapshot_obstacle` is empty."""

    async def start_snapshot(self, prepared: PreparedVersion, spec: SandboxSpec) -> tuple[Sandbox, Snapshot]:
        """Start a sandbox, as `start_sandbox` does, whose runtime becomes a snapshot when it has initialised.

        Killing the sandbox ends the snapshot.
        """
        ...


class RuntimeExecutor(Protocol):
    """Where functions run: `process`, `docker`, or a third party's."""

    name: str

    async def start(self) -> None:
        """Make ready; quick, and nothing is started that no function asked for."""
        ...

    async def stop(self) -> None:
        """Kill what still runs and leave no process, mount or file behind. May be called twice."""
        ...

    def capabilities(self) -> list[Capability]:
        """What this executor can do and enforce on this machine."""
        ...

    def runtime_api_host(self, prepared: PreparedVersion) -> str:
        """The address that Runtime API listeners have to bind so that sandboxes of a version reach them, e.g. `127.0.0.1`."""
        ...

    async def prepare(self, version: FunctionVersion) -> PreparedVersion:
        """Unpack code and layers, find the interpreter or image.

        Raises `lambda_runtime.errors.VersionFailed` with a StateReasonCode (`InvalidRuntime`, `InvalidZipFileException`, …).
        """
        ...

    async def release(self, prepared: PreparedVersion) -> None:
        """The version will not be started again; unpacked code that no other prepared version uses may go."""
        ...

    async def start_sandbox(self, prepared: PreparedVersion, spec: SandboxSpec) -> Sandbox:
        """Start the processes of one environment. Returns as soon as they are under way, not when they are initialised.

        Cancelling the call leaves nothing behind. Raises OSError when the machine cannot start one.
        """
        ...
