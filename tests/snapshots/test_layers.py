"""Layers, their policies, and functions that use them."""

from __future__ import annotations

import urllib.request
import uuid
from functools import partial

import pytest

from .harness.functions import archive, zipped
from .harness.plugin import recorded
from .harness.steps import all_pages, payload, refused, updated
from .harness.transformers import pattern, value

pytestmark = pytest.mark.scenario
api = partial(recorded, "lambda_api.json")

WITH_ENVIRONMENT = {"Environment": {"Variables": {}}, "Timeout": 30}
PYTHON = {"CompatibleRuntimes": ["python3.12"], "CompatibleArchitectures": ["x86_64"]}


@pytest.fixture
def layer(aws, snapshot):
    """`layer(**parameters)` publishes a version of a layer of the test's own; `layer.name` is its name."""
    snapshot.transform(pattern(r":layer:([^:]+):\d+$", "resource"))
    client = aws.lambda_

    def publish(name=None, **parameters):
        parameters.setdefault("Content", {"ZipFile": zipped({"data.txt": "layer"})})
        name = name or publish.name
        response = client.publish_layer_version(LayerName=name, **parameters)
        published.append({"LayerName": name, "VersionNumber": response["Version"]})
        return response

    publish.name, published = f"layer-{uuid.uuid4().hex[:10]}", []
    yield publish
    for version in published:
        client.delete_layer_version(**version)


@pytest.mark.parametrize(
    "runtimes",
    [
        pytest.param(
            [*(f"nodejs{n}.x" for n in (24, 22, 20, 18, 16, 14, 12)), *(f"python3.{n}" for n in range(14, 6, -1))],
            id="runtimes0",
        ),
        pytest.param(
            [
                *("java25", "java21", "java17", "java11", "java8.al2", "java8"),
                *("dotnet10", "dotnet8", "dotnet6", "dotnetcore3.1", "go1.x"),
                *("ruby3.4", "ruby3.3", "ruby3.2", "ruby2.7"),
            ],
            id="runtimes1",
        ),
        pytest.param(["provided.al2023", "provided.al2", "provided"], id="runtimes2"),
    ],
)
@api("TestLambdaLayer::test_layer_compatibilities")
def test_layer_compatibilities(snapshot, layer, runtimes):
    published = layer(CompatibleRuntimes=runtimes, CompatibleArchitectures=["arm64", "x86_64"])
    snapshot.match("publish_result", published)


@api("TestLambdaLayer::test_layer_exceptions")
def test_layer_exceptions(aws, snapshot, layer):
    client = aws.lambda_
    unchecked = aws.client("lambda", validate=False)
    published = layer(**PYTHON)
    snapshot.match("publish_result", published)
    error = refused(client.list_layers, CompatibleRuntime="runtimedoesnotexist")
    snapshot.match("list_layers_exc_compatibleruntime_invalid", error)
    error = refused(client.list_layers, CompatibleArchitecture="archdoesnotexist")
    snapshot.match("list_layers_exc_compatiblearchitecture_invalid", error)
    snapshot.match("list_nonexistent_layer", client.list_layer_versions(LayerName="layerdoesnotexist"))
    get = client.get_layer_version

    def absent(step, version, name=layer.name):
        snapshot.match(f"get_layer_version_exc_{step}", refused(get, LayerName=name, VersionNumber=version))

    absent("layer_doesnotexist", 1, "layerdoesnotexist")
    absent("layer_version_doesnotexist_negative", -1)
    absent("layer_version_doesnotexist_zero", 0)
    absent("layer_version_doesnotexist_2", 2)
    by_arn = client.get_layer_version_by_arn
    snapshot.match("get_layer_version_by_arn_exc_invalidarn", refused(by_arn, Arn=published["LayerArn"]))
    error = refused(by_arn, Arn=f"{published['LayerArn']}:2")
    snapshot.match("get_layer_version_by_arn_exc_nonexistentversion", error)
    delete = client.delete_layer_version
    snapshot.match("delete_nonexistent_response", delete(LayerName="layerdoesnotexist", VersionNumber=1))
    snapshot.match("delete_nonexistent_version_response", delete(LayerName=layer.name, VersionNumber=2))
    snapshot.match("delete_layer_response", delete(LayerName=layer.name, VersionNumber=1))
    snapshot.match("delete_layer_again_response", delete(LayerName=layer.name, VersionNumber=1))
    error = refused(delete, LayerName=layer.name, VersionNumber=-1)
    snapshot.match("delete_layer_version_exc_layerversion_invalid_version", error)
    empty = layer(f"{layer.name}-2", CompatibleRuntimes=[], CompatibleArchitectures=[])
    snapshot.match("publish_empty_result", empty)
    content = {"LayerName": f"{layer.name}-2", "Content": {"ZipFile": zipped({"data.txt": "layer"})}}
    for step, runtimes, architectures in (
        ("invalid_runtime_arch", ["invalidruntime"], ["invalidarch"]),
        (
            "partially_invalid_values",
            ["invalidruntime", "invalidruntime2", "nodejs20.x"],
            ["invalidarch", "x86_64"],
        ),
    ):
        compatible = {"CompatibleRuntimes": runtimes, "CompatibleArchitectures": architectures}
        error = refused(unchecked.publish_layer_version, **content, **compatible)
        snapshot.match(f"publish_layer_version_exc_{step}", error)


