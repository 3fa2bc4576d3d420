from __future__ import annotations

from typing import Any

import pytest

from lambda_provider.api import (
    InvalidParameterValueException,
    PreconditionFailedException,
    ResourceConflictException,
    ResourceNotFoundException,
)

from ..fakes import arn, context


def weights(**versions: float) -> dict[str, Any]:
    return {"RoutingConfig": {"AdditionalVersionWeights": {name[1:]: value for name, value in versions.items()}}}


@pytest.fixture
def versions(active, publish) -> None:
    """A function with the versions 1 and 2."""
    active("f", Publish=True)
    assert publish("f") == "2"


@pytest.fixture
def create(provider, versions):
    def create(name: str = "live", version: str = "1", **members: Any) -> Any:
        return provider.create_alias(
            context(), {"FunctionName": "f", "Name": name, "FunctionVersion": version, **members}
        )

    return create


def test_an_alias_is_described_as_recorded(provider, create):
    answer = create(Description="d", **weights(_2=0.2))
    revision = answer.pop("RevisionId")
    assert answer == {
        "AliasArn": arn("f", "live"),
        "Name": "live",
        "FunctionVersion": "1",
        "Description": "d",
        "RoutingConfig": {"AdditionalVersionWeights": {"2": 0.2}},
    }
    assert provider.get_alias(context(), {"FunctionName": "f", "Name": "live"}) == {**answer, "RevisionId": revision}


def test_description_is_shown_always_and_routing_only_if_there_is_some(create):
    for members in ({}, {"RoutingConfig": {}}, {"RoutingConfig": {"AdditionalVersionWeights": {}}}):
        answer = create(f"a{len(members)}{len(str(members))}", **members)
        assert answer["Description"] == ""
        assert "RoutingConfig" not in answer


@pytest.mark.parametrize(
    ("version", "routing", "error", "message"),
    [
        (
            "1",
            weights(_2=0.5, _3=0.1),
            InvalidParameterValueException,
            "Number of items in AdditionalVersionWeights cannot be greater than 1",
        ),
        (
            "1",
            weights(_1=0.5),
            InvalidParameterValueException,
            "Invalid function version 1. Function version 1 is already included in routing configuration.",
        ),
        ("10", weights(_2=0.5), ResourceNotFoundException, f"Function not found: {arn('f', '10')}"),
        ("1", weights(_10=0.5), ResourceNotFoundException, f"Function not found: {arn('f', '10')}"),
        (
            "$LATEST",
            weights(_1=0.5),
            InvalidParameterValueException,
            "$LATEST is not supported for an alias pointing to more than 1 version",
        ),
    ],
)
def test_routing_that_cannot_be_is_refused(create, version, routing, error, message):
    with pytest.raises(error) as raised:
        create(version=version, **routing)
    assert raised.value.message == message


def test_the_error_for_latest_with_routing_has_no_type(create):
    with pytest.raises(InvalidParameterValueException) as raised:
        create(version="$LATEST", **weights(_1=0.5))
    assert "Type" not in raised.value.fields()


def test_an_alias_may_point_at_latest(create):
    assert create(version="$LATEST")["FunctionVersion"] == "$LATEST"


def test_a_name_is_taken_once(create):
    create()
    with pytest.raises(ResourceConflictException, match=rf"^Alias already exists: {arn('f', 'live')}$"):
        create()


def test_an_unknown_function_is_named_with_the_version(provider):
    with pytest.raises(ResourceNotFoundException, match=rf"^Function not found: {arn('nope', '1')}$"):
        provider.create_alias(context(), {"FunctionName": "nope", "Name": "live", "FunctionVersion": "1"})


def test_an_unknown_alias_has_other_words_in_each_operation(provider, versions):
    request = {"FunctionName": "f", "Name": "none"}
    with pytest.raises(ResourceNotFoundException, match=rf"^Cannot find alias arn: {arn('f', 'none')}$"):
        provider.get_alias(context(), request)
    with pytest.raises(ResourceNotFoundException, match=rf"^Alias not found: {arn('f', 'none')}$"):
        provider.update_alias(context(), request)
    provider.delete_alias(context(), request)


def test_an_update_keeps_what_is_not_sent_and_has_a_new_revision(provider, create):
    created = create(Description="d", **weights(_2=0.2))
    updated = provider.update_alias(
        context(), {"FunctionName": "f", "Name": "live", "FunctionVersion": "$LATEST", **weights()}
    )
    assert updated["Description"] == "d"
    assert "RoutingConfig" not in updated
    assert updated["RevisionId"] != created["RevisionId"]


def test_an_update_cannot_make_a_version_route_to_itself(provider, create):
    create(**weights(_2=0.2))
    with pytest.raises(InvalidParameterValueException, match=r"^Invalid function version 2"):
        provider.update_alias(context(), {"FunctionName": "f", "Name": "live", "FunctionVersion": "2"})


def test_an_update_is_made_only_to_the_revision_that_was_named(provider, create):
    old = create()["RevisionId"]
    request = {"FunctionName": "f", "Name": "live", "RevisionId": old}
    provider.update_alias(context(), {**request, "Description": "d"})
    with pytest.raises(PreconditionFailedException):
        provider.update_alias(context(), {**request, "Description": "e"})


def test_aliases_are_listed_by_name_and_by_version(provider, create):
    for name, version in (("c", "1"), ("a", "1"), ("b", "2")):
        create(name, version)
    listed = provider.list_aliases(context(), {"FunctionName": "f"})
    assert [alias["Name"] for alias in listed["Aliases"]] == ["a", "b", "c"]
    assert "NextMarker" not in listed
    of_one = provider.list_aliases(context(), {"FunctionName": "f", "FunctionVersion": "1"})["Aliases"]
    assert [alias["Name"] for alias in of_one] == ["a", "c"]
    page = provider.list_aliases(context(), {"FunctionName": "f", "MaxItems": 2})
    rest = provider.list_aliases(context(), {"FunctionName": "f", "Marker": page["NextMarker"]})
    assert page["Aliases"] + rest["Aliases"] == listed["Aliases"]


def test_a_deleted_alias_is_gone_and_its_version_stays(provider, create):
    create()
    provider.delete_alias(context(), {"FunctionName": "f", "Name": "live"})
    assert provider.list_aliases(context(), {"FunctionName": "f"})["Aliases"] == []
    assert provider.get_function(context(), {"FunctionName": "f", "Qualifier": "1"})
