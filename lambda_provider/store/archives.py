"""Code archives on disk, by the SHA-256 of their content.

Equal archives are one file. A file stays as long as somebody counts on it: a stored function, or an operation that is about
to store one.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lambda_runtime.scratch import Scratch
from lambda_runtime.types import CodeArchive


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
        self._mutex = threading.Lock()

    @contextmanager
    def hold(self, content: bytes) -> Iterator[CodeArchive]:
        """Keep an archive at least for the length of the block; who wants it longer calls `retain` within."""
        archive = CodeArchive(hashlib.sha256(content).hexdigest(), Path())
        with self._mutex:
            archive = CodeArchive(archive.sha256, self._path(archive.sha256))
            self._counts[archive.sha256] += 1
        try:
            if not archive.path.exists():
                self._write(archive.path, content)
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

    def release(self, hashes: Iterable[str]) -> None:
        """No longer count on archives; a file that nobody counts on is deleted."""
        with self._mutex:
            for sha256 in hashes:
                self._counts[sha256] -= 1
                if self._counts[sha256] <= 0:
                    del self._counts[sha256]
                    with suppress(FileNotFoundError):
                        self._path(sha256).unlink()

    def missing(self, hashes: Iterable[str]) -> list[str]:
        """Which of these archives are not on disk."""
        return [sha256 for sha256 in hashes if not self.get(sha256).path.exists()]

    def collect(self) -> None:
        """Delete files that nobody counts on, such as those of a process that was killed while it stored one."""
        with self._mutex:
            if self._directory is None or not self._directory.is_dir():
                return
            for path in self._directory.iterdir():
                if path.suffix != ".zip" or path.stem not in self._counts:
                    path.unlink()

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

    def _write(self, path: Path, content: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, suffix=".new")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
