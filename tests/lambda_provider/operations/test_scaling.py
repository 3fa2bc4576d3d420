"""PutFunctionScalingConfig and GetFunctionScalingConfig."""

from __future__ import annotations

import pytest

from lambda_provider.api import InvalidParameterValueException, ResourceConflictException, ResourceNotFoundException
from lambda_runtime.managed_instances import Bounds

from ..fakes import ACCOUNT, REGION, FakeEc2, arn, context
from .conftest import configuration

PROVIDER = f"arn:aws:lambda:{REGION}:{ACCOUNT}:capacity-provider:c"
ON_INSTANCES = {
    "Runtime": "python3.13",
    "MemorySize": 2048,
    "CapacityProviderConfig": {"LambdaManagedInstancesCapacityProviderConfig": {"CapacityProviderArn": PROVIDER}},
}


def put(provider, qualifier="1", name="f", **bounds):
    request = {"FunctionName": name, "Qualifier": qualifier, "FunctionScalingConfig": bounds}
    return provider.put_function_scaling_config(context(), request)


def get(provider, qualifier="1"):
    return provider.get_function_scaling_config(context(), {"FunctionName": "f", "Qualifier": qualifier})


@pytest.fixture
def managed(provider, host, active):
    """A function on managed instances, with version 1."""
    host.clients["ec2"] = FakeEc2()
    provider.create_capacity_provider(
        context(),
        {
            "CapacityProviderName": "c",
            "VpcConfig": {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]},
            "PermissionsConfig": {"CapacityProviderOperatorRoleArn": f"arn:aws:iam::{ACCOUNT}:role/operator"},
        },
    )
    active(**ON_INSTANCES)
    provider.publish_version(context(), {"FunctionName": "f"})
    configuration(provider, "f", "1")


def test_bounds_are_kept_by_version(provider, managed):
    assert get(provider) == {
        "FunctionArn": arn("f", "1"),
        "AppliedFunctionScalingConfig": {"MinExecutionEnvironments": 3},
    }
    assert put(provider, MinExecutionEnvironments=1, MaxExecutionEnvironments=9) == {"FunctionState": "Active"}
    bounds = {"MinExecutionEnvironments": 1, "MaxExecutionEnvironments": 9}
    assert get(provider) == {
        "FunctionArn": arn("f", "1"),
        "AppliedFunctionScalingConfig": bounds,
        "RequestedFunctionScalingConfig": bounds,
    }
    assert "RequestedFunctionScalingConfig" not in get(provider, "$LATEST.PUBLISHED")
    put(provider)
    assert "RequestedFunctionScalingConfig" not in get(provider)


def test_version_without_environments_is_deactivated_until_it_may_have_some(provider, runtime, managed):
    call = {"FunctionName": "f", "Qualifier": "1"}
    assert put(provider, MinExecutionEnvironments=0, MaxExecutionEnvironments=0) == {"FunctionState": "Deactivated"}
    assert configuration(provider, "f", "1")["State"] == "Deactivated"
    assert configuration(provider)["State"] == "Active"
    with pytest.raises(ResourceConflictException, match="following state: Deactivated"):
        runtime.run(provider.invoke(context(), call))
    put(provider, MinExecutionEnvironments=0, MaxExecutionEnvironments=1)
    assert runtime.run(provider.invoke(context(), call))["StatusCode"] == 200


def test_minimum_above_the_maximum_is_refused(provider, managed):
    with pytest.raises(InvalidParameterValueException, match="MinExecutionEnvironments"):
        put(provider, MinExecutionEnvironments=2, MaxExecutionEnvironments=1)


def test_default_functions_do_not_have_bounds(provider, active, publish):
    active()
    publish()
    for qualifier in ("1", "$LATEST.PUBLISHED"):
        with pytest.raises(InvalidParameterValueException, match="isn't supported for Lambda Default functions"):
            put(provider, qualifier)
        with pytest.raises(InvalidParameterValueException, match="isn't supported for Lambda Default functions"):
            get(provider, qualifier)


def test_version_that_is_not_there(provider, managed):
    with pytest.raises(ResourceNotFoundException) as error:
        put(provider, "7")
    assert str(error.value) == f"Function not found: {arn('f', '7')}"
    with pytest.raises(ResourceNotFoundException):
        put(provider, "1", "other")


def bounds_of(runtime, number="1"):
    """What the data plane was told."""

    async def read():
        return runtime.bounds.get(arn("f", number))

    return runtime.run(read())


def test_the_data_plane_has_the_bounds_and_the_concurrency(provider, runtime, managed):
    runtime.until(lambda: arn("f", "1") in runtime.deployed)
    deployed = runtime.deployed[arn("f", "1")]
    assert (deployed.max_concurrency, deployed.log_format) == (16, "JSON")
    assert bounds_of(runtime) == Bounds(1, None)
    put(provider, MinExecutionEnvironments=2, MaxExecutionEnvironments=4)
    assert bounds_of(runtime) == Bounds(2, 4)
    put(provider, MaxExecutionEnvironments=0)
    assert bounds_of(runtime) == Bounds(0, 0)
    put(provider)
    assert bounds_of(runtime) == Bounds(1, None)
    put(provider, "$LATEST.PUBLISHED", MinExecutionEnvironments=3)
    assert bounds_of(runtime) == Bounds(3, None)
    provider.delete_function(context(), {"FunctionName": "f"})
    assert bounds_of(runtime) is None


def test_the_newest_version_can_be_invoked_as_such(provider, runtime, managed):
    call = {"FunctionName": "f", "Qualifier": "$LATEST.PUBLISHED"}
    assert runtime.run(provider.invoke(context(), call))["ExecutedVersion"] == "1"


def test_the_concurrency_of_an_environment_depends_on_runtime_and_memory_unless_it_is_set(provider, managed):
    def concurrency(**members):
        return provider.store.find(ACCOUNT, REGION, "f").latest.configuration.max_concurrency

    assert concurrency() == 16
    config = {"CapacityProviderArn": PROVIDER, "PerExecutionEnvironmentMaxConcurrency": 5}
    member = {"CapacityProviderConfig": {"LambdaManagedInstancesCapacityProviderConfig": config}}
    provider.update_function_configuration(context(), {"FunctionName": "f", **member})
    assert concurrency() == 5


def test_functions_elsewhere_take_one_invocation_at_a_time(runtime, active):
    active()
    assert runtime.deployed[arn("f", "$LATEST")].max_concurrency is None


def test_there_is_no_provisioned_concurrency_on_managed_instances(provider, managed):
    request = {"FunctionName": "f", "Qualifier": "1", "ProvisionedConcurrentExecutions": 1}
    with pytest.raises(InvalidParameterValueException, match="capacity provider"):
        provider.put_provisioned_concurrency_config(context(), request)
