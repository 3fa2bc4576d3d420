from __future__ import annotations

import base64
import concurrent.futures
import hashlib
import io
import re

import pytest
from botocore.exceptions import ClientError

from lambda_provider.api import (
    CodeSigningConfigNotFoundException,
    CodeStorageExceededException,
    InvalidParameterValueException,
    RequestEntityTooLargeException,
    ResourceConflictException,
    ResourceNotFoundException,
)
from lambda_provider.provider import LambdaProvider
from lambda_runtime.errors import VersionFailed

from ..fakes import ACCOUNT, REGION, ROLE, FakeHost, FakeRuntime, archive, arn, context, creation
from .conftest import configuration, update, update_code


def test_a_created_function_is_described_as_recorded(provider):
    answer = provider.create_function(context(), creation("f"))
    runtime_version = answer.pop("RuntimeVersionConfig")["RuntimeVersionArn"]
    assert re.fullmatch(rf"arn:aws:lambda:{REGION}::runtime:[0-9a-f]{{64}}", runtime_version)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000", answer.pop("LastModified"))
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", answer.pop("RevisionId"))
    assert answer == {
        "FunctionName": "f",
        "FunctionArn": arn("f"),
        "Runtime": "python3.12",
        "Role": ROLE,
        "Handler": "index.handler",
        "CodeSize": len(archive()),
        "CodeSha256": base64.b64encode(hashlib.sha256(archive()).digest()).decode(),
        "Description": "",
        "Timeout": 3,
        "MemorySize": 128,
        "Version": "$LATEST",
        "TracingConfig": {"Mode": "PassThrough"},
        "State": "Pending",
        "StateReason": "The function is being created.",
        "StateReasonCode": "Creating",
        "PackageType": "Zip",
        "Architectures": ["x86_64"],
        "EphemeralStorage": {"Size": 512},
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": "/aws/lambda/f"},
    }


def test_a_reader_finds_the_function_active_with_a_new_revision(provider):
    created = provider.create_function(context(), creation("f"))
    found = provider.get_function(context(), {"FunctionName": "f"})["Configuration"]
    assert (found["State"], found["LastUpdateStatus"]) == ("Active", "Successful")
    assert found.keys().isdisjoint({"StateReason", "StateReasonCode"})
    assert found["RevisionId"] != created["RevisionId"]
    assert provider.get_function(context(), {"FunctionName": "f"})["Configuration"] == found


def test_a_reader_does_not_wait_longer_than_its_patience(runtime):
    provider = LambdaProvider(FakeHost(), runtime)
    provider.transitions._patience_s = 0.0
    runtime.hold_preparations()
    provider.create_function(context(), creation("f"))
    assert configuration(provider)["State"] == "Pending"
    runtime.release_preparations()
    provider.stop()


def test_a_version_that_cannot_be_prepared_is_failed_with_the_reason(provider, runtime):
    runtime.failures[arn("f", "$LATEST")] = VersionFailed("InvalidRuntime", "no python3.12 here")
    provider.create_function(context(), creation("f"))
    found = configuration(provider)
    assert (found["State"], found["StateReasonCode"], found["StateReason"]) == (
        "Failed",
        "InvalidRuntime",
        "no python3.12 here",
    )


def test_publish_on_create_answers_the_version_and_the_unqualified_arn(provider):
    created = provider.create_function(context(), creation("f", Publish=True))
    assert (created["Version"], created["FunctionArn"], created["State"]) == ("1", arn("f"), "Pending")
    latest, version = configuration(provider), configuration(provider, qualifier="1")
    assert (latest["Version"], latest["FunctionArn"]) == ("$LATEST", arn("f"))
    assert (version["Version"], version["FunctionArn"], version["State"]) == ("1", arn("f", "1"), "Active")
    assert len({created["RevisionId"], latest["RevisionId"], version["RevisionId"]}) == 3


def test_a_function_name_is_taken_once(provider, active):
    active("f")
    with pytest.raises(ResourceConflictException, match=r"^Function already exist: f$"):
        provider.create_function(context(), creation("f"))


