from __future__ import annotations

import pytest

from lambda_provider.api import InvalidParameterValueException, ResourceNotFoundException

from ..fakes import arn, context
from .conftest import configuration, update


def test_a_published_version_is_active_at_once_and_has_the_qualified_arn(provider, active):
    active("f")
    version = provider.publish_version(context(), {"FunctionName": "f", "Description": "first"})
    assert (version["Version"], version["FunctionArn"]) == ("1", arn("f", "1"))
    assert (version["State"], version["LastUpdateStatus"], version["Description"]) == ("Active", "Successful", "first")
    assert configuration(provider, qualifier="1") == version


def test_publishing_gives_latest_a_new_revision(provider, active):
    active("f")
    before = configuration(provider)["RevisionId"]
    provider.publish_version(context(), {"FunctionName": "f"})
    assert configuration(provider)["RevisionId"] != before


def test_nothing_is_published_if_nothing_changed(provider, active):
    active("f")
    first = provider.publish_version(context(), {"FunctionName": "f", "Description": "first"})
    latest = configuration(provider)
    again = provider.publish_version(context(), {"FunctionName": "f", "Description": "second"})
    assert again == first
    assert configuration(provider) == latest


def test_a_changed_description_of_latest_makes_a_new_version(provider, active):
    active("f")
    provider.publish_version(context(), {"FunctionName": "f"})
    update(provider, Description="changed")
    version = provider.publish_version(context(), {"FunctionName": "f"})
    assert (version["Version"], version["Description"]) == ("2", "changed")


def test_a_version_does_not_change_with_latest(provider, active):
    active("f", Publish=True)
    version = configuration(provider, qualifier="1")
    update(provider, Timeout=77, Environment={"Variables": {"A": "b"}})
    assert configuration(provider, qualifier="1") == version


def test_numbers_of_deleted_versions_are_not_used_again(provider, active, publish):
    active("f", Publish=True)
    provider.delete_function(context(), {"FunctionName": "f", "Qualifier": "1"})
    assert publish("f") == "2"


def test_the_code_hash_is_a_condition_for_publishing(provider, active):
    active("f")
    current = configuration(provider)["CodeSha256"]
    with pytest.raises(InvalidParameterValueException) as raised:
        provider.publish_version(context(), {"FunctionName": "f", "CodeSha256": "AAAA"})
    assert raised.value.message == (
        f"CodeSHA256 (AAAA) is different from current CodeSHA256 in $LATEST ({current}). "
        "Please try again with the CodeSHA256 in $LATEST."
    )
    assert provider.publish_version(context(), {"FunctionName": "f", "CodeSha256": current})["Version"] == "1"


def test_versions_are_listed_in_order_without_state(provider, active, publish):
    active("f", Publish=True)
    for _ in range(10):
        publish("f", description=f"d{_}")
    listed = provider.list_versions_by_function(context(), {"FunctionName": "f"})["Versions"]
    assert [version["Version"] for version in listed] == ["$LATEST", *map(str, range(1, 12))]
    assert listed[0]["FunctionArn"] == arn("f", "$LATEST")
    assert "State" not in listed[1]
    page = provider.list_versions_by_function(context(), {"FunctionName": "f", "MaxItems": 10})
    rest = provider.list_versions_by_function(context(), {"FunctionName": "f", "Marker": page["NextMarker"]})
    assert page["Versions"] + rest["Versions"] == listed


def test_the_versions_of_an_unknown_function(provider):
    with pytest.raises(ResourceNotFoundException, match=rf"^Function not found: {arn('nope')}$"):
        provider.list_versions_by_function(context(), {"FunctionName": "nope"})
    with pytest.raises(ResourceNotFoundException, match=rf"^Function not found: {arn('nope')}$"):
        provider.publish_version(context(), {"FunctionName": "nope"})
