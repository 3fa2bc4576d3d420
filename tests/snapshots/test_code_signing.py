"""Code signing configurations."""

from __future__ import annotations

import pytest

from .harness.plugin import recorded
from .harness.steps import refused
from .harness.transformers import masked_text, member

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
