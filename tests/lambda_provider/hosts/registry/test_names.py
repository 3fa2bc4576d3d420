"""The forms in which repositories and images are addressed, and which of them are of the gateway's ECR."""

from __future__ import annotations

import pytest

from lambda_provider.hosts.registry.gateway import GatewayRegistry
from lambda_provider.hosts.registry.names import (
    ImageName,
    Repository,
    address_of_gateway,
    image_named,
    repository_at,
)

HERE = "localhost:4566"
DIGEST = "sha256:" + "a" * 64
THERE = Repository("111122223333", "eu-west-1", "team/app")


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("111122223333.dkr.ecr.eu-west-1.amazonaws.com/team/app:v1", ImageName(THERE, "v1")),
        ("111122223333.dkr.ecr.eu-west-1.amazonaws.com.cn/team/app:v1", ImageName(THERE, "v1")),
        (f"111122223333.dkr.ecr.eu-west-1.amazonaws.com/team/app@{DIGEST}", ImageName(THERE, None, DIGEST)),
        ("111122223333.dkr.ecr.eu-west-1.amazonaws.com/team/app", ImageName(THERE)),
        ("111122223333.dkr.ecr.eu-west-1.localhost:4566/team/app:v1", ImageName(THERE, "v1")),
        ("localhost:4566/111122223333/eu-west-1/team/app:v1", ImageName(THERE, "v1")),
        # The gateway had another port before it was started again.
        ("127.0.0.1:9999/111122223333/eu-west-1/team/app:v1", ImageName(THERE, "v1")),
        ("localhost:4566/app:v1", ImageName(Repository("000000000000", "us-east-1", "app"), "v1")),
        # Somebody else's.
        ("localhost:5000/app:v1", None),
        ("public.ecr.aws/lambda/python:3.12", None),
        ("registry.example/111122223333/eu-west-1/team/app:v1", None),
        ("app:v1", None),
        ("team/app", None),
    ],
)
def test_an_image_uri_of_this_ecr(uri: str, expected: ImageName | None) -> None:
    assert image_named(uri, HERE) == expected


@pytest.mark.parametrize(
    "uri",
    [
        f"localhost:4566/app:v1@{DIGEST}",
        "localhost:4566/app@sha256:12",
        "localhost:4566/app:",
        "localhost:4566/App:v1",
        "111122223333.dkr.ecr.eu-west-1.amazonaws.com/",
    ],
)
def test_what_has_its_form_and_names_no_image(uri: str) -> None:
    with pytest.raises(ValueError, match="is not the name of an image"):
        image_named(uri, HERE)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("111122223333/eu-west-1/team/app", THERE),
        ("111122223333/us-gov-west-1/app", Repository("111122223333", "us-gov-west-1", "app")),
        ("app", Repository("000000000000", "us-east-1", "app")),
        ("111122223333/app", Repository("000000000000", "us-east-1", "111122223333/app")),
        ("111122223333/eu-west-1", Repository("000000000000", "us-east-1", "111122223333/eu-west-1")),
        ("a" * 256, Repository("000000000000", "us-east-1", "a" * 256)),
        ("a" * 257, None),
        ("", None),
    ],
)
def test_the_repository_of_a_path(path: str, expected: Repository | None) -> None:
    assert repository_at(path) == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:4566", "localhost:4566"),
        ("http://localhost:4566/", "localhost:4566"),
        ("http://[::1]:4566", "localhost:4566"),
        ("http://gateway:4566", "gateway:4566"),
        ("https://gateway", "gateway:443"),
        ("http://127.0.0.1:8000/aws/", None),
        ("", None),
    ],
)
def test_where_docker_reaches_the_registry_of_a_gateway(url: str, expected: str | None) -> None:
    assert address_of_gateway(url) == expected


@pytest.mark.parametrize("text", ["gateway:5000", "http://gateway:5000/"])
def test_the_address_can_be_set(text: str) -> None:
    async def send(headers: object, body: bytes) -> tuple[int, bytes]:
        raise AssertionError("nothing is sent")

    registry = GatewayRegistry({"LAMBDA_ECR_ENDPOINT": text}, send)
    registry.open("http://127.0.0.1:4566")
    assert registry.address == "gateway:5000"


@pytest.mark.parametrize("text", ["http://gateway:5000/path", "user@gateway", "/path"])
def test_an_address_that_cannot_be_is_refused_at_the_start(text: str) -> None:
    with pytest.raises(ValueError, match="LAMBDA_ECR_ENDPOINT"):
        GatewayRegistry({"LAMBDA_ECR_ENDPOINT": text}, None)  # type: ignore[arg-type]
