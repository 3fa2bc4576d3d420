"""`/v2/NAME/manifests/…`, `/v2/NAME/tags/list` and `/v2/_catalog`: images, out and in."""

from __future__ import annotations

import asyncio
import hashlib
import json
from bisect import bisect_right
from collections.abc import Sequence
from urllib.parse import quote

from lambda_provider.hosts.registry.blobs import BlobStore
from lambda_provider.hosts.registry.catalog import Catalog, RepositoryRecord
from lambda_provider.hosts.registry.ecr import Ecr
from lambda_provider.hosts.registry.errors import RegistryError, unknown_manifest, unknown_repository
from lambda_provider.hosts.registry.exchange import Request, Response
from lambda_provider.hosts.registry.manifests import read_manifest
from lambda_provider.hosts.registry.names import DIGEST, TAG, Repository, is_registry_host, repository_at

_MAX_BYTES = 4 * 1024 * 1024
"""A manifest may be as large as the specification wants registries to take at least."""
_PAGE = 1000


class ManifestRoutes:
    """Requests for images. What there is comes from the catalog, changes are ECR's."""

    def __init__(self, catalog: Catalog, blobs: BlobStore, ecr: Ecr) -> None:
        self._catalog = catalog
        self._blobs = blobs
        self._ecr = ecr

    async def read(self, repository: Repository, reference: str) -> Response:
        """HEAD and GET of a manifest, by tag or digest."""
        image = self.record(repository).image(reference)
        if image is None:
            raise unknown_manifest()
        headers = (
            ("content-type", image.media_type),
            ("docker-content-digest", image.digest),
            ("etag", f'"{image.digest}"'),
        )
        return Response(200, headers, image.manifest.encode())

    async def put(self, request: Request, repository: Repository, reference: str, path: str) -> Response:
        """Make an image of blobs that are here; ECR decides whether the tag may move."""
        record = self.record(repository)
        content = await request.body(_MAX_BYTES)
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        by_digest = DIGEST.fullmatch(reference) is not None
        if by_digest and reference != digest:
            raise RegistryError("DIGEST_INVALID", f"The manifest has the digest {digest}, not {reference}")
        if not by_digest and not TAG.fullmatch(reference):
            raise RegistryError("TAG_INVALID", f"'{reference}' is not a tag")
        media_type = request.headers.get("content-type", "").partition(";")[0].strip() or None
        try:
            text = content.decode()
            manifest = read_manifest(text, media_type)
        except ValueError as error:
            raise RegistryError("MANIFEST_INVALID", f"The manifest is not valid: {error}") from error
        await asyncio.to_thread(self._require_blobs, repository, manifest.required)
        for child in manifest.children:
            if record.image(child.digest) is None:
                raise RegistryError("MANIFEST_BLOB_UNKNOWN", f"The image with digest '{child.digest}' does not exist")
        await self._ecr.put_image(repository, text, manifest.media_type, digest, None if by_digest else reference)
        return Response(201, (("location", f"/v2/{path}/manifests/{digest}"), ("docker-content-digest", digest)))

    async def delete(self, repository: Repository, reference: str) -> Response:
        """Delete an image, or a tag."""
        if self.record(repository).image(reference) is None:
            raise unknown_manifest()
        await self._ecr.delete_image(repository, reference)
        return Response(202)

    async def tags(self, request: Request, repository: Repository, path: str) -> Response:
        """The tags of a repository, in their order."""
        found = sorted({tag for image in self.record(repository).images for tag in image.tags})
        page, headers = _page(request, found, f"/v2/{path}/tags/list")
        return _json({"name": path, "tags": page}, headers)

    async def repositories(self, request: Request) -> Response:
        """All repositories, as they are addressed: those of an account and a region if the host name is for one."""
        host = request.headers.get("host", "")
        if is_registry_host(host) and (place := repository_at("any", host)) is not None:
            records = await asyncio.to_thread(lambda: list(self._catalog.within(place.account_id, place.region)))
            found = sorted(each.repository.name for each in records)
        else:
            records = await asyncio.to_thread(lambda: list(self._catalog.all()))
            found = sorted(each.repository.path for each in records)
        page, headers = _page(request, found, "/v2/_catalog")
        return _json({"repositories": page}, headers)

    def record(self, repository: Repository) -> RepositoryRecord:
        """What ECR has of a repository. Raises RegistryError if it has none of that name."""
        record = self._catalog.find(repository)
        if record is None:
            raise unknown_repository(repository)
        return record

    def _require_blobs(self, repository: Repository, digests: Sequence[str]) -> None:
        for digest in digests:
            if self._blobs.find(repository, digest) is None:
                raise RegistryError("MANIFEST_BLOB_UNKNOWN", f"The layer with digest '{digest}' does not exist")


def _page(request: Request, found: list[str], path: str) -> tuple[list[str], tuple[tuple[str, str], ...]]:
    """A page of a sorted list: `n` items behind `last`, and where the next one is."""
    try:
        count = min(int(request.query.get("n", _PAGE)), _PAGE)
    except ValueError:
        count = -1
    if count < 0:
        raise RegistryError("PAGINATION_NUMBER_INVALID", f"n={request.query['n']} is not a number of items")
    begin = bisect_right(found, request.query["last"]) if "last" in request.query else 0
    page = found[begin : begin + count]
    if not page or begin + count >= len(found):
        return page, ()
    return page, (("link", f'<{path}?n={count}&last={quote(page[-1])}>; rel="next"'),)


def _json(value: object, headers: tuple[tuple[str, str], ...]) -> Response:
    return Response(200, (("content-type", "application/json"), *headers), json.dumps(value).encode())
