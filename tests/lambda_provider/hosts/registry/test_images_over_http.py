"""Images by the distribution specification, and the same images in ECR's own API."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.lambda_provider.hosts.registry.conftest import MANIFEST, Client, digest_of

INDEX = "application/vnd.oci.image.index.v1+json"
OCI = "application/vnd.oci.image.manifest.v1+json"


def name_of(app: Client) -> str:
    return app.path.split("/", 2)[2]


def test_an_image_comes_back_to_the_letter_by_tag_and_digest(app: Client) -> None:
    digest, manifest = app.image("v1")
    for reference in ("v1", digest):
        answer = app("GET", f"manifests/{reference}")
        assert (answer.status, answer.body) == (200, manifest)
        assert answer.headers["content-type"] == MANIFEST and answer.headers["docker-content-digest"] == digest
        head = app("HEAD", f"manifests/{reference}")
        assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(manifest)))


def test_an_image_without_a_tag(app: Client, ecr: Any) -> None:
    digest, manifest = app.image(None, media_type=OCI)
    assert app("GET", f"manifests/{digest}").body == manifest
    (image,) = ecr.describe_images(repositoryName=name_of(app))["imageDetails"]
    assert image["imageDigest"] == digest and "imageTags" not in image


def test_the_api_of_ecr_has_what_was_pushed(app: Client, ecr: Any) -> None:
    name = name_of(app)
    digest, manifest = app.image("v1", "x")
    app("PUT", "manifests/latest", manifest, content_type=MANIFEST)
    (image,) = ecr.describe_images(repositoryName=name)["imageDetails"]
    assert (image["imageDigest"], sorted(image["imageTags"])) == (digest, ["latest", "v1"])
    assert image["imageManifestMediaType"] == MANIFEST
    parsed = json.loads(manifest)
    assert image["imageSizeInBytes"] == sum(part["size"] for part in (parsed["config"], *parsed["layers"]))
    listed = ecr.list_images(repositoryName=name)["imageIds"]
    assert sorted((each["imageTag"], each["imageDigest"]) for each in listed) == [("latest", digest), ("v1", digest)]
    (found,) = ecr.batch_get_image(repositoryName=name, imageIds=[{"imageTag": "v1"}])["images"]
    assert found["imageManifest"].encode() == manifest


def test_what_the_api_of_ecr_puts_is_in_the_registry(app: Client, ecr: Any) -> None:
    _, manifest = app.image("v1")
    ecr.put_image(repositoryName=name_of(app), imageManifest=manifest.decode(), imageTag="again")
    assert app("GET", "manifests/again").body == manifest


def test_what_the_api_of_ecr_deletes_is_gone(app: Client, ecr: Any) -> None:
    name = name_of(app)
    digest, manifest = app.image("v1")
    app("PUT", "manifests/v2", manifest, content_type=MANIFEST)
    ecr.batch_delete_image(repositoryName=name, imageIds=[{"imageTag": "v1"}])
    assert app("GET", "manifests/v1").error == "MANIFEST_UNKNOWN"
    assert app("GET", "manifests/v2").status == 200
    ecr.batch_delete_image(repositoryName=name, imageIds=[{"imageDigest": digest}])
    assert app("GET", f"manifests/{digest}").error == "MANIFEST_UNKNOWN"
    ecr.delete_repository(repositoryName=name)
    answer = app("GET", "tags/list")
    assert (answer.status, answer.error) == (404, "NAME_UNKNOWN")


def test_an_image_is_deleted_with_its_last_tag_or_by_its_digest(app: Client, ecr: Any) -> None:
    digest, manifest = app.image("v1")
    app("PUT", "manifests/v2", manifest, content_type=MANIFEST)
    assert app("DELETE", "manifests/v1").status == 202
    assert app("GET", f"manifests/{digest}").status == 200
    assert app("DELETE", f"manifests/{digest}").status == 202
    assert app("DELETE", "manifests/v2").error == "MANIFEST_UNKNOWN"
    assert ecr.list_images(repositoryName=name_of(app))["imageIds"] == []


def test_a_tag_that_moves_leaves_its_image_without_one(app: Client, ecr: Any) -> None:
    old, _ = app.image("latest", "old")
    new, manifest = app.image("latest", "new")
    assert app("GET", "manifests/latest").body == manifest
    assert app("GET", f"manifests/{old}").status == 200
    images = ecr.describe_images(repositoryName=name_of(app))["imageDetails"]
    assert {each["imageDigest"]: each.get("imageTags") for each in images} == {old: None, new: ["latest"]}


def test_the_same_push_again_is_no_error(app: Client) -> None:
    assert app.image("v1") == app.image("v1")


def test_an_immutable_tag_stays_where_it_is(repository: Callable[..., Client]) -> None:
    app = repository(imageTagMutability="IMMUTABLE")
    _, manifest = app.image("v1", "old")
    parsed = json.loads(manifest) | {"annotations": {"new": "yes"}}
    answer = app("PUT", "manifests/v1", json.dumps(parsed).encode(), content_type=MANIFEST)
    assert (answer.status, answer.error) == (400, "TAG_INVALID")
    assert answer.json["errors"][0]["message"] == (
        f"The image tag 'v1' already exists in the '{name_of(app)}' repository and cannot be overwritten because the "
        "repository is immutable."
    )
    assert app("PUT", "manifests/v2", json.dumps(parsed).encode(), content_type=MANIFEST).status == 201


@pytest.mark.parametrize(
    ("mutability", "moves"),
    [
        ("IMMUTABLE_WITH_EXCLUSION", {"dev-1": True, "v1": False}),
        ("MUTABLE_WITH_EXCLUSION", {"dev-1": False, "v1": True}),
    ],
)
def test_filters_turn_a_repository_s_rule_round(
    repository: Callable[..., Client], mutability: str, moves: dict[str, bool]
) -> None:
    filters = [{"filterType": "WILDCARD", "filter": "dev-*"}]
    app = repository(imageTagMutability=mutability, imageTagMutabilityExclusionFilters=filters)
    for tag, may_move in moves.items():
        app.image(tag, "old")
        _, manifest = app.image(f"{tag}-new", "new")
        answer = app("PUT", f"manifests/{tag}", manifest, content_type=MANIFEST)
        assert (answer.status == 201) is may_move, (tag, answer)


def test_a_manifest_of_blobs_that_are_not_here(app: Client, repository: Callable[..., Client]) -> None:
    other = repository()
    _, manifest = other.image("v1")
    answer = app("PUT", "manifests/v1", manifest, content_type=MANIFEST)
    assert (answer.status, answer.error) == (404, "MANIFEST_BLOB_UNKNOWN")


def test_a_manifest_of_another_digest(app: Client) -> None:
    _, manifest = app.image("v1")
    answer = app("PUT", f"manifests/{digest_of(b'x')}", manifest, content_type=MANIFEST)
    assert (answer.status, answer.error) == (400, "DIGEST_INVALID")


@pytest.mark.parametrize(
    ("body", "media_type"),
    [
        (b"{", MANIFEST),
        (b"[]", MANIFEST),
        (b"\xff\xfe", MANIFEST),
        (b'{"schemaVersion": 1}', MANIFEST),
        (b'{"schemaVersion": 2}', MANIFEST),
        (b'{"schemaVersion": 2, "config": {"digest": "x", "size": 1}}', MANIFEST),
        (b'{"schemaVersion": 2, "manifests": []}', "text/plain"),
        (b'{"schemaVersion": 2, "mediaType": "' + OCI.encode() + b'"}', MANIFEST),
    ],
)
def test_what_is_no_manifest(app: Client, body: bytes, media_type: str) -> None:
    answer = app("PUT", "manifests/v1", body, content_type=media_type)
    assert (answer.status, answer.error) == (400, "MANIFEST_INVALID")


def test_a_manifest_may_be_of_four_mebibytes(app: Client) -> None:
    answer = app("PUT", "manifests/v1", b" " * (4 * 1024 * 1024 + 1), content_type=MANIFEST)
    assert (answer.status, answer.error) == (413, "SIZE_INVALID")


def test_an_index_of_images_that_are_here(app: Client, ecr: Any) -> None:
    digest, manifest = app.image(None)
    child = {"mediaType": MANIFEST, "digest": digest, "size": len(manifest)}
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [child]}
    assert app("PUT", "manifests/all", json.dumps(index).encode(), content_type=INDEX).status == 201
    assert app("GET", "manifests/all").headers["content-type"] == INDEX
    index["manifests"] = [{**child, "digest": digest_of(b"missing")}]
    assert app("PUT", "manifests/none", json.dumps(index).encode(), content_type=INDEX).error == "MANIFEST_BLOB_UNKNOWN"


def test_tags_come_in_pages(app: Client) -> None:
    _, manifest = app.image("c")
    for tag in ("a", "b", "d"):
        app("PUT", f"manifests/{tag}", manifest, content_type=MANIFEST)
    assert app("GET", "tags/list").json == {"name": app.path, "tags": ["a", "b", "c", "d"]}
    first = app("GET", "tags/list?n=3")
    assert first.json["tags"] == ["a", "b", "c"]
    link = first.headers["link"]
    assert link == f'</v2/{app.path}/tags/list?n=3&last=c>; rel="next"'
    last = app.call("GET", link[1 : link.index(">")])
    assert last.json["tags"] == ["d"] and "link" not in last.headers
    assert app("GET", "tags/list?n=0").json["tags"] == []
    assert app("GET", "tags/list?n=x").status == 400


def test_the_catalog_has_every_repository_as_it_is_addressed(app: Client, repository: Callable[..., Client]) -> None:
    other = repository(account="222222222222", region="eu-west-1")
    found = app.call("GET", "/v2/_catalog").json["repositories"]
    assert {app.path, other.path} <= set(found) and found == sorted(found)
    host = "222222222222.dkr.ecr.eu-west-1.amazonaws.com"
    assert name_of(other) in app.call("GET", "/v2/_catalog", host=host).json["repositories"]
    assert name_of(app) not in app.call("GET", "/v2/_catalog", host=host).json["repositories"]


def test_repositories_of_one_name_do_not_mix(repository: Callable[..., Client]) -> None:
    places = [("111111111111", "us-east-1"), ("111111111111", "eu-west-1"), ("222222222222", "us-east-1")]
    apps = [repository("same", account=account, region=region) for account, region in places]
    digests = [app.image("v1", text)[0] for text, app in zip("abc", apps, strict=True)]
    assert len(set(digests)) == 3
    for app, digest in zip(apps, digests, strict=True):
        assert app("HEAD", "manifests/v1").headers["docker-content-digest"] == digest
        for other in set(digests) - {digest}:
            assert app("HEAD", f"manifests/{other}").status == 404


def test_account_and_region_may_be_in_the_host_name_or_left_out(repository: Callable[..., Client]) -> None:
    there = repository("by/host", account="333333333333", region="ap-south-1")
    digest, _ = there.image("v1")
    host = "333333333333.dkr.ecr.ap-south-1.amazonaws.com"
    answer = there.call("HEAD", "/v2/by/host/manifests/v1", host=host)
    assert answer.headers["docker-content-digest"] == digest
    assert there.call("GET", "/v2/by/host/manifests/v1").error == "NAME_UNKNOWN"
    here = repository("by/default")
    digest, _ = here.image("v1")
    assert here.call("HEAD", "/v2/by/default/manifests/v1").headers["docker-content-digest"] == digest


def test_a_push_needs_a_repository(app: Client) -> None:
    nowhere = Client(app.port, "000000000000/us-east-1/no/such")
    answer = nowhere("POST", "blobs/uploads/")
    assert (answer.status, answer.error) == (404, "NAME_UNKNOWN")
    assert answer.json["errors"][0]["message"] == (
        "The repository with name 'no/such' does not exist in the registry with id '000000000000'"
    )


@pytest.mark.parametrize("path", ["UPPER", "a//b", "-a", "a" * 257, "a/../b"])
def test_what_is_no_name_of_a_repository(app: Client, path: str) -> None:
    answer = Client(app.port, path)("GET", "tags/list")
    assert (answer.status, answer.error) == (400, "NAME_INVALID")


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/v2/"), ("PUT", "/v2/_catalog"), ("PATCH", "manifests/v1"), ("POST", "tags/list")]
)
def test_methods_that_there_are_not(app: Client, method: str, path: str) -> None:
    answer = app.call(method, path) if path.startswith("/") else app(method, path)
    assert (answer.status, answer.error) == (405, "UNSUPPORTED")


def test_the_token_for_docker_login_is_for_the_registry(app: Client, ecr: Any) -> None:
    (data,) = ecr.get_authorization_token()["authorizationData"]
    assert data["proxyEndpoint"] == f"http://localhost:{app.port}"
    assert base64.b64decode(data["authorizationToken"]).startswith(b"AWS:")
    left = data["expiresAt"] - datetime.now(UTC)
    assert timedelta(hours=11) < left < timedelta(hours=13)


def test_ecr_s_rules_for_images_hold_for_its_api_too(app: Client, ecr: Any) -> None:
    name = name_of(app)
    _, manifest = app.image("v1")

    def refused(**parameters: Any) -> str:
        with pytest.raises(ClientError) as raised:
            ecr.put_image(repositoryName=name, **{"imageManifest": manifest.decode(), **parameters})
        return str(raised.value.response["Error"]["Code"])

    assert refused(imageTag="v1") == "ImageAlreadyExistsException"
    assert refused() == "ImageAlreadyExistsException"
    assert refused(imageTag="v2", imageDigest=digest_of(b"x")) == "ImageDigestDoesNotMatchException"
    assert refused(imageManifest="{", imageTag="v2") == "InvalidParameterException"


def test_what_is_signed_or_for_a_bucket_or_an_api_is_not_for_the_registry(app: Client) -> None:
    signed = "AWS4-HMAC-SHA256 Credential=k/20260101/us-east-1/apigateway/aws4_request, SignedHeaders=host, Signature=0"
    assert "docker-distribution-api-version" not in app.call("GET", "/v2/apis", authorization=signed).headers
    for host in ("bucket.s3.us-east-1.localhost:4566", "abc.execute-api.us-east-1.localhost:4566"):
        assert "docker-distribution-api-version" not in app.call("GET", "/v2/key", host=host).headers
