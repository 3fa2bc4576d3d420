"""What ECR has, on disk: one file for each repository.

The process of ECR writes a file after each change and before it answers; everybody else only reads. So a pull needs no ECR, and
what is deleted there is gone here at once.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lambda_provider.hosts.registry.names import Repository

_KEPT = 256
"""Repositories whose file is not read again while it stays the same."""


@dataclass(frozen=True, slots=True)
class StoredImage:
    """An image of a repository; `manifest` is its text to the letter, of which `digest` is the digest."""

    digest: str
    manifest: str
    media_type: str
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RepositoryRecord:
    """A repository as it was after its last change. `document` is all that ECR wrote."""

    repository: Repository
    images: tuple[StoredImage, ...]
    document: Mapping[str, Any]

    def image(self, reference: str) -> StoredImage | None:
        """The image of a tag or a digest."""
        found = (each for each in self.images if reference == each.digest or reference in each.tags)
        return next(found, None)


class DamagedRecord(OSError):
    """The file of a repository is not what was written."""


class Catalog:
    """The files of a directory. Methods block for a file of some kilobytes at most; usable from every thread."""

    def __init__(self, directory: Path) -> None:
        self._root = directory / "repositories"
        self._read: dict[Path, tuple[tuple[int, ...], RepositoryRecord]] = {}
        self._lock = threading.Lock()

    def find(self, repository: Repository) -> RepositoryRecord | None:
        """A repository, None if ECR has none of that name. Raises DamagedRecord."""
        return self._load(self._file(repository))

    def all(self, skip: Callable[[DamagedRecord], None] | None = None) -> Iterator[RepositoryRecord]:
        """Every repository, in no order. A damaged one is handed to `skip`; without that, raises DamagedRecord."""
        for path in self._root.glob("*/*/*.json"):
            try:
                record = self._load(path)
            except DamagedRecord as error:
                if skip is None:
                    raise
                skip(error)
            else:
                if record is not None:
                    yield record

    def within(self, account_id: str, region: str) -> Iterator[RepositoryRecord]:
        """The repositories of an account in a region."""
        for path in (self._root / account_id / region).glob("*.json"):
            if (record := self._load(path)) is not None:
                yield record

    def write(self, repository: Repository, document: Mapping[str, Any], *, durable: bool) -> None:
        """Put a repository in the place of what was there; with `durable` it is on the disk when this returns.

        For the process of ECR. `document` has `images`, each with `digest`, `manifest`, `mediaType` and `tags`.
        """
        path = self._file(repository)
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        with new.open("w") as file:
            json.dump({"name": repository.name, **document}, file, separators=(",", ":"))
            if durable:
                file.flush()
                os.fsync(file.fileno())
        new.replace(path)

    def remove(self, repository: Repository) -> None:
        """The repository is deleted. For the process of ECR."""
        self._file(repository).unlink(missing_ok=True)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._read.clear()
        shutil.rmtree(self._root, ignore_errors=True)

    def _file(self, repository: Repository) -> Path:
        # A name may be longer than that of a file, and contain slashes.
        digest = hashlib.sha256(repository.name.encode()).hexdigest()
        return self._root / repository.account_id / repository.region / f"{digest}.json"

    def _load(self, path: Path) -> RepositoryRecord | None:
        with contextlib.suppress(FileNotFoundError):
            status = path.stat()
            version = (status.st_ino, status.st_mtime_ns, status.st_size)
            known = self._read.get(path)
            if known is not None and known[0] == version:
                return known[1]
            try:
                record = _record(path, json.loads(path.read_text()))
            except (ValueError, KeyError, TypeError) as error:
                raise DamagedRecord(
                    f"{path} is damaged ({error!r}): restore it from a copy, or delete it and push its images again"
                ) from error
            with self._lock:
                if len(self._read) >= _KEPT:
                    self._read.clear()
                self._read[path] = (version, record)
            return record
        return None


def _record(path: Path, document: Mapping[str, Any]) -> RepositoryRecord:
    repository = Repository(path.parent.parent.name, path.parent.name, document["name"])
    images = tuple(
        StoredImage(each["digest"], each["manifest"], each["mediaType"], tuple(each["tags"]))
        for each in document["images"]
    )
    return RepositoryRecord(repository, images, document)
