"""Functions of images that the host's own ECR has."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lambda_provider.api import InvalidParameterValueException
from lambda_provider.api.errors import AccessDeniedException
from lambda_provider.host import ContainerImage, ImageNotFound
from lambda_provider.provider import LambdaProvider

from ..fakes import ACCOUNT, REGION, ROLE, FakeHost, FakeRuntime, arn, context
from .conftest import configuration, update

REPOSITORY = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/app"
URI = f"{REPOSITORY}:v1"
OLD, NEW = "a" * 64, "b" * 64
DOCKER = (
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.container.image.v1+json",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
)
OCI = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar",
)


def image(digest: str = OLD, **members: Any) -> ContainerImage:
    fine: dict[str, Any] = {
        "account_id": ACCOUNT,
        "region": REGION,
        "repository": "app",
        "digest": f"sha256:{digest}",
        "media_types": DOCKER,
        "address": f"localhost:4566/{ACCOUNT}/{REGION}/app@sha256:{digest}",
    }
    return ContainerImage(**(fine | members))


def push(host: FakeHost, digest: str) -> None:
    host.images[URI] = host.images[f"{REPOSITORY}@sha256:{digest}"] = image(digest)


def create(provider: LambdaProvider, uri: str = URI, **members: Any) -> Any:
    request: Any = {"FunctionName": "f", "Role": ROLE, "PackageType": "Image", "Code": {"ImageUri": uri}}
    return provider.create_function(context(), {**request, **members})


def refusal(provider: LambdaProvider, uri: str = URI) -> str:
    with pytest.raises(InvalidParameterValueException) as raised:
        create(provider, uri)
    return str(raised.value.message)


def test_the_digest_of_the_image_is_the_digest_of_the_code(
    provider: LambdaProvider, host: FakeHost, runtime: FakeRuntime
) -> None:
    push(host, OLD)
    assert create(provider)["CodeSha256"] == OLD
    code = provider.get_function(context(), {"FunctionName": "f"})["Code"]
    assert code["ImageUri"] == URI and code["ResolvedImageUri"] == f"{REPOSITORY}@sha256:{OLD}"
    deployed = runtime.deployed[arn("f", "$LATEST")]
    assert (deployed.image_uri, deployed.image_address) == (URI, image(OLD).address)


def test_a_tag_that_moves_changes_a_function_when_its_code_is_updated(
    provider: LambdaProvider, host: FakeHost, runtime: FakeRuntime
) -> None:
    push(host, OLD)
    create(provider)
    configuration(provider)
    push(host, NEW)
    assert update(provider, MemorySize=256)["CodeSha256"] == OLD
    assert runtime.deployed[arn("f", "$LATEST")].image_address == image(OLD).address
    dry = provider.update_function_code(context(), {"FunctionName": "f", "ImageUri": URI, "DryRun": True})
    assert dry["CodeSha256"] == NEW
    assert provider.update_function_code(context(), {"FunctionName": "f", "ImageUri": URI})["CodeSha256"] == NEW
    configuration(provider)
    assert runtime.deployed[arn("f", "$LATEST")].image_address == image(NEW).address


def test_a_version_keeps_its_image(provider: LambdaProvider, host: FakeHost) -> None:
    push(host, OLD)
    create(provider, Publish=True)
    configuration(provider)
    push(host, NEW)
    provider.update_function_code(context(), {"FunctionName": "f", "ImageUri": URI})
    assert configuration(provider, qualifier="1")["CodeSha256"] == OLD
    assert configuration(provider)["CodeSha256"] == NEW


def test_an_image_that_is_not_there(provider: LambdaProvider, host: FakeHost) -> None:
    host.images[URI] = ImageNotFound("no tag v1")
    assert refusal(provider) == f"Source image {URI} does not exist. Provide a valid source image."
    push(host, OLD)
    create(provider)
    configuration(provider)
    host.images[URI] = ImageNotFound("no tag v1")
    with pytest.raises(InvalidParameterValueException, match=r"does not exist\. Provide a valid source image\."):
        provider.update_function_code(context(), {"FunctionName": "f", "ImageUri": URI})


def test_what_names_no_image_or_one_of_another_region(provider: LambdaProvider, host: FakeHost) -> None:
    expected = f"Source image {URI} is not valid. Provide a valid source image."
    host.images[URI] = ValueError("neither a tag nor a digest")
    assert refusal(provider) == expected
    host.images[URI] = image(region="eu-north-1")
    assert refusal(provider) == expected


@pytest.mark.parametrize(
    "media_types",
    [
        ("application/vnd.oci.image.index.v1+json",),
        ("application/vnd.docker.distribution.manifest.list.v2+json",),
        (OCI[0], "application/vnd.example.config+json", OCI[2]),
        (*OCI[:2], "application/vnd.oci.image.layer.v1.tar+zstd"),
    ],
)
def test_what_lambda_does_not_take(provider: LambdaProvider, host: FakeHost, media_types: tuple[str, ...]) -> None:
    host.images[URI] = image(media_types=media_types)
    assert refusal(provider) == (
        f"The image manifest, config or layer media type for the source image {URI} is not supported."
    )


@pytest.mark.parametrize("media_types", [DOCKER, OCI, DOCKER[:1]])
def test_what_lambda_takes(provider: LambdaProvider, host: FakeHost, media_types: tuple[str, ...]) -> None:
    host.images[URI] = image(media_types=media_types)
    assert create(provider)["CodeSha256"] == OLD


def test_an_image_that_is_deleted_later_fails_the_next_deployment(provider: LambdaProvider, host: FakeHost) -> None:
    push(host, OLD)
    create(provider)
    assert configuration(provider)["State"] == "Active"
    host.images[f"{REPOSITORY}@sha256:{OLD}"] = ImageNotFound("deleted")
    failed = update(provider, MemorySize=256)
    assert (failed["LastUpdateStatus"], failed["LastUpdateStatusReasonCode"]) == ("Failed", "ImageDeleted")
    assert URI in failed["LastUpdateStatusReason"]


def test_an_image_that_is_not_of_the_host_is_believed(
    provider: LambdaProvider, host: FakeHost, runtime: FakeRuntime
) -> None:
    create(provider, "elsewhere/app:v1")
    configuration(provider)
    assert runtime.deployed[arn("f", "$LATEST")].image_address is None


# --- other accounts, where permissions count

OTHER = "999988887777"
ACCOUNT_MAY = {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}
LAMBDA_MAY = {"Service": "lambda.amazonaws.com"}
ACTIONS = ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]


def statement(principal: Any, **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Principal": principal, "Action": ACTIONS, **more}


def policy(*statements: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


@pytest.fixture
def strict(runtime: FakeRuntime) -> Any:
    host = FakeHost({"LAMBDA_ENFORCE_PERMISSIONS": "1"})
    provider = LambdaProvider(host, runtime)  # type: ignore[arg-type]
    provider.start()
    yield provider
    provider.stop()


FUNCTIONS = {"StringLike": {"aws:sourceARN": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f*"}}


@pytest.mark.parametrize(
    "text",
    [
        policy(statement(ACCOUNT_MAY), statement(LAMBDA_MAY, Condition=FUNCTIONS)),
        policy(statement("*")),
        json.dumps({"Statement": statement("*", Action="ecr:*")}),
    ],
)
def test_an_image_of_another_account_that_permits_it(strict: Any, text: str) -> None:
    strict.host.images[URI] = image(account_id=OTHER, policy=text)
    assert create(strict)["CodeSha256"] == OLD


@pytest.mark.parametrize(
    "text",
    [
        None,
        policy(statement(ACCOUNT_MAY)),
        policy(statement(LAMBDA_MAY)),
        policy(statement(ACCOUNT_MAY), statement(LAMBDA_MAY, Action="ecr:BatchGetImage")),
        policy(statement("*"), {**statement(LAMBDA_MAY), "Effect": "Deny"}),
        policy(
            statement(ACCOUNT_MAY),
            statement(LAMBDA_MAY, Condition={"StringLike": {"aws:sourceARN": "arn:aws:lambda:*:*:function:g"}}),
        ),
    ],
)
def test_an_image_of_another_account_that_does_not(strict: Any, text: str | None) -> None:
    strict.host.images[URI] = image(account_id=OTHER, policy=text)
    with pytest.raises(AccessDeniedException) as raised:
        create(strict)
    assert raised.value.message == (
        "Lambda does not have permission to access the ECR image. Check the ECR permissions."
    )


def test_an_image_of_the_own_account_needs_no_policy(strict: Any) -> None:
    strict.host.images[URI] = image()
    assert create(strict)["CodeSha256"] == OLD


def test_where_permissions_do_not_count_any_account_will_do(provider: LambdaProvider, host: FakeHost) -> None:
    host.images[URI] = image(account_id=OTHER)
    assert create(provider)["CodeSha256"] == OLD
