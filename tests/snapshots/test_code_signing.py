"""Code signing configurations."""

from __future__ import annotations

import pytest

from .harness.functions import archive
from .harness.plugin import recorded
from .harness.steps import refused
from .harness.transformers import masked_text, member, pattern

pytestmark = pytest.mark.scenario


@recorded("lambda_api.json", "TestCodeSigningConfig::test_code_signing_not_found_excs")
def test_what_is_not_found(aws, snapshot, create):
    client = aws.lambda_
    profile = f"arn:{aws.partition}:signer:{aws.region}:{aws.account_id}:/signing-profiles/test"
    created = client.create_code_signing_config(
        Description="Testing CodeSigning Config",
        AllowedPublishers={"SigningProfileVersionArns": [profile]},
        CodeSigningPolicies={"UntrustedArtifactOnDeployment": "Enforce"},
    )
    snapshot.match("create_code_signing_config", created)
    arn = created["CodeSigningConfig"]["CodeSigningConfigArn"]
    absent = f"{arn.rpartition(':')[0]}:csc-{'0' * 17}"
    snapshot.transform(masked_text(absent, "<csc_arn_invalid>"), member("CodeSigningConfigId", "resource"))

    def error(step, call, **parameters):
        snapshot.match(step, refused(call, **parameters))

    name = create()["FunctionName"]
    of_absent, no_function = {"CodeSigningConfigArn": absent}, {"FunctionName": "csc-test-doesnotexist"}
    error("delete_csc_notfound", client.delete_code_signing_config, **of_absent)
    deleted = client.delete_function_code_signing_config(FunctionName=name)
    snapshot.match("nothing_to_delete_response", deleted)
    error("delete_function_csc_fnnotfound", client.delete_function_code_signing_config, **no_function)
    put = client.put_function_code_signing_config
    error("put_function_csc_invalid_fnname", put, CodeSigningConfigArn=arn, **no_function)
    error("put_function_csc_invalid_csc_arn", put, FunctionName=name, **of_absent)
    error("put_function_csc_invalid_both", put, **no_function, **of_absent)
    update = client.update_code_signing_config
    error("update_csc_invalid_csc_arn", update, Description="new", **of_absent)
    error("update_csc_noupdates", update, **of_absent)
    snapshot.match("update_csc_noupdate_response", update(CodeSigningConfigArn=arn))
    error("get_csc_invalid", client.get_code_signing_config, **of_absent)
    without = client.get_function_code_signing_config(FunctionName=name)
    snapshot.match("get_function_csc_fnwithoutcsc", without)
    error("get_function_csc_nonexistingfn", client.get_function_code_signing_config, **no_function)
    listed = client.list_functions_by_code_signing_config(CodeSigningConfigArn=arn)
    snapshot.match("list_functions_by_csc_fnwithoutcsc", listed)
    error("list_functions_by_csc_invalid_cscarn", client.list_functions_by_code_signing_config, **of_absent)
    client.delete_code_signing_config(CodeSigningConfigArn=arn)


PROFILE = "arn:{0.partition}:signer:{0.region}:{0.account_id}:/signing-profiles/test"
ID = member("CodeSigningConfigId", "resource")


@pytest.fixture
def signing(aws):
    """`signing("Enforce")` makes a configuration that goes when the test ends, after the functions that have it."""
    made = []

    def create(policy, **parameters):
        answer = aws.lambda_.create_code_signing_config(
            AllowedPublishers={"SigningProfileVersionArns": [PROFILE.format(aws)]},
            CodeSigningPolicies={"UntrustedArtifactOnDeployment": policy},
            **parameters,
        )
        made.append(answer["CodeSigningConfig"]["CodeSigningConfigArn"])
        return answer

    yield create
    for arn in made:
        for function in aws.lambda_.list_functions_by_code_signing_config(CodeSigningConfigArn=arn)["FunctionArns"]:
            aws.lambda_.delete_function_code_signing_config(FunctionName=function)
        aws.lambda_.delete_code_signing_config(CodeSigningConfigArn=arn)


def test_the_life_of_a_configuration(aws, snapshot, create, signing):
    client = aws.lambda_
    snapshot.transform(ID)
    created = signing("Warn", Tags={"a": "b"})
    snapshot.match("create", created)
    arn = created["CodeSigningConfig"]["CodeSigningConfigArn"]
    snapshot.match("get", client.get_code_signing_config(CodeSigningConfigArn=arn))
    changed = client.update_code_signing_config(CodeSigningConfigArn=arn, Description="other")
    snapshot.match("update", changed)
    snapshot.match("tags", client.list_tags(Resource=arn))
    name = create()["FunctionName"]
    put = client.put_function_code_signing_config(FunctionName=name, CodeSigningConfigArn=arn)
    snapshot.match("put_function", put)
    snapshot.match("get_function", client.get_function_code_signing_config(FunctionName=name))
    snapshot.match("functions", client.list_functions_by_code_signing_config(CodeSigningConfigArn=arn))
    snapshot.match("delete_in_use", refused(client.delete_code_signing_config, CodeSigningConfigArn=arn))
    snapshot.match("delete_function", client.delete_function_code_signing_config(FunctionName=name))
    listed = client.list_code_signing_configs()["CodeSigningConfigs"]
    snapshot.match("listed", [each for each in listed if each["CodeSigningConfigArn"] == arn])


def test_unsigned_code(aws, snapshot, create, signing, refused_create):
    client = aws.lambda_
    snapshot.transform(ID)
    enforce = signing("Enforce")["CodeSigningConfig"]["CodeSigningConfigArn"]
    name = create()["FunctionName"]
    code = {"FunctionName": name, "ZipFile": archive("context.py")}
    client.put_function_code_signing_config(FunctionName=name, CodeSigningConfigArn=enforce)
    snapshot.match("update_enforced", refused(client.update_function_code, **code))
    snapshot.transform(pattern(r"signature for ([\w-]+)\.$", "function-name"))
    snapshot.match("create_enforced", refused_create(CodeSigningConfigArn=enforce))
    policy = {"UntrustedArtifactOnDeployment": "Warn"}
    client.update_code_signing_config(CodeSigningConfigArn=enforce, CodeSigningPolicies=policy)
    snapshot.match("update_warned", sorted(client.update_function_code(**code)))
