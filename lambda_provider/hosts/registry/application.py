"""The HTTP API of the registry, and its life: from the first push to the last file."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Callable

from lambda_provider.asgi import ClientGone, Receive, Scope, Send
from lambda_provider.host import ServiceUnavailable
from lambda_provider.hosts.registry.blob_routes import BlobRoutes
from lambda_provider.hosts.registry.blobs import GRACE_S, BlobStore
from lambda_provider.hosts.registry.catalog import Catalog, DamagedRecord
from lambda_provider.hosts.registry.ecr import Ecr
from lambda_provider.hosts.registry.errors import RegistryError
from lambda_provider.hosts.registry.exchange import Request, Response
from lambda_provider.hosts.registry.manifest_routes import ManifestRoutes
from lambda_provider.hosts.registry.manifests import read_manifest
from lambda_provider.hosts.registry.names import Repository, is_registry_host, repository_at
from lambda_provider.hosts.registry.place import RegistryPlace

logger = logging.getLogger(__name__)

_BLOBS = re.compile(r"/v2/(.+)/blobs/([^/]+)")
_UPLOADS = re.compile(r"/v2/(.+)/blobs/uploads/?")
_UPLOAD = re.compile(r"/v2/(.+)/blobs/uploads/([^/]+)")
_MANIFESTS = re.compile(r"/v2/(.+)/manifests/([^/]+)")
_TAGS = re.compile(r"/v2/(.+)/tags/list")


class Registry:
    """An ASGI application for `/v2/`: the Docker Registry HTTP API, as far as ECR has it.

    Everybody may read and push, as everybody may call the gateway; credentials of `docker login` are not looked at. On the loop.
    """

    def __init__(self, place: RegistryPlace, ecr: Ecr) -> None:
        self.catalog = Catalog(place.directory)
        self.blobs = BlobStore(place.directory, durable=place.durable)
        self._durable = place.durable
        self._blob_routes = BlobRoutes(self.blobs)
        self._manifest_routes = ManifestRoutes(self.catalog, self.blobs, ecr)
        self._opening: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._collecting: asyncio.Task[None] | None = None
        self._again = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if self._opening is None:
            self._opening = asyncio.ensure_future(self._open())
        await asyncio.shield(self._opening)
        request = Request.of(scope, receive)
        try:
            response = await self._answer(request)
        except RegistryError as error:
            response = _refusal(error)
        except ServiceUnavailable as error:
            response = _refusal(RegistryError("UNAVAILABLE", str(error)))
        except DamagedRecord as error:
            logger.error("%s", error)
            response = _refusal(RegistryError("UNKNOWN", str(error)))
        except TimeoutError:
            late = RegistryError("BLOB_UPLOAD_INVALID", "The body did not arrive in time")
            late.headers.append(("connection", "close"))
            response = _refusal(late)
        except ClientGone:
            logger.debug("the client left during %s %s", request.method, request.path)
            return
        with contextlib.suppress(FileNotFoundError):  # Deleted in between: the connection ends without an answer.
            await response.send(send, head=request.method == "HEAD")

    def changed(self) -> None:
        """Images may have been deleted: look for what nobody needs any more."""
        if self._opening is None:
            return
        if self._collecting is not None:
            self._again = True
        else:
            self._collecting = asyncio.ensure_future(self._collect(GRACE_S))

    async def forget(self) -> None:
        """Delete everything."""
        await self._settled()
        self._blob_routes.expire(0)
        await asyncio.to_thread(self.catalog.clear)
        await asyncio.to_thread(self.blobs.clear)

    async def stop(self) -> None:
        """Go on with nothing. May be called twice."""
        if self._timer is not None:
            self._timer.cancel()
        await self._settled()
        self._blob_routes.expire(0)

    async def _open(self) -> None:
        await asyncio.to_thread(self.blobs.prepare)
        if self._durable and self._collecting is None:
            # What was deleted, or half pushed, when the last gateway ended.
            # Not what is pushed from now on: its manifest comes last.
            self._collecting = asyncio.ensure_future(self._collect(0, self.blobs.now()))

    async def _answer(self, request: Request) -> Response:
        path, method = request.path, request.method
        if path in ("/v2", "/v2/"):
            _require(method, "GET", "HEAD")
            return Response(200, (("content-type", "application/json"),), b"{}")
        if path == "/v2/_catalog":
            _require(method, "GET", "HEAD")
            return await self._manifest_routes.repositories(request)
        if match := _UPLOADS.fullmatch(path):
            _require(method, "POST")
            return await self._blob_routes.begin(request, await self._repository(request, match[1]), match[1])
        if match := _UPLOAD.fullmatch(path):
            return await self._upload(request, await self._repository(request, match[1]), match[2], match[1])
        if match := _BLOBS.fullmatch(path):
            _require(method, "GET", "HEAD")
            return await self._blob_routes.read(request, await self._repository(request, match[1]), match[2])
        if match := _MANIFESTS.fullmatch(path):
            return await self._manifest(request, await self._repository(request, match[1]), match[2], match[1])
        if match := _TAGS.fullmatch(path):
            _require(method, "GET", "HEAD")
            return await self._manifest_routes.tags(request, await self._repository(request, match[1]), match[1])
        raise RegistryError("NAME_UNKNOWN", f"There is nothing at {path}")

    async def _upload(self, request: Request, repository: Repository, upload_id: str, path: str) -> Response:
        routes = self._blob_routes
        match request.method:
            case "PATCH":
                return await routes.append(request, repository, upload_id, path)
            case "PUT":
                return await routes.complete(request, repository, upload_id, path)
            case "GET" | "HEAD":
                return await routes.progress(repository, upload_id, path)
            case "DELETE":
                return await routes.cancel(repository, upload_id)
        raise _unsupported(request.method)

    async def _manifest(self, request: Request, repository: Repository, reference: str, path: str) -> Response:
        routes = self._manifest_routes
        match request.method:
            case "GET" | "HEAD":
                return await routes.read(repository, reference)
            case "PUT":
                return await routes.put(request, repository, reference, path)
            case "DELETE":
                answer = await routes.delete(repository, reference)
                self.changed()
                return answer
        raise _unsupported(request.method)

    async def _repository(self, request: Request, path: str) -> Repository:
        repository = repository_at(path, request.headers.get("host", ""))
        if repository is None:
            raise RegistryError("NAME_INVALID", f"'{path}' is not the name of a repository")
        await asyncio.to_thread(self._manifest_routes.record, repository)
        return repository

    async def _collect(self, grace_s: float, as_of: float | None = None) -> None:
        try:
            self._blob_routes.expire()
            gone = await asyncio.to_thread(self.blobs.collect, self._needed, grace_s, as_of)
            if gone:
                logger.info("%d layers of images that were deleted are gone", gone)
        except OSError as error:
            logger.warning("layers that nobody needs could not be deleted: %s", error)
        finally:
            self._collecting = None
        if self._again:
            self._again = False
            self.changed()
            return
        if self._timer is not None:
            self._timer.cancel()
        # What is too young now to be given up.
        self._timer = asyncio.get_running_loop().call_later(GRACE_S + 1, self.changed)

    def _needed(self) -> set[tuple[Repository, str]]:
        needed: set[tuple[Repository, str]] = set()
        for record in self.catalog.all():
            for image in record.images:
                with contextlib.suppress(ValueError):  # Put by hand, it refers to nothing that we have.
                    manifest = read_manifest(image.manifest, image.media_type)
                    needed.update((record.repository, blob.digest) for blob in manifest.blobs)
        return needed

    async def _settled(self) -> None:
        while (collecting := self._collecting) is not None:
            self._again = False
            await asyncio.wait([collecting])


def for_registry(scope: Scope, service: str, is_bucket: Callable[[str], bool]) -> bool:
    """Whether a request is for the registry: unsigned, under `/v2/`, and not for an API or a bucket by its host name.

    No bucket can be called `v2`, and AWS's own operations under `/v2/` are signed.
    """
    path: bytes = scope["raw_path"]
    if service or not (path.startswith(b"/v2/") or path == b"/v2"):
        return False
    host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")
    return is_registry_host(host) or not (".execute-api." in host or is_bucket(host))


def _refusal(error: RegistryError) -> Response:
    return Response(error.status, (("content-type", "application/json"), *error.headers), error.body())


def _require(method: str, *known: str) -> None:
    if method not in known:
        raise _unsupported(method)


def _unsupported(method: str) -> RegistryError:
    return RegistryError("UNSUPPORTED", f"{method} is not supported here")
