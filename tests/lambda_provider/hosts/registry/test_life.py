"""The registry of a gateway from its first push to its end, and again after it: what is kept, what is forgotten, what goes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lambda_provider.host import ImageNotFound
from tests.lambda_provider.hosts.conftest import LocalGateway
from tests.lambda_provider.hosts.registry.conftest import MANIFEST, Client


@pytest.fixture
def gateways(tmp_path: Path) -> Iterator[Callable[..., LocalGateway]]:
    """`gateways()` starts one that keeps its images, and ends the one before."""
    running: list[LocalGateway] = []

    def start() -> LocalGateway:
        while running:
            running.pop().stop()
        gateway = LocalGateway()
        gateway.host.keep_in(tmp_path)
        gateway.start()
        running.append(gateway)
        return gateway

    yield start
    for gateway in running:
        gateway.stop()


def blobs_of(gateway: LocalGateway) -> Any:
    registry = gateway.host.registry._registry
    assert registry is not None
    return registry.blobs


def shrunk(gateway: LocalGateway, size: int) -> bool:
    """Whether the blobs are of so many bytes in the end: they go after the request that deleted the image."""
    deadline = time.monotonic() + 30
    while blobs_of(gateway).size() != size and time.monotonic() < deadline:
        gateway.run(asyncio.sleep(0.01))
    return bool(blobs_of(gateway).size() == size)


def test_with_a_state_directory_images_are_there_after_a_restart(
    gateways: Callable[[], LocalGateway], client: Callable[..., Any]
) -> None:
    first = gateways()
    ecr = client(first, "ecr", region="eu-west-1")
    ecr.create_repository(
        repositoryName="kept",
        imageTagMutability="IMMUTABLE",
        imageScanningConfiguration={"scanOnPush": True},
        tags=[{"Key": "team", "Value": "blue"}],
    )
    policy = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"ecr:BatchGetImage"}]}'
    ecr.set_repository_policy(repositoryName="kept", policyText=policy)
    app = Client(first.port, "000000000000/eu-west-1/kept")
    digest, manifest = app.image("v1")
    (before,) = ecr.describe_images(repositoryName="kept")["imageDetails"]

    second = gateways()
    app = Client(second.port, app.path)
    # A pull needs nothing but what is on the disk.
    assert app("GET", "manifests/v1").body == manifest
    assert second.host.moto.starts == 0
    found = second.host.find_image("000000000000.dkr.ecr.eu-west-1.amazonaws.com/kept:v1")
    assert found is not None and found.digest == digest and found.policy == policy
    assert found.address == f"localhost:{second.port}/{app.path}@{digest}"
    ecr = client(second, "ecr", region="eu-west-1")
    (repository,) = ecr.describe_repositories()["repositories"]
    assert repository["repositoryUri"] == f"localhost:{second.port}/{app.path}"
    assert repository["imageTagMutability"] == "IMMUTABLE"
    assert repository["imageScanningConfiguration"] == {"scanOnPush": True}
    tags = ecr.list_tags_for_resource(resourceArn=repository["repositoryArn"])["tags"]
    assert tags == [{"Key": "team", "Value": "blue"}]
    (after,) = ecr.describe_images(repositoryName="kept")["imageDetails"]
    assert after == before
    ecr.delete_repository(repositoryName="kept", force=True)

    third = gateways()
    assert Client(third.port, app.path)("GET", "manifests/v1").error == "NAME_UNKNOWN"
    assert shrunk(third, 0)


def test_a_stack_that_is_made_again_takes_over_the_repository_that_was_kept(
    gateways: Callable[[], LocalGateway], client: Callable[..., Any]
) -> None:
    template = (
        '{"Resources": {"R": {"Type": "AWS::ECR::Repository", "Properties": {"RepositoryName": "of-a-stack"}}},'
        ' "Outputs": {"Uri": {"Value": {"Fn::GetAtt": ["R", "RepositoryUri"]}}}}'
    )

    def deploy(gateway: LocalGateway) -> str:
        stacks = client(gateway, "cloudformation")
        stacks.create_stack(StackName="s", TemplateBody=template)
        (stack,) = stacks.describe_stacks(StackName="s")["Stacks"]
        assert stack["StackStatus"] == "CREATE_COMPLETE", stack
        return str(stack["Outputs"][0]["OutputValue"])

    first = gateways()
    uri = deploy(first)
    assert uri == f"localhost:{first.port}/000000000000/us-east-1/of-a-stack"
    _, manifest = Client(first.port, uri.partition("/")[2]).image("v1")
    second = gateways()
    uri = deploy(second)
    app = Client(second.port, uri.partition("/")[2])
    assert app("GET", "manifests/v1").body == manifest
    assert app("DELETE", "manifests/v1").status == 202
    client(second, "cloudformation").delete_stack(StackName="s")
    assert app("GET", "tags/list").error == "NAME_UNKNOWN"


def test_without_a_state_directory_nothing_is_left(local_gateway: LocalGateway, client: Callable[..., Any]) -> None:
    client(local_gateway, "ecr").create_repository(repositoryName="app")
    Client(local_gateway.port, "app").image("v1")
    scratch = local_gateway.host.registry._scratch
    assert scratch is not None and any(scratch.path.rglob("blobs/*/*"))
    local_gateway.run(local_gateway.host.registry.close())
    assert not scratch.path.exists()


def test_images_outlive_the_process_of_ecr(local_gateway: LocalGateway, client: Callable[..., Any]) -> None:
    ecr = client(local_gateway, "ecr")
    ecr.create_repository(repositoryName="app")
    digest, _ = Client(local_gateway.port, "app").image("v1")
    process = local_gateway.call(lambda: local_gateway.host.moto._process)
    process.kill()
    deadline = time.monotonic() + 60
    while local_gateway.call(lambda: local_gateway.host.moto.starts) < 2 and time.monotonic() < deadline:
        local_gateway.run(asyncio.sleep(0.01))
    (image,) = ecr.describe_images(repositoryName="app")["imageDetails"]
    assert image["imageDigest"] == digest


def test_a_reset_forgets_all_images(gateways: Callable[[], LocalGateway], client: Callable[..., Any]) -> None:
    gateway = gateways()
    ecr = client(gateway, "ecr")
    ecr.create_repository(repositoryName="app")
    app = Client(gateway.port, "app")
    app.image("v1")
    gateway.run(gateway.host.reset())
    assert app("GET", "tags/list").error == "NAME_UNKNOWN"
    assert blobs_of(gateway).size() == 0
    assert ecr.describe_repositories()["repositories"] == []
    ecr.create_repository(repositoryName="app")
    app.image("v1")
    assert app("GET", "manifests/v1").status == 200


def test_layers_of_deleted_images_are_given_up(
    local_gateway: LocalGateway, client: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    ecr = client(local_gateway, "ecr")
    ecr.create_repository(repositoryName="app")
    app = Client(local_gateway.port, "app")
    first, _ = app.image("v1", "first")
    kept, manifest = app.image("v2", "second")
    # Not before: without any grace, layers are given up between their push and that of their manifest.
    monkeypatch.setattr("lambda_provider.hosts.registry.application.GRACE_S", -1.0)
    ecr.batch_delete_image(repositoryName="app", imageIds=[{"imageDigest": first}])
    assert shrunk(local_gateway, len(b'{"text": "second"}') + len(b"layer of second"))
    assert app("GET", "manifests/v2").body == manifest
    assert app("DELETE", f"manifests/{kept}").status == 202
    assert shrunk(local_gateway, 0)
    assert app("PUT", "manifests/v2", manifest, content_type=MANIFEST).error == "MANIFEST_BLOB_UNKNOWN"


def test_which_image_a_uri_names(local_gateway: LocalGateway, client: Callable[..., Any]) -> None:
    find = local_gateway.host.find_image
    uri = "000000000000.dkr.ecr.us-east-1.amazonaws.com/app"
    assert find(f"{uri}:v1") is None, "of AWS's form, a repository that is not here may be an image of this machine"
    with pytest.raises(ImageNotFound):
        find(f"localhost:{local_gateway.port}/app:v1")
    ecr = client(local_gateway, "ecr")
    ecr.create_repository(repositoryName="app")
    with pytest.raises(ImageNotFound):
        find(f"{uri}:v1")
    with pytest.raises(ValueError, match="neither a tag nor a digest"):
        find(uri)
    digest, _ = Client(local_gateway.port, "app").image("v1")
    found = find(f"{uri}:v1")
    assert found == find(f"{uri}@{digest}") == find(f"localhost:{local_gateway.port}/app:v1")
    assert found is not None and found.media_types[0] == MANIFEST and len(found.media_types) == 3
    assert found.address == f"localhost:{local_gateway.port}/000000000000/us-east-1/app@{digest}"
    ecr.put_image(repositoryName="app", imageManifest='{"layers": []}', imageManifestMediaType="text/x", imageTag="odd")
    odd = find(f"{uri}:odd")
    assert odd is not None and odd.address is None and odd.media_types == ("text/x",)


def test_without_ecr_the_registry_says_what_is_missing(
    local_gateway: LocalGateway, monkeypatch: pytest.MonkeyPatch, client: Callable[..., Any]
) -> None:
    client(local_gateway, "ecr").create_repository(repositoryName="app")
    app = Client(local_gateway.port, "app")
    _, manifest = app.image("v1")
    local_gateway.run(local_gateway.host.moto.stop())
    assert app("GET", "manifests/v1").status == 200
    answer = app("PUT", "manifests/v2", manifest, content_type=MANIFEST)
    assert (answer.status, answer.error) == (503, "UNAVAILABLE")


def test_a_damaged_file_is_named_and_harms_no_other_repository(
    gateways: Callable[[], LocalGateway], client: Callable[..., Any], tmp_path: Path
) -> None:
    first = gateways()
    ecr = client(first, "ecr")
    for name in ("damaged", "whole"):
        ecr.create_repository(repositoryName=name)
        Client(first.port, name).image("v1", name)
    size = blobs_of(first).size()
    (damaged,) = [path for path in tmp_path.rglob("*.json") if '"name":"damaged"' in path.read_text()]
    text = damaged.read_text()
    damaged.write_text(text[: len(text) // 2])
    second = gateways()
    answer = Client(second.port, "damaged")("GET", "manifests/v1")
    assert (answer.status, answer.error) == (500, "UNKNOWN") and str(damaged) in answer.body.decode()
    assert Client(second.port, "whole")("GET", "manifests/v1").status == 200
    (repository,) = client(second, "ecr").describe_repositories()["repositories"]
    assert repository["repositoryName"] == "whole"
    assert blobs_of(second).size() == size, "what a damaged file refers to is not garbage"
