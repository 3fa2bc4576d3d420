"""The policy of a layer version."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lambda_provider.api import (
    AccessDeniedException,
    InvalidParameterValueException,
    PolicyLengthExceededException,
    PreconditionFailedException,
    ResourceConflictException,
    ResourceNotFoundException,
)
from lambda_provider.provider import LambdaProvider

from ..fakes import ACCOUNT, REGION, context, creation
from .test_layers import LAYER, OTHER, delete_layer, publish_layer

VERSION: Any = {"LayerName": "l", "VersionNumber": 1}
ORGANIZATION = "o-0123456789"


@pytest.fixture(autouse=True)
def layer(provider: LambdaProvider) -> None:
    publish_layer(provider)


def add(provider: LambdaProvider, statement_id: str = "s1", principal: str = "*", **members: Any) -> Any:
    grant = {"StatementId": statement_id, "Action": "lambda:GetLayerVersion", "Principal": principal}
    return provider.add_layer_version_permission(context("AddLayerVersionPermission"), VERSION | grant | members)


def remove(provider: LambdaProvider, statement_id: str = "s1", **members: Any) -> None:
    provider.remove_layer_version_permission(context(), VERSION | {"StatementId": statement_id} | members)


def may_use(provider: LambdaProvider, account_id: str = OTHER) -> bool:
    try:
        provider.create_function(context(account_id=account_id), creation(Layers=[f"{LAYER}:1"]))
    except AccessDeniedException:
        return False
    provider.delete_function(context(account_id=account_id), {"FunctionName": "f"})
    return True


@pytest.mark.parametrize("principal", ["*", OTHER, f"arn:aws:iam::{OTHER}:root"])
def test_an_account_that_is_named_may_use_the_layer_until_the_statement_goes(provider, principal):
    assert not may_use(provider)
    add(provider, principal=principal)
    assert may_use(provider)
    assert may_use(provider, "333333333333") is (principal == "*")
    remove(provider)
    assert not may_use(provider)


def test_the_owner_needs_no_permission(provider):
    assert may_use(provider, ACCOUNT)


def test_an_organization_is_that_of_the_host(provider, host):
    class Organizations:
        id = ORGANIZATION

        def describe_organization(self) -> Any:
            if not self.id:
                raise ClientError({"Error": {"Code": "AWSOrganizationsNotInUseException"}}, "DescribeOrganization")
            return {"Organization": {"Id": self.id}}

    add(provider, OrganizationId=ORGANIZATION)
    assert not may_use(provider), "a host without Organizations"
    organizations = host.clients["organizations"] = Organizations()
    assert may_use(provider)
    for organizations.id in ("o-another0000", ""):
        assert not may_use(provider)


def test_an_organization_goes_with_everybody_only(provider):
    with pytest.raises(InvalidParameterValueException):
        add(provider, principal=OTHER, OrganizationId=ORGANIZATION)


def test_the_statement_has_the_condition_of_the_organization(provider):
    """AWS's example: https://github.com/serverless/serverless/issues/5761."""
    statement = json.loads(add(provider, OrganizationId=ORGANIZATION)["Statement"])
    assert list(statement) == ["Sid", "Effect", "Principal", "Action", "Resource", "Condition"]
    assert statement["Condition"] == {"StringEquals": {"aws:PrincipalOrgID": ORGANIZATION}}


def test_every_change_has_a_new_revision_which_is_checked_first(provider):
    first = add(provider)["RevisionId"]
    with pytest.raises(PreconditionFailedException, match="Call the GetLayerPolicy API"):
        add(provider, RevisionId="another")
    with pytest.raises(PreconditionFailedException):
        remove(provider, "nobody", RevisionId="another")
    with pytest.raises(ResourceConflictException, match=r"The statement id \(s1\) provided already exists"):
        add(provider, RevisionId=first)
    second = add(provider, "s2", RevisionId=first)["RevisionId"]
    assert second != first
    remove(provider, "s2", RevisionId=second)
    policy = provider.get_layer_version_policy(context(), VERSION)
    assert policy["RevisionId"] not in (first, second)
    assert [statement["Sid"] for statement in json.loads(policy["Policy"])["Statement"]] == ["s1"]


def test_there_is_no_policy_without_statements(provider):
    add(provider)
    remove(provider)
    for operation in (provider.get_layer_version_policy, provider.remove_layer_version_permission):
        with pytest.raises(ResourceNotFoundException, match="No policy is associated with the given resource"):
            operation(context(), VERSION | {"StatementId": "s1"})


def test_versions_have_policies_of_their_own_which_go_with_them(provider):
    add(provider)
    publish_layer(provider)
    with pytest.raises(ResourceNotFoundException, match="No policy"):
        provider.get_layer_version_policy(context(), VERSION | {"VersionNumber": 2})
    delete_layer(provider, 1)
    with pytest.raises(ResourceNotFoundException, match=f"Layer version {LAYER}:1 does not exist"):
        provider.get_layer_version_policy(context(), VERSION)


def test_a_policy_has_a_largest_size(provider):
    with pytest.raises(PolicyLengthExceededException, match=r"bigger than the limit \(20480\)"):
        for number in range(200):
            add(provider, f"statement-{number:03}")
    policy = provider.get_layer_version_policy(context(), VERSION)["Policy"]
    assert 20_000 < len(policy) <= 20_480


@pytest.mark.parametrize("operation", ["add_layer_version_permission", "get_layer_version_policy"])
def test_the_policy_is_the_owners(provider, operation):
    add(provider)
    name = "".join(word.capitalize() for word in operation.split("_"))
    grant = {"StatementId": "s2", "Action": "lambda:GetLayerVersion", "Principal": OTHER}
    request = VERSION | {"LayerName": f"arn:aws:lambda:{REGION}:{ACCOUNT}:layer:l"} | grant
    with pytest.raises(AccessDeniedException, match=f"lambda:{name} on resource: {LAYER}:1"):
        getattr(provider, operation)(context(name, account_id=OTHER), request)
