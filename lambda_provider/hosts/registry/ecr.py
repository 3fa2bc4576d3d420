"""Changes of images, asked of ECR's own API: who puts an image by HTTP or by `aws ecr` meets the same rules."""

from __future__ import annotations

import json
from typing import Any, Protocol

from lambda_provider.hosts.registry.errors import RegistryError, unknown_manifest, unknown_repository
from lambda_provider.hosts.registry.names import DIGEST, Repository
from lambda_provider.hosts.upstream import Header

_TARGET = "AmazonEC2ContainerRegistry_V20150921"


class EcrFailed(Exception):
    """ECR refused a call: the code and message of its error."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Send(Protocol):
    """Sends a POST to whatever answers ECR's API; status and body of the answer. Raises ServiceUnavailable without one."""

    async def __call__(self, headers: list[Header], body: bytes) -> tuple[int, bytes]: ...


class Ecr:
    """ECR's API in any account and region."""

    def __init__(self, send: Send) -> None:
        self._send = send

    async def put_image(
        self, repository: Repository, manifest: str, media_type: str, digest: str, tag: str | None
    ) -> None:
        """Make a manifest an image of the repository. One that is there already is no error, as in a push of `docker`."""
        request = {"imageManifest": manifest, "imageManifestMediaType": media_type, "imageDigest": digest}
        if tag is not None:
            request["imageTag"] = tag
        try:
            await self._call("PutImage", repository, request)
        except EcrFailed as error:
            if error.code == "ImageAlreadyExistsException":
                return
            if error.code == "ImageTagAlreadyExistsException":
                raise RegistryError("TAG_INVALID", str(error)) from error
            raise _translated(error, repository) from error

    async def delete_image(self, repository: Repository, reference: str) -> None:
        """Delete an image by its digest, or a tag; the image goes with its last tag, as in BatchDeleteImage."""
        name = "imageDigest" if DIGEST.fullmatch(reference) else "imageTag"
        try:
            answer = await self._call("BatchDeleteImage", repository, {"imageIds": [{name: reference}]})
        except EcrFailed as error:
            raise _translated(error, repository) from error
        if answer.get("failures"):
            raise unknown_manifest()

    async def _call(self, operation: str, repository: Repository, request: dict[str, Any]) -> dict[str, Any]:
        body = json.dumps({"repositoryName": repository.name, **request}).encode()
        scope = f"{repository.account_id}/20240101/{repository.region}/ecr/aws4_request"
        headers = [
            (b"host", f"api.ecr.{repository.region}.amazonaws.com".encode()),
            (b"authorization", f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0".encode()),
            (b"content-type", b"application/x-amz-json-1.1"),
            (b"x-amz-target", f"{_TARGET}.{operation}".encode()),
            (b"content-length", b"%d" % len(body)),
        ]
        status, content = await self._send(headers, body)
        try:
            answer: dict[str, Any] = json.loads(content)
        except ValueError:
            answer = {"message": content.decode("utf-8", "replace")}
        if status >= 300:
            code = str(answer.get("__type", "")).rpartition("#")[2]
            raise EcrFailed(code, str(answer.get("message") or answer.get("Message") or f"ECR answered {status}"))
        return answer


def _translated(error: EcrFailed, repository: Repository) -> RegistryError:
    if error.code == "RepositoryNotFoundException":
        return unknown_repository(repository)
    if error.code in ("InvalidParameterException", "ImageDigestDoesNotMatchException"):
        return RegistryError("MANIFEST_INVALID", str(error))
    return RegistryError("UNKNOWN", str(error))
