"""Layers and configurations by their digest, each once however many repositories have it; uploads; and what nobody needs.

A blob is in a repository by a link. Blobs come before the manifest that refers to them, and a client that finds one there does
not send it again: so what was pushed, linked or asked for lately is kept even if nothing refers to it yet.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import BinaryIO

from lambda_provider.hosts.registry.names import Repository

GRACE_S = 3600.0
"""How long a blob that nothing refers to is kept, and an upload that nobody goes on with."""


class WrongDigest(ValueError):
    """The content is not what the client said it is."""


class Upload:
    """A blob that comes in parts, in order. Its methods block; one at a time."""

    def __init__(self, repository: Repository, path: Path) -> None:
        self.id = path.name
        self.repository = repository
        self.size = 0
        self.touched = time.monotonic()
        self._path = path
        self._hash = hashlib.sha256()
        self._file = path.open("xb", buffering=0)

    def append(self, data: bytes) -> None:
        """Take the next part. Raises OSError when the disk does not."""
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]
        self._hash.update(data)
        self.size += len(data)
        self.touched = time.monotonic()

    def finish(self, *, durable: bool) -> tuple[str, Path]:
        """The digest of all that came, and the file that it is in."""
        if durable:
            os.fsync(self._file.fileno())
        self._file.close()
        return f"sha256:{self._hash.hexdigest()}", self._path

    def discard(self) -> None:
        """Forget it. May be called twice, and after `finish`."""
        self._file.close()
        self._path.unlink(missing_ok=True)


class BlobStore:
    """The blobs of a directory. Methods block on the disk, and may be called from any thread but where they say otherwise.

    With `durable` a blob is on the disk before it is acknowledged.
    """

    def __init__(self, directory: Path, *, durable: bool = False, now: Callable[[], float] = time.time) -> None:
        """`now` is compared with the times of files: seconds since the epoch."""
        self._blobs = directory / "blobs"
        self._links = directory / "links"
        self._uploads = directory / "uploads"
        self._durable = durable
        self.now = now

    def prepare(self) -> None:
        """Drop what was being uploaded when the last gateway ended: nobody knows how far it was."""
        shutil.rmtree(self._uploads, ignore_errors=True)

    def begin(self, repository: Repository) -> Upload:
        """A new upload."""
        self._uploads.mkdir(parents=True, exist_ok=True)
        return Upload(repository, self._uploads / str(uuid.uuid4()))

    def commit(self, upload: Upload, digest: str) -> None:
        """Keep an upload as a blob of its repository. Raises WrongDigest, and forgets it then."""
        found, path = upload.finish(durable=self._durable)
        if found != digest:
            upload.discard()
            raise WrongDigest(f"what was uploaded has the digest {found}, not {digest}")
        target = self._blob(digest)
        target.parent.mkdir(parents=True, exist_ok=True)
        self._touch(path)  # Before it can be taken for an old one.
        path.replace(target)
        self._link(upload.repository, digest)

    def find(self, repository: Repository, digest: str) -> Path | None:
        """The file of a blob of a repository; None if it has none."""
        link, blob = self._link_file(repository, digest), self._blob(digest)
        return blob if link.exists() and blob.exists() else None

    def open(self, repository: Repository, digest: str) -> BinaryIO | None:
        """A blob of a repository to read, whole even if it is deleted meanwhile; None if the repository does not have it."""
        path = self.find(repository, digest)
        if path is None:
            return None
        self.keep(digest)
        try:
            return path.open("rb")
        except FileNotFoundError:
            return None

    def keep(self, digest: str) -> None:
        """Somebody relies on a blob that is there: a push that does not send it again."""
        with contextlib.suppress(FileNotFoundError):
            self._touch(self._blob(digest))

    def mount(self, source: Repository, target: Repository, digest: str) -> bool:
        """Have a blob of one repository in another one, too; False if the first does not have it."""
        if self.find(source, digest) is None:
            return False
        self.keep(digest)
        self._link(target, digest)
        return True

    def size(self) -> int:
        """Bytes of all blobs. Those that go meanwhile may be counted or not."""
        size = 0
        for path in self._all():
            with contextlib.suppress(FileNotFoundError):
                size += path.stat().st_size
        return size

    def collect(
        self,
        needed: Callable[[], Collection[tuple[Repository, str]]],
        grace_s: float = GRACE_S,
        as_of: float | None = None,
    ) -> int:
        """Delete what nothing refers to and nobody had touched for `grace_s` at the time `as_of` (now); how many blobs are gone.

        `needed` is called when it is known what there is, so that a push that ends meanwhile is not missed.
        """
        before = (self.now() if as_of is None else as_of) - grace_s
        old = [path for path in self._all() if _older(path, before)]
        links = list(self._links.glob("*/*/*/*"))
        refers = needed()
        digests = {_hex(digest) for _, digest in refers}
        wanted = {self._link_file(repository, digest) for repository, digest in refers}
        for link in links:
            if link not in wanted and _older(self._blob(link.name), before):
                link.unlink(missing_ok=True)
        gone = 0
        for path in old:
            # Touched in between, somebody relies on it after all.
            if path.name not in digests and _older(path, before):
                path.unlink(missing_ok=True)
                gone += 1
        return gone

    def clear(self) -> None:
        """Delete everything."""
        for path in (self._links, self._uploads, self._blobs):
            shutil.rmtree(path, ignore_errors=True)

    def _touch(self, path: Path) -> None:
        now = self.now()
        os.utime(path, (now, now))

    def _all(self) -> Iterator[Path]:
        return self._blobs.glob("*/*")

    def _blob(self, digest: str) -> Path:
        name = _hex(digest)
        return self._blobs / name[:2] / name

    def _link_file(self, repository: Repository, digest: str) -> Path:
        name = hashlib.sha256(repository.name.encode()).hexdigest()
        return self._links / repository.account_id / repository.region / name / _hex(digest)

    def _link(self, repository: Repository, digest: str) -> None:
        path = self._link_file(repository, digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def _hex(digest: str) -> str:
    return digest.removeprefix("sha256:")


def _older(path: Path, moment: float) -> bool:
    try:
        return path.stat().st_mtime < moment
    except FileNotFoundError:
        return True
