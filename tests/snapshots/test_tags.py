"""Tags of functions and of what else has tags."""

from __future__ import annotations

import uuid
from functools import partial

import pytest

from .harness.plugin import recorded
from .harness.steps import refused
from .harness.transformers import masked_text

pytestmark = pytest.mark.scenario
api = partial(recorded, "lambda_api.json")

WITH_ENVIRONMENT = {"Environment": {"Variables": {}}, "Timeout": 30}


def tags(*numbers):
    return {f"{number}_key": f"{number}_value" for number in numbers}


@api("TestLambdaTags::test_tag_limits")
def test_a_function_has_fifty_tags_at_most(aws, snapshot, create, refused_create):
    client, created = aws.lambda_, create(**WITH_ENVIRONMENT)
    arn = created["FunctionArn"]
    snapshot.match("tag_lambda_too_many_tags", refused(client.tag_resource, Resource=arn, Tags=tags(*range(51))))
    snapshot.match("tag_response", client.tag_resource(Resource=arn, Tags=tags(*range(50))))
    snapshot.match("list_tags_response", client.list_tags(Resource=arn))
    snapshot.match("get_fn_response", client.get_function(FunctionName=arn))
    error = refused(client.tag_resource, Resource=arn, Tags=tags(50))
    snapshot.match("tag_lambda_too_many_tags_additional", error)
    error = refused_create(Tags=tags(*range(51)))
    snapshot.match("create_function_invalid_tags", error)


@api("TestLambdaTags::test_tag_versions")
def test_versions_have_no_tags(aws, snapshot, create):
    client, created = aws.lambda_, create(Publish=True)
    arn = created["FunctionArn"]
    error = refused(client.tag_resource, Resource=f"{arn}:1", Tags={"key": "value"})
    snapshot.match("tag_resource_exception", error)
    error = refused(client.tag_resource, Resource=f"{arn}:$LATEST", Tags={"key": "value"})
    snapshot.match("tag_resource_latest_exception", error)


@pytest.mark.parametrize("kind", ["capacity_provider", "event_source_mapping", "lambda_function"])
@api("TestLambdaTag::test_tag_exceptions")
def test_tag_exceptions(aws, snapshot, kind):
    client, part = aws.lambda_, {"lambda_function": "function"}.get(kind, kind.replace("_", "-"))
    name = str(uuid.UUID(int=0)) if kind == "event_source_mapping" else "no-such-resource"
    snapshot.transform(masked_text(name, "<resource-name>"))
    arn = aws.arn(name).replace(":function:", f":{part}:")
    error = refused(client.tag_resource, Resource=arn, Tags={"key": "value"})
    snapshot.match("not_found_exception_tag", error)
    error = refused(client.untag_resource, Resource=arn, TagKeys=["key"])
    snapshot.match("not_found_exception_untag", error)
    snapshot.match("not_found_exception_list", refused(client.list_tags, Resource=arn))
    snapshot.match("aliased_arn_exception", refused(client.list_tags, Resource=f"{arn}:alias"))
    error = refused(client.list_tags, Resource=arn.replace(f":{part}:", ":foobar:"))
    snapshot.match("invalid_arn_exception", error)


def test_tags_come_and_go(aws, snapshot, create):
    client = aws.lambda_
    arn = create(Tags={"a": "1"})["FunctionArn"]
    snapshot.match("created_with", client.list_tags(Resource=arn))
    snapshot.match("tag", client.tag_resource(Resource=arn, Tags={"a": "2", "b": ""}))
    snapshot.match("tagged", client.list_tags(Resource=arn))
    snapshot.match("untag", client.untag_resource(Resource=arn, TagKeys=["a", "never-there"]))
    snapshot.match("untagged", client.list_tags(Resource=arn))
    client.untag_resource(Resource=arn, TagKeys=["b"])
    snapshot.match("none_left", client.list_tags(Resource=arn))
    snapshot.match("function_without_tags", sorted(client.get_function(FunctionName=arn)))


def test_what_is_no_tag(aws, snapshot, create, refused_create):
    client = aws.lambda_
    arn = create()["FunctionArn"]
    snapshot.match("nothing", refused(client.tag_resource, Resource=arn, Tags={}))
    snapshot.match("reserved", refused(client.tag_resource, Resource=arn, Tags={"aws:mine": "1"}))
    snapshot.match("create_with_reserved", refused_create(Tags={"aws:mine": "1"}))
    snapshot.match("no_keys", refused(client.untag_resource, Resource=arn, TagKeys=[]))
