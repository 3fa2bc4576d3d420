"""Layers, their policies, and functions that use them."""

from __future__ import annotations

import uuid
from functools import partial

import pytest

from .harness.functions import zipped
from .harness.plugin import recorded
from .harness.steps import refused
from .harness.transformers import pattern

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
