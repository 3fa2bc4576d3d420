"""ECR of moto with the registry of the gateway: what it has is written to the registry's catalog, and is there after a restart.

Moto keeps no content, and its rules for images are not ECR's: here an image's digest is that of its manifest, an image keeps to
be there when its tag moves (https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-tag-mutability.html), and its size is
that of what was pushed. Addresses are those that Docker can reach.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

from lambda_provider.hosts.registry.catalog import Catalog
from lambda_provider.hosts.registry.manifests import read_manifest
from lambda_provider.hosts.registry.names import Repository
from lambda_provider.hosts.registry.place import RegistryPlace
from lambda_provider.hosts.services.ecr_catalog import keep_in
from lambda_provider.hosts.services.patches import replace

_TOKEN_VALID = timedelta(hours=12)


def install() -> None:
    """Change moto's ECR, and give it what the catalog has. Does nothing in a moto that has no gateway around it."""
    place = RegistryPlace.from_environment()
    if place is None:
        return
    from moto.ecr import models, responses

    if place.address:
        _address(models, responses, place.address)
    _judge_images(models)
    keep_in(Catalog(place.directory), models, durable=place.durable)


def _address(models: Any, responses: Any, address: str) -> None:
    """Repositories, and the endpoint of authorization tokens, are where Docker reaches them."""
    from moto.core.responses import ActionResult

    def placed(make: Any) -> Any:
        def init(self: Any, *arguments: Any, **more: Any) -> None:
            make(self, *arguments, **more)
            self.uri = f"{address}/{Repository(self.registry_id, self.region_name, self.name).path}"

        return init

    def token(_: Any) -> Any:
        def get_authorization_token(self: Any) -> Any:
            until = datetime.now(UTC).replace(microsecond=0) + _TOKEN_VALID
            accounts = self._get_param("registryIds") or [self.current_account]
            data = [
                {
                    "authorizationToken": b64encode(f"AWS:{account}-auth-token".encode()).decode(),
                    "expiresAt": until,
                    "proxyEndpoint": f"http://{address}",
                }
                for account in accounts
            ]
            return ActionResult({"authorizationData": data})

        return get_authorization_token

    replace(models.Repository, "__init__", "self account_id region_name repository_name registry_id", placed)
    replace(responses.ECRResponse, "get_authorization_token", "self", token)


def _judge_images(models: Any) -> None:
    """PutImage by ECR's rules, and sizes by what manifests say."""
    from moto.core.exceptions import ServiceException
    from moto.ecr.exceptions import ImageAlreadyExistsException, InvalidParameterException, RepositoryNotFoundException

    class Refused(ServiceException):
        """An error of ECR's model that moto has no class for; one of a module of moto's core it could not serialise."""

    def putting(_: Any) -> Any:
        def put_image(
            self: Any,
            repository_name: str,
            image_manifest: str,
            image_tag: str | None,
            image_manifest_mediatype: str | None = None,
            digest: str | None = None,
        ) -> Any:
            repository = self.repositories.get(repository_name)
            if repository is None:
                raise RepositoryNotFoundException(repository_name, self.account_id)
            try:
                document = json.loads(image_manifest)
            except ValueError:
                raise InvalidParameterException(
                    "Invalid parameter at 'ImageManifest' failed to satisfy constraint: 'Invalid JSON syntax'"
                ) from None
            media_type = image_manifest_mediatype or document.get("mediaType")
            if media_type is None:
                raise InvalidParameterException("image manifest mediatype not provided in manifest or parameter")
            found = f"sha256:{hashlib.sha256(image_manifest.encode()).hexdigest()}"
            if digest is not None and digest != found:
                raise Refused(
                    "ImageDigestDoesNotMatchException",
                    f"The provided image digest '{digest}' does not match the digest of the image manifest: '{found}'.",
                )
            image = next((each for each in repository.images if each.get_image_digest() == found), None)
            if image is not None and (image_tag is None or image_tag in image.image_tags):
                raise ImageAlreadyExistsException(
                    repository_name=repository_name,
                    registry_id=repository.registry_id,
                    digest=found,
                    image_tag=image_tag or "null",
                )
            holder = next((each for each in repository.images if image_tag and image_tag in each.image_tags), None)
            if holder is not None:
                if _is_fixed(repository, str(image_tag)):
                    raise Refused(
                        "ImageTagAlreadyExistsException",
                        f"The image tag '{image_tag}' already exists in the '{repository_name}' repository and cannot be "
                        "overwritten because the repository is immutable.",
                    )
                holder.remove_tag(image_tag)
                holder.image_tag = holder.image_tags[-1] if holder.image_tags else None
            if image is None:
                image = models.Image(
                    self.account_id,
                    image_tag,
                    image_manifest,
                    repository_name,
                    media_type,
                    found,
                    repository.registry_id,
                )
                repository.images.append(image)
            else:
                image.update_tag(image_tag)
            return image

        return put_image

    def size(_: Any) -> Any:
        def get_image_size_in_bytes(self: Any) -> int | None:
            try:
                return read_manifest(self.image_manifest, self.image_manifest_media_type).size or None
            except ValueError:
                return None

        return get_image_size_in_bytes

    replace(models.ECRBackend, "put_image", "self repository_name image_manifest image_tag", putting)
    replace(models.Image, "get_image_size_in_bytes", "self", size)


def _is_fixed(repository: Any, tag: str) -> bool:
    """Whether a tag stays where it is: as the repository says, or the contrary for tags that match one of its filters."""
    filters = repository.image_tag_mutability_exclusion_filters or ()
    excluded = any(fnmatch.fnmatchcase(tag, each["filter"]) for each in filters)
    return bool(repository.is_tag_immutable()) != excluded