def test_accounts_and_regions_do_not_see_each_other(provider, active):
    active("f")
    for elsewhere in (context(region="us-west-2"), context(account_id="222222222222")):
        assert provider.list_functions(elsewhere, {})["Functions"] == []
        with pytest.raises(ResourceNotFoundException):
            provider.get_function(elsewhere, {"FunctionName": "f"})
        provider.create_function(elsewhere, creation("f"))


@pytest.mark.parametrize("missing", ["Runtime", "Handler"])
def test_a_zip_function_needs_runtime_and_handler(provider, missing):
    request = creation("f")
    del request[missing]
    with pytest.raises(InvalidParameterValueException, match=r"^Runtime and Handler are mandatory parameters"):
        provider.create_function(context(), request)


def test_unknown_and_retired_runtimes_are_refused_in_different_words(provider):
    with pytest.raises(InvalidParameterValueException, match=r"^Value nope at 'runtime' failed to satisfy"):
        provider.create_function(context(), creation("f", Runtime="nope"))
    with pytest.raises(InvalidParameterValueException, match=r"python3.7 is no longer supported"):
        provider.create_function(context(), creation("f", Runtime="python3.7"))


def test_code_must_be_a_zip_file(provider):
    with pytest.raises(InvalidParameterValueException) as raised:
        provider.create_function(context(), creation("f", Code={"ZipFile": b"not a zip"}))
    assert raised.value.message == ("Could not unzip uploaded file. Please check your file, then try to upload again.")


def test_code_must_come_from_somewhere(provider):
    for code in ({}, {"S3Bucket": "b"}, {"ImageUri": "i"}):
        with pytest.raises(InvalidParameterValueException, match=r"^Please provide a source for function code"):
            provider.create_function(context(), creation("f", Code=code))


def test_code_from_a_zip_file_and_from_s3_at_once_is_refused(provider):
    code = {"ZipFile": archive(), "S3Bucket": "b", "S3Key": "k"}
    with pytest.raises(InvalidParameterValueException, match=r"Please do not provide other FunctionCode parameters"):
        provider.create_function(context(), creation("f", Code=code))


