"""One running environment, as the gateway sees it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace

from lambda_runtime.executors.base import ExitStatus
from lambda_runtime.executors.process.cgroups import Cgroups, Enclosure
from lambda_runtime.executors.process.freezer import Freezer
from lambda_runtime.executors.process.memory import MemoryWatch, family, parent_of, used_kib
from lambda_runtime.executors.process.output import OutputPipe
from lambda_runtime.executors.process.peers import Address, holds, owner_of
from lambda_runtime.executors.process.remains import ProcessRemains

_LOOKS = 3
"""So often somebody is looked for among the processes of an environment before he is a stranger."""
_HIGH_WATER = re.compile(rb"VmHWM:\s+(\d+) kB")


@dataclass(frozen=True, slots=True)
class ExtensionProcesses:
    """What a sandbox needs to have extensions beside its runtime."""

    pipe: OutputPipe
    on_exit: Callable[[str, ExitStatus], None]
    address: str
    """An address of this machine that this sandbox's listeners have for themselves, if they listen on `sandbox.localdomain`."""


@dataclass(frozen=True, slots=True)
class Watchers:
    """Who looks after all environments of an executor."""

    memory: MemoryWatch
    freezer: Freezer
    cgroups: Cgroups | None = None


@dataclass(frozen=True, slots=True)
class Custody:
    """What holds for one environment, and who sees to it."""

    memory_mib: int
    storage_mib: int
    """Of /tmp."""
    isolated: bool
    """What is inside cannot be reached by other environments."""
    watchers: Watchers


