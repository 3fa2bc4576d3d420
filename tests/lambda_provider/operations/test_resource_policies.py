"""Put, Get and DeleteResourcePolicy (API reference); nothing of them is recorded."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambda_provider.api import (
    InvalidParameterValueException,
    LambdaError,
    PolicyLengthExceededException,
    PreconditionFailedException,
    ResourceNotFoundException,
)
from lambda_provider.operations.policy_documents import read_policy

from ..fakes import REGION, arn, context

F = arn("f")
OTHER = "00000000-0000-4000-8000-000000000000"


def statement(**members: Any) -> dict[str, Any]:
    found = {
        "Effect": "Allow",
        "Principal": {"AWS": "222222222222"},
        "Action": "lambda:InvokeFunction",
        "Resource": arn("f"),
        **members,
    }
    return {name: value for name, value in found.items() if value is not None}


def document(*statements: Any, **members: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements), **members})


@pytest.fixture
def put(provider, active, publish):
    active("f")
    publish("f")

    def put(text: str = document(statement()), resource: str = arn("f"), **members: Any) -> Any:
        return provider.put_resource_policy(context(), {"ResourceArn": resource, "Policy": text, **members})

    return put


@pytest.fixture
def get(provider):
    return lambda resource=F: provider.get_resource_policy(context(), {"ResourceArn": resource})


@pytest.fixture
def delete(provider):
    def delete(resource: str = arn("f"), **members: Any) -> None:
        provider.delete_resource_policy(context(), {"ResourceArn": resource, **members})

    return delete


def refusal(error: type[LambdaError], call: Any, *arguments: Any, **members: Any) -> str:
    with pytest.raises(error) as raised:
        call(*arguments, **members)
    return raised.value.message


def test_a_policy_is_answered_as_it_was_put(put, get):
    answer = put(
        document(statement(Sid="s"), statement(Effect="Deny", Condition={"Bool": {"aws:SecureTransport": "false"}}))
    )
    assert json.loads(answer["Policy"])["Statement"][1]["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert "Id" not in json.loads(answer["Policy"])
    assert get() == answer


def test_it_is_the_policy_that_permissions_are_in(provider, put, get):
    permission = {"FunctionName": "f", "StatementId": "s3", "Action": "*", "Principal": "s3.amazonaws.com"}
    provider.add_permission(context(), permission)
    assert get() == provider.get_policy(context(), {"FunctionName": "f"})
    put()
    provider.add_permission(context(), permission)
    statements = json.loads(provider.get_policy(context(), {"FunctionName": "f"})["Policy"])["Statement"]
    assert [each.get("Sid") for each in statements] == [None, "s3"]
    provider.remove_permission(context(), {"FunctionName": "f", "StatementId": "s3"})
    assert json.loads(get()["Policy"])["Statement"] == [statement()]


def test_a_version_has_a_policy_of_its_own(put, get):
    put(resource=arn("f", "1"))
    refusal(ResourceNotFoundException, get)
    assert get(arn("f", "1"))


def test_a_revision_id_asks_for_that_policy(put, delete, get):
    message = (
        "The Revision Id provided does not match the latest Revision Id. "
        "Call the GetResourcePolicy API to retrieve the latest Revision Id"
    )
    assert refusal(PreconditionFailedException, put, RevisionId=OTHER) == message
    first = put()["RevisionId"]
    second = put(RevisionId=first)["RevisionId"]
    assert second != first
    assert refusal(PreconditionFailedException, put, RevisionId=first) == message
    assert refusal(PreconditionFailedException, delete, RevisionId=first) == message
    delete(RevisionId=second)
    refusal(ResourceNotFoundException, get)


def test_what_is_not_there_has_the_words_of_permissions(put, get, delete):
    assert refusal(ResourceNotFoundException, get) == "The resource you requested does not exist."
    assert refusal(ResourceNotFoundException, delete) == "No policy is associated with the given resource."
    nope = arn("nope")
    assert refusal(ResourceNotFoundException, put, resource=nope) == f"Function not found: {nope}"
    assert refusal(ResourceNotFoundException, get, nope) == "The resource you requested does not exist."
    assert refusal(ResourceNotFoundException, delete, nope) == f"No policy found for: {nope}"
    runtime = arn("f").replace("function:f", "runtime/abc")
    assert refusal(ResourceNotFoundException, put, resource=runtime) == "The resource you requested does not exist."


def test_latest_has_no_policy(put):
    message = refusal(InvalidParameterValueException, put, resource=arn("f", "$LATEST"))
    assert message == "We currently do not support adding policies for $LATEST."


def test_the_size_counts_bytes(put):
    text = document(statement(Sid="ü" * 10_200)).encode().decode("unicode_escape")
    assert len(text) < 20_480 < len(text.encode())
    message = refusal(PolicyLengthExceededException, put, text)
    assert message.endswith("is bigger than the limit (20480).")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "Syntax errors in policy."),
        ("[]", "Syntax errors in policy."),
        ("[" * 20_000, "Syntax errors in policy."),
        ('{"Statement": [], "Version": "2012-10-17"}', "Syntax errors in policy."),
        ('{"Version": "2012-10-17"}', "Syntax errors in policy."),
        (document(statement(), Other=1), "Syntax errors in policy."),
        (document(statement(Other=1)), "Syntax errors in policy."),
        (document(statement(Effect="allow")), "Syntax errors in policy."),
        (document(statement(Sid="\ud800")), "Syntax errors in policy."),
        (document(statement(Condition={"StringEquals": {"aws:SourceArn": float("nan")}})), "Syntax errors in policy."),
        (document(statement(Condition=[])), "Syntax errors in policy."),
        (document(statement(NotAction="*")), "Syntax errors in policy."),
        (document(statement(Action=[])), "Syntax errors in policy."),
        (document(statement(), Version="2020"), "Policy document must be version 2012-10-17 or greater."),
        (document(statement(Principal=None)), "Missing required field Principal"),
        (document(statement(Action=None)), "Policy statement must contain actions."),
        (document(statement(Resource=None)), "Policy statement must contain resources."),
        (document(statement(Resource="f")), 'Resource f must be in ARN format or "*".'),
        (
            document(statement(Action="s3:GetObject")),
            "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.",
        ),
        (document(statement(Condition={"Like": {}})), "Invalid Condition type : Like."),
        (
            document(statement(Principal={"AWS": ["*", "s3.amazonaws.com"]})),
            "The provided principal was invalid. Please check the principal and try again.",
        ),
        (
            document(statement(Principal={"Service": "*"})),
            "The provided principal was invalid. Please check the principal and try again.",
        ),
        (document(statement(Sid="s"), statement(Sid="s")), "Statement IDs (SID) in a single policy must be unique."),
    ],
)
def test_what_is_no_policy_is_refused_and_changes_nothing(put, get, text, message):
    before = put()
    assert refusal(InvalidParameterValueException, put, text) == message
    assert get() == before


def test_one_statement_need_not_be_in_a_list(put):
    answer = put(json.dumps({"Version": "2012-10-17", "Statement": statement()}))
    assert json.loads(answer["Policy"])["Statement"] == [statement()]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
_ANY_STATEMENT = st.fixed_dictionaries(
    {},
    optional={
        "Sid": _JSON,
        "Effect": st.sampled_from(["Allow", "Deny"]) | _JSON,
        "Principal": st.sampled_from(["*", {"AWS": "*"}]) | _JSON,
        "Action": st.sampled_from(["*", ["lambda:*"]]) | _JSON,
        "Resource": st.just("*") | _JSON,
        "Condition": st.dictionaries(st.sampled_from(["Bool", "ForAnyValue:StringLikeIfExists"]), _JSON) | _JSON,
    },
)


@given(
    st.text()
    | (_JSON | st.fixed_dictionaries({"Statement": _ANY_STATEMENT | st.lists(_ANY_STATEMENT)})).map(json.dumps)
)
@settings(max_examples=300)
def test_any_text_is_a_policy_or_refused(text):
    try:
        policy = read_policy(text, REGION, "r")
    except InvalidParameterValueException:
        return
    assert read_policy(policy.text, REGION, "r") == policy
