from __future__ import annotations

import asyncio

import pytest

from lambda_provider.api import InvalidParameterValueException, ResourceNotFoundException

from ..fakes import ACCOUNT, REGION, FakeEc2, arn, client_error, context, creation
from .conftest import configuration, update

SNAP_START = {"SnapStart": {"ApplyOn": "PublishedVersions"}}
TENANTS = {"TenancyConfig": {"TenantIsolationMode": "PER_TENANT"}}
VPC = {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}
EFS = f"arn:aws:elasticfilesystem:{REGION}:{ACCOUNT}:access-point/fsap-{'0' * 17}"
FILES = {"FileSystemConfigs": [{"Arn": EFS, "LocalMountPath": "/mnt/a"}]}
LEVEL_WITHOUT_JSON = (
    'LogLevel is not supported when LogFormat is set to "Text". '
    'Remove LogLevel from your request or change the LogFormat to "Json" and try again.'
)


@pytest.fixture(autouse=True)
def ec2(host):
    host.clients["ec2"] = FakeEc2()


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (FILES, f"Function must be configured to execute in a VPC to reference access point {EFS}."),
        ({"LoggingConfig": {"ApplicationLogLevel": "INFO"}}, LEVEL_WITHOUT_JSON),
        ({"LoggingConfig": {"LogFormat": "Text", "SystemLogLevel": "WARN"}}, LEVEL_WITHOUT_JSON),
        (
            {"MemorySize": 10241},
            "'MemorySize' value failed to satisfy constraint: Member must have value less than or equal to 10240",
        ),
        (
            {"Timeout": 901},
            "'Timeout' value failed to satisfy constraint: Member must have value less than or equal to 900",
        ),
        (
            {**SNAP_START, "EphemeralStorage": {"Size": 513}},
            "Ephemeral storage greater than 512 MB is not supported for SnapStart enabled functions.",
        ),
        ({**SNAP_START, "Runtime": "python3.11"}, "python3.11 is not supported for SnapStart enabled functions."),
        ({**SNAP_START, **TENANTS}, "SnapStart is not supported for functions with tenant isolation enabled."),
        (
            {**SNAP_START, **FILES, "VpcConfig": VPC},
            "File systems are not supported for SnapStart enabled functions.",
        ),
        (
            {"ImageConfig": {"Command": ["a"]}},
            "Please don't provide ImageConfig when the intended function PackageType is Zip.",
        ),
        (
            {"VpcConfig": {"SubnetIds": ["subnet-1"]}},
            "SubnetIds and SecurityGroupIds must coexist or be both empty list.",
        ),
        (
            {"VpcConfig": {"SubnetIds": ["subnet-1", "subnet-x"], "SecurityGroupIds": ["sg-1"]}},
            "Security groups and subnets must be in the same VPC.",
        ),
        (
            {"VpcConfig": {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-x"]}},
            "Security groups and subnets must be in the same VPC.",
        ),
        (
            {"VpcConfig": {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-0"]}},
            "Error occurred while DescribeSecurityGroups. EC2 Error Code: InvalidGroup.NotFound. "
            "EC2 Error Message: The security group 'sg-0' does not exist",
        ),
        (
            {"DeadLetterConfig": {"TargetArn": arn("other")}},
            f"The provided target ARN {arn('other')} is not an SQS queue or SNS topic.",
        ),
    ],
)
def test_settings_that_do_not_go_together(provider, members, message):
    with pytest.raises(InvalidParameterValueException) as raised:
        provider.create_function(context(), creation("f", **members))
    assert raised.value.message == message
    assert provider.store.find(ACCOUNT, REGION, "f") is None


def test_a_rule_holds_for_what_an_update_leaves_as_it_was(provider, active):
    active("f", EphemeralStorage={"Size": 1024})
    with pytest.raises(InvalidParameterValueException, match=r"^Ephemeral storage"):
        update(provider, **SNAP_START)
    assert configuration(provider)["SnapStart"]["ApplyOn"] == "None"


def test_a_level_alone_is_fine_while_the_format_is_json(provider, active):
    active("f", LoggingConfig={"LogFormat": "JSON"})
    assert update(provider, LoggingConfig={"SystemLogLevel": "WARN"})["LoggingConfig"]["SystemLogLevel"] == "WARN"


def test_the_vpc_of_a_function_is_that_of_its_subnets(provider, active):
    """Recorded: test_vpc_config."""
    active("f", VpcConfig=VPC)
    common = {"Ipv6AllowedForDualStack": False}
    assert configuration(provider)["VpcConfig"] == {**VPC, **common, "VpcId": "vpc-1"}
    empty = {"SubnetIds": [], "SecurityGroupIds": []}
    assert update(provider, VpcConfig=empty)["VpcConfig"] == {**empty, **common, "VpcId": ""}


def test_a_host_without_ec2_is_told(provider, host):
    del host.clients["ec2"]
    with pytest.raises(InvalidParameterValueException, match="EC2 Error Code: ServiceUnavailable"):
        provider.create_function(context(), creation("f", VpcConfig=VPC))


class _Missing:
    """SQS, SNS and KMS without the resource that is asked for."""

    def get_queue_url(self, **_):
        raise client_error("AWS.SimpleQueueService.NonExistentQueue")

    def get_topic_attributes(self, **_):
        raise client_error("NotFound")

    def describe_key(self, **_):
        raise client_error("NotFoundException", "Key 'k' does not exist")


@pytest.mark.parametrize(("service", "action"), [("sqs", "SendMessage on SQS"), ("sns", "Publish on SNS")])
def test_a_dead_letter_target_that_is_not_there(provider, host, service, action):
    host.clients[service] = _Missing()
    target = {"TargetArn": f"arn:aws:{service}:{REGION}:{ACCOUNT}:t"}
    with pytest.raises(InvalidParameterValueException) as raised:
        provider.create_function(context(), creation("f", DeadLetterConfig=target))
    assert raised.value.message == f"The provided execution role does not have permissions to call {action}"


def test_a_key_that_is_not_there(provider, host, active):
    host.clients["kms"] = _Missing()
    active("without-variables", KMSKeyArn="arn:aws:kms:k")
    with pytest.raises(InvalidParameterValueException) as raised:
        provider.create_function(
            context(), creation("f", KMSKeyArn="arn:aws:kms:k", Environment={"Variables": {"AB": "c"}})
        )
    assert raised.value.message == (
        "Lambda was unable to configure access to your environment variables because the KMS key is invalid for "
        "CreateGrant. Please check your KMS key settings. "
        "KMS Exception: NotFoundException KMS Message: Key 'k' does not exist"
    )


def test_durable_settings_have_defaults_and_are_made_at_creation(provider, active):
    active("f", DurableConfig={"ExecutionTimeout": 60})
    assert configuration(provider)["DurableConfig"] == {"ExecutionTimeout": 60, "RetentionPeriodInDays": 14}
    changed = update(provider, DurableConfig={"RetentionPeriodInDays": 3})["DurableConfig"]
    assert changed == {"ExecutionTimeout": 60, "RetentionPeriodInDays": 3}
    active("g")
    with pytest.raises(InvalidParameterValueException, match="only when a function is created"):
        update(provider, "g", DurableConfig={"RetentionPeriodInDays": 3})


@pytest.mark.parametrize("kind", ["RequestResponse", "Event", "DryRun"])
@pytest.mark.parametrize(
    ("isolated", "tenant", "message"),
    [
        (True, {}, "The invoked function is enabled with tenancy configuration. Add a valid tenant ID"),
        (False, {"TenantId": "t"}, "The invoked function is not enabled with tenancy configuration. Remove the tenant"),
        (True, {"TenantId": "t"}, None),
    ],
)
def test_an_invoke_names_its_tenant_exactly_when_tenants_are_isolated(
    provider, runtime, active, kind, isolated, tenant, message
):
    active("f", **(TENANTS if isolated else {}))
    invoke = provider.invoke(context(), {"FunctionName": "f", "InvocationType": kind, **tenant})
    if message is None:
        assert asyncio.run(invoke)["StatusCode"] < 300
        assert [each.tenant_id for each in [*runtime.invocations, *runtime.events]] == (
            [] if kind == "DryRun" else ["t"]
        )
        return
    with pytest.raises(InvalidParameterValueException) as raised:
        asyncio.run(invoke)
    assert raised.value.message.startswith(message)


@pytest.mark.parametrize("qualifier", [None, "1"])
def test_runtime_management_of_a_version(provider, active, qualifier):
    active("f", Publish=True)
    request = {"FunctionName": "f", **({"Qualifier": qualifier} if qualifier else {})}
    shown = arn("f", qualifier or "$LATEST")
    get, put = provider.get_runtime_management_config, provider.put_runtime_management_config
    assert get(context(), request) == {"UpdateRuntimeOn": "Auto", "FunctionArn": shown}
    build = f"arn:aws:lambda:{REGION}::runtime:{'0' * 64}"
    manual = {"UpdateRuntimeOn": "Manual", "RuntimeVersionArn": build}
    assert put(context(), {**request, **manual}) == {**manual, "FunctionArn": shown}
    assert get(context(), request) == {**manual, "FunctionArn": shown}
    assert configuration(provider, qualifier=qualifier)["RuntimeVersionConfig"] == {"RuntimeVersionArn": build}
    other = configuration(provider, qualifier="1" if qualifier is None else None)
    assert other["RuntimeVersionConfig"]["RuntimeVersionArn"] != build
    for refused in ({"UpdateRuntimeOn": "Manual"}, {"UpdateRuntimeOn": "Auto", "RuntimeVersionArn": build}):
        with pytest.raises(InvalidParameterValueException, match=r"^RuntimeVersionArn is "):
            put(context(), {**request, **refused})
    with pytest.raises(ResourceNotFoundException, match=f"^Function not found: {arn('f', '7')}$"):
        get(context(), {"FunctionName": "f", "Qualifier": "7"})


def test_recursion_is_ended_unless_it_is_allowed(provider, active):
    active()
    get, put = provider.get_function_recursion_config, provider.put_function_recursion_config
    assert get(context(), {"FunctionName": "f"}) == {"RecursiveLoop": "Terminate"}
    assert put(context(), {"FunctionName": arn("f"), "RecursiveLoop": "Allow"}) == {"RecursiveLoop": "Allow"}
    assert get(context(), {"FunctionName": "f"}) == {"RecursiveLoop": "Allow"}
    with pytest.raises(ResourceNotFoundException, match=f"^Function not found: {arn('nope')}$"):
        get(context(), {"FunctionName": "nope"})


def test_everything_survives_a_restart(tmp_path, host, runtime):
    from lambda_provider.provider import LambdaProvider

    def everything(provider):
        return [
            provider.get_function_url_config(context(), {"FunctionName": "f"}),
            provider.get_function_event_invoke_config(context(), {"FunctionName": "f"}),
            provider.get_runtime_management_config(context(), {"FunctionName": "f"}),
            provider.get_function_recursion_config(context(), {"FunctionName": "f"}),
            provider.list_tags(context(), {"Resource": arn("f")}),
            provider.get_function_code_signing_config(context(), {"FunctionName": "f"}),
            provider.list_code_signing_configs(context(), {}),
            provider.list_capacity_providers(context(), {}),
        ]

    first = LambdaProvider(host, runtime, state_dir=tmp_path)
    first.start()
    first.create_function(context(), creation("f", Tags={"a": "b"}))
    first.create_function_url_config(context(), {"FunctionName": "f", "AuthType": "NONE", "Cors": {"MaxAge": 1}})
    first.put_function_event_invoke_config(context(), {"FunctionName": "f", "MaximumRetryAttempts": 0})
    first.put_runtime_management_config(context(), {"FunctionName": "f", "UpdateRuntimeOn": "FunctionUpdate"})
    first.put_function_recursion_config(context(), {"FunctionName": "f", "RecursiveLoop": "Allow"})
    publishers = {"SigningProfileVersionArns": ["arn:aws:signer:eu-west-1:111111111111:/signing-profiles/p"]}
    config = first.create_code_signing_config(context(), {"AllowedPublishers": publishers})["CodeSigningConfig"]
    first.put_function_code_signing_config(
        context(), {"FunctionName": "f", "CodeSigningConfigArn": config["CodeSigningConfigArn"]}
    )
    first.create_capacity_provider(
        context(),
        {
            "CapacityProviderName": "c",
            "VpcConfig": VPC,
            "PermissionsConfig": {"CapacityProviderOperatorRoleArn": f"arn:aws:iam::{ACCOUNT}:role/r"},
        },
    )
    before = everything(first)
    url_id = before[0]["FunctionUrl"].removeprefix("https://").partition(".")[0]
    first.stop()
    second = LambdaProvider(host, runtime, state_dir=tmp_path)
    assert everything(second) == before
    assert second.store.url(url_id) is not None
    second.stop()
