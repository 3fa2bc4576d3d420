"""Layers, and functions that have them. What the recordings show in full is in tests/snapshots/test_layers.py."""

from __future__ import annotations

import io
from typing import Any

import pytest

from lambda_provider.api import (
    AccessDeniedException,
    CodeStorageExceededException,
    InvalidParameterValueException,
    ResourceNotFoundException,
)
from lambda_provider.provider import LambdaProvider

from ..fakes import ACCOUNT, REGION, FakeHost, archive, context, creation
from .conftest import configuration, update, update_code

OTHER = "222222222222"
LAYER = f"arn:aws:lambda:{REGION}:{ACCOUNT}:layer:l"


def publish_layer(provider: LambdaProvider, name: str = "l", content: str = "layer", **members: Any) -> Any:
    request: Any = {"LayerName": name, "Content": {"ZipFile": archive(content)}, **members}
    return provider.publish_layer_version(context("PublishLayerVersion"), request)


def delete_layer(provider: LambdaProvider, number: int, name: str = "l") -> None:
    provider.delete_layer_version(context(), {"LayerName": name, "VersionNumber": number})


def versions(provider: LambdaProvider, **members: Any) -> list[int]:
    answer = provider.list_layer_versions(context(), {"LayerName": "l", **members})
    return [version["Version"] for version in answer["LayerVersions"]]


@pytest.fixture
def limited(runtime):
    """`limited(NAME=value)` is a provider with settings of its own; `limited(state_dir, …)` a durable one."""
    made: list[LambdaProvider] = []

    def make(state_dir: Any = None, **settings: int) -> LambdaProvider:
        host: Any = FakeHost({name: str(value) for name, value in settings.items()})
        made.append(LambdaProvider(host, runtime, state_dir=state_dir))
        made[-1].start()
        return made[-1]

    yield make
    for provider in made:
        provider.stop()


# Layers


def test_numbers_of_deleted_versions_are_not_used_again_even_after_a_restart(limited, tmp_path):
    provider = limited(tmp_path)
    assert [publish_layer(provider)["Version"] for _ in range(2)] == [1, 2]
    delete_layer(provider, 1)
    delete_layer(provider, 2)
    assert provider.list_layers(context(), {})["Layers"] == []
    provider.stop()
    again = limited(tmp_path)
    assert publish_layer(again)["Version"] == 3
    assert versions(again) == [3]


def test_layers_of_accounts_and_regions_are_their_own(provider):
    publish_layer(provider)
    for elsewhere in (context(account_id=OTHER), context(region="us-east-1")):
        assert provider.list_layers(elsewhere, {})["Layers"] == []
        with pytest.raises(ResourceNotFoundException, match=r"The resource you requested does not exist\."):
            provider.get_layer_version(elsewhere, {"LayerName": "l", "VersionNumber": 1})


def test_an_arn_of_another_region_names_nothing_here(provider):
    publish_layer(provider)
    there = context(region="us-east-1")
    for operation in (provider.get_layer_version, provider.publish_layer_version):
        request: Any = {"LayerName": LAYER, "VersionNumber": 1, "Content": {"ZipFile": archive()}}
        with pytest.raises(ResourceNotFoundException):
            operation(there, request)
    assert provider.list_layer_versions(there, {"LayerName": LAYER})["LayerVersions"] == []
    provider.delete_layer_version(there, {"LayerName": LAYER, "VersionNumber": 1})
    assert versions(provider) == [1]


@pytest.mark.parametrize("number", [0, -1])
def test_a_number_below_one_is_refused(provider, number):
    request: Any = {"LayerName": "l", "VersionNumber": number}
    for operation in (provider.get_layer_version, provider.delete_layer_version, provider.get_layer_version_policy):
        with pytest.raises(InvalidParameterValueException, match="Layer Version Cannot be less than 1"):
            operation(context(), request)


