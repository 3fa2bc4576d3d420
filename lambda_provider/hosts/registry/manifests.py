"""What a manifest is and refers to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lambda_provider.hosts.registry.names import DIGEST

INDEXES = frozenset(
    ("application/vnd.docker.distribution.manifest.list.v2+json", "application/vnd.oci.image.index.v1+json")
)
"""Lists of manifests, one for each platform."""
_KNOWN = INDEXES | {
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
}


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A reference from a manifest. `size` is in bytes."""

    digest: str
    size: int
    media_type: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest as far as a registry looks into it: `blobs` are its configuration, first, and layers; `children` manifests.

    `foreign` layers are fetched from elsewhere and need not be here.
    """

    media_type: str
    blobs: tuple[Descriptor, ...] = ()
    children: tuple[Descriptor, ...] = ()

    @property
    def required(self) -> tuple[str, ...]:
        """Digests of the blobs that have to be here."""
        return tuple(blob.digest for blob in self.blobs if "foreign" not in blob.media_type)

    @property
    def size(self) -> int:
        """Bytes of configuration and layers, as they are stored."""
        return sum(blob.size for blob in self.blobs)


def read_manifest(content: bytes | str, media_type: str | None = None) -> Manifest:
    """A manifest by its text; `media_type` is what the client said, if it said something. Raises ValueError."""
    document = json.loads(content)
    if not isinstance(document, Mapping):
        raise ValueError("it is not an object")
    own = document.get("mediaType")
    if own is not None and media_type is not None and own != media_type:
        raise ValueError(f"its mediaType is {own}, that of the request {media_type}")
    kind = own or media_type
    if kind not in _KNOWN:
        raise ValueError(f"manifests of the type {kind} are not supported")
    if document.get("schemaVersion") != 2:
        raise ValueError("schemaVersion has to be 2")
    if kind in INDEXES:
        return Manifest(kind, children=_descriptors(document.get("manifests")))
    return Manifest(kind, blobs=_descriptors([document.get("config"), *(document.get("layers") or ())]))


def _descriptors(found: Any) -> tuple[Descriptor, ...]:
    if not isinstance(found, list):
        raise ValueError("it has no list of manifests")
    return tuple(map(_descriptor, found))


def _descriptor(found: Any) -> Descriptor:
    if not isinstance(found, Mapping):
        raise ValueError("a descriptor is not an object")
    digest, size = found.get("digest"), found.get("size")
    if not isinstance(digest, str) or not DIGEST.fullmatch(digest):
        raise ValueError(f"{digest!r} is not a digest")
    if isinstance(size, bool) or not isinstance(size, int) or size < 0:
        raise ValueError(f"the size of {digest} is {size!r}")
    return Descriptor(digest, size, str(found.get("mediaType") or ""))
