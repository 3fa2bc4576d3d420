"""Published versions and revision ids."""

from __future__ import annotations

from functools import partial

import pytest

from .harness.functions import archive
from .harness.plugin import recorded
from .harness.steps import refused, updated

pytestmark = pytest.mark.scenario
api = partial(recorded, "lambda_api.json")

INDEX = {"Handler": "index.handler"}
WITH_ENVIRONMENT = {"Environment": {"Variables": {}}, "Timeout": 30}


@api("TestLambdaVersions::test_version_lifecycle")
def test_version_lifecycle(aws, snapshot, create):
    client = aws.lambda_
    created = create(**INDEX, Description="No version :(")
    name = created["FunctionName"]
    snapshot.match("create_response", created)
    snapshot.match("get_function_result", client.get_function(FunctionName=name))
    snapshot.match("list_versions_result", client.list_versions_by_function(FunctionName=name))

    first = client.update_function_configuration(FunctionName=name, Description="First version :)")
    snapshot.match("first_update_response", first)
    updated(aws, name)
    snapshot.match("first_update_get_function", client.get_function(FunctionName=name))
    published = client.publish_version(FunctionName=name, Description="First version description :)")
    snapshot.match("first_publish_response", published)
    snapshot.match("first_publish_get_function", client.get_function(FunctionName=name, Qualifier="1"))
    configuration = client.get_function_configuration(FunctionName=name, Qualifier="1")
    snapshot.match("first_publish_get_function_config", configuration)

    second = client.update_function_configuration(FunctionName=name, Description="Second version :))")
    snapshot.match("second_update_response", second)
    updated(aws, name)
    snapshot.match("first_publish_get_function_after_update", client.get_function(FunctionName=name, Qualifier="1"))
    snapshot.match("second_publish_response", client.publish_version(FunctionName=name))
    unchanged = client.publish_version(FunctionName=name, Description="Third version description :)))")
    snapshot.match("third_publish_response", unchanged)
    listed = client.list_versions_by_function(FunctionName=name)
    snapshot.match("list_versions_result_after_third_publish", listed)
    client.delete_function(FunctionName=name, Qualifier="1")
    listed = client.list_versions_by_function(FunctionName=name)
    snapshot.match("list_versions_result_after_deletion_of_first_version", listed)


@api("TestLambdaVersions::test_publish_version_on_create")
def test_publish_on_create(aws, snapshot, create):
    client = aws.lambda_
    created = create(**INDEX, Publish=True)
    name = created["FunctionName"]
    snapshot.match("create_response", created)
    snapshot.match("get_function_result", client.get_function(FunctionName=name))
    snapshot.match("get_function_version_result", client.get_function(FunctionName=name, Qualifier="1"))
    snapshot.match("get_function_latest_result", client.get_function(FunctionName=name, Qualifier="$LATEST"))
    snapshot.match("list_versions_result", client.list_versions_by_function(FunctionName=name))
    snapshot.match("repeated_publish_response", client.publish_version(FunctionName=name))
    listed = client.list_versions_by_function(FunctionName=name)
    snapshot.match("list_versions_result_after_publish", listed)


@api("TestLambdaVersions::test_publish_with_update")
def test_publish_with_update(aws, snapshot, create):
    client = aws.lambda_
    created = create(**INDEX)
    name = created["FunctionName"]
    snapshot.match("create_response", created)
    snapshot.match("get_function_result", client.get_function(FunctionName=name))
    code = archive("nothing.py", INDEX["Handler"])
    snapshot.match(
        "update_function_code_result", client.update_function_code(FunctionName=name, ZipFile=code, Publish=True)
    )
    snapshot.match("get_function_version_result", client.get_function(FunctionName=name, Qualifier="1"))
    snapshot.match("get_function_latest_result", client.get_function(FunctionName=name, Qualifier="$LATEST"))