@pytest.mark.parametrize(
    ("operation", "resource"),
    [
        ("publish_layer_version", LAYER),
        ("list_layer_versions", LAYER),
        ("delete_layer_version", f"{LAYER}:1"),
        ("get_layer_version", f"{LAYER}:1"),
    ],
)
def test_layers_of_another_account_are_not_the_callers(provider, operation, resource):
    publish_layer(provider)
    action = "".join(word.capitalize() for word in operation.split("_"))
    request: Any = {"LayerName": LAYER, "VersionNumber": 1, "Content": {"ZipFile": archive()}}
    with pytest.raises(AccessDeniedException) as refusal:
        getattr(provider, operation)(context(action, account_id=OTHER), request)
    assert str(refusal.value) == (
        f"User: arn:aws:iam::{OTHER}:root is not authorized to perform: lambda:{action} on resource: {resource} "
        f"because no resource-based policy allows the lambda:{action} action"
    )
    assert versions(provider) == [1]


def test_lists_are_paged(provider):
    for name in "cab":
        publish_layer(provider, name)
    page = provider.list_layers(context(), {"MaxItems": 2})
    rest = provider.list_layers(context(), {"MaxItems": 2, "Marker": page["NextMarker"]})
    assert [layer["LayerName"] for layer in page["Layers"] + rest["Layers"]] == ["a", "b", "c"]
    assert "NextMarker" not in rest


def test_a_marker_of_one_filter_is_no_marker_of_another(provider):
    for _ in range(2):
        publish_layer(provider, CompatibleRuntimes=["python3.12"])
    asked: Any = {"LayerName": "l", "MaxItems": 1}
    marker = provider.list_layer_versions(context(), asked)["NextMarker"]
    with pytest.raises(InvalidParameterValueException):
        provider.list_layer_versions(context(), {**asked, "Marker": marker, "CompatibleRuntime": "python3.12"})


def test_layers_count_towards_the_storage_of_the_account(limited):
    size = len(archive("layer"))
    provider = limited(LAMBDA_LIMITS_TOTAL_CODE_SIZE=2 * size)
    publish_layer(provider)
    publish_layer(provider)
    assert provider.store.usage(ACCOUNT, REGION) == (0, 2 * size)
    with pytest.raises(CodeStorageExceededException):
        publish_layer(provider)
    with pytest.raises(CodeStorageExceededException):
        provider.create_function(context(), creation())
    delete_layer(provider, 1)
    publish_layer(provider)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "Uploaded file must be a non-empty zip"),
        (b"no zip", "Could not unzip uploaded file. Please check your file, then try to upload again."),
        (archive("x" * 1001), "Unzipped size must be smaller than 1000 bytes"),
    ],
)
def test_archives_are_checked_like_those_of_functions(limited, content, words):
    provider = limited(LAMBDA_LIMITS_CODE_SIZE_UNZIPPED=1000)
    with pytest.raises(InvalidParameterValueException) as refusal:
        publish_layer(provider, Content={"ZipFile": content})
    assert str(refusal.value) == words
    assert provider.list_layers(context(), {})["Layers"] == []


def test_an_archive_comes_from_the_s3_of_the_host(provider, host):
    class S3:
        def get_object(self, **parameters: str) -> Any:
            assert parameters == {"Bucket": "b", "Key": "k", "VersionId": "v"}
            return {"Body": io.BytesIO(archive("from S3"))}

    host.clients["s3"] = S3()
    published = publish_layer(provider, Content={"S3Bucket": "b", "S3Key": "k", "S3ObjectVersion": "v"})
    path, _, query = published["Content"]["Location"].removeprefix("http://gateway:4566").partition("?")
    assert provider.download_code(path, query).body == archive("from S3")


class Bucket:
    """An S3 with one object, whose version is `version`."""

    version: str | None = "v1"

    def get_object(self, **parameters: str) -> Any:
        answer = {"Body": io.BytesIO(archive("from S3"))}
        return answer | {"VersionId": self.version} if self.version else answer


