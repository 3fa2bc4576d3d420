"""Resource policies of functions, versions and aliases."""

from __future__ import annotations

import json
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


def test_permissions_are_removed_one_by_one(aws, snapshot, name):
    client = aws.lambda_

    def remove(step, statement, **parameters):
        snapshot.match(step, client.remove_permission(FunctionName=name, StatementId=statement, **parameters))

    client.add_permission(FunctionName=name, StatementId="one", **FROM_S3)
    client.add_permission(FunctionName=name, StatementId="two", **{**ACTION, "Principal": aws.account_id})
    policy = client.get_policy(FunctionName=name)
    snapshot.match("get_policy", policy)
    request = {"FunctionName": name, "StatementId": "none"}
    snapshot.match("remove_unknown_statement", refused(client.remove_permission, **request))
    request = {"FunctionName": name, "StatementId": "one", "RevisionId": "wrong"}
    snapshot.match("remove_with_wrong_revision", refused(client.remove_permission, **request))
    remove("remove_first", "one", RevisionId=policy["RevisionId"])
    snapshot.match("get_policy_after_first", client.get_policy(FunctionName=name))
    remove("remove_last", "two")
    snapshot.match("get_policy_after_last", refused(client.get_policy, FunctionName=name))
    request = {"FunctionName": name, "StatementId": "two"}
    snapshot.match("remove_without_policy", refused(client.remove_permission, **request))


def test_conditions_of_function_urls(aws, snapshot, name):
    client = aws.lambda_
    public = {"FunctionName": name, "Principal": "*"}
    url = {**public, "Action": "lambda:InvokeFunctionUrl", "FunctionUrlAuthType": "NONE"}
    snapshot.match("add_url_permission", client.add_permission(StatementId="url", **url))
    invoke = {**public, **ACTION, "InvokedViaFunctionUrl": True}
    snapshot.match("add_invoke_permission", client.add_permission(StatementId="invoke", **invoke))
    error = refused(client.add_permission, **public, **ACTION, StatementId="wrong", FunctionUrlAuthType="NONE")
    snapshot.match("auth_type_of_another_action", error)


def test_a_policy_is_too_long(aws, name):
    client = aws.lambda_
    policy = {"Version": "2012-10-17", "Id": "default", "Statement": []}
    for number in range(100):
        statement = f"{number:0100}"
        try:
            added = client.add_permission(FunctionName=name, StatementId=statement, **FROM_S3)
        except client.exceptions.PolicyLengthExceededException as error:
            statement = {**policy["Statement"][-1], "Sid": statement}
            size = len(json.dumps({**policy, "Statement": [*policy["Statement"], statement]}, separators=(",", ":")))
            message = error.response["Error"]["Message"]
            assert message == f"The final policy size ({size}) is bigger than the limit (20480)."
            break
        policy["Statement"].append(json.loads(added["Statement"]))
    else:
        pytest.fail("a policy of 100 statements of 300 bytes was taken")
    assert json.loads(client.get_policy(FunctionName=name)["Policy"]) == policy


def test_resource_policies(aws, snapshot, name):
    client = aws.lambda_
    resource = {"ResourceArn": aws.arn(name)}
    snapshot.match("get_without_policy", refused(client.get_resource_policy, **resource))
    snapshot.match("delete_without_policy", refused(client.delete_resource_policy, **resource))
    client.add_permission(FunctionName=name, StatementId="s3", **FROM_S3)
    snapshot.match("get_what_was_added", client.get_resource_policy(**resource))
    statement = {"Sid": "tls", "Effect": "Deny", "Principal": "*", "Action": "lambda:*", "Resource": aws.arn(name)}
    statement["Condition"] = {"Bool": {"aws:SecureTransport": "false"}}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    put = client.put_resource_policy(**resource, Policy=policy)
    snapshot.match("put", put)
    snapshot.match("get_policy", client.get_policy(FunctionName=name))
    stale = {"Policy": policy, "RevisionId": "00000000-0000-4000-8000-000000000000"}
    snapshot.match("put_with_wrong_revision", refused(client.put_resource_policy, **resource, **stale))
    put = client.put_resource_policy(**resource, Policy=policy, RevisionId=put["RevisionId"])
    client.delete_resource_policy(**resource, RevisionId=put["RevisionId"])
    snapshot.match("get_after_delete", refused(client.get_resource_policy, **resource))
    latest = {"ResourceArn": aws.arn(f"{name}:$LATEST"), "Policy": policy}
    snapshot.match("put_on_latest", refused(client.put_resource_policy, **latest))
    missing = {"ResourceArn": aws.arn("doesnotexist"), "Policy": policy}
    snapshot.match("put_on_nothing", refused(client.put_resource_policy, **missing))
