"""Resource policies of functions, versions and aliases."""

from __future__ import annotations

from functools import partial

import pytest

from .harness.plugin import recorded
from .harness.steps import refused
from .harness.transformers import pattern, value

pytestmark = pytest.mark.scenario
api = partial(recorded, "lambda_api.json")

WITH_ENVIRONMENT = {"Environment": {"Variables": {}}, "Timeout": 30}
ACTION = {"Action": "lambda:InvokeFunction"}
BUCKET = "arn:aws:s3:::scenario-bucket"
FROM_S3 = {**ACTION, "Principal": "s3.amazonaws.com", "SourceArn": BUCKET}


@pytest.fixture
def name(snapshot, create):
    """A function, whose name has a placeholder also where nothing says that it is one."""
    name = create(**WITH_ENVIRONMENT)["FunctionName"]
    snapshot.transform(value(name, "function-name"), pattern(r"arn:aws[a-z-]*:s3:::([^:]+)$", "resource"))
    return name


@api("TestLambdaPermissions::test_permission_exceptions")
def test_permission_exceptions(aws, snapshot, name):
    client = aws.lambda_

    def add(step, **parameters):
        permission = {"FunctionName": name, "StatementId": "s3", **FROM_S3, **parameters}
        snapshot.match(step, refused(client.add_permission, **permission))

    def remove(step, **parameters):
        snapshot.match(step, refused(client.remove_permission, **{"FunctionName": name, **parameters}))

    add("add_permission_invalid_statement_id", StatementId="example.com")
    add("add_permission_fn_qualifier_mismatch", FunctionName=aws.arn(f"{name}:alias-not-42"), Qualifier="42")
    add("add_permission_fn_qualifier_latest", Qualifier="$LATEST")
    add("add_permission_principal_invalid", Principal="invalid.nonaws.com", SourceAccount=aws.account_id)
    snapshot.match("get_policy_fn_doesnotexist", refused(client.get_policy, FunctionName="doesnotexist"))
    error = refused(client.get_policy, FunctionName=name, Qualifier="42")
    snapshot.match("get_policy_fn_version_doesnotexist", error)
    add("add_permission_fn_doesnotexist", FunctionName="doesnotexist")
    remove("remove_permission_policy_doesnotexist", StatementId="s3")
    add("add_permission_fn_alias_doesnotexist", Qualifier="alias-doesnotexist")
    add("add_permission_fn_version_doesnotexist", Qualifier="42")
    add("add_permission_fn_qualifier_invalid", Qualifier="invalid-qualifier-with-?-char")
    add("add_permission_fn_qualifier_valid_doesnotexist", Qualifier="valid-with-$-but-doesnotexist")
    client.add_permission(FunctionName=name, StatementId="s3", **FROM_S3)
    add("add_permission_conflicting_statement_id")
    remove("remove_permission_fn_doesnotexist", FunctionName="doesnotexist", StatementId="s3")
    remove("remove_permission_fn_alias_doesnotexist", StatementId="s3", Qualifier="alias-doesnotexist")


@api("TestLambdaPermissions::test_add_lambda_permission_fields")
def test_add_permission_fields(aws, snapshot, name):
    client = aws.lambda_

    def add(step, statement, **parameters):
        permission = {"FunctionName": name, "StatementId": statement, **ACTION, **parameters}
        snapshot.match(step, client.add_permission(**permission))

    mine = {"SourceAccount": aws.account_id}
    user = aws.role_arn if aws.is_aws else f"arn:aws:iam::{aws.account_id}:user/scenario-user"
    snapshot.transform(value(user, "user_arn"))
    add("add_permission_principal_wildcard", "wilcard", Principal="*", **mine)
    add("add_permission_principal_service", "lambda", Principal="lambda.amazonaws.com", **mine)
    add("add_permission_principal_account", "account-id", Principal=aws.account_id)
    add("add_permission_principal_arn", "user-arn", Principal=user, **mine)
    add(
        "add_permission_optional_fields",
        "urlPermission",
        Action="lambda:InvokeFunctionUrl",
        Principal="*",
        SourceArn=BUCKET,
        FunctionUrlAuthType="NONE",
        PrincipalOrgID="o-1234567890",
        **mine,
    )
    token = "amzn1.ask.skill.xxxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"
    add("add_permission_alexa_skill", "alexaSkill", Principal="*", EventSourceToken=token)


@api("TestLambdaPermissions::test_lambda_permission_versioning")
def test_permissions_are_not_published(aws, snapshot, name):
    client = aws.lambda_
    added = client.add_permission(FunctionName=name, StatementId="s3", **FROM_S3)
    snapshot.match("add_permission", added)
    snapshot.match("get_policy", client.get_policy(FunctionName=name))
    version = client.publish_version(FunctionName=name)["Version"]
    snapshot.match("get_policy_after_publishing_latest", client.get_policy(FunctionName=name))
    error = refused(client.get_policy, FunctionName=name, Qualifier=version)
    snapshot.match("get_policy_after_publishing_new_version", error)
    client.add_permission(FunctionName=name, StatementId="s3", Qualifier=version, **FROM_S3)
    snapshot.match("get_policy_after_adding_to_new_version", client.get_policy(FunctionName=name))
    client.add_permission(FunctionName=name, StatementId="s3_2", **FROM_S3)
    snapshot.match("get_policy_after_adding_2", client.get_policy(FunctionName=name))


@api("TestLambdaPermissions::test_lambda_permission_fn_versioning")
def test_permissions_of_versions_and_aliases(aws, snapshot, name):
    client = aws.lambda_
    snapshot.match("add_permission", client.add_permission(FunctionName=name, StatementId="s3", **FROM_S3))
    snapshot.match("get_policy", client.get_policy(FunctionName=name))
    published = client.publish_version(FunctionName=name)
    version = published["Version"]
    snapshot.match("publish_version_result", published)
    snapshot.match("get_function_result_after_publishing", client.get_function(FunctionName=name))
    snapshot.match("get_policy_after_publishing_latest", client.get_policy(FunctionName=name))
    error = refused(client.get_policy, FunctionName=name, Qualifier=version)
    snapshot.match("get_policy_after_publishing_new_version", error)
    client.add_permission(FunctionName=name, StatementId="s3", Qualifier=version, **FROM_S3)
    snapshot.match("get_policy_version", client.get_policy(FunctionName=name, Qualifier=version))
    alias = {"FunctionName": name, "Qualifier": "permission-alias"}
    created = client.create_alias(FunctionName=name, Name="permission-alias", FunctionVersion=version)
    snapshot.match("create_alias_response", created)
    snapshot.match("get_alias", client.get_alias(FunctionName=name, Name="permission-alias"))
    error = refused(client.add_permission, **alias, StatementId="s3", RevisionId="wrong", **FROM_S3)
    snapshot.match("add_permission_alias_revision_exception", error)
    client.add_permission(**alias, StatementId="s3", RevisionId=created["RevisionId"], **FROM_S3)
    snapshot.match("get_policy_alias", client.get_policy(**alias))
    snapshot.match("get_policy_after_adding_to_new_version", client.get_policy(FunctionName=name))
    client.add_permission(FunctionName=name, StatementId="s3_2", **FROM_S3)
    snapshot.match("get_policy_after_adding_2", client.get_policy(FunctionName=name))
