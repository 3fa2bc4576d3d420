from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from lambda_provider.api.errors import AccessDeniedException
from lambda_provider.context import Caller
from lambda_provider.model.policy import Policy
from lambda_provider.operations.authorization import AccessRequest, Decision, access_denied, decide
from lambda_provider.provider import LambdaProvider

from ..fakes import ACCOUNT, REGION, FakeHost, arn, context, creation

OTHER = "222222222222"
ROLE = f"arn:aws:iam::{OTHER}:role/path/r"
SESSION = f"arn:aws:sts::{OTHER}:assumed-role/r/session"
USER = f"arn:aws:iam::{OTHER}:user/u"
BUCKET = "arn:aws:s3:::bucket"

AN_ACCOUNT = Caller(account_id=OTHER)
A_SESSION = Caller(account_id=OTHER, arn=SESSION)
A_USER = Caller(account_id=OTHER, arn=USER)
S3 = Caller(service="s3.amazonaws.com", source_arn=BUCKET, source_account=OTHER)
NOBODY = Caller()


def policy(*statements: dict[str, Any]) -> Policy:
    usual = {"Effect": "Allow", "Principal": "*", "Action": "lambda:InvokeFunction", "Resource": arn("f")}

    def merged(members: dict[str, Any]) -> dict[str, Any]:
        instead = {name.removeprefix("Not") for name in members if name.startswith("Not")}
        return {name: value for name, value in usual.items() if name not in instead} | members

    return Policy(revision_id="r", statements=tuple(map(merged, statements)))


def decision(caller: Caller, *statements: dict[str, Any], **members: Any) -> Decision:
    request = {"caller": caller, "action": "lambda:InvokeFunction", "resource": arn("f"), **members}
    return decide([policy(*statements)], AccessRequest(**request))


def allowed(caller: Caller, **statement: Any) -> bool:
    return decision(caller, statement) is Decision.ALLOWED


