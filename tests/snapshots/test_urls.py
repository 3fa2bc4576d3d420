"""Configurations of function URLs."""

from __future__ import annotations

from functools import partial

import pytest

from .harness.plugin import recorded
from .harness.steps import refused
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