@api("TestLambdaLayer::test_layer_function_exceptions")
def test_layers_that_a_function_cannot_have(aws, snapshot, layer, create, refused_create):
    client = aws.lambda_
    versions = []
    for suffix in ("", "_2", "_3"):
        published = layer(CompatibleRuntimes=[], CompatibleArchitectures=["x86_64"])
        snapshot.match(f"publish_result{suffix}", published)
        versions.append(published["LayerVersionArn"])
    name = create(**WITH_ENVIRONMENT)["FunctionName"]
    snapshot.match("get_fn_result", client.get_function(FunctionName=name))

    def error(step, layers, **parameters):
        call = client.update_function_configuration
        snapshot.match(step, refused(call, FunctionName=name, Layers=layers, **parameters))

    error("two_layer_versions_single_function_exc", versions[:2])
    error("three_layer_versions_single_function_exc", versions)
    error("two_identical_layer_versions_single_function_exc", versions[:1] * 2)
    without_version = versions[0].rpartition(":")[0]
    error("add_nonexistent_layer_exc", [f"{without_version.rpartition(':')[0]}:doesnotexist:1"])
    error("add_nonexistent_layer_version_exc", [f"{without_version}:9"])
    error("add_layer_arn_without_version_exc", [without_version])
    other = aws.client("lambda", region="eu-west-1" if aws.region != "eu-west-1" else "us-east-1")
    content = {"ZipFile": zipped({"data.txt": "layer"})}
    elsewhere = other.publish_layer_version(LayerName=layer.name, Content=content)["LayerVersionArn"]
    try:
        error = refused_create(Layers=[elsewhere])
    finally:
        other.delete_layer_version(LayerName=layer.name, VersionNumber=1)
    snapshot.match("create_function_with_layer_in_different_region", error)


@api("TestLambdaLayer::test_layer_function_quota_exception")
def test_a_function_has_five_layers_at_most(aws, snapshot, refused_create):
    arn = f"arn:{aws.partition}:lambda:{aws.region}:{aws.account_id}:layer:layer"
    error = refused_create(Layers=[f"{arn}-{number}:1" for number in range(6)])
    snapshot.match("create_function_with_six_layers", error)