@pytest.mark.parametrize(
    ("principal", "callers"),
    [
        ("*", [AN_ACCOUNT, A_SESSION, A_USER, S3, NOBODY]),
        ({"AWS": "*"}, [AN_ACCOUNT, A_SESSION, A_USER, S3, NOBODY]),
        ({"AWS": OTHER}, [AN_ACCOUNT, A_SESSION, A_USER]),
        ({"AWS": f"arn:aws:iam::{OTHER}:root"}, [AN_ACCOUNT, A_SESSION, A_USER]),
        ({"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, []),
        ({"AWS": ACCOUNT}, []),
        ({"AWS": ROLE}, [AN_ACCOUNT, A_SESSION]),
        ({"AWS": SESSION}, [AN_ACCOUNT, A_SESSION]),
        ({"AWS": USER}, [AN_ACCOUNT, A_USER]),
        ({"AWS": [USER, ROLE]}, [AN_ACCOUNT, A_SESSION, A_USER]),
        ({"Service": "s3.amazonaws.com"}, [S3]),
        ({"Service": ["sns.amazonaws.com", "s3.amazonaws.com"]}, [S3]),
        ({"Service": "sns.amazonaws.com"}, []),
        ({"AWS": ACCOUNT, "Service": "s3.amazonaws.com"}, [S3]),
        ({"Federated": "cognito-identity.amazonaws.com"}, []),
    ],
)
def test_principals(principal, callers):
    for caller in (AN_ACCOUNT, A_SESSION, A_USER, S3, NOBODY):
        assert allowed(caller, Principal=principal) is (caller in callers), caller


def test_of_a_caller_whose_identity_is_not_known_the_best_is_assumed():
    assert decision(AN_ACCOUNT, {"Effect": "Deny", "Principal": {"AWS": ROLE}}) is Decision.NOT_ALLOWED
    assert decision(A_SESSION, {"Effect": "Deny", "Principal": {"AWS": ROLE}}) is Decision.DENIED
    assert decision(AN_ACCOUNT, {"Effect": "Deny", "NotPrincipal": {"AWS": ROLE}}) is Decision.NOT_ALLOWED
    assert decision(A_USER, {"Effect": "Deny", "NotPrincipal": {"AWS": ROLE}}) is Decision.DENIED
    assert decision(A_SESSION, {"Effect": "Deny", "NotPrincipal": {"AWS": ROLE}}) is Decision.NOT_ALLOWED


@pytest.mark.parametrize(
    ("action", "result"),
    [
        ("lambda:InvokeFunction", True),
        ("LAMBDA:invokefunction", True),
        ("lambda:*", True),
        ("*", True),
        ("lambda:Invoke*", True),
        (["lambda:GetFunction", "lambda:InvokeFunction"], True),
        ("lambda:InvokeFunctionUrl", False),
        ("lambda:Get*", False),
    ],
)
def test_actions(action, result):
    assert allowed(AN_ACCOUNT, Action=action) is result
    assert allowed(AN_ACCOUNT, NotAction=action) is not result


@pytest.mark.parametrize(
    ("resource", "result"),
    [
        (arn("f"), True),
        ("*", True),
        (arn("f*"), True),
        (arn("F"), False),
        (arn("f", "1"), False),
        (arn("f", "*"), False),
    ],
)
def test_resources(resource, result):
    assert allowed(AN_ACCOUNT, Resource=resource) is result
    assert allowed(AN_ACCOUNT, NotResource=resource) is not result


def test_a_qualified_invoke_needs_a_statement_for_that_qualifier():
    assert decision(AN_ACCOUNT, {}, resource=arn("f", "live")) is Decision.NOT_ALLOWED
    assert decision(AN_ACCOUNT, {"Resource": arn("f", "live")}, resource=arn("f", "live")) is Decision.ALLOWED
    assert decision(AN_ACCOUNT, {"Resource": arn("f", "*")}, resource=arn("f", "live")) is Decision.ALLOWED


def test_source_arn_and_account_are_those_of_the_resource_that_the_service_calls_for():
    condition = {"StringEquals": {"AWS:SourceAccount": OTHER}, "ArnLike": {"AWS:SourceArn": BUCKET}}
    assert allowed(S3, Condition=condition)
    assert not allowed(replace(S3, source_arn="arn:aws:s3:::other"), Condition=condition)
    assert not allowed(replace(S3, source_account=ACCOUNT), Condition=condition)
    assert not allowed(AN_ACCOUNT, Condition=condition)


def test_keys_of_the_request_are_conditions_too():
    statement = {"Condition": {"StringEquals": {"lambda:FunctionUrlAuthType": "NONE"}}}
    assert decision(NOBODY, statement, keys={"lambda:functionurlauthtype": "NONE"}) is Decision.ALLOWED
    assert decision(NOBODY, statement, keys={"lambda:functionurlauthtype": "AWS_IAM"}) is Decision.NOT_ALLOWED
    assert decision(NOBODY, statement) is Decision.NOT_ALLOWED


@given(st.lists(st.tuples(st.sampled_from(["Allow", "Deny"]), st.booleans())))
def test_a_denial_wins_wherever_it_stands(statements):
    made = [{"Effect": effect, "Resource": "*" if speaks else arn("other")} for effect, speaks in statements]
    expected = Decision.NOT_ALLOWED
    if ("Allow", True) in statements:
        expected = Decision.ALLOWED
    if ("Deny", True) in statements:
        expected = Decision.DENIED
    assert decision(AN_ACCOUNT, *made) is expected
    split = [policy(each) for each in made]
    assert (
        decide(split, AccessRequest(caller=AN_ACCOUNT, action="lambda:InvokeFunction", resource=arn("f"))) is expected
    )


def test_the_words_of_a_refusal():
    request = AccessRequest(caller=A_SESSION, action="lambda:InvokeFunction", resource=arn("f"))
    start = f"User: {SESSION} is not authorized to perform: lambda:InvokeFunction on resource: {arn('f')} "
    assert access_denied(request, Decision.NOT_ALLOWED, REGION).message == (
        f"{start}because no resource-based policy allows the lambda:InvokeFunction action"
    )
    assert access_denied(request, Decision.DENIED, REGION).message == (
        f"{start}with an explicit deny in a resource-based policy"
    )
    account = access_denied(replace(request, caller=AN_ACCOUNT), Decision.DENIED, "cn-north-1")
    assert account.message.startswith(f"User: arn:aws-cn:iam::{OTHER}:root is not")
    assert access_denied(replace(request, caller=S3), Decision.DENIED, REGION).message.startswith(
        "User: s3.amazonaws.com is"
    )


# Enforcement


@pytest.fixture
def host() -> FakeHost:
    return FakeHost({"LAMBDA_ENFORCE_PERMISSIONS": "1"})


@pytest.fixture
def invoke(runtime, provider, active):
    """Invoke the function of ACCOUNT; the answer is its status, or raises."""
    active("f", Publish=True)

    def invoke(caller: Caller | None = None, account_id: str = OTHER, name: str = arn("f"), **members: Any) -> int:
        asking = replace(context("Invoke", account_id=account_id), caller=caller)
        return runtime.run(provider.invoke(asking, {"FunctionName": name, **members}))["StatusCode"]

    return invoke


@pytest.fixture
def permit(provider):
    def permit(principal: str = OTHER, statement: str = "s", **members: Any) -> None:
        request = {
            "FunctionName": "f",
            "StatementId": statement,
            "Action": "lambda:InvokeFunction",
            "Principal": principal,
        }
        provider.add_permission(context(), {**request, **members})

    return permit


def test_another_account_needs_a_permission(invoke, permit, runtime):
    with pytest.raises(AccessDeniedException) as raised:
        invoke()
    assert raised.value.message == (
        f"User: arn:aws:iam::{OTHER}:root is not authorized to perform: lambda:InvokeFunction on resource: {arn('f')} "
        "because no resource-based policy allows the lambda:InvokeFunction action"
    )
    assert raised.value.status_code == 403
    assert runtime.invocations == []
    permit()
    assert invoke() == 200
    with pytest.raises(AccessDeniedException):
        invoke(account_id="333333333333")


def test_every_way_to_invoke_is_guarded(provider, runtime, invoke, permit):
    stranger = context("InvokeAsync", account_id=OTHER)
    with pytest.raises(AccessDeniedException, match="lambda:InvokeAsync"):
        runtime.run(provider.invoke_async(stranger, {"FunctionName": arn("f"), "InvokeArgs": b"{}"}))
    with pytest.raises(AccessDeniedException, match="lambda:InvokeFunction"):
        streaming = context("InvokeWithResponseStream", account_id=OTHER)
        runtime.run(provider.invoke_with_response_stream(streaming, {"FunctionName": arn("f")}))
    for kind in ("Event", "DryRun"):
        with pytest.raises(AccessDeniedException):
            invoke(InvocationType=kind)
    permit()
    assert invoke(InvocationType="Event") == 202


def test_nobody_learns_whether_a_function_exists(invoke):
    with pytest.raises(AccessDeniedException):
        invoke(name=arn("nope"))


def test_a_permission_is_for_the_qualifier_that_it_was_added_to(invoke, permit):
    permit()
    with pytest.raises(AccessDeniedException, match=f"{arn('f', '1')} because"):
        invoke(Qualifier="1")
    permit(Qualifier="1")
    assert invoke(Qualifier="1") == 200


def test_the_own_account_needs_none(invoke, runtime):
    assert invoke(account_id=ACCOUNT) == 200
    assert invoke(Caller(account_id=ACCOUNT, arn=f"arn:aws:iam::{ACCOUNT}:user/u"), account_id=ACCOUNT) == 200


def test_a_denial_is_for_the_own_account_too(provider, invoke):
    denial = {"Effect": "Deny", "Principal": "*", "Action": "lambda:*", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [denial]})
    provider.put_resource_policy(context(), {"ResourceArn": arn("f"), "Policy": document})
    with pytest.raises(AccessDeniedException, match="with an explicit deny in a resource-based policy"):
        invoke(account_id=ACCOUNT)


def test_a_service_needs_a_permission_also_within_the_account(invoke, permit):
    caller = Caller(account_id=ACCOUNT, service="s3.amazonaws.com", source_arn=BUCKET, source_account=ACCOUNT)
    with pytest.raises(AccessDeniedException, match=r"^User: s3\.amazonaws\.com is not authorized"):
        invoke(caller, account_id=ACCOUNT)
    permit("s3.amazonaws.com", SourceArn="arn:aws:s3:::b*", SourceAccount=ACCOUNT)
    assert invoke(caller, account_id=ACCOUNT) == 200
    with pytest.raises(AccessDeniedException):
        invoke(replace(caller, source_arn="arn:aws:s3:::other"), account_id=ACCOUNT)


class Organizations:
    def __init__(self, organization_id: str | None) -> None:
        self.organization_id = organization_id

    def describe_organization(self) -> Any:
        if self.organization_id is None:
            raise ClientError({"Error": {"Code": "AWSOrganizationsNotInUseException"}}, "DescribeOrganization")
        return {"Organization": {"Id": self.organization_id}}


@pytest.mark.parametrize(("organization", "result"), [("o-1234567890", True), ("o-other67890", False), (None, False)])
def test_an_organization_is_asked_for_where_a_policy_names_one(host, invoke, permit, organization, result):
    permit("*", PrincipalOrgID="o-1234567890")
    host.clients["organizations"] = Organizations(organization)
    if result:
        assert invoke() == 200
    else:
        with pytest.raises(AccessDeniedException):
            invoke()


def test_without_organizations_an_account_is_in_none(invoke, permit):
    permit("*", PrincipalOrgID="o-1234567890")
    with pytest.raises(AccessDeniedException):
        invoke()


def test_nothing_is_enforced_unless_it_is_asked_for(runtime):
    provider = LambdaProvider(FakeHost(), runtime)  # type: ignore[arg-type]
    assert provider.authorizer is None
    provider.start()
    provider.create_function(context(), creation("f"))
    stranger = context("Invoke", account_id=OTHER)
    assert runtime.run(provider.invoke(stranger, {"FunctionName": arn("f")}))["StatusCode"] == 200
    provider.stop()


def test_the_switch_is_on_or_off(runtime):
    with pytest.raises(ValueError, match="LAMBDA_ENFORCE_PERMISSIONS='maybe'"):
        LambdaProvider(FakeHost({"LAMBDA_ENFORCE_PERMISSIONS": "maybe"}), runtime)  # type: ignore[arg-type]
