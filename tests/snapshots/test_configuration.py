"""Parts of a function's configuration, and limits on what is accepted."""

from __future__ import annotations

import random
from functools import partial

import pytest

from .harness.functions import archive, zipped
from .harness.plugin import recorded
from .harness.steps import refused, updated
from .harness.transformers import value

pytestmark = pytest.mark.scenario
api = partial(recorded, "lambda_api.json")

LOGGED = {"Environment": {"Variables": {}}, "Timeout": 5, "MemorySize": 256}
SNAPSTART_HANDLERS = {
    "dotnet10": "dotnet::Dotnet.Function::FunctionHandler",
    "dotnet8": "dotnet::Dotnet.Function::FunctionHandler",
    "java11": "echo.Handler",
    "java17": "echo.Handler",
    "java21": "echo.Handler",
    "java25": "echo.Handler",
    "python3.12": "handler.handler",
    "python3.13": "handler.handler",
}


@api("TestLoggingConfig::test_advanced_logging_configuration_format_switch")
def test_log_format_there_and_back(aws, snapshot, create):
    name = created_with_logs(aws, snapshot, create)
    change_logging(aws, snapshot, name, {"LogFormat": "JSON"})
    change_logging(aws, snapshot, name, {"LogFormat": "Text"}, suffix="_v2")


@pytest.mark.parametrize(
    "config",
    [
        pytest.param({"LogFormat": "JSON"}, id="partial_config0"),
        pytest.param({"LogFormat": "JSON", "ApplicationLogLevel": "DEBUG"}, id="partial_config1"),
        pytest.param({"LogFormat": "JSON", "SystemLogLevel": "DEBUG"}, id="partial_config2"),
        pytest.param({"LogGroup": "cool_lambda"}, id="partial_config3"),
    ],
)
@api("TestLoggingConfig::test_function_partial_advanced_logging_configuration_update")
def test_partial_logging_config(aws, snapshot, create, config):
    name = created_with_logs(aws, snapshot, create)
    change_logging(aws, snapshot, name, config)


def created_with_logs(aws, snapshot, create):
    """The first three steps of the logging scenarios; the function's name."""
    created = create(**LOGGED)
    name = created["FunctionName"]
    snapshot.match("create_response", created)
    snapshot.match("get_function_response", aws.lambda_.get_function(FunctionName=name))
    snapshot.match("function_config", aws.lambda_.get_function_configuration(FunctionName=name))
    return name


def change_logging(aws, snapshot, name, config, suffix=""):
    """The steps of one change."""
    changed = aws.lambda_.update_function_configuration(FunctionName=name, LoggingConfig=config)
    snapshot.match(f"updated_config{suffix}", changed)
    updated(aws, name)
    snapshot.match(f"received_config{suffix}", aws.lambda_.get_function_configuration(FunctionName=name))


@pytest.mark.parametrize("runtime", SNAPSTART_HANDLERS)
@api("TestLambdaSnapStart::test_snapstart_lifecycle")
def test_snapstart_off(aws, snapshot, create, runtime):
    created = create(
        Runtime=runtime,
        Handler=SNAPSTART_HANDLERS[runtime],
        Code={"ZipFile": archive("echo.py")},  # What is not invoked need not be of the runtime's language.
        MemorySize=1024,
        Timeout=5,
        SnapStart={"ApplyOn": "None"},
    )
    name = created["FunctionName"]
    snapshot.match("create_function_response", created)
    snapshot.match("get_function_response_latest", aws.lambda_.get_function(FunctionName=name))
    aws.lambda_.publish_version(FunctionName=name, Description="version1")
    snapshot.match("get_function_response_version_1", aws.lambda_.get_function(FunctionName=name, Qualifier="1"))


@pytest.mark.parametrize(
    "runtime",
    ["dotnetcore3.1", "go1.x", "java8", "nodejs12.x", "nodejs14.x", "provided", "python3.7", "ruby2.7"],
)
@api("TestRuntimeValidation::test_create_deprecated_function_runtime_with_validation_enabled")
def test_deprecated_runtimes_are_refused(snapshot, refused_create, runtime):
    error = refused_create(Runtime=runtime)
    snapshot.match("deprecation_error", error)


@api("TestLambdaSizeLimits::test_large_environment_fails_multiple_keys")
def test_environment_of_more_than_four_kilobytes(snapshot, refused_create):
    error = refused_create(Environment={"Variables": {"SMALL_VAR": "ok", "LARGE_VAR": "x" * 4064}})
    snapshot.match("failured_create_fn_result_multi_key", error)


@api("TestLambdaSizeLimits::test_large_lambda")
def test_large_code(snapshot, create):
    noise = random.Random(1).randbytes(20_000_000)
    code = zipped({"handler.py": b"def handler(event, context): return event\n", "noise": noise})
    created = create(Code={"ZipFile": code}, Timeout=10)
    snapshot.match("create_function_large_zip", created)


@api("TestLambdaSizeLimits::test_oversized_zipped_create_lambda")
def test_zip_file_that_is_too_large(snapshot, refused_create):
    snapshot.match("invalid_param_exc", refused_create(Code={"ZipFile": b"\0" * (52_428_800 + 1)}))


@api("TestLambdaSizeLimits::test_oversized_unzipped_lambda")
def test_code_that_is_too_large_unzipped(snapshot, refused_create):
    code = zipped({"handler.py": b"", "zeros": b"\0" * 262_144_001})
    snapshot.match("invalid_param_exc", refused_create(Code={"ZipFile": code}))


