"""Aliases: their life, their names, and routing between two versions."""

from __future__ import annotations

from functools import partial

import pytest

from .harness.plugin import recorded
from .harness.steps import all_pages, refused, updated

pytestmark = pytest.mark.scenario
api = partial(recorded, "lambda_api.json")

STAGING = {"Environment": {"Variables": {"testenv": "staging"}}, "Handler": "index.handler"}


def publish_two_versions(aws, snapshot, name):
    """Steps `publish_v1` and `publish_v2`, which differ in their environment."""
    snapshot.match("publish_v1", aws.lambda_.publish_version(FunctionName=name))
    aws.lambda_.update_function_configuration(FunctionName=name, Environment={"Variables": {"testenv": "prod"}})
    updated(aws, name)
    snapshot.match("publish_v2", aws.lambda_.publish_version(FunctionName=name))


@api("TestLambdaAlias::test_alias_lifecycle")
def test_alias_lifecycle(aws, snapshot, create):
    client = aws.lambda_
    created = create(**STAGING)
    name = created["FunctionName"]
    snapshot.match("create_response", created)
    publish_two_versions(aws, snapshot, name)

    def listed(**parameters):
        return client.list_aliases(FunctionName=name, **parameters)

    def make(step, alias, **parameters):
        snapshot.match(f"create_alias_{step}", client.create_alias(FunctionName=name, Name=alias, **parameters))
        snapshot.match(f"get_alias_{step}", client.get_alias(FunctionName=name, Name=alias))

    weights = {"AdditionalVersionWeights": {"2": 0.2}}
    make("1_1", "aliasname1_1", FunctionVersion="1", Description="custom-alias", RoutingConfig=weights)
    snapshot.match("get_function_alias_1_1", client.get_function(FunctionName=name, Qualifier="aliasname1_1"))
    by_arn = client.get_function(FunctionName=aws.arn(f"{name}:aliasname1_1"))
    snapshot.match("get_function_byarn_alias_1_1", by_arn)
    missing = refused(client.get_function, FunctionName=name, Qualifier="aliasdoesnotexist")
    snapshot.match("get_function_alias_notfound_exc", missing)
    missing = refused(client.get_function, FunctionName=aws.arn(f"{name}:aliasdoesnotexist"))
    snapshot.match("get_function_alias_byarn_notfound_exc", missing)
    make("1_2", "aliasname1_2", FunctionVersion="1", Description="custom-alias")
    make("1_3", "aliasname1_3", FunctionVersion="1")
    make("2", "aliasname2", FunctionVersion="2", Description="custom-alias")
    paged = all_pages(aws, "list_aliases", "Aliases", FunctionName=name, PaginationConfig={"PageSize": 1})
    snapshot.match("list_aliases_for_fnname", {"Aliases": paged})

    without_routing = client.update_alias(FunctionName=name, Name="aliasname1_1", RoutingConfig={})
    snapshot.match("update_alias_1_1", without_routing)
    snapshot.match("get_alias_1_1_after_update", client.get_alias(FunctionName=name, Name="aliasname1_1"))
    snapshot.match("list_aliases_for_fnname_after_update", listed())
    snapshot.match("update_alias_1_2", client.update_alias(FunctionName=name, Name="aliasname1_2"))
    snapshot.match("get_alias_1_2_after_update", client.get_alias(FunctionName=name, Name="aliasname1_2"))
    snapshot.match("list_aliases_for_fnname_after_update_2", listed())
    snapshot.match("list_aliases_for_version", listed(FunctionVersion="1"))
    snapshot.match("delete_alias_response", client.delete_alias(FunctionName=name, Name="aliasname1_1"))
    snapshot.match("list_aliases_for_fnname_afterdelete", listed())


@api("TestLambdaAlias::test_alias_naming")
def test_alias_naming(aws, snapshot, create):
    created = create(**STAGING)
    name = created["FunctionName"]
    snapshot.match("create_response", created)
    snapshot.match("publish_v1", aws.lambda_.publish_version(FunctionName=name))
    alias = {"FunctionName": name, "FunctionVersion": "1", "Description": "custom-alias"}
    snapshot.match("create_alias_date", aws.lambda_.create_alias(Name="2024-01-02", **alias))
    snapshot.match("get_alias_date", aws.lambda_.get_alias(FunctionName=name, Name="2024-01-02"))
    snapshot.match("create_alias_number_exception", refused(aws.lambda_.create_alias, Name="2024", **alias))


@api("TestLambdaAlias::test_non_existent_alias_deletion")
def test_deleting_an_alias_that_is_not_there_succeeds(aws, snapshot, create):
    created = create(**STAGING)
    snapshot.match("create_response", created)
    deleted = aws.lambda_.delete_alias(FunctionName=created["FunctionName"], Name="non-existent")
    snapshot.match("delete_alias_response", deleted)


@api("TestLambdaAlias::test_non_existent_alias_update")
def test_updating_an_alias_that_is_not_there(aws, snapshot, create):
    created = create(**STAGING)
    snapshot.match("create_response", created)
    error = refused(aws.lambda_.update_alias, FunctionName=created["FunctionName"], Name="non-existent")
    snapshot.match("update_alias_response", error)


@api("TestLambdaAlias::test_notfound_and_invalid_routingconfigs")
def test_invalid_routing(aws, snapshot, create):
    unchecked = aws.client("lambda", validate=False)
    created = create(**STAGING, Publish=True)
    name = created["FunctionName"]
    snapshot.match("create_response", created)
    publish_two_versions(aws, snapshot, name)

    def error(step, weights, version="1", function=name):
        routing = {"AdditionalVersionWeights": weights}
        alias = {"FunctionName": function, "Name": "custom", "FunctionVersion": version, "RoutingConfig": routing}
        snapshot.match(step, refused(unchecked.create_alias, **alias))

    error("routing_config_exc_toomany", {"1": 0.2, "2": 0.2})
    error("routing_config_exc_toohigh", {"2": 2.0})
    error("routing_config_exc_subzero", {"2": -1.0})
    error("routing_config_exc_sameversion", {"1": 0.5})
    error("target_version_doesnotexist", {"2": 0.5}, version="10")
    error("routing_config_exc_version_doesnotexist", {"10": 0.5})
    error("target_version_exc_version_latest", {"1": 0.5}, version="$LATEST")
    error("routing_config_exc_version_latest", {"$LATEST": 0.5})
    latest = aws.lambda_.create_alias(FunctionName=name, Name="custom-latest", FunctionVersion="$LATEST")
    snapshot.match("create-alias-latest", latest)
    error("routing_config_exc_fn_doesnotexist", {"2": 0.5}, function=f"{name}-unknown")
    alias = {"FunctionName": name, "FunctionVersion": "1"}
    empty = aws.lambda_.create_alias(**alias, Name="custom-empty-routingconfig", RoutingConfig={})
    snapshot.match("create_alias_empty_routingconfig", empty)
    routing = {"AdditionalVersionWeights": {"2": 0.5}}
    snapshot.match("create_alias_response", aws.lambda_.create_alias(**alias, Name="custom", RoutingConfig=routing))
    error("routing_config_exc_already_exist", {"2": 0.5})
    snapshot.match("alias_does_not_exist_esc", refused(aws.lambda_.get_alias, FunctionName=name, Name="non-existent"))
