"""Functions: creating, finding, listing and changing them, and what is refused."""

from __future__ import annotations

import json
from functools import partial

import pytest
from botocore.exceptions import ClientError, ParamValidationError

from .conftest import active
from .harness.functions import archive
from .harness.plugin import recorded
from .harness.steps import all_pages, refused, updated, while_it_settles
from .harness.transformers import value

pytestmark = pytest.mark.scenario
api = partial(recorded, "lambda_api.json")

WITH_ENVIRONMENT = {"Environment": {"Variables": {}}, "Timeout": 30}
QUALIFIED_OPERATIONS = ("get_function", "get_function_configuration", "get_function_event_invoke_config")
OPERATIONS = (
    "delete_function",
    "get_function",
    "get_function_code_signing_config",
    "get_function_concurrency",
    "get_function_configuration",
    "get_function_event_invoke_config",
    "get_function_url_config",
)


@api("TestLambdaFunction::test_create_lambda_exceptions")
def test_create_function_refuses(aws, snapshot, create, refused_create):
    def error(step, **parameters):
        snapshot.match(step, refused_create(**parameters))

    error("invalid_role_arn_exc", Role="r1")
    error("invalid_runtime_exc", Runtime="non-existent-runtime")
    error("uppercase_runtime_exc", Runtime="PYTHON3.9")
    with pytest.raises(ParamValidationError) as raised:
        create(Architectures=[])
    snapshot.match("empty_architectures", raised.value)
    error("multiple_architectures", Architectures=["x86_64", "arm64"])
    error("uppercase_architecture", Architectures=["X86_64"])
    error("invalid_zip_exc", Code={"ZipFile": b"this is not a zip file, just a random string"})


@api("TestLambdaFunction::test_update_lambda_exceptions")
def test_update_function_configuration_refuses(aws, snapshot, create):
    name = create()["FunctionName"]

    def error(step, **parameters):
        snapshot.match(step, refused(aws.lambda_.update_function_configuration, FunctionName=name, **parameters))

    error("invalid_role_arn_exc", Role="r1")
    error("invalid_runtime_exc", Runtime="non-existent-runtime")
    error("uppercase_runtime_exc", Runtime="PYTHON3.9")


@pytest.mark.parametrize("operation", [*OPERATIONS, "invoke"])
@api("TestLambdaFunction::test_get_function_wrong_region")
def test_get_function_wrong_region(aws, snapshot, operation):
    other = "us-west-2" if aws.region != "us-west-2" else "us-east-1"
    snapshot.transform(value(other, "wrong-region"))
    error = refused(getattr(aws.lambda_, operation), FunctionName=aws.arn("does-not-matter", region=other))
    snapshot.match("wrong_region_exception", error)


@pytest.mark.parametrize("operation", OPERATIONS)
@api("TestLambdaFunction::test_ops_on_nonexisting_fn")
def test_operation_on_a_function_that_is_not_there(aws, snapshot, new_name, operation):
    name = new_name()
    snapshot.transform(value(name, "function-name"))
    snapshot.match("not_found_exception", refused(getattr(aws.lambda_, operation), FunctionName=name))


@pytest.mark.parametrize("operation", QUALIFIED_OPERATIONS)
@api("TestLambdaFunction::test_ops_on_nonexisting_version")
def test_operation_on_a_version_that_is_not_there(aws, snapshot, create, operation):
    name = create()["FunctionName"]
    snapshot.transform(value(name, "function-name"))
    error = refused(getattr(aws.lambda_, operation), FunctionName=name, Qualifier="1221")
    snapshot.match("version_not_found_exception", error)


@pytest.mark.parametrize("operation", ["delete_function", "get_function", "get_function_configuration"])
@api("TestLambdaFunction::test_ops_with_arn_qualifier_mismatch")
def test_qualifier_in_the_arn_and_beside_it(aws, snapshot, operation):
    call = getattr(aws.lambda_, operation)
    error = refused(call, FunctionName=aws.arn("some-function:$LATEST"), Qualifier="1")
    snapshot.match("not_match_exception", error)
    error = refused(call, FunctionName=aws.arn("some-function:$LATEST"), Qualifier="$LATEST")
    snapshot.match("match_exception", error)


@api("TestLambdaFunction::test_invalid_invoke")
def test_invoke_refuses_a_malformed_name(aws, snapshot):
    malformed = f"arn:{aws.partition}:lambda:{aws.region}:123400000000@function:myfn"
    error = refused(aws.lambda_.invoke, FunctionName=malformed, Payload=b"{}")
    snapshot.match("invoke_function_name_pattern_exc", error)


