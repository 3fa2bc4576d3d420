"""Reserved and provisioned concurrency."""

from __future__ import annotations

from functools import partial

import pytest

from .harness.plugin import recorded
from .harness.steps import refused
from .harness.transformers import masked_text, value

pytestmark = pytest.mark.scenario
api = partial(recorded, "lambda_api.json")

WITH_ENVIRONMENT = {"Environment": {"Variables": {}}, "Timeout": 30}


@api("TestLambdaReservedConcurrency::test_function_concurrency")
def test_reserved_concurrency(aws, snapshot, create):
    client, name = aws.lambda_, create()["FunctionName"]
    for reserved in (0, 1):
        answer = client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=reserved)
        snapshot.match(f"put_function_concurrency_with_reserved_{reserved}", answer)
    snapshot.match("get_function_concurrency", client.get_function_concurrency(FunctionName=name))
    snapshot.match("delete_response", client.delete_function_concurrency(FunctionName=name))
    snapshot.match("get_function_concurrency_after_delete", client.get_function_concurrency(FunctionName=name))


@recorded("lambda.json", "TestLambdaConcurrency::test_lambda_concurrency_crud")
def test_no_concurrency_at_all(aws, snapshot, create):
    client, name = aws.lambda_, create()["FunctionName"]
    snapshot.match("get_function_concurrency_default", client.get_function_concurrency(FunctionName=name))
    answer = client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    snapshot.match("put_function_concurrency", answer)
    snapshot.match("get_function_concurrency_updated", client.get_function_concurrency(FunctionName=name))
    client.delete_function_concurrency(FunctionName=name)
    snapshot.match("get_function_concurrency_deleted", client.get_function_concurrency(FunctionName=name))


@recorded("lambda.json", "TestLambdaConcurrency::test_lambda_concurrency_update")
def test_get_function_tells_the_reserved_concurrency(aws, snapshot, create):
    client, name = aws.lambda_, create(**WITH_ENVIRONMENT)["FunctionName"]
    answer = client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=3)
    snapshot.match("put_function_concurrency", answer)
    snapshot.match("get_function_concurrency_updated", client.get_function_concurrency(FunctionName=name))
    snapshot.match("get_function_concurrency_info", client.get_function(FunctionName=name))
    client.delete_function_concurrency(FunctionName=name)
    snapshot.match("get_function_concurrency_deleted", client.get_function_concurrency(FunctionName=name))


@api("TestLambdaReservedConcurrency::test_function_concurrency_exceptions")
def test_reserved_concurrency_exceptions(aws, snapshot, create):
    unchecked = aws.client("lambda", validate=False)

    def error(step, name, reserved):
        call = unchecked.put_function_concurrency
        snapshot.match(step, refused(call, FunctionName=name, ReservedConcurrentExecutions=reserved))

    step = "put_function_concurrency_with_function_name_doesnotexist"
    error(step, "doesnotexist", 1)
    error(f"{step}_and_invalid_concurrency", "doesnotexist", -1)
    name = create()["FunctionName"]
    version = aws.lambda_.publish_version(FunctionName=name)["FunctionArn"]
    error("put_function_concurrency_with_qualified_arn", version, 1)


@api("TestLambdaReservedConcurrency::test_function_concurrency_limits")
def test_reserved_concurrency_limits(aws, snapshot, create):
    snapshot.transform(masked_text(r"minimum value of \[\d+\]", "minimum value of [<min_unreserved_concurrency>]"))
    client, name = aws.lambda_, create()["FunctionName"]
    unreserved = client.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"]

    def error(step, reserved):
        call = client.put_function_concurrency
        snapshot.match(step, refused(call, FunctionName=name, ReservedConcurrentExecutions=reserved))

    error("put_function_concurrency_account_limit_exceeded", unreserved + 1)
    error("put_function_concurrency_below_unreserved_min_value", unreserved)


