from __future__ import annotations

import json

import pytest

from lambda_provider.api import (
    InvalidParameterValueException,
    PreconditionFailedException,
    ResourceConflictException,
    ResourceNotFoundException,
)
from lambda_runtime.errors import VersionFailed

from ..fakes import ACCOUNT, REGION, FakeEc2, arn, context, creation
from .conftest import configuration, update, update_code


def layer(name: str, version: int = 1, region: str = REGION) -> str:
    return f"arn:aws:lambda:{region}:{ACCOUNT}:layer:{name}:{version}"


def test_an_update_is_in_progress_until_somebody_looks(provider, active):
    active("f")
    answer = provider.update_function_configuration(context(), {"FunctionName": "f", "Description": "d"})
    assert {name: value for name, value in answer.items() if name.startswith(("State", "LastUpdate"))} == {
        "State": "Active",
        "LastUpdateStatus": "InProgress",
        "LastUpdateStatusReason": "The function is being created.",
        "LastUpdateStatusReasonCode": "Creating",
    }
    after = configuration(provider)
    assert (after["LastUpdateStatus"], after["Description"]) == ("Successful", "d")
    assert after["RevisionId"] != answer["RevisionId"]


def test_a_second_update_meets_the_first_ones_conflict(provider, active):
    active("f")
    provider.update_function_configuration(context(), {"FunctionName": "f", "Timeout": 7})
    for change in (
        lambda: provider.update_function_configuration(context(), {"FunctionName": "f", "Timeout": 8}),
        lambda: update_code(provider),
        lambda: provider.publish_version(context(), {"FunctionName": "f"}),
    ):
        with pytest.raises(ResourceConflictException) as raised:
            change()
        assert raised.value.message == (
            f"The operation cannot be performed at this time. An update is in progress for resource: {arn('f')}"
        )
    assert configuration(provider)["Timeout"] == 7


def test_a_pending_function_cannot_be_updated(provider):
    provider.create_function(context(), creation("f"))
    with pytest.raises(ResourceConflictException) as raised:
        provider.update_function_configuration(context(), {"FunctionName": "f", "Timeout": 8})
    assert raised.value.message == (
        "The operation cannot be performed at this time. The function is currently in the following state: Pending"
    )


def test_a_failed_update_keeps_the_function_active(provider, active, runtime):
    active("f")
    runtime.failures[arn("f", "$LATEST")] = VersionFailed("InvalidRuntime", "no such interpreter")
    provider.update_function_configuration(context(), {"FunctionName": "f", "Runtime": "python3.13"})
    found = configuration(provider)
    assert (found["State"], found["LastUpdateStatus"]) == ("Active", "Failed")
    assert (found["LastUpdateStatusReasonCode"], found["LastUpdateStatusReason"]) == (
        "InvalidRuntime",
        "no such interpreter",
    )
    del runtime.failures[arn("f", "$LATEST")]
    assert update(provider, Runtime="python3.12")["LastUpdateStatus"] == "Successful"


def test_updates_are_made_only_to_the_revision_that_was_named(provider, active):
    active("f")
    old = configuration(provider)["RevisionId"]
    current = update(provider, Description="d")["RevisionId"]
    for change in (
        lambda revision: provider.update_function_configuration(
            context(), {"FunctionName": "f", "Timeout": 9, "RevisionId": revision}
        ),
        lambda revision: update_code(provider, RevisionId=revision),
        lambda revision: provider.publish_version(context(), {"FunctionName": "f", "RevisionId": revision}),
    ):
        with pytest.raises(PreconditionFailedException) as raised:
            change(old)
        assert raised.value.message == (
            "The Revision Id provided does not match the latest Revision Id. "
            "Call the GetFunction/GetAlias API to retrieve the latest Revision Id"
        )
    assert configuration(provider)["RevisionId"] == current
    assert update_code(provider, RevisionId=current)["LastUpdateStatus"] == "InProgress"


def test_new_code_has_its_own_hash_and_is_what_runs(provider, active, runtime):
    active("f")
    before = configuration(provider)["CodeSha256"]
    assert update_code(provider)["CodeSha256"] != before
    after = configuration(provider)
    code = runtime.deployed[arn("f", "$LATEST")].code
    assert code is not None and code.path.exists()
    assert after["CodeSize"] == code.path.stat().st_size


