"""Errors as the distribution specification has them, in ECR's words where those are known."""

from __future__ import annotations

import json

from lambda_provider.hosts.registry.names import Repository

_STATUS = {
    "BLOB_UNKNOWN": 404,
    "RANGE_INVALID": 416,
    "BLOB_UPLOAD_INVALID": 416,
    "BLOB_UPLOAD_UNKNOWN": 404,
    "DIGEST_INVALID": 400,
    "MANIFEST_BLOB_UNKNOWN": 404,
    "MANIFEST_INVALID": 400,
    "MANIFEST_UNKNOWN": 404,
    "NAME_INVALID": 400,
    "NAME_UNKNOWN": 404,
    "PAGINATION_NUMBER_INVALID": 400,
    "SIZE_INVALID": 413,
    "TAG_INVALID": 400,
    "UNAVAILABLE": 503,
    "UNKNOWN": 500,
    "UNSUPPORTED": 405,
}


class RegistryError(Exception):
    """A request that cannot be answered otherwise. `code` is one of the specification's."""

    def __init__(self, code: str, message: str, *, headers: list[tuple[str, str]] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.status = _STATUS[code]
        self.headers = headers or []

    def body(self) -> bytes:
        """The JSON of the specification, "Error Codes"."""
        return json.dumps({"errors": [{"code": self.code, "message": str(self), "detail": {}}]}).encode()


def unknown_repository(repository: Repository) -> RegistryError:
    """What `docker push` shows as `name unknown: The repository with name …`."""
    return RegistryError(
        "NAME_UNKNOWN",
        f"The repository with name '{repository.name}' does not exist in the registry with id '{repository.account_id}'",
    )


def unknown_manifest() -> RegistryError:
    """There is no such image in the repository."""
    return RegistryError("MANIFEST_UNKNOWN", "Requested image not found")
