"""`/v2/NAME/blobs/…`: layers and configurations, out and in."""

from __future__ import annotations

import asyncio
import os
import re
import time
from dataclasses import dataclass, field
from typing import BinaryIO

from lambda_provider.hosts.registry.blobs import GRACE_S, BlobStore, Upload, WrongDigest
from lambda_provider.hosts.registry.errors import RegistryError
from lambda_provider.hosts.registry.exchange import Request, Response
from lambda_provider.hosts.registry.names import DIGEST, Repository, repository_at

_BYTES = re.compile(r"bytes=(\d*)-(\d*)")
_CONTENT_RANGE = re.compile(r"(?:bytes[= ])?(\d+)-(\d+)(?:/(?:\d+|\*))?")


@dataclass(slots=True)
class _Session:
    """An upload that a client goes on with, one request at a time."""

    upload: Upload
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class BlobRoutes:
    """Requests for blobs. On the loop; the disk is waited for in threads.

    An upload is what a session keeps of it: a client that comes back after a restart of the gateway begins anew.
    """

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self._sessions: dict[str, _Session] = {}

    async def read(self, request: Request, repository: Repository, digest: str) -> Response:
        """HEAD and GET of a blob. Whoever finds it there may rely on it: a push does not send it again."""
        file = await asyncio.to_thread(self._open, repository, _checked(digest))
        size = os.fstat(file.fileno()).st_size
        headers = (
            ("content-type", "application/octet-stream"),
            ("docker-content-digest", digest),
            ("etag", f'"{digest}"'),
            ("accept-ranges", "bytes"),
        )
        if request.method == "GET" and (wanted := request.headers.get("range")):
            try:
                first, last = _range(wanted, size)
            except RegistryError:
                file.close()
                raise
            part = ("content-range", f"bytes {first}-{last}/{size}")
            return Response(206, (*headers, part), file=file, start=first, length=last - first + 1)
        return Response(200, headers, file=file, length=size)

    async def begin(self, request: Request, repository: Repository, path: str) -> Response:
        """POST: mount a blob of another repository, take a whole one, or open a session for one that comes in parts."""
        query = request.query
        if (digest := query.get("mount")) is not None:
            _checked(digest)
            source = repository_at(query.get("from", ""), request.headers.get("host", ""))
            if source is not None and await asyncio.to_thread(self._blobs.mount, source, repository, digest):
                return _created(path, digest)
        upload = await asyncio.to_thread(self._blobs.begin, repository)
        session = self._sessions[upload.id] = _Session(upload)
        if (digest := query.get("digest")) is not None:
            try:
                return await self._complete(request, session, path, digest)
            finally:
                await self._drop(session)  # Nobody knows its name, so nobody can go on with it.
        return self._going_on(session, path)

    async def progress(self, repository: Repository, upload_id: str, path: str) -> Response:
        """GET: how much of an upload is here."""
        session = self._session(repository, upload_id)
        return self._going_on(session, path, status=204)

    async def append(self, request: Request, repository: Repository, upload_id: str, path: str) -> Response:
        """PATCH: the next part, of any length."""
        session = self._session(repository, upload_id)
        async with session.lock:
            await self._take(request, session, path)
        return self._going_on(session, path)

    async def complete(self, request: Request, repository: Repository, upload_id: str, path: str) -> Response:
        """PUT: the last part, which may be empty, and the digest of all."""
        session = self._session(repository, upload_id)
        return await self._complete(request, session, path, request.query.get("digest", ""))

    async def cancel(self, repository: Repository, upload_id: str) -> Response:
        """DELETE: forget an upload."""
        session = self._session(repository, upload_id)
        async with session.lock:
            await self._drop(session)
        return Response(204)

    def expire(self, age_s: float = GRACE_S) -> None:
        """Forget uploads that nobody has gone on with for so long."""
        before = time.monotonic() - age_s
        for upload_id, session in list(self._sessions.items()):
            if session.upload.touched < before and not session.lock.locked():
                del self._sessions[upload_id]
                session.upload.discard()

    async def _complete(self, request: Request, session: _Session, path: str, digest: str) -> Response:
        _checked(digest)
        async with session.lock:
            await self._take(request, session, path)
            del self._sessions[session.upload.id]
            try:
                await asyncio.to_thread(self._blobs.commit, session.upload, digest)
            except WrongDigest as error:
                raise RegistryError("DIGEST_INVALID", str(error)) from error
            except OSError as error:
                session.upload.discard()
                raise _no_room(error) from error
        return _created(path, digest)

    async def _take(self, request: Request, session: _Session, path: str) -> None:
        upload = session.upload
        if self._sessions.get(upload.id) is not session:
            raise _unknown_upload()  # Another request ended it while this one waited for its turn.
        if (given := request.headers.get("content-range")) is not None:
            match = _CONTENT_RANGE.fullmatch(given)
            if match is None or int(match[1]) != upload.size:
                raise RegistryError(
                    "BLOB_UPLOAD_INVALID",
                    f"The part {given} does not follow the {upload.size} bytes that are here",
                    headers=_where(session, path),
                )
        try:
            async for part in request.parts():
                await asyncio.to_thread(upload.append, part)
        except OSError as error:
            if not isinstance(error, TimeoutError):
                # How much of the last part is in the file is not known.
                await self._drop(session)
                raise _no_room(error) from error
            raise

    async def _drop(self, session: _Session) -> None:
        self._sessions.pop(session.upload.id, None)
        await asyncio.to_thread(session.upload.discard)

    def _open(self, repository: Repository, digest: str) -> BinaryIO:
        file = self._blobs.open(repository, digest)
        if file is None:
            raise RegistryError(
                "BLOB_UNKNOWN",
                f"The layer with digest '{digest}' does not exist in the repository with name '{repository.name}'",
            )
        return file

    def _session(self, repository: Repository, upload_id: str) -> _Session:
        session = self._sessions.get(upload_id)
        if session is None or session.upload.repository != repository:
            raise _unknown_upload()
        return session

    def _going_on(self, session: _Session, path: str, status: int = 202) -> Response:
        return Response(status, tuple(_where(session, path)))