@api("TestLambdaVersions::test_publish_with_wrong_revisionid")
def test_publish_with_a_wrong_revision_id(aws, snapshot, create):
    client = aws.lambda_
    created = create(**INDEX, Runtime="python3.9")
    name = created["FunctionName"]
    snapshot.match("create_response", created)
    fetched = client.get_function(FunctionName=name)
    snapshot.match("get_fn_response", fetched)
    error = refused(client.publish_version, FunctionName=name, RevisionId="doesntexist")
    snapshot.match("publish_wrong_revisionid_exc", error)
    revision = fetched["Configuration"]["RevisionId"]
    snapshot.match("publish_result", client.publish_version(FunctionName=name, RevisionId=revision))


@api("TestLambdaRevisions::test_function_revisions_basic")
def test_revisions_of_a_function(aws, snapshot, create):
    client = aws.lambda_
    created = create(**INDEX, **WITH_ENVIRONMENT)
    name, first = created["FunctionName"], created["RevisionId"]
    snapshot.match("create_function_response_rev1", created)
    fetched = client.get_function(FunctionName=name)
    snapshot.match("get_function_response_rev2", fetched)
    code = archive("echo.py", INDEX["Handler"])
    error = refused(client.update_function_code, FunctionName=name, ZipFile=code, RevisionId=first)
    snapshot.match("update_function_revision_exception", error)
    revision = fetched["Configuration"]["RevisionId"]
    changed = client.update_function_code(FunctionName=name, ZipFile=code, RevisionId=revision)
    snapshot.match("update_function_code_response_rev3", changed)
    updated(aws, name)
    fetched = client.get_function(FunctionName=name)
    snapshot.match("get_function_response_rev4", fetched)
    runtime = {"FunctionName": name, "Runtime": "python3.8"}
    error = refused(client.update_function_configuration, **runtime, RevisionId=changed["RevisionId"])
    snapshot.match("update_function_configuration_revision_exception", error)
    revision = fetched["Configuration"]["RevisionId"]
    changed = client.update_function_configuration(**runtime, RevisionId=revision)
    snapshot.match("update_function_configuration_response_rev5", changed)
    updated(aws, name)
    snapshot.match("get_function_response_rev6", client.get_function(FunctionName=name))


@api("TestLambdaRevisions::test_function_revisions_version_and_alias")
def test_revisions_of_versions_and_aliases(aws, snapshot, create):
    client = aws.lambda_
    created = create(**WITH_ENVIRONMENT)
    name = created["FunctionName"]
    snapshot.match("create_function_response_rev1", created)
    fetched = client.get_function(FunctionName=name)
    snapshot.match("get_function_active_rev2", fetched)
    error = refused(client.publish_version, FunctionName=name, RevisionId=created["RevisionId"])
    snapshot.match("publish_version_revision_exception", error)
    revision = fetched["Configuration"]["RevisionId"]
    published = client.publish_version(FunctionName=name, RevisionId=revision)
    snapshot.match("publish_version_response_rev_v1", published)
    snapshot.match("get_function_published_version_rev_v2", client.get_function(FunctionName=name, Qualifier="1"))
    snapshot.match("get_function_latest_rev3", client.get_function(FunctionName=name))
    alias = client.create_alias(FunctionName=name, Name="revision_alias", FunctionVersion="1")
    snapshot.match("create_alias_response_rev_a1", alias)
    snapshot.match("get_function_latest_rev4", client.get_function(FunctionName=name))
    snapshot.match("get_function_published_version_rev_v3", client.get_function(FunctionName=name, Qualifier="1"))
    change = {"FunctionName": name, "Name": "revision_alias", "Description": "something changed"}
    error = refused(client.update_alias, **change, RevisionId="wrong")
    snapshot.match("update_alias_revision_exception", error)
    changed = client.update_alias(**change, RevisionId=alias["RevisionId"])
    snapshot.match("update_alias_response_rev_a2", changed)