def test_replaced_code_is_kept_as_long_as_a_version_has_it(provider, active, publish):
    active("f")
    first = provider.store.find(ACCOUNT, REGION, "f").latest.configuration.code.sha256
    provider.publish_version(context(), {"FunctionName": "f"})
    update_code(provider)
    assert provider.archives.get(first).path.exists()
    provider.delete_function(context(), {"FunctionName": "f", "Qualifier": "1"})
    assert not provider.archives.get(first).path.exists()


def test_a_dry_run_answers_what_would_be_and_changes_nothing(provider, active):
    active("f")
    before = configuration(provider)
    answer = update_code(provider, DryRun=True)
    assert answer["CodeSha256"] != before["CodeSha256"]
    assert answer["RevisionId"] == before["RevisionId"]
    assert configuration(provider) == before


def test_architectures_change_with_the_code(provider, active):
    active("f")
    assert update_code(provider, Architectures=["arm64"])["Architectures"] == ["arm64"]


def test_publishing_with_new_code_answers_a_pending_version(provider, active):
    active("f")
    answer = update_code(provider, Publish=True)
    assert (answer["Version"], answer["FunctionArn"], answer["State"]) == ("1", arn("f", "1"), "Pending")
    assert "LastUpdateStatus" not in answer
    version = provider.get_function(context(), {"FunctionName": "f", "Qualifier": "1"})["Configuration"]
    assert (version["State"], version["RevisionId"]) == ("Pending", answer["RevisionId"])
    latest = provider.get_function(context(), {"FunctionName": "f", "Qualifier": "$LATEST"})["Configuration"]
    assert (latest["FunctionArn"], latest["LastUpdateStatus"]) == (arn("f", "$LATEST"), "InProgress")
    assert configuration(provider, qualifier="1")["State"] == "Active"


def test_only_the_function_or_its_latest_version_can_be_updated(provider, active):
    active("f", Publish=True)
    assert update(provider, f"{arn('f')}:$LATEST", Timeout=5)["Timeout"] == 5
    with pytest.raises(InvalidParameterValueException):
        provider.update_function_configuration(context(), {"FunctionName": arn("f", "1"), "Timeout": 5})


def test_updating_what_does_not_exist(provider):
    for change in (lambda: update(provider, "nope", Timeout=5), lambda: update_code(provider, "nope")):
        with pytest.raises(ResourceNotFoundException, match=rf"^Function not found: {arn('nope')}$"):
            change()


def test_members_that_are_not_sent_keep_their_values(provider, active):
    given = {
        "Description": "d",
        "Timeout": 9,
        "MemorySize": 512,
        "Environment": {"Variables": {"A": "b"}},
        "TracingConfig": {"Mode": "Active"},
        "DeadLetterConfig": {"TargetArn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:q"},
        "KMSKeyArn": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/k",
        "SnapStart": {"ApplyOn": "PublishedVersions"},
        "LoggingConfig": {"LogFormat": "JSON", "LogGroup": "g"},
    }
    active("f", **given)
    found = update(provider, Handler="other.handler")
    assert found["Handler"] == "other.handler"
    assert {name: found[name] for name in given} == {
        **given,
        "SnapStart": {"ApplyOn": "PublishedVersions", "OptimizationStatus": "Off"},
        "LoggingConfig": {
            "LogFormat": "JSON",
            "LogGroup": "g",
            "ApplicationLogLevel": "INFO",
            "SystemLogLevel": "INFO",
        },
    }


@pytest.mark.parametrize(
    ("member", "empty"),
    [
        ("DeadLetterConfig", {"TargetArn": ""}),
        ("KMSKeyArn", ""),
        ("FileSystemConfigs", []),
        ("Environment", {}),
    ],
)
def test_an_empty_member_takes_the_setting_away(provider, host, active, member, empty):
    host.clients["ec2"] = FakeEc2()
    active(
        "f",
        DeadLetterConfig={"TargetArn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:q"},
        KMSKeyArn="arn:aws:kms:k",
        FileSystemConfigs=[{"Arn": "a", "LocalMountPath": "/mnt/a"}],
        VpcConfig={"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]},
        Environment={"Variables": {"A": "b"}},
    )
    assert member in configuration(provider)
    assert member not in update(provider, **{member: empty})


def test_environment_without_variables_is_shown_if_it_was_given(provider, active):
    active("given", Environment={"Variables": {}})
    active("absent")
    assert configuration(provider, "given")["Environment"] == {"Variables": {}}
    assert "Environment" not in configuration(provider, "absent")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            {"LogFormat": "JSON"},
            {"LogFormat": "JSON", "ApplicationLogLevel": "INFO", "SystemLogLevel": "INFO"},
        ),
        (
            {"LogFormat": "JSON", "ApplicationLogLevel": "DEBUG"},
            {"LogFormat": "JSON", "ApplicationLogLevel": "DEBUG", "SystemLogLevel": "INFO"},
        ),
        (
            {"LogFormat": "JSON", "SystemLogLevel": "DEBUG"},
            {"LogFormat": "JSON", "ApplicationLogLevel": "INFO", "SystemLogLevel": "DEBUG"},
        ),
        ({"LogGroup": "cool_lambda"}, {"LogFormat": "Text", "LogGroup": "cool_lambda"}),
    ],
)
def test_partial_logging_settings_are_completed_as_recorded(provider, active, change, expected):
    active("f")
    assert update(provider, LoggingConfig=change)["LoggingConfig"] == {"LogGroup": "/aws/lambda/f", **expected}