@api("TestLambdaProvisionedConcurrency::test_lambda_provisioned_lifecycle")
def test_provisioned_concurrency(aws, snapshot, create):
    client, name = aws.lambda_, create(**WITH_ENVIRONMENT)["FunctionName"]
    snapshot.transform(value("provisioned-alias", "alias-name"))
    published = client.publish_version(FunctionName=name)
    snapshot.match("publish_version_result", published)
    alias = client.create_alias(FunctionName=name, Name="provisioned-alias", FunctionVersion="1")
    snapshot.match("create_alias_result", alias)
    on_version = {"FunctionName": name, "Qualifier": "1"}
    on_alias = {"FunctionName": name, "Qualifier": "provisioned-alias"}
    one = {"ProvisionedConcurrentExecutions": 1}
    put = client.put_provisioned_concurrency_config
    snapshot.match("put_provisioned_on_version", put(**on_version, **one))
    snapshot.match("put_provisioned_on_alias_versionconflict", refused(put, **on_alias, **one))
    deleted = client.delete_provisioned_concurrency_config(**on_version)
    snapshot.match("delete_provisioned_version", deleted)
    error = refused(client.get_provisioned_concurrency_config, **on_version)
    snapshot.match("get_provisioned_version_postdelete", error)
    snapshot.match("put_provisioned_on_alias", put(**on_alias, **one))
    snapshot.match("put_provisioned_on_version_conflict", refused(put, **on_version, **one))
    deleted = client.delete_alias(FunctionName=name, Name="provisioned-alias")
    snapshot.match("delete_alias_result", deleted)
    error = refused(client.get_provisioned_concurrency_config, **on_alias)
    snapshot.match("get_provisioned_alias_postaliasdelete", error)
    listed = client.list_provisioned_concurrency_configs(FunctionName=name)
    snapshot.match("list_response_postdeletes", listed)


@api("TestLambdaProvisionedConcurrency::test_provisioned_concurrency_exceptions")
def test_provisioned_concurrency_exceptions(aws, snapshot, create):
    client, name = aws.client("lambda", validate=False), create(**WITH_ENVIRONMENT)["FunctionName"]
    snapshot.match("publish_version_result", client.publish_version(FunctionName=name))

    def error(step, call, qualifier=None, function=name, **parameters):
        qualified = {"Qualifier": qualifier} if qualifier else {}
        snapshot.match(step, refused(call, FunctionName=function, **qualified, **parameters))

    get = client.get_provisioned_concurrency_config
    error("get_provisioned_config_doesnotexist", get, "1")
    error("get_provisioned_functionname_doesnotexist", get, "noalias", "doesnotexist")
    error("get_provisioned_qualifier_doesnotexist", get, "noalias")
    error("get_provisioned_version_doesnotexist", get, "10")
    error("get_provisioned_latest", get, "$LATEST")
    configs = client.list_provisioned_concurrency_configs
    snapshot.match("list_provisioned_noconfigs", configs(FunctionName=name))
    error("list_provisioned_functionname_doesnotexist", configs, function="doesnotexist")
    delete = client.delete_provisioned_concurrency_config
    error("delete_provisioned_functionname_doesnotexist", delete, "1", "doesnotexist")
    error("delete_provisioned_qualifier_doesnotexist", delete, "noalias")
    error("delete_provisioned_version_doesnotexist", delete, "10")
    error("delete_provisioned_latest", delete, "$LATEST")
    snapshot.match("delete_provisioned_config_doesnotexist", delete(FunctionName=name, Qualifier="1"))
    put, one = client.put_provisioned_concurrency_config, {"ProvisionedConcurrentExecutions": 1}
    error("put_provisioned_invalid_param_0", put, "1", ProvisionedConcurrentExecutions=0)
    error("put_provisioned_functionname_doesnotexist_alias", put, "noalias", "doesnotexist", **one)
    error("put_provisioned_functionname_doesnotexist_version", put, "1", "doesnotexist", **one)
    error("put_provisioned_qualifier_doesnotexist", put, "doesnotexist", **one)
    error("put_provisioned_version_doesnotexist", put, "10", **one)
    error("put_provisioned_latest", put, "$LATEST", **one)