@api("TestLambdaFunction::test_lambda_concurrent_config_updates")
def test_an_update_during_an_update_is_refused(aws, snapshot, create):
    created = create(**WITH_ENVIRONMENT)
    name = created["FunctionName"]
    snapshot.match("create-function-response", created)

    def update_twice():
        update = partial(aws.lambda_.update_function_configuration, FunctionName=name)
        update(Environment={"Variables": {"KEY": "1"}})
        try:
            return update(Environment={"Variables": {"KEY": "2"}})
        except ClientError as error:
            return error

    error = while_it_settles(aws, update_twice, lambda: updated(aws, name))
    snapshot.match("update-during-in-progress-update-exc", error)
    updated(aws, name)
    variables = aws.lambda_.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    assert variables == {"KEY": "1"}


@api("TestLambdaFunction::test_list_functions")
def test_list_functions(aws, snapshot, create, new_name):
    first, second = new_name("list-a"), new_name("list-b")
    snapshot.match("create_response_1", create(FunctionName=first, Publish=True, **WITH_ENVIRONMENT))
    snapshot.match("create_response_2", create("nothing.py", FunctionName=second, **WITH_ENVIRONMENT))
    error = refused(aws.lambda_.list_functions, FunctionVersion="invalid")
    snapshot.match("list_functions_invalid_functionversion", error)

    def ours(**parameters):
        functions = all_pages(aws, "list_functions", "Functions", **parameters)
        found = [function for function in functions if function["FunctionName"] in (first, second)]
        return {"Functions": sorted(found, key=lambda function: function["FunctionName"])}

    snapshot.match("list_all", ours(FunctionVersion="ALL"))
    snapshot.match("list_default", ours())


@api("TestLambdaFunction::test_vpc_config")
def test_vpc_config(aws, snapshot, create, network):
    groups, subnets, vpc = network
    snapshot.transform(
        value(groups[0], "security_group_id_1"),
        value(groups[1], "security_group_id_2"),
        value(subnets[0], "subnet_id_1"),
        value(subnets[1], "subnet_id_2"),
        value(vpc, "vpc_id"),
    )
    created = create(
        **{**WITH_ENVIRONMENT, "Timeout": 5},
        MemorySize=256,
        VpcConfig={"SubnetIds": subnets[:1], "SecurityGroupIds": groups[:1]},
    )
    name = created["FunctionName"]
    snapshot.match("create_response", created)
    snapshot.match("get_function_response", aws.lambda_.get_function(FunctionName=name))
    for step, config in (
        ("update_vpcconfig", {"SubnetIds": subnets[1:], "SecurityGroupIds": groups[1:]}),
        ("delete_vpcconfig", {"SubnetIds": [], "SecurityGroupIds": []}),
    ):
        changed = aws.lambda_.update_function_configuration(FunctionName=name, VpcConfig=config)
        snapshot.match(f"{step}_update_response", changed)
        updated(aws, name)
        snapshot.match(f"{step}_get_function_response", aws.lambda_.get_function(FunctionName=name))


@api("TestLambdaFunction::test_invalid_vpc_config_security_group")
def test_invalid_security_groups(snapshot, refused_create, network):
    _groups, subnets, _vpc = network
    absent, malformed = "sg-0123456789abcdef0", "sg_malformed"
    snapshot.transform(value(absent, "security_group_id_1"), value(malformed, "security_group_id_2"))

    def error(group):
        return refused_create(VpcConfig={"SubnetIds": subnets[:1], "SecurityGroupIds": [group]})

    snapshot.match("create-response-non-existent-security-group", error(absent))
    snapshot.match("create-response-invalid-format-security-group", error(malformed))