def _where(session: _Session, path: str) -> list[tuple[str, str]]:
    """Where an upload goes on; a range has both its ends in it, so that of nothing is 0-0, too."""
    upload = session.upload
    return [
        ("location", f"/v2/{path}/blobs/uploads/{upload.id}"),
        ("range", f"0-{max(0, upload.size - 1)}"),
        ("docker-upload-uuid", upload.id),
    ]


def _created(path: str, digest: str) -> Response:
    return Response(201, (("location", f"/v2/{path}/blobs/{digest}"), ("docker-content-digest", digest)))


def _checked(digest: str) -> str:
    if not DIGEST.fullmatch(digest):
        raise RegistryError("DIGEST_INVALID", f"'{digest}' is not a sha256 digest")
    return digest


def _range(wanted: str, size: int) -> tuple[int, int]:
    """First and last byte of a range request; Docker goes on so with a pull that broke off."""
    match = _BYTES.fullmatch(wanted)
    if match is not None and (match[1] or match[2]):
        first = int(match[1]) if match[1] else max(0, size - int(match[2]))
        last = min(int(match[2]), size - 1) if match[1] and match[2] else size - 1
        if first <= last:
            return first, last
    raise RegistryError(
        "RANGE_INVALID", f"The range {wanted} is not in the blob", headers=[("content-range", f"bytes */{size}")]
    )


def _unknown_upload() -> RegistryError:
    return RegistryError("BLOB_UPLOAD_UNKNOWN", "The upload does not exist")


def _no_room(error: OSError) -> RegistryError:
    return RegistryError("UNAVAILABLE", f"The registry cannot store the layer: {error.strerror or error}")
