"""A directory for what lives no longer than its owner, even if that is killed."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path

_PREFIX = "lambda-runtime-"
_UNLOCKED = f".{_PREFIX}"
"""How the name begins until the lock is held, so that what has the final name is abandoned if nobody holds its lock."""
_YOUNG_S = 60


class Scratch:
    """A temporary directory that is locked while its owner lives, so that `remove_abandoned` can tell what a killed one left."""

    def __init__(self) -> None:
        made = Path(tempfile.mkdtemp(prefix=_UNLOCKED))
        self._lock = os.open(made / ".lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.path = made.rename(made.with_name(made.name.removeprefix(".")))

    def directory(self, name: str) -> Path:
        """A directory inside, made if needed."""
        path = self.path / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def remove(self) -> None:
        """Delete it, and its lock last: until then, nobody takes it for abandoned. Blocking."""
        for path in self.path.glob("*"):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def remove_abandoned() -> None:
    """Delete directories whose owner is gone. Blocking."""
    directory = Path(tempfile.gettempdir())
    for path in (*directory.glob(f"{_PREFIX}*"), *directory.glob(f"{_UNLOCKED}*")):
        try:
            status = path.stat()
            if status.st_uid != os.getuid():
                continue
            changed_lately = time.time() - status.st_mtime < _YOUNG_S
            if path.name.startswith(_UNLOCKED) and changed_lately:
                continue  # So new that its owner may not have locked it yet.
            # A lock that its owner has just deleted must not come back: the directory could not be deleted then.
            create = 0 if changed_lately else os.O_CREAT
            lock = os.open(path / ".lock", create | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError:
            continue  # Gone in between, or about to be.
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
        except BlockingIOError:
            continue
        finally:
            os.close(lock)
