"""Unpacked code on disk: each archive once, each combination of layers once, kept as long as somebody uses it.

Blocking; called from threads. An entry appears under its final name only when it is complete, so a crash in between
leaves nothing that would be taken for code.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import stat
import tempfile
import threading
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from lambda_runtime import live_code
from lambda_runtime.errors import VersionFailed
from lambda_runtime.live_code import Content
from lambda_runtime.types import CodeArchive

_CHUNK_BYTES = 1 << 20


class CodeCache:
    """A directory with `code/<sha256>` and `layers/<hash of the combination>`; entries are named by these relative paths.

    `use` makes an entry and counts a user, `release` takes one off; the last user's leaving deletes it. Safe to call from several
    threads: one archive is unpacked once, different ones side by side.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._users: Counter[str] = Counter()
        self._guard = threading.Lock()
        self._entry_locks: dict[str, threading.Lock] = {}
        self._folders: dict[Path, tuple[str, Content]] = {}
        for name in ("code", "layers"):
            (root / name).mkdir(parents=True, exist_ok=True)

    def use(self, archives: Sequence[CodeArchive], kind: str) -> str | None:
        """Have these archives unpacked over each other, a later one winning; None when there are none.

        `kind` is `code` or `layers`. Raises VersionFailed(InvalidZipFileException).
        """
        if not archives:
            return None
        digest = archives[0].sha256
        if kind == "layers":
            digest = hashlib.sha256("\n".join(archive.sha256 for archive in archives).encode()).hexdigest()
        name = f"{kind}/{digest}"
        with self._guard:
            lock = self._entry_locks.setdefault(name, threading.Lock())
            self._users[name] += 1
        try:
            with lock:
                if not (self.root / name).exists():
                    self._make(name, lambda tree: _unpack_all(archives, tree))
        except BaseException:
            self.release(name)
            raise
        return name

    def use_folder(self, folder: Path) -> tuple[str, Content]:
        """Have a copy of a folder as it is now; what it was is returned, too. Raises VersionFailed."""
        with self._guard:
            lock = self._entry_locks.setdefault(str(folder), threading.Lock())
        with lock:
            content = live_code.look_at(folder)
            name, before = self._folders.get(folder, ("", {}))
            with self._guard:
                if content == before and name in self._users:
                    self._users[name] += 1
                    return name, content
            new = f"code/live-{secrets.token_hex(16)}"
            last = (self.root / name, before) if name else None
            self._make(new, lambda tree: live_code.copy(folder, content, tree, last))
            self._folders[folder] = (new, content)
            with self._guard:
                self._users[new] += 1
        return new, content

    def add_user(self, name: str | None) -> None:
        """Count one more user of an entry that is in use."""
        if name is not None:
            with self._guard:
                self._users[name] += 1

    def path(self, name: str | None) -> Path | None:
        """Where an entry that is in use lies."""
        return self.root / name if name is not None else None

    def files(self, name: str | None, directory: str) -> tuple[str, ...]:
        """The names of the files in a directory of an entry that is in use, sorted."""
        path = self.root / (name or ".none") / directory
        if name is None or not path.is_dir():
            return ()
        return tuple(sorted(child.name for child in path.iterdir() if child.is_file() or child.is_symlink()))

    def release(self, name: str | None) -> None:
        """One user less; without users the entry is deleted."""
        if name is None:
            return
        with self._guard:
            self._users[name] -= 1
            if self._users[name] > 0:
                return
            del self._users[name]
            self._entry_locks.pop(name, None)
            # Renamed under the guard, so that nobody starts to use what is about to go.
            grave = self.root / f".old-{secrets.token_hex(8)}"
            try:
                (self.root / name).rename(grave)
            except FileNotFoundError:  # It could not be made.
                return
        shutil.rmtree(grave, ignore_errors=True)

    def _make(self, name: str, fill: Callable[[Path], None]) -> None:
        draft = Path(tempfile.mkdtemp(prefix=".new-", dir=self.root))
        try:
            draft.chmod(0o755)
            fill(draft)
            draft.rename(self.root / name)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise


def _unpack_all(archives: Sequence[CodeArchive], tree: Path) -> None:
    for archive in archives:
        unpack(archive.path, tree)


def unpack(archive: Path, tree: Path) -> None:
    """Unpack a zip file into `tree`, over what is there: files 0644 or 0755, directories 0755, links as they are.

    Nothing is written outside of `tree`, whatever the archive holds. Raises VersionFailed(InvalidZipFileException).
    """
    try:
        with zipfile.ZipFile(archive) as file:
            for member in file.infolist():
                _unpack_member(file, member, tree)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise VersionFailed("InvalidZipFileException", f"Could not unzip uploaded file: {error}") from error
    except OSError as error:
        raise VersionFailed("InvalidZipFileException", f"Could not unpack {archive.name}: {error}") from error


def _unpack_member(file: zipfile.ZipFile, member: zipfile.ZipInfo, tree: Path) -> None:
    path = PurePosixPath(member.filename)
    if path.is_absolute() or ".." in path.parts or "\0" in member.filename:
        raise VersionFailed(
            "InvalidZipFileException", f"The archive has a member outside of its root: {member.filename!r}"
        )
    if not path.parts:
        return
    mode = member.external_attr >> 16
    target = _real_directory(tree, path.parts[:-1]) / path.parts[-1]
    if member.is_dir():
        _real_directory(tree, path.parts)
        return
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    target.unlink(missing_ok=True)
    if stat.S_ISLNK(mode):
        target.symlink_to(os.fsdecode(file.read(member)))
        return
    descriptor = os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as output, file.open(member) as source:
        shutil.copyfileobj(source, output, _CHUNK_BYTES)
        os.fchmod(descriptor, 0o755 if mode & 0o111 else 0o644)


def _real_directory(tree: Path, parts: Sequence[str]) -> Path:
    """The directory with these parts, made if needed; a link or file in the way gives way, so that no write follows a link."""
    directory = tree
    for part in parts:
        directory = directory / part
        if directory.is_symlink() or not directory.is_dir():
            directory.unlink(missing_ok=True)
            directory.mkdir(mode=0o755)
            directory.chmod(0o755)
    return directory
