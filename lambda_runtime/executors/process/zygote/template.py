"""The read-only root that every environment of one zygote sees, assembled once.

The zygote leaves the host's mounts behind for a small tree of its own: an environment is then a copy of a dozen mounts plus its
own `/var/task`, `/opt`, `/tmp` and `/proc`, which takes microseconds. What lies where is decided by the gateway (`layout.py`);
this module carries it out.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import stat
from typing import Any

from . import linux, messages

CACHE = "/run/lambda/cache"
"""Where the gateway's unpacked code is mounted for the zygote; covered by `EMPTY` in every environment."""
EMPTY = "/run/lambda/empty"
OWN = "/run/lambda/own"
"""Where an environment keeps files of its own that lie elsewhere for the processes inside."""
PLAN = "/run/lambda/zygote/plan.json"
"""What the zygote needs to know after it was started again inside."""
_DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9)}


def enter(plan: dict[str, Any], gateway: messages.Channel) -> None:
    """Build the tree that `plan` describes and make it this process's root. Raises OSError when the machine forbids it.

    Without root, it is a child of this process that returns, in a pid namespace of its own; the parent waits for its end.
    """
    uid, gid = os.getuid(), os.getgid()
    spaces = linux.CLONE_NEWNS | linux.CLONE_NEWUTS | linux.CLONE_NEWIPC
    if uid == 0:
        linux.unshare(spaces)
    else:
        # Only in a pid namespace that belongs to us may we choose the one of the next child (setns(2)).
        linux.unshare(linux.CLONE_NEWUSER | linux.CLONE_NEWPID | spaces)
        # An unprivileged user may map one id, and groups only after giving up setgroups (user_namespaces(7)).
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"0 {uid} 1")
        _write("/proc/self/gid_map", f"0 {gid} 1")
        _continue_in_child(gateway)
    linux.mount("none", "/", None, linux.MS_REC | linux.MS_PRIVATE)
    root = plan["root"]
    linux.mount("tmpfs", root, "tmpfs", linux.MS_NOSUID, "mode=0755,size=64m")
    _populate(root, plan)
    with open(root + PLAN, "w", encoding="utf-8") as file:
        json.dump({name: plan[name] for name in ("isolated", "python", "host_ids")}, file)
    linux.pivot_root(root)
    linux.make_read_only("/", linux.MS_NOSUID)
    socket.sethostname(plan["hostname"])


def _continue_in_child(gateway: messages.Channel) -> None:
    watched = [linux.open_process(os.getppid())]
    child = os.fork()
    if child == 0:
        linux.die_with_parent(signal.SIGKILL)
        return
    gateway.close()
    watched.append(linux.open_process(child))
    poll = select.poll()
    for descriptor in watched:
        if descriptor is not None:
            poll.register(descriptor, select.POLLIN)
    if None not in watched:
        poll.poll()
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os._exit(0)


def _populate(root: str, plan: dict[str, Any]) -> None:
    os.umask(0o022)
    for path, mode in plan["directories"].items():
        os.makedirs(root + path, mode=0o755, exist_ok=True)
        os.chmod(root + path, mode)
    for path, (mode, content) in plan["files"].items():
        os.makedirs(os.path.dirname(root + path), mode=0o755, exist_ok=True)
        with open(root + path, "w", encoding="utf-8") as file:
            file.write(content)
        os.chmod(root + path, mode)
    for path, target in plan["links"].items():
        os.makedirs(os.path.dirname(root + path), mode=0o755, exist_ok=True)
        os.symlink(target, root + path)
    for target, source in plan["binds"].items():
        _bind(source, root + target)
    _devices(root + "/dev")
    os.makedirs(root + "/proc", mode=0o555, exist_ok=True)
    linux.mount("/proc", root + "/proc", None, linux.MS_BIND | linux.MS_REC)


def _bind(source: str, target: str) -> None:
    if stat.S_ISDIR(os.stat(source).st_mode):
        os.makedirs(target, mode=0o755, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), mode=0o755, exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
    linux.mount(source, target, None, linux.MS_BIND | linux.MS_REC)


def _devices(directory: str) -> None:
    os.makedirs(directory, mode=0o755, exist_ok=True)
    for name, (major, minor) in _DEVICES.items():
        try:
            os.mknod(f"{directory}/{name}", 0o666 | stat.S_IFCHR, os.makedev(major, minor))
            os.chmod(f"{directory}/{name}", 0o666)
        except OSError:  # A user namespace may not make devices, so it borrows the host's.
            _bind(f"/dev/{name}", f"{directory}/{name}")
    for name, target in {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}.items():
        os.symlink(target, f"{directory}/{name}")


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
