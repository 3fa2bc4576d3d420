from __future__ import annotations

import base64
import io
import zipfile

import pytest

from lambda_provider.api import (
    CodeSigningConfigNotFoundException,
    CodeVerificationFailedException,
    InvalidParameterValueException,
    ResourceConflictException,
    ResourceNotFoundException,
)
from lambda_provider.operations.signatures import SIGNATURE_FILE

from ..fakes import ACCOUNT, REGION, archive, arn, context, creation
from .conftest import configuration

PROFILE = f"arn:aws:signer:{REGION}:{ACCOUNT}:/signing-profiles/trusted"
VERSION = f"{PROFILE}/abcdef1234"
ABSENT = f"arn:aws:lambda:{REGION}:{ACCOUNT}:code-signing-config:csc-{'0' * 17}"


def create(provider, policy="Enforce", publishers=(PROFILE,), **members):
    request = {
        "AllowedPublishers": {"SigningProfileVersionArns": list(publishers)},
        "CodeSigningPolicies": {"UntrustedArtifactOnDeployment": policy},
        **members,
    }
    return provider.create_code_signing_config(context(), request)["CodeSigningConfig"]


def signed(signature: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        opened.writestr(zipfile.ZipInfo("index.py"), "def handler(event, context): return event")
        opened.writestr(zipfile.ZipInfo(SIGNATURE_FILE), signature)
    return buffer.getvalue()


def attach(provider, config, name="f"):
    return provider.put_function_code_signing_config(
        context(), {"FunctionName": name, "CodeSigningConfigArn": config["CodeSigningConfigArn"]}
    )


def deploy(provider, content, name="f"):
    configuration(provider, name)
    return provider.update_function_code(context(), {"FunctionName": name, "ZipFile": content})


def test_a_configuration_lives(provider):
    created = create(provider, Description="d")
    csc = created["CodeSigningConfigArn"]
    assert csc == f"arn:aws:lambda:{REGION}:{ACCOUNT}:code-signing-config:{created['CodeSigningConfigId']}"
    assert created["CodeSigningPolicies"] == {"UntrustedArtifactOnDeployment": "Enforce"}
    update = provider.update_code_signing_config
    assert update(context(), {"CodeSigningConfigArn": csc}) == {"CodeSigningConfig": created}
    policy = {"UntrustedArtifactOnDeployment": "Warn"}
    changed = update(context(), {"CodeSigningConfigArn": csc, "CodeSigningPolicies": policy})["CodeSigningConfig"]
    assert (changed["CodeSigningPolicies"], changed["Description"]) == (policy, "d")
    assert provider.get_code_signing_config(context(), {"CodeSigningConfigArn": csc}) == {"CodeSigningConfig": changed}
    assert provider.list_code_signing_configs(context(), {}) == {"CodeSigningConfigs": [changed]}
    provider.delete_code_signing_config(context(), {"CodeSigningConfigArn": csc})
    assert provider.list_code_signing_configs(context(), {}) == {"CodeSigningConfigs": []}


def test_warn_is_what_happens_if_nothing_is_said(provider):
    publishers = {"SigningProfileVersionArns": [PROFILE]}
    created = provider.create_code_signing_config(context(), {"AllowedPublishers": publishers})["CodeSigningConfig"]
    assert created["CodeSigningPolicies"] == {"UntrustedArtifactOnDeployment": "Warn"}
    assert "Description" not in created


@pytest.mark.parametrize(
    "operation",
    [
        "get_code_signing_config",
        "update_code_signing_config",
        "delete_code_signing_config",
        "list_functions_by_code_signing_config",
    ],
)
def test_a_configuration_that_is_not_there(provider, operation):
    """Recorded: test_code_signing_not_found_excs, without a Type."""
    with pytest.raises(ResourceNotFoundException) as raised:
        getattr(provider, operation)(context(), {"CodeSigningConfigArn": ABSENT})
    assert raised.value.fields() == {"Message": f"The Lambda code signing configuration {ABSENT} can not be found."}


@pytest.mark.parametrize("name", ["f", "nope"])
def test_the_configuration_is_looked_for_before_the_function(provider, active, name):
    """Recorded: put_function_csc_invalid_both."""
    active()
    with pytest.raises(CodeSigningConfigNotFoundException) as raised:
        attach(provider, {"CodeSigningConfigArn": ABSENT}, name)
    assert raised.value.message == (
        "The code signing configuration cannot be found. "
        f"Check that the provided configuration is not deleted: {ABSENT}."
    )
    with pytest.raises(ResourceNotFoundException, match=rf"^Function not found: {arn('nope')}$"):
        attach(provider, create(provider), "nope")


def test_a_function_has_a_configuration_and_loses_it(provider, active):
    active()
    config = create(provider)
    csc = config["CodeSigningConfigArn"]
    get, delete = provider.get_function_code_signing_config, provider.delete_function_code_signing_config
    assert get(context(), {"FunctionName": "f"}) == {}
    assert attach(provider, config) == {"CodeSigningConfigArn": csc, "FunctionName": "f"}
    assert get(context(), {"FunctionName": arn("f")}) == {"CodeSigningConfigArn": csc, "FunctionName": "f"}
    listed = provider.list_functions_by_code_signing_config(context(), {"CodeSigningConfigArn": csc})
    assert listed == {"FunctionArns": [arn("f")]}
    with pytest.raises(ResourceConflictException):
        provider.delete_code_signing_config(context(), {"CodeSigningConfigArn": csc})
    delete(context(), {"FunctionName": "f"})
    delete(context(), {"FunctionName": "f"})
    provider.delete_code_signing_config(context(), {"CodeSigningConfigArn": csc})


def test_enforce_refuses_unsigned_code(provider, active):
    active()
    attach(provider, create(provider))
    before = configuration(provider)
    with pytest.raises(CodeVerificationFailedException) as raised:
        deploy(provider, archive("unsigned"))
    assert raised.value.message == (
        "Lambda cannot deploy the function. The function or layer might be signed using a signature that the client is "
        "not configured to accept. Check the provided signature for f."
    )
    assert configuration(provider) == before


def test_warn_lets_it_pass(provider, active):
    active()
    attach(provider, create(provider, policy="Warn"))
    assert "SigningProfileVersionArn" not in deploy(provider, archive("unsigned"))


@pytest.mark.parametrize(
    "signature",
    [VERSION.encode(), b'{"profile":"' + base64.b64encode(b"profile: " + VERSION.encode()) + b'"}'],
)
def test_code_that_a_trusted_profile_signed_is_taken(provider, active, signature):
    active()
    attach(provider, create(provider, publishers=[PROFILE.replace("trusted", "other"), VERSION]))
    assert deploy(provider, signed(signature))["SigningProfileVersionArn"] == VERSION


def test_code_that_another_profile_signed_is_refused(provider, active):
    active()
    attach(provider, create(provider))
    with pytest.raises(CodeVerificationFailedException):
        deploy(provider, signed(VERSION.replace("trusted", "trusted2").encode()))


def test_a_function_is_created_with_a_configuration(provider):
    csc = create(provider)["CodeSigningConfigArn"]
    with pytest.raises(CodeVerificationFailedException):
        provider.create_function(context(), creation("f", CodeSigningConfigArn=csc))
    provider.create_function(
        context(), creation("f", CodeSigningConfigArn=csc, Code={"ZipFile": signed(VERSION.encode())})
    )
    found = provider.get_function_code_signing_config(context(), {"FunctionName": "f"})
    assert found["CodeSigningConfigArn"] == csc


def test_layers_must_be_signed_too(provider, active):
    active()
    attach(provider, create(provider))
    layer = provider.publish_layer_version(context(), {"LayerName": "l", "Content": {"ZipFile": archive()}})
    with pytest.raises(CodeVerificationFailedException):
        provider.update_function_configuration(context(), {"FunctionName": "f", "Layers": [layer["LayerVersionArn"]]})


def test_images_cannot_be_signed(provider):
    request = {
        "FunctionName": "i",
        "PackageType": "Image",
        "Role": f"arn:aws:iam::{ACCOUNT}:role/r",
        "Code": {"ImageUri": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/i:latest"},
    }
    provider.create_function(context(), request)
    with pytest.raises(InvalidParameterValueException, match="container images"):
        attach(provider, create(provider), "i")


def test_configurations_belong_to_account_and_region(provider):
    csc = create(provider)["CodeSigningConfigArn"]
    for elsewhere in (context(region="us-east-1"), context(account_id="222222222222")):
        assert provider.list_code_signing_configs(elsewhere, {}) == {"CodeSigningConfigs": []}
        with pytest.raises(ResourceNotFoundException):
            provider.get_code_signing_config(elsewhere, {"CodeSigningConfigArn": csc})
