"""Configurations of function URLs."""

from __future__ import annotations

from functools import partial

import pytest

from .harness.plugin import recorded
from .harness.steps import all_pages, refused
from .harness.transformers import value

pytestmark = pytest.mark.scenario
api = partial(recorded, "lambda_api.json")


@pytest.fixture
def name(snapshot, create):
    """A function, whose name has a placeholder although nothing here says that it is one."""
    name = create()["FunctionName"]
    snapshot.transform(value(name, "resource"))
    return name


@api("TestLambdaUrl::test_url_config_lifecycle")
def test_url_config_lifecycle(aws, snapshot, name):
    client = aws.lambda_
    snapshot.match("url_creation", client.create_function_url_config(FunctionName=name, AuthType="NONE"))
    error = refused(client.create_function_url_config, FunctionName=name, AuthType="NONE")
    snapshot.match("failed_duplication", error)
    snapshot.match("get_url_config", client.get_function_url_config(FunctionName=name))
    changed = client.update_function_url_config(FunctionName=name, AuthType="AWS_IAM")
    snapshot.match("updated_url_config", changed)
    client.delete_function_url_config(FunctionName=name)
    snapshot.match("failed_getter", refused(client.get_function_url_config, FunctionName=name))


@api("TestLambdaUrl::test_url_config_deletion_without_qualifier")
def test_deleting_a_url_leaves_the_alias_its_own(aws, snapshot, name):
    client = aws.lambda_
    client.create_alias(FunctionName=name, Name="test-alias", FunctionVersion="$LATEST")
    of_alias = {"FunctionName": name, "Qualifier": "test-alias"}
    snapshot.match("url_creation", client.create_function_url_config(FunctionName=name, AuthType="NONE"))
    created = client.create_function_url_config(**of_alias, AuthType="NONE")
    snapshot.match("url_with_alias_creation", created)
    snapshot.match("get_url_config", client.get_function_url_config(FunctionName=name))
    snapshot.match("get_url_config_with_alias", client.get_function_url_config(**of_alias))
    snapshot.match("delete_function_url_config", client.delete_function_url_config(FunctionName=name))
    error = refused(client.get_function_url_config, FunctionName=name)
    snapshot.match("get_url_config_after_deletion", error)
    left = client.get_function_url_config(**of_alias)
    snapshot.match("get_url_config_with_alias_after_deletion", left)


@recorded("lambda.json", "TestLambdaURL::test_lambda_update_function_url_config")
def test_invoke_mode(aws, snapshot, name):
    client = aws.lambda_

    def get(step):
        snapshot.match(step, client.get_function_url_config(FunctionName=name))

    mode = {"FunctionName": name, "InvokeMode": "BUFFERED"}
    snapshot.match("create_lambda_url_config", client.create_function_url_config(**mode, AuthType="NONE"))
    get("get_url_config")
    mode["InvokeMode"] = "RESPONSE_STREAM"
    snapshot.match("modify_lambda_url_config", client.update_function_url_config(**mode, AuthType="NONE"))
    get("get_url_config_2")
    unchanged = client.update_function_url_config(FunctionName=name, AuthType="NONE")
    snapshot.match("modify_lambda_url_config_none", unchanged)
    get("get_url_config_3")


def test_what_is_refused(aws, snapshot, name):
    client = aws.lambda_
    client.publish_version(FunctionName=name)

    def error(step, call, **parameters):
        snapshot.match(step, refused(call, **parameters))

    create = client.create_function_url_config
    error("create_for_a_version", create, FunctionName=name, AuthType="NONE", Qualifier="1")
    error("create_for_latest", create, FunctionName=name, AuthType="NONE", Qualifier="$LATEST")
    error("create_for_an_alias_that_is_not_there", create, FunctionName=name, AuthType="NONE", Qualifier="nope")
    error("create_for_a_function_that_is_not_there", create, FunctionName="nope", AuthType="NONE")
    error("create_without_authorisation", create, FunctionName=name, AuthType="PASSWORD")
    error("create_with_options", create, FunctionName=name, AuthType="NONE", Cors={"AllowMethods": ["OPTIONS"]})
    error("update_what_is_not_there", client.update_function_url_config, FunctionName=name)
    error("delete_what_is_not_there", client.delete_function_url_config, FunctionName=name)
    error("list_of_a_function_that_is_not_there", client.list_function_url_configs, FunctionName="nope")
    qualified = f"{name}:one"
    error("qualifiers_that_differ", create, FunctionName=qualified, AuthType="NONE", Qualifier="two")


def test_cors_and_arn_forms(aws, snapshot, name):
    client = aws.lambda_
    cors = {
        "AllowCredentials": True,
        "AllowHeaders": ["keep-alive", "x-custom-header"],
        "AllowMethods": ["GET", "POST"],
        "AllowOrigins": ["https://example.com"],
        "ExposeHeaders": ["date"],
        "MaxAge": 300,
    }
    created = client.create_function_url_config(FunctionName=aws.arn(name), AuthType="AWS_IAM", Cors=cors)
    snapshot.match("create_by_arn", created)
    partial_arn = f"{aws.account_id}:function:{name}"
    snapshot.match("get_by_partial_arn", client.get_function_url_config(FunctionName=partial_arn))
    changed = client.update_function_url_config(FunctionName=name, Cors={"AllowOrigins": ["*"]})
    snapshot.match("update_replaces_cors", changed)
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="$LATEST")
    of_alias = client.create_function_url_config(FunctionName=f"{name}:live", AuthType="NONE")
    snapshot.match("create_by_qualified_name", of_alias)


def test_urls_are_listed_in_pages(aws, snapshot, name):
    client = aws.lambda_
    client.create_function_url_config(FunctionName=name, AuthType="NONE")
    for alias in ("one", "two"):
        client.create_alias(FunctionName=name, Name=alias, FunctionVersion="$LATEST")
        client.create_function_url_config(FunctionName=name, AuthType="NONE", Qualifier=alias)
    snapshot.match("all", client.list_function_url_configs(FunctionName=name))
    pages = all_pages(
        aws, "list_function_url_configs", "FunctionUrlConfigs", FunctionName=name, PaginationConfig={"PageSize": 1}
    )
    snapshot.match("in_pages", [url["FunctionArn"] for url in pages])
