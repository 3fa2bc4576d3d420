"""The code that a request brings: a zip file, an object in S3, or a container image."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lambda_provider.api import (
    CodeStorageExceededException,
    InvalidParameterValueException,
    RequestEntityTooLargeException,
)
from lambda_provider.context import RequestContext
from lambda_provider.model.configuration import Code, S3Object
from lambda_provider.operations.base import Operations
from lambda_provider.operations.dependencies import dependency
from lambda_provider.operations.images import find_image
from lambda_provider.store import zipcheck


class CodeIntake(Operations):
    """Takes code out of CreateFunction and UpdateFunctionCode requests."""

    @contextmanager
    def accepted_code(
        self, context: RequestContext, package_type: str, source: Mapping[str, Any], function_arn: str = ""
    ) -> Iterator[Code]:
        """The checked code of a request, kept for the length of the block; storing a function keeps it longer.

        `source` has the members of FunctionCode. Raises AWS's error for a source that is missing, wrong or too large.
        """
        if package_type == "Image":
            yield self._image(context, source, function_arn)
            return
        if source.get("S3Bucket") == self.config.hot_reload_bucket and source.get("S3Key"):
            yield _folder(source["S3Key"])
            return
        content, s3_object = self._archive(context, source)
        limits = self.config
        unzipped_size = zipcheck.check(content, unzipped_limit=limits.code_size_unzipped, file_limit=limits.code_files)
        with self.archives.hold(content) as archive:
            yield Code(
                sha256=archive.sha256,
                size=len(content),
                unzipped_size=unzipped_size,
                source_kms_key_arn=source.get("SourceKMSKeyArn") or None,
                s3_object=s3_object,
            )

    def require_code_storage(self, context: RequestContext, added: int) -> None:
        """Raise CodeStorageExceededException if the account has no room for `added` more bytes of code."""
        _, used = self.store.usage(context.account_id, context.region)
        if used + added > self.config.total_code_size:
            raise CodeStorageExceededException("Code storage limit exceeded.")

    def _archive(self, context: RequestContext, source: Mapping[str, Any]) -> tuple[bytes, S3Object | None]:
        """A zip file, and the object that it is to stay in, if it is."""
        content: bytes | None = source.get("ZipFile")
        if content is not None:
            if not source.keys().isdisjoint(("S3Bucket", "S3Key", "S3ObjectVersion", "S3ObjectStorageMode")):
                raise InvalidParameterValueException(
                    "Please do not provide other FunctionCode parameters when providing a ZipFile."
                )
            self._check_zipped_size(context, content)
            return content, None
        if not (source.get("S3Bucket") and source.get("S3Key")):
            raise InvalidParameterValueException("Please provide a source for function code.")
        return self._from_s3(context, source)

    def _check_zipped_size(self, context: RequestContext, content: bytes) -> None:
        # The body that it came in was at least as large as the archive in base64.
        limit = self.config.create_function_request_size
        if (len(content) + 2) // 3 * 4 >= limit:
            raise RequestEntityTooLargeException(
                f"Request must be smaller than {limit} bytes for the {context.operation} operation"
            )
        limit = self.config.code_size_zipped
        if len(content) > limit:
            raise RequestEntityTooLargeException(f"Zipped size must be smaller than {limit} bytes")

    def _from_s3(self, context: RequestContext, source: Mapping[str, Any]) -> tuple[bytes, S3Object | None]:
        parameters = {"Bucket": source["S3Bucket"], "Key": source["S3Key"]}
        if source.get("S3ObjectVersion"):
            parameters["VersionId"] = source["S3ObjectVersion"]
        with dependency("S3", "GetObject"):
            s3 = self.host.connect_to("s3", account_id=context.account_id, region=context.region)
            answer = s3.get_object(**parameters)
            # One byte more than an archive may have unpacked is enough to see that it is too large.
            content: bytes = answer["Body"].read(self.config.code_size_unzipped + 1)
        if source.get("S3ObjectStorageMode") != "REFERENCE":
            return content, None
        version = answer.get("VersionId")
        if version in (None, "null"):
            # "Enable S3 versioning for the bucket" (AWS Lambda Developer Guide, "Self-managed S3 code storage").
            raise InvalidParameterValueException(
                "S3ObjectStorageMode REFERENCE requires an object version. Please enable versioning of the bucket."
            )
        return content, S3Object(bucket=source["S3Bucket"], key=source["S3Key"], version=version)

    def _image(self, context: RequestContext, source: Mapping[str, Any], function_arn: str) -> Code:
        uri = source.get("ImageUri")
        if not uri:
            raise InvalidParameterValueException(
                "Please provide ImageUri when creating a function with packageType Image."
            )
        image = find_image(self.host, context, uri, function_arn, enforce=self.config.enforce_permissions)
        if image is not None:
            return Code(sha256=image.digest.removeprefix("sha256:"), image_uri=uri, image_found=True)
        _, _, digest = uri.partition("@sha256:")
        # A tag says nothing about content; until an image is looked at, its name has to stand for it.
        return Code(sha256=digest or hashlib.sha256(uri.encode()).hexdigest(), image_uri=uri)


def _folder(path: str) -> Code:
    """A folder of this machine. There is nothing like it on AWS."""
    folder = Path(path)
    if not folder.is_absolute() or not folder.is_dir():
        raise InvalidParameterValueException(
            f"{path} is not the absolute path of a folder on the machine of the gateway; see docs/configuration.md, Hot reload."
        )
    return Code(sha256=hashlib.sha256(path.encode()).hexdigest(), folder=str(folder))


def require_matching_source(package_type: str, request: Mapping[str, Any]) -> None:
    """Raise unless UpdateFunctionCode brings the kind of code that the function has (recorded: TestLambdaImages)."""
    if package_type == "Image" and not request.get("ImageUri"):
        raise InvalidParameterValueException("Please provide ImageUri when updating a function with packageType Image.")
    if package_type == "Zip" and request.get("ImageUri"):
        raise InvalidParameterValueException(
            "Please don't provide ImageUri when updating a function with packageType Zip."
        )