@api("TestLambdaLayer::test_layer_policy_lifecycle")
def test_layer_policy(aws, snapshot, layer):
    client = aws.lambda_
    snapshot.match("publish_result", layer(**PYTHON))
    version = {"LayerName": layer.name, "VersionNumber": 1}
    grant = {**version, "Action": "lambda:GetLayerVersion", "Principal": "*"}
    first = client.add_layer_version_permission(**grant, StatementId="s1")
    snapshot.match("add_policy_s1", first)
    snapshot.match("get_layer_version_policy", client.get_layer_version_policy(**version))
    second = client.add_layer_version_permission(**grant, StatementId="s2", RevisionId=first["RevisionId"])
    snapshot.match("add_policy_s2", second)
    snapshot.match("get_layer_version_policy_postadd2", client.get_layer_version_policy(**version))
    removed = client.remove_layer_version_permission(**version, StatementId="s2", RevisionId=second["RevisionId"])
    snapshot.match("remove_s2", removed)
    snapshot.match("get_layer_version_policy_postdeletes2", client.get_layer_version_policy(**version))


@api("TestLambdaLayer::test_layer_policy_exceptions")
def test_layer_policy_exceptions(aws, snapshot, layer):
    client = aws.lambda_
    snapshot.match("publish_result", layer(**PYTHON))
    version = {"LayerName": layer.name, "VersionNumber": 1}
    grant = {"Action": "lambda:GetLayerVersion", "Principal": "*", "StatementId": "s1"}
    add, remove = client.add_layer_version_permission, client.remove_layer_version_permission
    get = client.get_layer_version_policy
    snapshot.match("layer_permission_nopolicy_get", refused(get, **version))
    snapshot.match("add_layer_permission_result", add(**version, **grant))
    error = refused(add, **version, **{**grant, "Action": "*", "StatementId": "s2"})
    snapshot.match("layer_permission_action_invalid", error)
    snapshot.match("layer_permission_duplicate_statement", refused(add, **version, **grant))
    error = refused(add, **version, **{**grant, "StatementId": "s2"}, RevisionId="wrong")
    snapshot.match("layer_permission_wrong_revision", error)
    for step, absent in (
        ("layername", {"LayerName": f"{layer.name}-doesnotexist", "VersionNumber": 1}),
        ("layerversion", {"LayerName": layer.name, "VersionNumber": 2}),
    ):
        snapshot.match(f"layer_permission_{step}_doesnotexist_add", refused(add, **absent, **grant))
        snapshot.match(f"layer_permission_{step}_doesnotexist_get", refused(get, **absent))
        error = refused(remove, **absent, StatementId="s1")
        snapshot.match(f"layer_permission_{step}_doesnotexist_remove", error)
    error = refused(remove, **version, StatementId="doesnotexist")
    snapshot.match("layer_permission_statementid_doesnotexist_remove", error)
    error = refused(remove, **version, StatementId="s1", RevisionId="wrong")
    snapshot.match("layer_permission_wrong_revision_remove", error)


@api("TestLambdaLayer::test_layer_s3_content")
def test_layer_from_s3(aws, snapshot, layer):
    s3, bucket = aws.client("s3"), f"layers-{uuid.uuid4().hex[:10]}"
    s3.create_bucket(Bucket=bucket)
    try:
        s3.put_object(Bucket=bucket, Key="layer.zip", Body=zipped({"data.txt": "layer"}))
        published = layer(Content={"S3Bucket": bucket, "S3Key": "layer.zip"})
        snapshot.match("publish_layer_result", published)
        error = refused(layer, Content={"S3Bucket": bucket, "S3Key": "other.zip"})
    finally:
        s3.delete_object(Bucket=bucket, Key="layer.zip")
        s3.delete_bucket(Bucket=bucket)
    assert error.response["Error"]["Message"] == (
        "Error occurred while GetObject. S3 Error Code: NoSuchKey. S3 Error Message: The specified key does not exist."
    )