@api("TestLambdaAccountSettings::test_account_settings")
def test_account_settings(aws, snapshot):
    settings = aws.lambda_.get_account_settings()
    names = {member: sorted(settings[member]) for member in ("AccountLimit", "AccountUsage")}
    snapshot.match("acc_settings_modded", {**settings, **names})


@api("TestLambdaAccountSettings::test_account_settings_total_code_size_config_update")
def test_total_code_size(aws, snapshot, new_name, create):
    region = "ap-southeast-2" if not aws.is_aws else aws.region  # Nobody else counts there at the same time.
    client = aws.client("lambda", region=region)

    def used():
        return client.get_account_settings()["AccountUsage"]["TotalCodeSize"]

    name, before = new_name(), used()
    client.create_function(
        FunctionName=name,
        Runtime="python3.12",
        Handler="handler.handler",
        Role=aws.role_arn,
        Code={"ZipFile": archive("context.py")},
    )
    client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    created = used()
    snapshot.match("is_total_code_size_diff_create_function_more_than_200", created - before > 200)
    client.update_function_configuration(FunctionName=name, Description="changed")
    client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})
    changed = used()
    snapshot.match("total_code_size_diff_update_function_configuration", changed - created)
    client.publish_version(FunctionName=name)
    published = used()
    step = "is_total_code_size_diff_publish_version_after_config_update_more_than_200"
    snapshot.match(step, published - changed > 200)
    client.delete_function(FunctionName=name)


def test_settings_that_do_not_go_together(aws, snapshot, refused_create):
    snap_start = {"SnapStart": {"ApplyOn": "PublishedVersions"}}
    tenants = {"TenancyConfig": {"TenantIsolationMode": "PER_TENANT"}}
    access_point = f"arn:aws:elasticfilesystem:{aws.region}:{aws.account_id}:access-point/fsap-0123456789abcdef0"
    snapshot.match("level_of_text", refused_create(LoggingConfig={"SystemLogLevel": "WARN"}))
    snapshot.match("memory", refused_create(MemorySize=10241))
    snapshot.match("timeout", refused_create(Timeout=901))
    snapshot.match("snapstart_runtime", refused_create(**snap_start, Runtime="nodejs22.x"))
    snapshot.match("snapstart_storage", refused_create(**snap_start, EphemeralStorage={"Size": 513}))
    snapshot.match("snapstart_tenants", refused_create(**snap_start, **tenants))
    files = [{"Arn": access_point, "LocalMountPath": "/mnt/files"}]
    snapshot.match("files_without_vpc", refused_create(FileSystemConfigs=files))
    snapshot.match("image_config", refused_create(ImageConfig={"Command": ["handler.handler"]}))
    snapshot.match("half_a_vpc", refused_create(VpcConfig={"SubnetIds": ["subnet-00000000"], "SecurityGroupIds": []}))
    queue = f"arn:aws:sqs:{aws.region}:{aws.account_id}:not-there"
    snapshot.match("dead_letter_queue_that_is_not_there", refused_create(DeadLetterConfig={"TargetArn": queue}))
    snapshot.match("dead_letter_function", refused_create(DeadLetterConfig={"TargetArn": aws.arn("f")}))


def test_tenants_are_named_exactly_when_they_are_isolated(aws, snapshot, create):
    client = aws.lambda_
    created = create(TenancyConfig={"TenantIsolationMode": "PER_TENANT"})
    snapshot.match("tenancy_config", created["TenancyConfig"])
    isolated, plain = created["FunctionName"], create()["FunctionName"]
    snapshot.match("without_tenant", refused(client.invoke, FunctionName=isolated))
    snapshot.match("with_tenant", client.invoke(FunctionName=isolated, TenantId="blue")["StatusCode"])
    snapshot.match("with_needless_tenant", refused(client.invoke, FunctionName=plain, TenantId="blue"))


def test_runtime_management(aws, snapshot, create):
    client = aws.lambda_
    created = create(Publish=True)
    name, build = created["FunctionName"], created["RuntimeVersionConfig"]["RuntimeVersionArn"]
    snapshot.transform(value(name, "function-name"))
    get, put = client.get_runtime_management_config, client.put_runtime_management_config
    snapshot.match("default", get(FunctionName=name))
    snapshot.match("manual", put(FunctionName=name, UpdateRuntimeOn="Manual", RuntimeVersionArn=build))
    snapshot.match("get_manual", get(FunctionName=name))
    snapshot.match("version", put(FunctionName=name, Qualifier="1", UpdateRuntimeOn="FunctionUpdate"))
    snapshot.match("get_version", get(FunctionName=name, Qualifier="1"))
    snapshot.match("manual_without_arn", refused(put, FunctionName=name, UpdateRuntimeOn="Manual"))
    snapshot.match("version_that_is_not_there", refused(get, FunctionName=name, Qualifier="7"))
    snapshot.match("function_that_is_not_there", refused(get, FunctionName="nope"))


def test_recursion_config(aws, snapshot, create):
    client = aws.lambda_
    name = create()["FunctionName"]
    snapshot.transform(value(name, "function-name"))
    get, put = client.get_function_recursion_config, client.put_function_recursion_config
    snapshot.match("default", get(FunctionName=name))
    snapshot.match("put", put(FunctionName=name, RecursiveLoop="Allow"))
    snapshot.match("get", get(FunctionName=aws.arn(name)))
    snapshot.match("no_such_value", refused(put, FunctionName=name, RecursiveLoop="Perhaps"))
    snapshot.match("qualified", refused(get, FunctionName=f"{name}:1"))
    snapshot.match("function_that_is_not_there", refused(get, FunctionName="nope"))