class ProcessSandbox:
    """A `lambda_runtime.executors.base.Sandbox` made of local processes.

    `find_runtime` gives the number of the runtime's process on this machine for the number that the zygote reported. Signals are
    sent by the zygote, its parent: only it knows that the number has not been given to another process.
    """

    def __init__(
        self,
        environment_id: str,
        pipe: OutputPipe,
        send_signal: Callable[[str, str], None],
        on_exit: Callable[[], None],
        find_runtime: Callable[[int], int | None],
        custody: Custody,
        extensions: ExtensionProcesses | None = None,
    ) -> None:
        self.address = extensions.address if extensions else "127.0.0.1"
        self._extensions = extensions
        self.environment_id = environment_id
        self.exited: asyncio.Future[ExitStatus] = asyncio.get_running_loop().create_future()
        self._pipe = pipe
        self._send_signal = send_signal
        self._on_exit = on_exit
        self._find_runtime = find_runtime
        self._pid: int | None = None
        self.host_id: int | None = None
        """The user of this machine that only it has."""
        self._root: int | None = None
        """The process from which all others inside descend, as this machine numbers it."""
        self._custody = custody
        self._peak_kib = 0
        self._out_of_memory = False
        self._enclosure: Enclosure | None = None
        self._frozen = False
        self._runtime_handle = -1
        """A pidfd of the runtime, once it was frozen."""
        self._status_file = -1
        self._ended = False
        self._killed = False
        self._kept = False
        """The zygote keeps what is left of it, and nobody has said yet whether it is wanted."""
        self._remains: ProcessRemains | None = None

    def started(self, pid: int, host_id: int | None) -> None:
        """The zygote's report that the process exists; `host_id` is the user of this machine that only it has."""
        self._pid = pid
        self.host_id = host_id
        if (cgroups := self._custody.watchers.cgroups) is not None:
            bounds = {"memory_mib": self._custody.memory_mib, "storage_mib": self._custody.storage_mib}
            self._enclosure = cgroups.enclosure(self.environment_id, self._processes, **bounds)
        self.work_begins()

    def ended(self, status: ExitStatus, *, kept: bool = False) -> None:
        """The zygote's report that no process of the environment is left, and whether it keeps the rest."""
        if self._ended:
            return
        self._ended = True
        if self._remains is not None:
            self._remains.settle(kept)
        elif kept and self._killed:
            self._forget()  # It ended by itself while it was told to.
        else:
            self._kept = kept
        self.work_ends()
        self._custody.watchers.freezer.ends(self)
        for pipe in self._pipes:
            pipe.drain()
            pipe.close()
        for descriptor in (self._status_file, self._runtime_handle):
            if descriptor >= 0:
                os.close(descriptor)
        self._status_file = self._runtime_handle = -1
        self._on_exit()
        self._runtime_ended(status)
        if self._enclosure is not None:
            self._enclosure.close()

    def process_ended(self, name: str | None, status: ExitStatus) -> None:
        """The zygote's report of one process of a sandbox with extensions: an extension by name, or the runtime."""
        self.drain_output()
        if name is not None and self._extensions is not None:
            self._extensions.on_exit(name, status)
        else:
            self._runtime_ended(status)

    def drain_output(self) -> None:
        """Hand everything written so far to `on_output`, now."""
        for pipe in self._pipes:
            pipe.drain()

    @property
    def _pipes(self) -> tuple[OutputPipe, ...]:
        return (self._pipe,) if self._extensions is None else (self._pipe, self._extensions.pipe)

    def max_memory_mib(self) -> int | None:
        """The most resident memory that was seen, rounded up, and no more than the limit; None if nothing was seen yet.

        That of the runtime's process is its high-water mark; what others inside used is known as far as somebody looked.
        """
        if self._out_of_memory:
            return self._custody.memory_mib
        try:
            if self._status_file >= 0 or self._open_status():
                match = _HIGH_WATER.search(os.pread(self._status_file, 4096, 0))
                self._peak_kib = max(self._peak_kib, int(match[1]) if match else 0)
        except OSError:
            pass  # The process ended in between; what was seen before still holds.
        return min(-(-self._peak_kib // 1024), self._custody.memory_mib) or None

    def admits(self, peer: Address, local: Address) -> bool | None:
        """Whether a process of this environment made the connection; None when nobody is at its other end any more.

        Known by its user where each environment has one, else by looking who has the socket open. Plain processes of one user
        could enter each other's memory as well, so among them nobody is kept out.
        """
        if not self._custody.isolated:
            return True
        for _ in range(_LOOKS):
            try:
                owner = owner_of(peer, local)
            except OSError:
                return False
            if owner is None:
                return None
            if self.host_id is not None:
                return owner.uid == self.host_id or (None if owner.inode == 0 else False)
            if owner.inode == 0:
                return None
            if (self._root is not None or self._find_root()) and holds(family(self._root or 0), owner.inode):
                return True
            # A list of children that changes while the kernel writes it may lack some that are there all the time (proc(5)).
        return False

    def work_begins(self) -> None:
        """The function runs or is initialised: look at what it uses."""
        if not self._ended:
            self._custody.watchers.freezer.ends(self)
            if self._frozen:
                self._thaw()
            self._custody.watchers.memory.begin(self)

    def work_ends(self) -> None:
        """Nothing happens inside for now."""
        self._custody.watchers.memory.end(self)

    def rests(self) -> None:
        """Everything inside waits for the next invocation."""
        if not self._ended:
            self._custody.watchers.freezer.rests(self)

    def freeze(self) -> None:
        """Stop everything inside until work begins."""
        if not self._ended:
            self._frozen = True
            self._send_signal("freeze", self.environment_id)
            if self._runtime_handle < 0:
                with contextlib.suppress(OSError):  # Without a handle, the runtime wakes with the others.
                    runtime = self._find_runtime(self._pid) if self._pid is not None else None
                    self._runtime_handle = os.pidfd_open(runtime) if runtime is not None else -1

    def _thaw(self) -> None:
        self._frozen = False
        if self._runtime_handle >= 0:
            # Directly: an invocation waits for it. What else is inside may come two processes later.
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(self._runtime_handle, signal.SIGCONT)
        self._send_signal("thaw", self.environment_id)

    def check_memory(self) -> None:
        """End the runtime if everything inside together uses more than it may."""
        if self._root is None and not self._find_root():
            return
        assert self._root is not None
        limit = self._custody.memory_mib * 1024
        used = used_kib(self._root)
        if used > limit:
            # One process is read after the other, and what they share moves when they fork or end meanwhile: look twice.
            used = min(used, used_kib(self._root))
        self._peak_kib = max(self._peak_kib, used)
        if used > limit:
            self._out_of_memory = True
            self.work_ends()
            self.kill_runtime()

    def _find_root(self) -> bool:
        try:
            runtime = self._find_runtime(self._pid) if self._pid is not None else None
        except OSError:  # It ended, or this machine has no /proc.
            return False
        if runtime is not None:
            self._root = parent_of(runtime)
        return self._root is not None

    def _processes(self) -> list[int]:
        """All that is inside now. Touches nothing of this object that changes: called in a thread."""
        try:
            runtime = self._find_runtime(self._pid) if self._pid is not None else None
        except OSError:
            return []
        root = parent_of(runtime) if runtime is not None else None
        return family(root) if root is not None else []

    def _runtime_ended(self, status: ExitStatus) -> None:
        if not self.exited.done():
            if self._enclosure is not None and self._enclosure.ran_out_of_memory():
                self._out_of_memory = True
            self.exited.set_result(replace(status, out_of_memory=True) if self._out_of_memory else status)

    def _open_status(self) -> bool:
        """Keep /proc/PID/status of the runtime open: asked once an invoke, and a look-up by number could meet another process."""
        if self._pid is None or self._ended:
            return False
        pid = self._find_runtime(self._pid)
        if pid is None:
            return False
        self._status_file = os.open(f"/proc/{pid}/status", os.O_RDONLY | os.O_CLOEXEC)
        return True

    def start_runtime(self) -> None:
        """Let the runtime go on, if there are extensions for which it waits."""
        if not self._ended and self._extensions is not None:
            self._send_signal("start_runtime", self.environment_id)

    def terminate(self) -> None:
        """SIGTERM to the runtime; without extensions, to the processes inside."""
        if not self._ended:
            if self._frozen:
                self._thaw()
            self._send_signal("terminate", self.environment_id)

    def kill_runtime(self) -> None:
        """SIGKILL to the runtime; without extensions, to everything inside."""
        if not self._ended:
            self._send_signal("kill" if self._extensions is None else "kill_runtime", self.environment_id)

    def keep(self) -> ProcessRemains | None:
        """Have the zygote keep what is mounted inside; None where nothing is."""
        if not self._custody.isolated:
            return None
        if self._remains is None:
            self._remains = ProcessRemains(self.environment_id, self._forget)
            if self._ended:
                self._remains.settle(self._kept)
                self._kept = False
        return self._remains

    def kill(self) -> None:
        """SIGKILL to everything inside; `exited` follows."""
        if not self._ended:
            self._killed = True
            self._send_signal("kill" if self._remains is None else "reset", self.environment_id)
        elif self._kept:
            self._kept = False
            self._forget()

    def _forget(self) -> None:
        self._send_signal("forget", self.environment_id)