class _Bucket:
    """S3 with one object, as botocore's client answers."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.asked: dict[str, str] = {}

    def get_object(self, **parameters: str):
        self.asked = parameters
        if parameters["Key"] != "code.zip":
            error = {"Code": "NoSuchKey", "Message": "The specified key does not exist."}
            raise ClientError({"Error": error}, "GetObject")
        return {"Body": io.BytesIO(self.content)}


def test_code_comes_from_the_hosts_s3_in_the_version_that_was_asked_for(provider, host):
    host.clients["s3"] = _Bucket(archive())
    code = {"S3Bucket": "b", "S3Key": "code.zip", "S3ObjectVersion": "v7"}
    created = provider.create_function(context(), creation("f", Code=code))
    assert created["CodeSize"] == len(archive())
    assert host.clients["s3"].asked == {"Bucket": "b", "Key": "code.zip", "VersionId": "v7"}


def test_a_missing_s3_object_is_reported_with_s3s_words(provider, host):
    host.clients["s3"] = _Bucket(archive())
    with pytest.raises(InvalidParameterValueException) as raised:
        provider.create_function(context(), creation("f", Code={"S3Bucket": "b", "S3Key": "other"}))
    assert raised.value.message == (
        "Error occurred while GetObject. S3 Error Code: NoSuchKey. S3 Error Message: The specified key does not exist."
    )


def test_zip_and_request_sizes_have_limits_of_their_own(runtime):
    limited = LambdaProvider(
        FakeHost({"LAMBDA_LIMITS_CODE_SIZE_ZIPPED": "50", "LAMBDA_LIMITS_CREATE_FUNCTION_REQUEST_SIZE": "400"}),
        runtime,
    )
    with pytest.raises(RequestEntityTooLargeException, match=r"^Zipped size must be smaller than 50 bytes$"):
        limited.create_function(context("CreateFunction"), creation("f", Code={"ZipFile": b"x" * 51}))
    with pytest.raises(RequestEntityTooLargeException) as raised:
        limited.create_function(context("CreateFunction"), creation("f", Code={"ZipFile": b"x" * 300}))
    assert raised.value.message == "Request must be smaller than 400 bytes for the CreateFunction operation"


def test_the_account_has_room_for_so_much_code(runtime):
    limited = LambdaProvider(FakeHost({"LAMBDA_LIMITS_TOTAL_CODE_SIZE": str(len(archive()) + 1)}), runtime)
    limited.create_function(context(), creation("f"))
    with pytest.raises(CodeStorageExceededException, match=r"^Code storage limit exceeded"):
        limited.create_function(context(), creation("g"))
    limited.delete_function(context(), {"FunctionName": "f"})
    limited.create_function(context(), creation("g"))


def test_an_image_function_is_described_without_runtime_and_handler(provider):
    request = {
        "FunctionName": "f",
        "Role": ROLE,
        "PackageType": "Image",
        "Code": {"ImageUri": "repo/image:latest"},
        "ImageConfig": {"Command": ["app.handler"]},
    }
    created = provider.create_function(context(), request)
    assert created.keys().isdisjoint({"Runtime", "Handler", "RuntimeVersionConfig"})
    assert (created["PackageType"], created["CodeSize"]) == ("Image", 0)
    assert created["ImageConfigResponse"] == {"ImageConfig": {"Command": ["app.handler"]}}
    assert provider.get_function(context(), {"FunctionName": "f"})["Code"] == {
        "RepositoryType": "ECR",
        "ImageUri": "repo/image:latest",
        "ResolvedImageUri": f"repo/image@sha256:{created['CodeSha256']}",
    }


def test_an_image_function_takes_no_handler(provider):
    with pytest.raises(InvalidParameterValueException, match=r"intended function PackageType is Image"):
        provider.create_function(context(), creation("f", PackageType="Image", Code={"ImageUri": "i"}))


def test_code_of_the_other_package_type_is_refused(provider, active):
    active("zip")
    with pytest.raises(InvalidParameterValueException) as raised:
        provider.update_function_code(context(), {"FunctionName": "zip", "ImageUri": "i"})
    assert raised.value.message == "Please don't provide ImageUri when updating a function with packageType Zip."
    provider.create_function(
        context(), {"FunctionName": "img", "Role": ROLE, "PackageType": "Image", "Code": {"ImageUri": "i"}}
    )
    with pytest.raises(InvalidParameterValueException) as raised:
        provider.update_function_code(context(), {"FunctionName": "img", "ZipFile": archive()})
    assert raised.value.message == "Please provide ImageUri when updating a function with packageType Image."


def test_tags_and_reserved_concurrency_are_in_get_function_when_set(provider, active):
    assert provider.get_function(context(), {"FunctionName": active("plain")}).keys() == {"Configuration", "Code"}
    active("tagged", Tags={"a": "b"})
    assert provider.get_function(context(), {"FunctionName": "tagged"})["Tags"] == {"a": "b"}


def test_a_function_has_at_most_fifty_tags(provider):
    tags = {f"k{number}": "v" for number in range(51)}
    with pytest.raises(InvalidParameterValueException, match=r"^Number of tags exceeds resource tag limit.$"):
        provider.create_function(context(), creation("f", Tags=tags))


def test_get_function_by_qualifier_answers_the_qualified_arn(provider, active):
    active("f", Publish=True)
    provider.create_alias(context(), {"FunctionName": "f", "Name": "live", "FunctionVersion": "1"})
    for qualifier, version in (("$LATEST", "$LATEST"), ("1", "1"), ("live", "1")):
        for request in ({"FunctionName": "f", "Qualifier": qualifier}, {"FunctionName": arn("f", qualifier)}):
            found = provider.get_function(context(), request)["Configuration"]
            assert (found["FunctionArn"], found["Version"]) == (arn("f", qualifier), version)


@pytest.mark.parametrize("qualifier", ["1221", "nobody", "$LATEST"])
def test_what_does_not_exist_is_named_as_it_was_asked_for(provider, active, qualifier):
    name = "f" if qualifier != "$LATEST" else "unknown"
    active("f")
    for operation in (provider.get_function, provider.get_function_configuration):
        with pytest.raises(ResourceNotFoundException) as raised:
            operation(context(), {"FunctionName": name, "Qualifier": qualifier})
        assert raised.value.message == f"Function not found: {arn(name, qualifier)}"


def test_qualifiers_in_name_and_parameter_must_agree(provider):
    for operation in (provider.get_function, provider.delete_function):
        with pytest.raises(InvalidParameterValueException, match=r"^The derived qualifier from the function name"):
            operation(context(), {"FunctionName": arn("some", "$LATEST"), "Qualifier": "1"})


def test_code_can_be_downloaded_from_the_location(provider, active):
    location = provider.get_function(context(), {"FunctionName": active("f")})["Code"]
    assert location["RepositoryType"] == "S3"
    assert location["Location"].startswith(f"http://gateway:4566/_lambda/code/{ACCOUNT}/{REGION}/f-")
    path, _, query = location["Location"].removeprefix("http://gateway:4566").partition("?")
    assert "X-Amz-Signature=" in query
    answer = provider.download_code(path, query)
    assert (answer.status, answer.body) == (200, archive())
    assert provider.download_code(path.replace("/f-", "/g-"), query).status == 403
    assert provider.download_code(path, "").status == 403


def test_functions_are_listed_in_order_of_creation_without_state(provider, active):
    for name in ("b", "a", "c"):
        active(name)
    listed = provider.list_functions(context(), {})["Functions"]
    assert [function["FunctionArn"] for function in listed] == [arn("b"), arn("a"), arn("c")]
    assert (
        listed[0]
        .keys()
        .isdisjoint({"State", "StateReason", "StateReasonCode", "LastUpdateStatus", "RuntimeVersionConfig"})
    )


def test_all_versions_are_listed_with_qualified_arns(provider, active):
    active("f", Publish=True)
    active("g")
    listed = provider.list_functions(context(), {"FunctionVersion": "ALL"})["Functions"]
    assert [function["FunctionArn"] for function in listed] == [
        arn("f", "$LATEST"),
        arn("f", "1"),
        arn("g", "$LATEST"),
    ]


@pytest.mark.parametrize("version", [{}, {"FunctionVersion": "ALL"}])
def test_pages_join_to_the_whole_list(provider, active, publish, version):
    for name in ("f", "g", "h"):
        active(name, Publish=True)
    publish("f")
    whole = [item["FunctionArn"] for item in provider.list_functions(context(), version)["Functions"]]
    paged, marker = [], {}
    while True:
        page = provider.list_functions(context(), {**version, "MaxItems": 2, **marker})
        paged += [item["FunctionArn"] for item in page["Functions"]]
        if "NextMarker" not in page:
            break
        assert len(page["Functions"]) == 2
        marker = {"Marker": page["NextMarker"]}
    assert paged == whole


def test_a_marker_of_another_list_or_of_nobody_is_refused(provider, active):
    for name in ("f", "g"):
        active(name)
    marker = provider.list_functions(context(), {"MaxItems": 1})["NextMarker"]
    for request in ({"Marker": "bogus"}, {"Marker": marker, "FunctionVersion": "ALL"}, {"Marker": marker + "A"}):
        with pytest.raises(InvalidParameterValueException):
            provider.list_functions(context(), request)


def test_delete_retires_every_version_and_frees_the_name(provider, runtime, active):
    active("f", Publish=True)
    assert provider.delete_function(context(), {"FunctionName": "f"}) == {"StatusCode": 204}
    with pytest.raises(ResourceNotFoundException):
        provider.get_function(context(), {"FunctionName": "f"})
    runtime.run(_nothing())
    assert sorted(runtime.retired) == [arn("f", "$LATEST"), arn("f", "1")]
    active("f")


async def _nothing() -> None:
    """Reached when everything submitted before it has run."""


def test_latest_cannot_be_deleted_even_if_there_is_no_function(provider):
    with pytest.raises(InvalidParameterValueException) as raised:
        provider.delete_function(context(), {"FunctionName": "unknown", "Qualifier": "$LATEST"})
    assert raised.value.message == "$LATEST version cannot be deleted without deleting the function."


def test_deleting_an_unknown_function_is_an_error_an_unknown_version_is_not(provider, active):
    with pytest.raises(ResourceNotFoundException, match=rf"^Function not found: {arn('unknown')}$"):
        provider.delete_function(context(), {"FunctionName": "unknown"})
    active("f")
    assert provider.delete_function(context(), {"FunctionName": "f", "Qualifier": "99"}) == {"StatusCode": 204}


def test_a_version_that_an_alias_uses_is_not_deleted(provider, active, publish):
    active("f", Publish=True)
    publish("f")
    routing = {"AdditionalVersionWeights": {"2": 0.5}}
    provider.create_alias(
        context(), {"FunctionName": "f", "Name": "live", "FunctionVersion": "1", "RoutingConfig": routing}
    )
    for number in ("1", "2"):
        with pytest.raises(ResourceConflictException) as raised:
            provider.delete_function(context(), {"FunctionName": "f", "Qualifier": number})
        assert raised.value.message == ("Unable to delete version because the following aliases reference it: [live]")


def test_account_settings_count_the_code_of_every_version(provider, active):
    before = provider.get_account_settings(context(), {})["AccountUsage"]
    assert before == {"TotalCodeSize": 0, "FunctionCount": 0}
    active("f")
    update(provider, Description="changed")
    assert provider.get_account_settings(context(), {})["AccountUsage"]["TotalCodeSize"] == len(archive())
    provider.publish_version(context(), {"FunctionName": "f"})
    assert provider.get_account_settings(context(), {})["AccountUsage"] == {
        "TotalCodeSize": 2 * len(archive()),
        "FunctionCount": 1,
    }
    update_code(provider, content="x" * 500)
    larger = len(archive("x" * 500))
    assert provider.get_account_settings(context(), {})["AccountUsage"]["TotalCodeSize"] == len(archive()) + larger
    provider.delete_function(context(), {"FunctionName": "f"})
    assert provider.get_account_settings(context(), {})["AccountUsage"] == before


def test_a_refused_creation_leaves_nothing(provider, tmp_path):
    for members in ({"Layers": [f"arn:aws:lambda:{REGION}:{ACCOUNT}:layer:x:1"]}, {"Runtime": "nope"}):
        with pytest.raises(InvalidParameterValueException):
            provider.create_function(context(), creation("f", **members))
    assert provider.list_functions(context(), {})["Functions"] == []
    kept = provider.archives.get("0").path.parent
    assert not kept.exists() or list(kept.iterdir()) == []


def test_no_transition_is_left_after_it_finished_by_itself(runtime: FakeRuntime):
    provider = LambdaProvider(FakeHost({"LAMBDA_SETTLE_MS": "1"}), runtime)  # type: ignore[arg-type]
    provider.create_function(context(), creation("f"))
    concurrent.futures.wait(list(provider.transitions._running), 30)
    function = provider.store.find(ACCOUNT, REGION, "f")
    assert function is not None and function.latest.status.state == "Active"
    assert provider.transitions._transitions == {}
    provider.stop()


def test_a_reader_that_finishes_a_transition_at_once_does_not_end_the_version(provider, runtime):
    """Once in some hundred restores on a busy machine, the loop took a version for a deleted one, and had it retired."""
    runtime.hold_preparations()
    provider.create_function(context(), creation("f"))
    transitions = provider.transitions
    (transition,) = transitions._transitions.values()
    # A reader in another thread may be as fast as this.
    transition.prepared.add_done_callback(lambda _: transitions._finish(transition))
    runtime.release_preparations()
    transition.prepared.result(30)
    runtime.run(_nothing())
    assert configuration(provider)["State"] == "Active"
    assert runtime.deployed.keys() == {arn("f", "$LATEST")}
    assert runtime.retired == []


def test_a_function_that_is_created_again_runs_its_new_code(provider, runtime):
    runtime.hold_preparations()
    slow = runtime.gate
    provider.create_function(context(), creation("f", Handler="old.handler"))
    runtime.run(_nothing())
    runtime.gate = None
    provider.delete_function(context(), {"FunctionName": "f"})
    provider.create_function(context(), creation("f", Handler="new.handler"))
    runtime.run(_nothing())
    runtime.loop.call_soon_threadsafe(slow.set)
    assert configuration(provider)["State"] == "Active"
    assert runtime.deployed[arn("f", "$LATEST")].handler == "new.handler"
    assert provider.transitions._latest_preparation == {}


def test_a_code_signing_configuration_must_exist(provider):
    config = f"arn:aws:lambda:{REGION}:{ACCOUNT}:code-signing-config:csc-0123456789abcdef0"
    with pytest.raises(CodeSigningConfigNotFoundException, match=rf"is not deleted: {config}\.$"):
        provider.create_function(context(), creation("f", CodeSigningConfigArn=config))