REFERENCE = {"S3Bucket": "b", "S3Key": "k", "S3ObjectStorageMode": "REFERENCE"}


def test_code_that_stays_in_s3_says_where_and_does_not_count(provider, host):
    """AWS Lambda Developer Guide, "Self-managed S3 code storage"."""
    host.clients["s3"] = Bucket()
    resolved = {"S3Bucket": "b", "S3Key": "k", "S3ObjectVersion": "v1"}
    assert publish_layer(provider, Content=REFERENCE)["Content"]["ResolvedS3Object"] == resolved
    provider.create_function(context(), creation(Code=REFERENCE, Publish=True))
    assert provider.get_function(context(), {"FunctionName": "f"})["Code"]["ResolvedS3Object"] == resolved
    assert provider.store.usage(ACCOUNT, REGION) == (1, 0)
    update_code(provider)
    assert "ResolvedS3Object" not in provider.get_function(context(), {"FunctionName": "f"})["Code"]
    assert provider.store.usage(ACCOUNT, REGION) == (1, len(archive("other")))


@pytest.mark.parametrize("version", [None, "null"])
def test_code_that_stays_in_s3_needs_a_bucket_with_versions(provider, host, version):
    host.clients["s3"] = Bucket()
    host.clients["s3"].version = version
    with pytest.raises(InvalidParameterValueException, match="versioning of the bucket"):
        publish_layer(provider, Content=REFERENCE)
    publish_layer(provider, Content=REFERENCE | {"S3ObjectStorageMode": "COPY"})


def test_a_zip_file_cannot_stay_in_s3(provider):
    with pytest.raises(InvalidParameterValueException, match="Please do not provide other FunctionCode parameters"):
        publish_layer(provider, Content={"ZipFile": archive(), "S3ObjectStorageMode": "REFERENCE"})


def test_the_archive_of_a_layer_that_is_missing_stops_nothing_but_its_functions(limited, tmp_path, caplog):
    provider = limited(tmp_path)
    arn = publish_layer(provider)["LayerVersionArn"]
    provider.stop()
    (archived,) = (tmp_path / "code").iterdir()
    archived.unlink()
    provider = limited(tmp_path)
    assert f"the code of layer l in {REGION} is missing: no archive {archived.stem}" in caplog.text
    assert versions(provider) == [1]
    provider.create_function(context(), creation(Layers=[arn]))
    failed = configuration(provider)
    assert (failed["State"], failed["StateReasonCode"]) == ("Failed", "InvalidZipFileException")
    assert "is missing from the state directory" in failed["StateReason"]


# Functions that have them


def test_a_deleted_version_keeps_working_for_functions_that_have_it(provider, active, runtime):
    arn = publish_layer(provider)["LayerVersionArn"]
    name = active(Layers=[arn])
    (layer,) = runtime.deployed[f"{configuration(provider)['FunctionArn']}:$LATEST"].layers
    delete_layer(provider, 1)
    assert layer.path.exists()
    assert update(provider, Description="changed")["Layers"] == [{"Arn": arn, "CodeSize": len(archive("layer"))}]
    provider.publish_version(context(), {"FunctionName": name})
    with pytest.raises(InvalidParameterValueException, match=f"Layer version {arn} does not exist"):
        update(provider, Layers=[arn])
    assert "Layers" not in update(provider, Layers=[])
    assert layer.path.exists(), "version 1 has it"
    provider.delete_function(context(), {"FunctionName": name})
    assert not layer.path.exists()


def test_the_runtime_gets_layers_in_the_order_of_the_function(provider, active, runtime):
    arns = [publish_layer(provider, name, name)["LayerVersionArn"] for name in ("a", "b")]
    active(Layers=arns[::-1])
    layers = next(iter(runtime.deployed.values())).layers
    assert [layer.path.read_bytes() for layer in layers] == [archive("b"), archive("a")]


