"""What moto's ECR has, in the catalog of the registry after each change, and from there after a restart."""

from __future__ import annotations

import json
import logging
import threading
from datetime import datetime
from typing import Any

from lambda_provider.hosts.registry.catalog import Catalog, RepositoryRecord
from lambda_provider.hosts.registry.names import Repository
from lambda_provider.hosts.services.patches import replace

logger = logging.getLogger(__name__)

_CHANGES = (
    "create_repository",
    "delete_repository",
    "put_image",
    "batch_delete_image",
    "put_image_tag_mutability",
    "put_image_scanning_configuration",
    "set_repository_policy",
    "delete_repository_policy",
    "put_lifecycle_policy",
    "delete_lifecycle_policy",
    "tag_resource",
    "untag_resource",
)
_PLAIN = (
    "encryption_configuration",
    "image_scanning_configuration",
    "image_tag_mutability",
    "image_tag_mutability_exclusion_filters",
    "lifecycle_policy",
    "policy",
    "registry_id",
    "scanning_config",
)
"""Attributes of a repository that are JSON."""


def keep_in(catalog: Catalog, models: Any, *, durable: bool) -> None:
    """Give moto's ECR what the catalog has, and have every change written to it."""
    kept = _Kept(catalog, durable)
    kept.load(models)
    for name in _CHANGES:
        replace(models.ECRBackend, name, "self", kept.saving)
    replace(models.Repository, "update", "self property_type", kept.updating(models))
    replace(models.Repository, "create_from_cloudformation_json", "cls resource_name", kept.adopting)
    models.ECRBackend.reset = kept.forgetting(models.BaseBackend.reset)


class _Kept:
    """Writes what has changed. Usable from every thread, one change at a time."""

    def __init__(self, catalog: Catalog, durable: bool) -> None:
        self._catalog = catalog
        self._durable = durable
        self._written: dict[Repository, str] = {}
        self._restored: dict[Repository, Any] = {}
        self._lock = threading.RLock()

    def load(self, models: Any) -> None:
        """Make the repositories that the catalog has."""
        for record in self._catalog.all(skip=lambda error: logger.error("a repository of ECR is left out: %s", error)):
            backend = models.ecr_backends[record.repository.account_id][record.repository.region]
            if record.repository.name not in backend.repositories:
                _restore(models, backend, record)
                repository = self._restored[record.repository] = backend.repositories[record.repository.name]
                self._written[record.repository] = _text(backend, repository)

    def saving(self, change: Any) -> Any:
        """`change` with all that it changed written before it returns."""

        def changed(backend: Any, *arguments: Any, **more: Any) -> Any:
            with self._lock:
                try:
                    return change(backend, *arguments, **more)
                finally:
                    self._save(backend)

        return changed

    def updating(self, models: Any) -> Any:
        """The same for a change that stacks make to a repository itself."""

        def make(update: Any) -> Any:
            def changed(repository: Any, property_type: str, **more: Any) -> None:
                with self._lock:
                    update(repository, property_type, **more)
                    self._save(models.ecr_backends[repository.account_id][repository.region_name])

            return changed

        return make

    def adopting(self, create: Any) -> Any:
        """A stack that is made anew takes over what an earlier run of the gateway has kept; stacks themselves are not kept."""

        def make(
            cls: Any, resource_name: str, cloudformation_json: Any, account_id: str, region_name: str, **more: Any
        ) -> Any:
            place = Repository(account_id, region_name, resource_name)
            with self._lock:
                restored = self._restored.pop(place, None)
                if restored is None:
                    return create(cls, resource_name, cloudformation_json, account_id, region_name, **more)
                return cls.update_from_cloudformation_json(
                    restored, resource_name, cloudformation_json, account_id, region_name
                )

        return make

    def forgetting(self, reset: Any) -> Any:
        """A reset of moto empties the catalog, too."""

        def forget(backend: Any) -> None:
            with self._lock:
                reset(backend)
                self._save(backend)

        return forget

    def _save(self, backend: Any) -> None:
        here = {
            Repository(backend.account_id, backend.region_name, each.name): each
            for each in backend.repositories.values()
        }
        for place, repository in here.items():
            text = _text(backend, repository)
            if self._written.get(place) != text:
                self._catalog.write(place, json.loads(text), durable=self._durable)
                self._written[place] = text
        own = (backend.account_id, backend.region_name)
        for place in [each for each in self._written if (each.account_id, each.region) == own and each not in here]:
            self._catalog.remove(place)
            del self._written[place]
            self._restored.pop(place, None)


def _text(backend: Any, repository: Any) -> str:
    images = [
        {
            "digest": image.get_image_digest(),
            "manifest": image.image_manifest,
            "mediaType": image.image_manifest_media_type,
            "tags": list(image.image_tags),
            "pushedAt": image.image_pushed_at,
        }
        for image in repository.images
    ]
    tags = backend.tagger.list_tags_for_resource(repository.arn)["tags"]
    plain = {name: getattr(repository, name) for name in _PLAIN}
    return json.dumps({**plain, "created": repository.created_at.isoformat(), "tags": tags, "images": images})


def _restore(models: Any, backend: Any, record: RepositoryRecord) -> None:
    document, name = record.document, record.repository.name
    repository = models.Repository(
        account_id=backend.account_id,
        region_name=backend.region_name,
        repository_name=name,
        registry_id=document["registry_id"],
        encryption_config=document["encryption_configuration"],
        image_scan_config=document["image_scanning_configuration"],
        image_tag_mutability=document["image_tag_mutability"],
    )
    vars(repository).update({each: document[each] for each in _PLAIN})
    repository.created_at = datetime.fromisoformat(document["created"])
    for stored in document["images"]:
        tags = stored["tags"]
        image = models.Image(
            backend.account_id,
            tags[-1] if tags else None,
            stored["manifest"],
            name,
            stored["mediaType"],
            stored["digest"],
            document["registry_id"],
        )
        image.image_tags, image.image_pushed_at = list(tags), stored["pushedAt"]
        repository.images.append(image)
    backend.repositories[name] = repository
    if document["tags"]:
        backend.tagger.tag_resource(repository.arn, document["tags"])