def test_life_of_a_layer(aws, snapshot, layer, create):
    client = aws.lambda_
    first = layer(Description="first", LicenseInfo="MIT", **PYTHON)
    snapshot.match("publish", first)
    assert downloaded(first["Content"]["Location"]) == zipped({"data.txt": "layer"})
    second = layer(Content={"ZipFile": zipped({"data.txt": "other"})})
    snapshot.match("publish_second", second)
    snapshot.match("get", client.get_layer_version(LayerName=layer.name, VersionNumber=1))
    by_layer_arn = client.get_layer_version(LayerName=first["LayerArn"], VersionNumber=2)
    snapshot.match("get_with_layer_arn", by_layer_arn)
    snapshot.match("get_by_arn", client.get_layer_version_by_arn(Arn=first["LayerVersionArn"]))
    snapshot.match("list_versions", client.list_layer_versions(LayerName=layer.name))
    function = create(Layers=[first["LayerVersionArn"]])
    snapshot.match("create_function", function["Layers"])
    client.delete_layer_version(LayerName=layer.name, VersionNumber=1)
    snapshot.match("list_versions_after_delete", client.list_layer_versions(LayerName=layer.name))
    configuration = client.get_function_configuration(FunctionName=function["FunctionName"])
    snapshot.match("function_after_delete", configuration["Layers"])
    update = {"FunctionName": function["FunctionName"], "Layers": [first["LayerVersionArn"]]}
    snapshot.match("deleted_version_again", refused(client.update_function_configuration, **update))
    snapshot.match("without_layers", client.update_function_configuration(**update | {"Layers": []}))
    client.delete_layer_version(LayerName=layer.name, VersionNumber=2)
    snapshot.match("publish_after_all_are_deleted", layer())


def test_lists_have_the_newest_version_that_matches(aws, snapshot, layer):
    client = aws.lambda_
    layer(CompatibleRuntimes=["python3.11", "python3.12"], CompatibleArchitectures=["x86_64"])
    layer(CompatibleRuntimes=["python3.12"], CompatibleArchitectures=["x86_64", "arm64"])
    layer(CompatibleRuntimes=["nodejs22.x"])
    layer()

    def newest(**asked):
        layers = [each for each in all_pages(aws, "list_layers", "Layers", **asked) if each["LayerName"] == layer.name]
        return layers[0]["LatestMatchingVersion"]["Version"] if layers else None

    snapshot.match("all_versions", client.list_layer_versions(LayerName=layer.name))
    for step, asked in {
        "anything": {},
        "python3.11": {"CompatibleRuntime": "python3.11"},
        "python3.12": {"CompatibleRuntime": "python3.12"},
        "python3.12 on x86_64": {"CompatibleRuntime": "python3.12", "CompatibleArchitecture": "x86_64"},
        "python3.11 on arm64": {"CompatibleRuntime": "python3.11", "CompatibleArchitecture": "arm64"},
        "arm64": {"CompatibleArchitecture": "arm64"},
    }.items():
        versions = all_pages(aws, "list_layer_versions", "LayerVersions", LayerName=layer.name, **asked)
        numbers = [version["Version"] for version in versions]
        snapshot.match(step, {"newest": newest(**asked), "versions": numbers})
    page = client.list_layer_versions(LayerName=layer.name, MaxItems=3)
    rest = client.list_layer_versions(LayerName=layer.name, MaxItems=3, Marker=page["NextMarker"])
    assert [each["Version"] for each in page["LayerVersions"] + rest["LayerVersions"]] == [4, 3, 2, 1]
    assert "NextMarker" not in rest


