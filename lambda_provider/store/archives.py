"""Code archives on disk, by the SHA-256 of their content.

Equal archives are one file. A file stays as long as somebody counts on it: a stored function, or an operation that is about
to store one. In a state directory it is on the disk itself (fsync), under its name, before a row names it, so neither a kill
nor a power failure leaves a row without its archive; a file without a row, left by a kill, is deleted at the next start.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lambda_provider.store.errors import StateError, refused
from lambda_runtime.scratch import Scratch
from lambda_runtime.types import CodeArchive

_OURS = re.compile(r"[0-9a-f]{64}\.zip|.*\.new")


class ArchiveGone(LookupError):
    """An archive that somebody wants to count on was deleted before."""

    def __init__(self, sha256: str) -> None:
        super().__init__(f"there is no archive {sha256}")
        self.sha256 = sha256


class ArchiveStore:
    """The archives of one provider. Usable from every thread.

    With `directory` the files stay when the provider stops; without, they are in a temporary directory that is made with
    the first archive and removed by `close`, or, after a kill, by the next executor that starts.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = directory
        self._scratch: Scratch | None = None
        self._counts: Counter[str] = Counter()
        self._copies = 0
        """How many copies are being made of the files: none is deleted meanwhile."""
        self._unwanted: set[str] = set()
        """What is to be deleted afterwards."""
        self._still_until = 0.0
        """No file is written before that moment of the monotonic clock."""
        self._writing = 0
        self._mutex = threading.Lock()
        self._moved = threading.Condition(self._mutex)
        """A file was written, or files may be written again."""

    @contextmanager
    def hold(self, content: bytes, *, sync: bool = True) -> Iterator[CodeArchive]:
        """Keep an archive at least for the length of the block; who wants it longer calls `retain` within.

        Without `sync` it is on the disk itself only after the next `os.sync`, which is cheaper for many at once.
        Raises ServiceException when the disk does not take it.
        """
        archive = CodeArchive(hashlib.sha256(content).hexdigest(), Path())
        with self._mutex:
            archive = CodeArchive(archive.sha256, self._path(archive.sha256))
            self._counts[archive.sha256] += 1
        try:
            if not archive.path.exists():
                try:
                    with self._turn_to_write():
                        self._write(archive.path, content, sync=sync and self._scratch is None)
                except StateError as error:
                    raise refused(error) from error
            yield archive
        finally:
            self.release([archive.sha256])

    def get(self, sha256: str) -> CodeArchive:
        """An archive that is kept, by its hash."""
        with self._mutex:
            return CodeArchive(sha256, self._path(sha256))

    def retain(self, hashes: Iterable[str]) -> None:
        """Count on archives until `release`: on all of them, or, if one is not there, on none. Raises ArchiveGone."""
        wanted = list(hashes)
        with self._mutex:
            for sha256 in wanted:
                # What somebody counts on already is there.
                if sha256 not in self._counts and not self._path(sha256).exists():
                    raise ArchiveGone(sha256)
            self._counts.update(wanted)

    def adopt(self, hashes: Iterable[str]) -> list[str]:
        """Count on archives of stored resources, whether they are there or not; the answer is which are not."""
        wanted = list(hashes)
        with self._mutex:
            self._counts.update(wanted)
            return [sha256 for sha256 in wanted if not self._path(sha256).exists()]

    def release(self, hashes: Iterable[str]) -> None:
        """No longer count on archives; a file that nobody counts on is deleted."""
        with self._mutex:
            for sha256 in hashes:
                self._counts[sha256] -= 1
                if self._counts[sha256] <= 0:
                    del self._counts[sha256]
                    if not self._copies:
                        self._delete(sha256)
                    else:
                        self._unwanted.add(sha256)

    def missing(self, hashes: Iterable[str]) -> list[str]:
        """Which of these archives are not on disk."""
        return [sha256 for sha256 in hashes if not self.get(sha256).path.exists()]

    def keep_all(self) -> None:
        """Delete nothing until `keep_counted`: somebody is reading archives."""
        with self._mutex:
            self._copies += 1

    def keep_still(self, longest_s: float) -> None:
        """Let no file come, go or change its name until `go_on`, or for so long: somebody is copying the directory.

        Waits for what is being written now.
        """
        with self._mutex:
            self._copies += 1
            self._still_until = time.monotonic() + longest_s
            self._moved.wait_for(lambda: not self._writing, longest_s)

    def go_on(self) -> None:
        """The directory was copied."""
        with self._mutex:
            self._still_until = 0.0
            self._moved.notify_all()
        self.keep_counted()

    def keep_counted(self) -> None:
        """Delete again what nobody counts on, and what was not deleted meanwhile."""
        with self._mutex:
            self._copies = max(0, self._copies - 1)
            if not self._copies:
                unwanted, self._unwanted = self._unwanted - self._counts.keys(), set()
                for sha256 in unwanted:
                    self._delete(sha256)

    def collect(self) -> None:
        """Delete files that nobody counts on, such as those of a process that was killed while it stored one.

        Files that are not of our making stay.
        """
        with self._mutex:
            if self._directory is None or not self._directory.is_dir():
                return
            for path in self._directory.iterdir():
                if _OURS.fullmatch(path.name) and (path.suffix != ".zip" or path.stem not in self._counts):
                    path.unlink(missing_ok=True)

    def close(self) -> None:
        """Remove the temporary directory, if it is one. May be called twice."""
        with self._mutex:
            if self._scratch is not None:
                self._scratch.remove()
                self._scratch = self._directory = None
                self._counts.clear()

    def _path(self, sha256: str) -> Path:
        if self._directory is None:
            self._scratch = Scratch()
            self._directory = self._scratch.directory("archives")
        return self._directory / f"{sha256}.zip"

    def _delete(self, sha256: str) -> None:
        with suppress(FileNotFoundError):
            self._path(sha256).unlink()

    @contextmanager
    def _turn_to_write(self) -> Iterator[None]:
        with self._mutex:
            while (left_s := self._still_until - time.monotonic()) > 0:
                self._moved.wait(left_s)
            self._writing += 1
        try:
            yield
        finally:
            with self._mutex:
                self._writing -= 1
                self._moved.notify_all()

    def _write(self, path: Path, content: bytes, *, sync: bool) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=path.parent, suffix=".new")
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(content)
                    file.flush()
                    Path(name).replace(path)
                    if sync:
                        # The name first: one commit of the file system's journal then has both.
                        os.fsync(file.fileno())
                        _sync_directory(path.parent)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise StateError(
                f"the archive {path} cannot be written: {error.strerror}; the change was not made. "
                "Make room on its disk: later changes work again"
            ) from error


def _sync_directory(directory: Path) -> None:
    """Make the names in a directory as durable as the files behind them."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
