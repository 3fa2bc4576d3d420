"""Recorded: TestLambdaPermissions; the order of checks where nothing is recorded is that of the other operations."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lambda_provider.api import (
    InvalidParameterValueException,
    PolicyLengthExceededException,
    PreconditionFailedException,
    ResourceConflictException,
    ResourceNotFoundException,
)
from lambda_provider.provider import LambdaProvider

from ..fakes import ACCOUNT, FakeHost, arn, context, creation

NOT_THERE = "The resource you requested does not exist."
STALE = (
    "The Revision Id provided does not match the latest Revision Id. "
    "Call the GetPolicy API to retrieve the latest Revision Id"
)


@pytest.fixture
def function(active, provider):
    """A function with a version 1 and an alias `live` of it."""
    active("f", Publish=True)
    return provider.create_alias(context(), {"FunctionName": "f", "Name": "live", "FunctionVersion": "1"})


@pytest.fixture
def add(provider, function):
    def add(statement: str = "s3", **members: Any) -> Any:
        request = {
            "FunctionName": "f",
            "StatementId": statement,
            "Action": "lambda:InvokeFunction",
            "Principal": "s3.amazonaws.com",
            **members,
        }
        return json.loads(provider.add_permission(context(), request)["Statement"])

    return add


@pytest.fixture
def policy(provider):
    def policy(qualifier: str | None = None) -> Any:
        request = {"FunctionName": "f"} | ({"Qualifier": qualifier} if qualifier else {})
        return provider.get_policy(context(), request)

    return policy


@pytest.fixture
def remove(provider, function):
    def remove(statement: str = "s3", **members: Any) -> None:
        provider.remove_permission(context(), {"FunctionName": "f", "StatementId": statement, **members})

    return remove


def sids(answer: Any) -> list[str]:
    return [statement["Sid"] for statement in json.loads(answer["Policy"])["Statement"]]


def refusal(error: type[Exception], call: Any, *arguments: Any, **members: Any) -> str:
    with pytest.raises(error) as raised:
        call(*arguments, **members)
    return raised.value.message


def test_all_conditions_are_in_the_order_of_a_hash_map(add):
    statement = add(
        Action="lambda:InvokeFunctionUrl",
        SourceArn="arn:aws:s3:::b",
        SourceAccount=ACCOUNT,
        EventSourceToken="token",
        FunctionUrlAuthType="NONE",
        PrincipalOrgID="o-1234567890",
        InvokedViaFunctionUrl=True,
    )
    assert json.dumps(statement["Condition"]) == json.dumps(
        {
            "StringEquals": {
                "lambda:EventSourceToken": "token",
                "AWS:SourceAccount": ACCOUNT,
                "lambda:FunctionUrlAuthType": "NONE",
                "aws:PrincipalOrgID": "o-1234567890",
            },
            "Bool": {"lambda:InvokedViaFunctionUrl": "true"},
            "ArnLike": {"AWS:SourceArn": "arn:aws:s3:::b"},
        }
    )


def test_not_invoked_via_a_url_is_a_condition_too(add):
    assert add(InvokedViaFunctionUrl=False)["Condition"] == {"Bool": {"lambda:InvokedViaFunctionUrl": "false"}}


@pytest.mark.parametrize("qualifier", [None, "1", "live"])
def test_a_statement_names_the_resource_with_its_qualifier(add, policy, qualifier):
    members = {"Qualifier": qualifier} if qualifier else {}
    statement = add(**members)
    assert statement["Resource"] == arn("f", qualifier)
    assert json.loads(policy(qualifier)["Policy"]) == {
        "Version": "2012-10-17",
        "Id": "default",
        "Statement": [statement],
    }


def test_a_qualifier_in_the_name_is_one(add, policy):
    add(FunctionName=f"{arn('f')}:live")
    assert sids(policy("live")) == ["s3"]


def test_each_resource_has_a_policy_of_its_own(add, policy):
    add("of-the-function")
    assert refusal(ResourceNotFoundException, policy, "1") == NOT_THERE
    add("of-the-version", Qualifier="1")
    assert (sids(policy()), sids(policy("1"))) == (["of-the-function"], ["of-the-version"])
    assert refusal(ResourceNotFoundException, policy, "live") == NOT_THERE


def test_latest_has_no_policy(add, policy, remove):
    message = refusal(InvalidParameterValueException, add, Qualifier="$LATEST")
    assert message == "We currently do not support adding policies for $LATEST."
    add()
    assert refusal(ResourceNotFoundException, policy, "$LATEST") == NOT_THERE
    message = refusal(ResourceNotFoundException, remove, Qualifier="$LATEST")
    assert message == "No policy is associated with the given resource."


def test_latest_is_refused_before_the_function_is_looked_up(add):
    refusal(InvalidParameterValueException, add, FunctionName="nope", Qualifier="$LATEST")


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"FunctionName": "nope"}, f"Function not found: {arn('nope')}"),
        ({"FunctionName": "nope", "Qualifier": "live"}, f"Function not found: {arn('nope', 'live')}"),
        ({"Qualifier": "42"}, f"Function not found: {arn('f', '42')}"),
        ({"Qualifier": "none"}, f"Cannot find alias arn: {arn('f', 'none')}"),
        ({"Qualifier": "valid-with-$"}, f"Function not found: {arn('f', 'valid-with-$')}"),
    ],
)
def test_what_a_permission_is_added_to_has_to_exist(add, members, message):
    assert refusal(ResourceNotFoundException, add, **members) == message


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"FunctionName": "nope"}, f"No policy found for: {arn('nope')}"),
        ({"Qualifier": "none"}, f"Cannot find alias arn: {arn('f', 'none')}"),
        ({"Qualifier": "42"}, f"No policy found for: {arn('f', '42')}"),
        ({}, "No policy is associated with the given resource."),
        ({"Qualifier": "live"}, "No policy is associated with the given resource."),
    ],
)
def test_what_a_permission_is_removed_from_has_to_have_one(remove, members, message):
    assert refusal(ResourceNotFoundException, remove, **members) == message


def test_an_unknown_function_has_no_policy_to_read(provider):
    message = refusal(ResourceNotFoundException, provider.get_policy, context(), {"FunctionName": "nope"})
    assert message == NOT_THERE


def test_a_statement_id_is_taken_once(add, policy):
    add()
    before = policy()
    message = refusal(ResourceConflictException, add, Principal="invalid")
    assert message == (
        "The statement id (s3) provided already exists. Please provide a new statement id, or remove the existing statement."
    )
    assert policy() == before
    add(Qualifier="1")


def test_an_invalid_principal_is_refused(add):
    message = refusal(InvalidParameterValueException, add, Principal="invalid.nonaws.com")
    assert message == "The provided principal was invalid. Please check the principal and try again."


def test_a_url_auth_type_is_for_urls(add):
    message = refusal(InvalidParameterValueException, add, FunctionUrlAuthType="NONE")
    assert message == "FunctionUrlAuthType is only supported for lambda:InvokeFunctionUrl action"


def test_a_policy_has_at_most_20_kb(add, policy):
    with pytest.raises(PolicyLengthExceededException) as raised:
        for number in range(1000):
            add(f"{number:0100}")
    size = len(policy()["Policy"])
    assert size <= 20480 < size + 300
    added = size + 1 + len(json.dumps(add(f"{0:0100}", Qualifier="1"), separators=(",", ":"))) - len(":1")
    assert raised.value.message == f"The final policy size ({added}) is bigger than the limit (20480)."


def test_each_change_has_a_new_revision_and_a_stale_one_is_refused(add, remove, policy):
    add()
    first = policy()["RevisionId"]
    add("s3_2", RevisionId=first)
    second = policy()["RevisionId"]
    assert second != first
    assert refusal(PreconditionFailedException, add, "s3_3", RevisionId=first) == STALE
    assert refusal(PreconditionFailedException, remove, RevisionId=first) == STALE
    remove(RevisionId=second)
    assert policy()["RevisionId"] not in (first, second)
    assert sids(policy()) == ["s3_2"]


def test_a_revision_is_checked_before_the_statement_id(add, remove):
    add()
    refusal(PreconditionFailedException, add, RevisionId="wrong")
    refusal(PreconditionFailedException, remove, "none", RevisionId="wrong")


def test_without_a_policy_the_revision_is_that_of_the_resource(add, function):
    assert refusal(PreconditionFailedException, add, Qualifier="live", RevisionId="wrong") == STALE
    add(Qualifier="live", RevisionId=function["RevisionId"])
    refusal(PreconditionFailedException, add, "s3_2", Qualifier="live", RevisionId=function["RevisionId"])


def test_policy_and_function_have_revisions_of_their_own(provider, add, policy, publish):
    def of_function() -> str:
        return provider.get_function(context(), {"FunctionName": "f"})["Configuration"]["RevisionId"]

    before = of_function()
    add()
    assert of_function() == before
    revision = policy()["RevisionId"]
    publish("f")
    assert policy()["RevisionId"] == revision


def test_the_policy_goes_with_its_last_statement(add, remove, policy):
    add()
    message = refusal(ResourceNotFoundException, remove, "none")
    assert message == "Statement none is not found in resource policy."
    remove()
    assert refusal(ResourceNotFoundException, policy) == NOT_THERE
    assert refusal(ResourceNotFoundException, remove) == "No policy is associated with the given resource."


def test_a_policy_goes_with_its_alias_or_version(provider, add, policy):
    for qualifier in ("live", "1"):
        add(Qualifier=qualifier)
    provider.delete_alias(context(), {"FunctionName": "f", "Name": "live"})
    provider.create_alias(context(), {"FunctionName": "f", "Name": "live", "FunctionVersion": "$LATEST"})
    assert refusal(ResourceNotFoundException, policy, "live") == NOT_THERE
    provider.delete_function(context(), {"FunctionName": "f", "Qualifier": "1"})
    assert refusal(ResourceNotFoundException, policy, "1") == NOT_THERE


def test_a_changed_alias_keeps_its_policy(provider, add, policy):
    add(Qualifier="live")
    provider.update_alias(context(), {"FunctionName": "f", "Name": "live", "FunctionVersion": "$LATEST"})
    assert sids(policy("live")) == ["s3"]


def test_policies_survive_a_restart(runtime, tmp_path):
    request: Any = {
        "FunctionName": "f",
        "StatementId": "s",
        "Action": "*",
        "Principal": "*",
        "SourceArn": "arn:aws:s3:::b",
    }
    provider = LambdaProvider(FakeHost(), runtime, state_dir=tmp_path)  # type: ignore[arg-type]
    provider.start()
    provider.create_function(context(), creation("f"))
    provider.add_permission(context(), request)
    before = provider.get_policy(context(), {"FunctionName": "f"})
    provider.stop()
    restored = LambdaProvider(FakeHost(), runtime, state_dir=tmp_path)  # type: ignore[arg-type]
    assert restored.get_policy(context(), {"FunctionName": "f"}) == before
    restored.stop()
