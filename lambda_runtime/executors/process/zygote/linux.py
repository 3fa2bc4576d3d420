"""The few system calls that Python does not offer, through ctypes: mounts, namespaces, capabilities.

Runs in any CPython from 3.8 on, with the standard library only. Flags are those of `<sys/mount.h>` and `<linux/sched.h>`.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import signal

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 0x1, 0x2, 0x4, 0x8
MS_REMOUNT, MS_BIND, MS_MOVE, MS_REC, MS_PRIVATE = 0x20, 0x1000, 0x2000, 0x4000, 0x40000
MNT_DETACH = 0x2
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID = 0x10000000, 0x20000000
CLONE_NEW_SANDBOX = CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWPID
"""The namespaces that an environment has of its own, besides its users."""

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 4, 36, 38
_SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}.get(platform.machine(), 155)
_SYS_CLONE = {"x86_64": 56, "aarch64": 220}.get(platform.machine())
_SYS_PIDFD_OPEN, _SYS_MOUNT_SETATTR = 434, 442  # The same on every architecture.
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)
_locked_libc = ctypes.PyDLL(None, use_errno=True)
"""Keeps the interpreter's lock during a call, so that a child that comes back from it has it."""
_libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    """mount(2)."""
    arguments = (source.encode(), target.encode(), kind.encode() if kind else None, flags, options.encode() or None)
    _check(_libc.mount(*arguments), f"mount {source} on {target}")


def make_read_only(target: str, flags: int = 0) -> None:
    """Make the mounts at and under `target` read-only, without set-user-id programs and devices being added to."""

    class MountAttributes(ctypes.Structure):
        _fields_ = [(name, ctypes.c_uint64) for name in ("attr_set", "attr_clr", "propagation", "userns_fd")]

    # MOUNT_ATTR_RDONLY and MOUNT_ATTR_NOSUID have the values of MS_RDONLY and MS_NOSUID.
    attributes = MountAttributes(MS_RDONLY | flags, 0, 0, 0)
    path = ctypes.c_char_p(target.encode())
    size = ctypes.sizeof(attributes)
    if _libc.syscall(_SYS_MOUNT_SETATTR, _AT_FDCWD, path, _AT_RECURSIVE, ctypes.byref(attributes), size) == 0:
        return
    # Before Linux 5.12: not recursive, and the flags that are already set must be repeated.
    kept = os.statvfs(target).f_flag & (MS_NOSUID | MS_NODEV | MS_NOEXEC)
    mount("none", target, None, MS_REMOUNT | MS_BIND | MS_RDONLY | kept | flags)


def unmount(target: str) -> None:
    """Let go of what is mounted there, as soon as nobody uses it any more."""
    _check(_libc.umount2(target.encode(), MNT_DETACH), f"umount {target}")


def pivot_root(new_root: str) -> None:
    """Make the mount `new_root` the root and let go of everything that was mounted before."""
    os.chdir(new_root)
    _check(_libc.syscall(_SYS_PIVOT_ROOT, b".", b"."), "pivot_root")
    _check(_libc.umount2(b".", MNT_DETACH), "umount of the old root")
    os.chdir("/")


def unshare(flags: int) -> None:
    """unshare(2)."""
    _check(_libc.unshare(flags), f"unshare {flags:#x}")


def clone(flags: int) -> int:
    """fork(2) into new namespaces, in a process with one thread: the child's process id, 0 in the child.

    unshare(2) would need a second fork for the pid namespace, and a fork costs in proportion to the memory. The C library does
    not know of the child: all that it may do is to set things up and fork in its turn.
    """
    if _SYS_CLONE is None:
        raise OSError(errno.ENOSYS, f"clone on {platform.machine()}")
    return _check(
        int(_locked_libc.syscall(_SYS_CLONE, flags | signal.SIGCHLD, None, None, None, None)), f"clone {flags:#x}"
    )


def map_own_ids(uid: int, gid: int) -> None:
    """In a new user namespace that this unprivileged process made: go on as who it was (user_namespaces(7))."""
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


def skip_process_ids() -> None:
    """Have the next process in this pid namespace get a number that the processes of the snapshot did not have.

    Libraries learn from a changed process id that they run in a fork, and make new connections and random numbers.
    """
    try:
        with open("/proc/sys/kernel/ns_last_pid", "w", encoding="ascii") as file:
            file.write(str(100 + int.from_bytes(os.urandom(1), "big")))
    except OSError:
        return  # A kernel without checkpoints.


def set_namespace(descriptor: int, kind: int) -> None:
    """setns(2)."""
    _check(_libc.setns(descriptor, kind), "setns")


def open_process(pid: int) -> int | None:
    """A descriptor that becomes readable when the process ends; None before Linux 5.3."""
    descriptor: int = _libc.syscall(_SYS_PIDFD_OPEN, pid, 0)
    return descriptor if descriptor >= 0 else None


def die_with_parent(number: int) -> None:
    """Have the kernel send the signal `number` to this process when its parent dies."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0), "prctl PDEATHSIG")


def adopt_orphans() -> None:
    """Have descendants whose parent has died become children of this process."""
    _check(_libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl CHILD_SUBREAPER")


def forbid_new_privileges() -> None:
    """Set-user-id programs and file capabilities have no effect in this process and its children."""
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl NO_NEW_PRIVS")


def own_proc_entries() -> None:
    """Let the process read its own /proc entries again, after a change of user took them away."""
    _check(_libc.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0), "prctl DUMPABLE")


def drop_capabilities() -> None:
    """Give up all capabilities of this process."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    _check(_libc.capset(header, (ctypes.c_uint32 * 6)()), "capset")
