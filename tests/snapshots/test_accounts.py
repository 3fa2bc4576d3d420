"""Accounts: what one has is not seen by another, unless it is granted."""

from __future__ import annotations

from functools import partial

import pytest

from .harness.functions import archive
from .harness.plugin import recorded
from .harness.steps import payload, refused

pytestmark = pytest.mark.scenario
functions = partial(recorded, "lambda.json")

OTHER_ACCOUNT = "222222222222"


@pytest.fixture
def elsewhere(aws):
    """The Lambda client of another account, which only the gateway has."""
    if aws.is_aws:
        pytest.skip("AWS gives us one account")
    return aws.client("lambda", account_id=OTHER_ACCOUNT)


def deploy_elsewhere(client, name):
    """A function of the other account."""
    client.create_function(
        FunctionName=name,
        Runtime="python3.12",
        Handler="handler.handler",
        Role=f"arn:aws:iam::{OTHER_ACCOUNT}:role/scenario-role",
        Code={"ZipFile": archive("echo.py")},
    )
    client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1})


def test_accounts_do_not_see_each_others_functions(aws, elsewhere, create, new_name):
    name = new_name()
    create(FunctionName=name)
    error = refused(elsewhere.get_function, FunctionName=name)
    assert error.response["Error"]["Message"] == (
        f"Function not found: arn:aws:lambda:{aws.region}:{OTHER_ACCOUNT}:function:{name}"
    )
    deploy_elsewhere(elsewhere, name)
    aws.lambda_.delete_function(FunctionName=name)
    assert payload(elsewhere.invoke(FunctionName=name, Payload=b'{"still": "there"}')) == {"still": "there"}
    elsewhere.delete_function(FunctionName=name)


@pytest.fixture
def granted(aws, create, elsewhere):
    """`granted(action)` is the ARN of a function on which the other account may do it."""

    def grant(action, **parameters):
        function = create(**parameters)
        grantee = {"Principal": OTHER_ACCOUNT, "StatementId": "other", "Action": f"lambda:{action}"}
        aws.lambda_.add_permission(FunctionName=function["FunctionName"], **grantee)
        return function["FunctionArn"]

    return grant


@functions("TestLambdaMultiAccounts::test_get_function")
def test_get_function_of_another_account(elsewhere, granted):
    arn = granted("GetFunction")
    assert elsewhere.get_function(FunctionName=arn)["Configuration"]["FunctionArn"] == arn


@functions("TestLambdaMultiAccounts::test_list_versions_by_function")
def test_list_versions_of_another_account(elsewhere, granted):
    arn = granted("ListVersionsByFunction")
    versions = elsewhere.list_versions_by_function(FunctionName=arn)["Versions"]
    assert [version["FunctionArn"] for version in versions] == [f"{arn}:$LATEST"]


@functions("TestLambdaMultiAccounts::test_function_invocation")
def test_invoke_a_function_of_another_account(elsewhere, granted):
    arn = granted("InvokeFunction")
    assert payload(elsewhere.invoke(FunctionName=arn, Payload=b'{"from": "elsewhere"}')) == {"from": "elsewhere"}


@functions("TestLambdaMultiAccounts::test_function_alias")
def test_an_alias_of_another_account(elsewhere, granted):
    arn = granted("CreateAlias", Publish=True)
    created = elsewhere.create_alias(FunctionName=arn, Name="theirs", FunctionVersion="1")
    assert created["AliasArn"] == f"{arn}:theirs"


@functions("TestLambdaMultiAccounts::test_function_concurrency")
def test_concurrency_of_another_account(aws, elsewhere, granted):
    arn = granted("PutFunctionConcurrency")
    elsewhere.put_function_concurrency(FunctionName=arn, ReservedConcurrentExecutions=3)
    assert aws.lambda_.get_function_concurrency(FunctionName=arn)["ReservedConcurrentExecutions"] == 3


@functions("TestLambdaMultiAccounts::test_delete_function")
def test_delete_a_function_of_another_account(aws, elsewhere, granted):
    arn = granted("DeleteFunction")
    elsewhere.delete_function(FunctionName=arn)
    refused(aws.lambda_.get_function, FunctionName=arn)