def test_compatibility_is_not_asked_of_a_function(active, provider):
    """https://repost.aws/questions/QUyzOdvP4GQPyzcy-u-7eceA: metadata for lists."""
    compatible = {"CompatibleRuntimes": ["nodejs22.x"], "CompatibleArchitectures": ["arm64"]}
    active(Layers=[publish_layer(provider, **compatible)["LayerVersionArn"]])


def test_layers_without_code_too_large(limited):
    provider = limited(LAMBDA_LIMITS_CODE_SIZE_UNZIPPED=1000)
    arns = [publish_layer(provider, name, "x" * 600)["LayerVersionArn"] for name in "ab"]
    with pytest.raises(InvalidParameterValueException) as refusal:
        provider.create_function(context(), creation(Layers=arns))
    assert str(refusal.value) == "Layers consume more than the available size of 1000 bytes"


def test_code_and_layers_together_too_large(limited):
    provider = limited(LAMBDA_LIMITS_CODE_SIZE_UNZIPPED=1000)
    large, small = (publish_layer(provider, str(n), "x" * n)["LayerVersionArn"] for n in (600, 300))
    too_large = (
        r"Function code combined with layers exceeds the maximum allowed size of 1000 bytes\. "
        r"The actual size is 1100 bytes\."
    )
    with pytest.raises(InvalidParameterValueException, match=too_large):
        provider.create_function(context(), creation(Code={"ZipFile": archive("y" * 500)}, Layers=[large]))
    provider.create_function(context(), creation(Code={"ZipFile": archive("y" * 500)}, Layers=[small]))
    configuration(provider)
    with pytest.raises(InvalidParameterValueException, match=too_large):
        update(provider, Layers=[large])
    with pytest.raises(InvalidParameterValueException, match=too_large):
        update_code(provider, content="z" * 800)
    update_code(provider, content="z" * 700)


def test_of_another_account_permission_comes_before_region_and_existence(provider):
    """https://github.com/ShivamJoker/Canvas-Lambda-Layer/issues/2: a layer of another account and region is not granted."""
    for region in (REGION, "us-east-1"):
        foreign = f"arn:aws:lambda:{region}:{OTHER}:layer:l:1"
        with pytest.raises(AccessDeniedException, match=rf"lambda:GetLayerVersion on resource: {foreign} because"):
            provider.create_function(context(), creation(Layers=[f"{LAYER}:1", foreign]))
    with pytest.raises(InvalidParameterValueException, match="Layers are not in the same region as the function"):
        provider.create_function(context(), creation(Layers=[f"arn:aws:lambda:us-east-1:{ACCOUNT}:layer:l:1"]))


def test_a_layer_version_that_is_deleted_during_an_update_is_refused(provider, active, monkeypatch):
    """What is deleted between the look and the commit takes its archive along: the commit must not count on it."""
    active()
    arn = publish_layer(provider)["LayerVersionArn"]
    look = provider.require_unzipped_size

    def delete_after_look(*seen: Any) -> None:
        look(*seen)
        delete_layer(provider, 1)

    monkeypatch.setattr(provider, "require_unzipped_size", delete_after_look)
    with pytest.raises(InvalidParameterValueException, match=f"Layer version {arn} does not exist"):
        update(provider, Layers=[arn])
    monkeypatch.undo()
    assert "Layers" not in configuration(provider)
    update(provider, Description="goes on")


def test_a_load_over_what_is_there_keeps_the_archives_that_both_have(limited, tmp_path):
    provider = limited(tmp_path)
    provider.create_function(context(), creation(Layers=[publish_layer(provider)["LayerVersionArn"]]))
    before = configuration(provider)
    provider.on_before_state_load()
    provider.on_after_state_load()
    assert configuration(provider)["Layers"] == before["Layers"]
    assert len(list((tmp_path / "code").iterdir())) == 2
    delete_layer(provider, 1)
    provider.delete_function(context(), {"FunctionName": "f"})
    assert list((tmp_path / "code").iterdir()) == []
