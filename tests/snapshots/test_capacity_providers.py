"""Capacity providers, and the functions that run on them."""

from __future__ import annotations

import contextlib
import uuid

import pytest

from .harness.steps import all_pages, refused, updated
from .harness.transformers import value

pytestmark = pytest.mark.scenario


@pytest.fixture(scope="module")
def network(aws):
    """A VPC with a subnet and a security group: VpcConfig, and the ids in it."""
    ec2 = aws.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.7.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.7.0.0/24")["Subnet"]["SubnetId"]
    group = ec2.create_security_group(GroupName=f"scenario-{uuid.uuid4().hex}", Description="d", VpcId=vpc)["GroupId"]
    yield {"SubnetIds": [subnet], "SecurityGroupIds": [group]}
    ec2.delete_security_group(GroupId=group)
    ec2.delete_subnet(SubnetId=subnet)
    ec2.delete_vpc(VpcId=vpc)


@pytest.fixture
def provider(aws, snapshot, network):
    """`provider()` makes a capacity provider that goes when the test ends."""
    names = []
    snapshot.transform(value(network["SubnetIds"][0], "subnet"), value(network["SecurityGroupIds"][0], "group"))

    def create(**parameters):
        names.append(f"scenario-{uuid.uuid4().hex[:10]}")
        snapshot.transform(value(names[-1], "provider"))
        parameters.setdefault("VpcConfig", network)
        return aws.lambda_.create_capacity_provider(
            CapacityProviderName=names[-1],
            PermissionsConfig={"CapacityProviderOperatorRoleArn": aws.role_arn},
            **parameters,
        )["CapacityProvider"]

    yield create
    for name in names:
        with contextlib.suppress(aws.lambda_.exceptions.ResourceNotFoundException):
            aws.lambda_.delete_capacity_provider(CapacityProviderName=name)


def test_the_life_of_a_provider(aws, snapshot, provider):
    client = aws.lambda_
    created = provider(Tags={"a": "b"})
    snapshot.match("create", created)
    arn = created["CapacityProviderArn"]
    name = arn.rpartition(":")[2]
    snapshot.match("get_by_arn", client.get_capacity_provider(CapacityProviderName=arn))
    scaling = {"MaxVCpuCount": 8}
    changed = client.update_capacity_provider(CapacityProviderName=name, CapacityProviderScalingConfig=scaling)
    snapshot.match("update", changed)
    snapshot.match("tags", client.list_tags(Resource=arn))
    pages = all_pages(
        aws, "list_capacity_providers", "CapacityProviders", State="Active", PaginationConfig={"PageSize": 1}
    )
    snapshot.match("listed", [each for each in pages if each["CapacityProviderArn"] == arn])
    snapshot.match("delete", client.delete_capacity_provider(CapacityProviderName=name))
    snapshot.match("get_deleted", refused(client.get_capacity_provider, CapacityProviderName=name))


def test_what_is_refused(aws, snapshot, provider, network):
    client = aws.lambda_
    name = provider()["CapacityProviderArn"].rpartition(":")[2]

    def error(step, **parameters):
        fine = {
            "CapacityProviderName": name,
            "VpcConfig": network,
            "PermissionsConfig": {"CapacityProviderOperatorRoleArn": aws.role_arn},
        }
        snapshot.match(step, refused(client.create_capacity_provider, **{**fine, **parameters}))

    error("taken")
    error("no_subnet", CapacityProviderName="x", VpcConfig={**network, "SubnetIds": ["subnet-00000000"]})
    types = {"AllowedInstanceTypes": ["m7g.large"], "ExcludedInstanceTypes": ["m7g.xlarge"]}
    error("allowed_and_excluded", CapacityProviderName="x", InstanceRequirements=types)
    manual = {"ScalingMode": "Manual"}
    error("manual_without_policies", CapacityProviderName="x", CapacityProviderScalingConfig=manual)
    absent = "scenario-not-there"
    snapshot.match("update_absent", refused(client.update_capacity_provider, CapacityProviderName=absent))
    snapshot.match("delete_absent", refused(client.delete_capacity_provider, CapacityProviderName=absent))
    listing = client.list_function_versions_by_capacity_provider
    snapshot.match("versions_of_absent", refused(listing, CapacityProviderName=absent))


def test_functions_on_a_provider(aws, snapshot, provider, create, refused_create):
    client = aws.lambda_
    arn = provider()["CapacityProviderArn"]

    def on(arn):
        config = {"LambdaManagedInstancesCapacityProviderConfig": {"CapacityProviderArn": arn}}
        return {"CapacityProviderConfig": config, "MemorySize": 2048, "Runtime": "python3.13"}

    absent = refused_create(**on(f"{arn}-absent"))
    snapshot.match("provider_that_is_not_there", absent)
    created = create(**on(arn), Publish=True)
    snapshot.transform(value(created["FunctionName"], "function-name"))
    snapshot.match("capacity_provider_config", created["CapacityProviderConfig"])
    listing = client.list_function_versions_by_capacity_provider
    snapshot.match("versions", listing(CapacityProviderName=arn))
    snapshot.match("delete_in_use", refused(client.delete_capacity_provider, CapacityProviderName=arn))
    other = create(MemorySize=2048)["FunctionName"]
    config = {"FunctionName": other, "CapacityProviderConfig": on(arn)["CapacityProviderConfig"]}
    snapshot.match("later", refused(client.update_function_configuration, **config))
    updated(aws, other)
    client.delete_function(FunctionName=created["FunctionName"])
    snapshot.match("versions_after_deletion", listing(CapacityProviderName=arn))
