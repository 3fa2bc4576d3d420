from __future__ import annotations

import pytest

from lambda_provider.api import (
    InvalidParameterValueException,
    ResourceConflictException,
    ResourceNotFoundException,
)

from ..fakes import ACCOUNT, REGION, FakeEc2, arn, context, creation
from .conftest import update

ROLE = f"arn:aws:iam::{ACCOUNT}:role/operator"
VPC = {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}


def provider_arn(name):
    return f"arn:aws:lambda:{REGION}:{ACCOUNT}:capacity-provider:{name}"


@pytest.fixture(autouse=True)
def ec2(host):
    host.clients["ec2"] = FakeEc2()


def create(provider, name="c", **members):
    request = {
        "CapacityProviderName": name,
        "VpcConfig": VPC,
        "PermissionsConfig": {"CapacityProviderOperatorRoleArn": ROLE},
        **members,
    }
    return provider.create_capacity_provider(context(), request)["CapacityProvider"]


def get(provider, name="c"):
    return provider.get_capacity_provider(context(), {"CapacityProviderName": name})["CapacityProvider"]


def on(name):
    config = {"LambdaManagedInstancesCapacityProviderConfig": {"CapacityProviderArn": provider_arn(name)}}
    return {"CapacityProviderConfig": config, "MemorySize": 2048, "Runtime": "python3.13"}


def test_a_provider_lives(provider):
    created = create(provider, InstanceRequirements={"AllowedInstanceTypes": ["m7g.*"]})
    assert created["State"] == "Pending"
    assert created["CapacityProviderArn"] == provider_arn("c")
    assert created["VpcConfig"] == VPC
    assert get(provider) == get(provider, provider_arn("c")) == {**created, "State": "Active"}
    scaling = {
        "ScalingMode": "Manual",
        "ScalingPolicies": [
            {"PredefinedMetricType": "LambdaCapacityProviderAverageCPUUtilization", "TargetValue": 50.0}
        ],
    }
    changed = provider.update_capacity_provider(
        context(), {"CapacityProviderName": "c", "CapacityProviderScalingConfig": scaling}
    )["CapacityProvider"]
    assert changed["CapacityProviderScalingConfig"] == {"MaxVCpuCount": 400, **scaling}
    assert changed["InstanceRequirements"] == created["InstanceRequirements"]
    deleted = provider.delete_capacity_provider(context(), {"CapacityProviderName": "c"})["CapacityProvider"]
    assert deleted["State"] == "Deleting"
    with pytest.raises(ResourceNotFoundException) as raised:
        get(provider)
    assert raised.value.message == f"Capacity provider not found: {provider_arn('c')}"


def test_a_name_is_taken_once(provider):
    create(provider)
    with pytest.raises(ResourceConflictException):
        create(provider, provider_arn("c"))


def test_list_in_pages_and_by_state(provider):
    for name in ("b", "a", "c"):
        create(provider, name)
    first = provider.list_capacity_providers(context(), {"MaxItems": 2, "State": "Active"})
    second = provider.list_capacity_providers(context(), {"Marker": first["NextMarker"], "State": "Active"})
    found = [each["CapacityProviderArn"] for each in first["CapacityProviders"] + second["CapacityProviders"]]
    assert found == [provider_arn(name) for name in ("b", "a", "c")]
    assert provider.list_capacity_providers(context(), {"State": "Pending"}) == {"CapacityProviders": []}


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (
            {"VpcConfig": {**VPC, "SubnetIds": ["subnet-0"]}},
            "Error occurred while DescribeSubnets. EC2 Error Code: InvalidSubnetID.NotFound. "
            "EC2 Error Message: The subnet ID 'subnet-0' does not exist",
        ),
        (
            {"InstanceRequirements": {"AllowedInstanceTypes": ["a"], "ExcludedInstanceTypes": ["b"]}},
            "You can specify either AllowedInstanceTypes or ExcludedInstanceTypes, but not both.",
        ),
        (
            {"CapacityProviderScalingConfig": {"ScalingMode": "Manual"}},
            "ScalingPolicies are required when ScalingMode is Manual.",
        ),
        (
            {"PropagateTags": {"Mode": "None", "ExplicitTags": {"a": "b"}}},
            "ExplicitTags are supported only when Mode is Explicit.",
        ),
        ({"Tags": {str(number): "" for number in range(51)}}, "Number of tags exceeds resource tag limit."),
    ],
)
def test_what_cannot_be(provider, members, message):
    with pytest.raises(InvalidParameterValueException) as raised:
        create(provider, **members)
    assert raised.value.message == message
    assert provider.list_capacity_providers(context(), {}) == {"CapacityProviders": []}


def test_security_groups_are_optional(provider):
    assert create(provider, VpcConfig={"SubnetIds": ["subnet-1"], "SecurityGroupIds": []})["State"] == "Pending"


def test_functions_use_a_provider_that_exists(provider, active):
    with pytest.raises(ResourceNotFoundException, match=r"^Capacity provider not found: "):
        provider.create_function(context(), creation("f", **on("c")))
    create(provider)
    active("f", **on("c"), Publish=True)
    update(provider, "f", Description="other")
    provider.publish_version(context(), {"FunctionName": "f"})
    active("g", **on("c"))
    request = {"CapacityProviderName": "c", "MaxItems": 2}
    first = provider.list_function_versions_by_capacity_provider(context(), request)
    second = provider.list_function_versions_by_capacity_provider(context(), {**request, "Marker": first["NextMarker"]})
    assert first["CapacityProviderArn"] == provider_arn("c")
    found = [each["FunctionArn"] for each in first["FunctionVersions"] + second["FunctionVersions"]]
    assert found == [arn("f", "$LATEST"), arn("f", "1"), arn("f", "2"), arn("g", "$LATEST")]
    with pytest.raises(ResourceConflictException):
        provider.delete_capacity_provider(context(), {"CapacityProviderName": "c"})


def test_a_function_moves_to_a_provider_at_its_creation_only(provider, active):
    create(provider)
    active("f", MemorySize=2048)
    with pytest.raises(InvalidParameterValueException) as raised:
        update(provider, "f", **on("c"))
    assert raised.value.message == "CapacityProviderConfig isn't supported for Lambda Default functions."