def test_log_levels_go_with_the_json_format(provider, active):
    active("f", LoggingConfig={"LogFormat": "JSON"})
    assert update(provider, LoggingConfig={"LogFormat": "Text"})["LoggingConfig"] == {
        "LogFormat": "Text",
        "LogGroup": "/aws/lambda/f",
    }


def test_reserved_environment_variables_are_refused(provider, active):
    active("f")
    with pytest.raises(InvalidParameterValueException) as raised:
        update(provider, Environment={"Variables": {"AWS_REGION": "x", "MINE": "y", "_HANDLER": "z"}})
    assert raised.value.message == (
        "Lambda was unable to configure your environment variables because the environment variables you have provided "
        "contains reserved keys that are currently not supported for modification. "
        "Reserved keys used in this request: AWS_REGION, _HANDLER"
    )


def test_the_environment_is_measured_as_json(provider):
    fits = {"SMALL_VAR": "ok", "LARGE_VAR": ""}
    fits["LARGE_VAR"] = "x" * (4096 - len(json.dumps(fits, separators=(",", ":"))))
    provider.create_function(context(), creation("f", Environment={"Variables": fits}))
    large = {**fits, "LARGE_VAR": fits["LARGE_VAR"] + "x"}
    with pytest.raises(InvalidParameterValueException) as raised:
        provider.create_function(context(), creation("g", Environment={"Variables": large}))
    assert raised.value.message == (
        "Lambda was unable to configure your environment variables because the environment variables you have provided "
        f"exceeded the 4KB limit. String measured: {json.dumps(large, separators=(',', ':'))}"
    )


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([layer("doesnotexist")], f"Layer version {layer('doesnotexist')} does not exist."),
        ([layer(f"l{number}") for number in range(6)], "Cannot reference more than 5 layers."),
        (
            [layer("l", 1, "us-west-1")],
            f"Layers are not in the same region as the function. Layers are expected to be in region {REGION}.",
        ),
        (
            [layer("l", 1), layer("l", 2), layer("l", 3)],
            "Two different versions of the same layer are not allowed to be referenced in the same function. "
            f"{layer('l', 1)} and {layer('l', 2)} are versions of the same layer.",
        ),
        (
            [layer("l", 1), layer("l", 1)],
            "Two different versions of the same layer are not allowed to be referenced in the same function. "
            f"{layer('l', 1)} and {layer('l', 1)} are versions of the same layer.",
        ),
    ],
)
def test_layers_that_cannot_be_used_are_refused(provider, active, layers, message):
    active("f")
    with pytest.raises(InvalidParameterValueException) as raised:
        update(provider, Layers=layers)
    assert raised.value.message == message


def test_snapstart_needs_a_runtime_that_has_it(provider):
    with pytest.raises(InvalidParameterValueException, match=r"^python3.11 is not supported for SnapStart"):
        provider.create_function(
            context(), creation("f", Runtime="python3.11", SnapStart={"ApplyOn": "PublishedVersions"})
        )


def test_snapstart_is_on_for_published_versions_only(provider, active):
    active("f", SnapStart={"ApplyOn": "PublishedVersions"}, Publish=True)
    assert configuration(provider)["SnapStart"]["OptimizationStatus"] == "Off"
    assert configuration(provider, qualifier="1")["SnapStart"] == {
        "ApplyOn": "PublishedVersions",
        "OptimizationStatus": "On",
    }