def test_a_later_layer_wins_and_the_function_finds_packages_of_layers(aws, isolated, layer, create):
    """`/opt` has the files of all layers in the function's order, and keeps those of a version that is deleted."""
    client = aws.lambda_
    files = [{"python/shared.py": f"NAME = 'layer {n}'", f"data/only-{n}.txt": str(n)} for n in (1, 2)]
    first, second = (
        layer(f"{layer.name}-{n}", Content={"ZipFile": zipped(files[n - 1])})["LayerVersionArn"] for n in (1, 2)
    )
    name = create("layers.py", Layers=[first, second])["FunctionName"]
    for arn in (first, second):
        client.delete_layer_version(LayerName=arn.split(":")[6], VersionNumber=1)
    expected = {"name": "layer 2", "data": ["only-1.txt", "only-2.txt"]}
    assert payload(client.invoke(FunctionName=name)) == expected
    third, fourth = (
        layer(f"{layer.name}-{n}", Content={"ZipFile": zipped(files[n - 1])})["LayerVersionArn"] for n in (1, 2)
    )
    client.update_function_configuration(FunctionName=name, Layers=[fourth, third])
    updated(aws, name)
    assert payload(client.invoke(FunctionName=name)) == expected | {"name": "layer 1"}
    client.update_function_configuration(FunctionName=name, Layers=[fourth])
    updated(aws, name)
    assert payload(client.invoke(FunctionName=name)) == {"name": "layer 2", "data": ["only-2.txt"]}


def test_another_account_needs_the_policy_of_a_layer_version(aws, snapshot, layer):
    if aws.is_aws:
        pytest.skip("AWS gives us one account")
    other = "222222222222"
    elsewhere = aws.client("lambda", account_id=other)
    snapshot.transform(value(other, "other-account"))
    published = layer()
    arn, layer_arn = published["LayerVersionArn"], published["LayerArn"]
    function = {
        "FunctionName": f"scenario-{uuid.uuid4().hex[:10]}",
        "Runtime": "python3.12",
        "Handler": "handler.handler",
        "Role": f"arn:aws:iam::{other}:role/scenario-role",
        "Code": {"ZipFile": archive("echo.py")},
        "Layers": [arn],
    }
    snapshot.match("create_function", refused(elsewhere.create_function, **function))
    snapshot.match("get", refused(elsewhere.get_layer_version_by_arn, Arn=arn))
    snapshot.match("get_what_does_not_exist", refused(elsewhere.get_layer_version_by_arn, Arn=f"{layer_arn}:9"))
    snapshot.match("list", refused(elsewhere.list_layer_versions, LayerName=layer_arn))
    grant = {"LayerName": layer.name, "VersionNumber": 1, "Action": "lambda:GetLayerVersion"}
    granted = aws.lambda_.add_layer_version_permission(**grant, StatementId="other", Principal=other)
    snapshot.match("grant", granted)
    assert elsewhere.get_layer_version(LayerName=layer_arn, VersionNumber=1)["LayerVersionArn"] == arn
    snapshot.match("created", elsewhere.create_function(**function)["Layers"])
    elsewhere.get_waiter("function_active_v2").wait(FunctionName=function["FunctionName"], WaiterConfig={"Delay": 1})
    aws.lambda_.remove_layer_version_permission(LayerName=layer.name, VersionNumber=1, StatementId="other")
    assert payload(elsewhere.invoke(FunctionName=function["FunctionName"], Payload=b'{"still": "there"}'))
    update = {"FunctionName": function["FunctionName"], "Layers": [arn]}
    snapshot.match("after_the_grant", refused(elsewhere.update_function_configuration, **update))
    elsewhere.delete_function(FunctionName=function["FunctionName"])


def test_policy_of_an_organization(aws, snapshot, layer):
    client = aws.lambda_
    layer()
    version = {"LayerName": layer.name, "VersionNumber": 1}
    grant = {**version, "Action": "lambda:GetLayerVersion", "OrganizationId": "o-0123456789"}
    added = client.add_layer_version_permission(**grant, StatementId="organization", Principal="*")
    snapshot.match("add", added)
    snapshot.match("policy", client.get_layer_version_policy(**version))
    client.remove_layer_version_permission(**version, StatementId="organization")
    snapshot.match("policy_after_remove", refused(client.get_layer_version_policy, **version))
    error = refused(client.remove_layer_version_permission, **version, StatementId="organization")
    snapshot.match("remove_again", error)


def downloaded(location):
    """What a presigned URL gives."""
    with urllib.request.urlopen(location) as response:
        return response.read()
