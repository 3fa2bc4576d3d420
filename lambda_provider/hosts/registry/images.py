"""The image that a function's ImageUri names, if it is one of the gateway's ECR."""

from __future__ import annotations

from lambda_provider.host import ContainerImage, ImageNotFound
from lambda_provider.hosts.registry.blobs import BlobStore
from lambda_provider.hosts.registry.catalog import Catalog
from lambda_provider.hosts.registry.manifests import Manifest, read_manifest
from lambda_provider.hosts.registry.names import image_named, is_registry_host


def find_image(catalog: Catalog, blobs: BlobStore, address: str, uri: str) -> ContainerImage | None:
    """See `Host.find_image`. `address` is where engines reach the registry, empty if they cannot. Reads files; for any thread.

    Of AWS's form of an address only repositories that are here are ours: others may stand for what was built on this machine.
    """
    name = image_named(uri, address)
    if name is None:
        return None
    record = catalog.find(name.repository)
    if record is None:
        if is_registry_host(uri.partition("/")[0]):
            return None
        raise ImageNotFound(f"there is no repository {name.repository.name}")
    reference = name.digest or name.tag
    if reference is None:
        raise ValueError(f"{uri} names neither a tag nor a digest")
    image = record.image(reference)
    if image is None:
        raise ImageNotFound(f"the repository {name.repository.name} has no image {reference}")
    try:
        manifest = read_manifest(image.manifest, image.media_type)
    except ValueError:
        # Put by `aws ecr put-image`, with a text of the caller's own.
        manifest = Manifest(image.media_type)
    parts = [digest for digest in manifest.required if blobs.find(name.repository, digest) is not None]
    pulled = bool(address and parts and len(parts) == len(manifest.required))
    return ContainerImage(
        account_id=name.repository.account_id,
        region=name.repository.region,
        repository=name.repository.name,
        digest=image.digest,
        media_types=(image.media_type, *(blob.media_type for blob in manifest.blobs)),
        address=f"{address}/{name.repository.path}@{image.digest}" if pulled else None,
        policy=record.document.get("policy"),
    )