@pytest.fixture
def network(aws):
    """Two security groups and two subnets of a VPC, made for the test."""
    ec2 = aws.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnets = [ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{n}.0/24")["Subnet"]["SubnetId"] for n in (1, 2)]
    groups = [
        ec2.create_security_group(GroupName=f"group-{n}", Description="scenario", VpcId=vpc)["GroupId"] for n in (1, 2)
    ]
    yield groups, subnets, vpc
    for group in groups:
        ec2.delete_security_group(GroupId=group)
    for subnet in subnets:
        ec2.delete_subnet(SubnetId=subnet)
    ec2.delete_vpc(VpcId=vpc)


@api("TestPartialARNMatching::test_update_function_configuration_full_arn")
def test_update_by_full_arn(aws, create):
    arn = create()["FunctionArn"]
    changed = aws.lambda_.update_function_configuration(FunctionName=arn, Description="by its ARN")
    assert changed["Description"] == "by its ARN"
    assert changed["FunctionArn"] == arn


@api("TestPartialARNMatching::test_cross_region_arn_function_access")
def test_a_function_of_another_region_is_not_reachable_by_its_arn(aws, create):
    arn = create()["FunctionArn"]
    other = aws.client("lambda", region="eu-west-1" if aws.region != "eu-west-1" else "us-east-1")
    error = refused(other.get_function, FunctionName=arn)
    assert error.response["Error"]["Code"] == "ResourceNotFoundException"
    assert aws.lambda_.get_function(FunctionName=arn)["Configuration"]["FunctionArn"] == arn


@recorded("lambda.json", "TestLambdaBaseFeatures::test_function_state")
def test_function_state(aws, snapshot, create):
    created = create(wait=False)
    snapshot.match("create-fn-response", created)
    active(aws, created["FunctionName"])
    snapshot.match("get-fn-response", aws.lambda_.get_function(FunctionName=created["FunctionName"]))


@recorded("lambda.json", "TestLambdaCleanup::test_recreate_function")
def test_a_deleted_name_can_be_used_again(aws, snapshot, create):
    parameters = {"Handler": "lambda_echo.handler", **WITH_ENVIRONMENT}
    first = create(**parameters)
    snapshot.match("create_function_response_one", first)
    aws.lambda_.delete_function(FunctionName=first["FunctionName"])
    snapshot.match("create_function_response_two", create(FunctionName=first["FunctionName"], **parameters))
    answer = aws.lambda_.invoke(FunctionName=first["FunctionName"], Payload=b'{"again": true}')
    assert json.load(answer["Payload"]) == {"again": True}


@api("TestLambdaImages::test_lambda_zip_file_to_image")
def test_a_zip_function_does_not_become_an_image(aws, snapshot, create):
    client, created = aws.lambda_, create()
    name = created["FunctionName"]
    snapshot.match("create-image-response", created)

    def get(suffix=""):
        snapshot.match(f"get-function-code-response{suffix}", client.get_function(FunctionName=name))
        snapshot.match(f"get-function-config-response{suffix}", client.get_function_configuration(FunctionName=name))

    get()
    image = f"{aws.account_id}.dkr.ecr.{aws.region}.amazonaws.com/repository:latest"
    error = refused(client.update_function_code, FunctionName=name, ImageUri=image)
    snapshot.match("zipfile-to-image-error", error)
    get("-after-update")


@api("TestLambdaImages::test_lambda_image_crud")
def test_an_image_function_stays_one(aws, snapshot, create):
    client = aws.lambda_
    repository = f"{aws.account_id}.dkr.ecr.{aws.region}.amazonaws.com/repository"
    snapshot.transform(value(f"{repository}-2", "repo_uri_2"))
    snapshot.transform(value(repository, "repo_uri"))
    created = create(
        PackageType="Image",
        Code={"ImageUri": f"{repository}:latest"},
        Environment={"Variables": {"CUSTOM_ENV": "test"}},
    )
    name = created["FunctionName"]
    snapshot.match("create-image-response", created)

    def get(suffix=""):
        snapshot.match(f"get-function-code-response{suffix}", client.get_function(FunctionName=name))
        snapshot.match(f"get-function-config-response{suffix}", client.get_function_configuration(FunctionName=name))

    get()
    error = refused(client.update_function_code, FunctionName=name, ZipFile=archive("echo.py"))
    snapshot.match("image-to-zipfile-error", error)
    updated = client.update_function_code(FunctionName=name, ImageUri=f"{repository}-2:latest")
    snapshot.match("update-function-code-response", updated)
    client.get_waiter("function_updated_v2").wait(FunctionName=name)
    get("-after-update")


@recorded("lambda.json", "TestLambdaBehavior::test_mixed_architecture")
def test_update_code_changes_the_architecture(aws, snapshot, create):
    created = create(**WITH_ENVIRONMENT, Architectures=["x86_64"])
    snapshot.match("create_function_response", created)
    changed = aws.lambda_.update_function_code(
        FunctionName=created["FunctionName"], ZipFile=archive("echo.py"), Architectures=["arm64"]
    )
    snapshot.match("update_function_code_response", changed)
