from __future__ import annotations

import pytest

from lambda_provider.api import InvalidParameterValueException, ResourceNotFoundException

from ..fakes import ACCOUNT, REGION, FakeEc2, arn, context

PREFIX = f"arn:aws:lambda:{REGION}:{ACCOUNT}"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/operator"


def tag(provider, resource, **tags):
    provider.tag_resource(context(), {"Resource": resource, "Tags": tags})


def untag(provider, resource, *keys):
    provider.untag_resource(context(), {"Resource": resource, "TagKeys": list(keys)})


def tags_of(provider, resource):
    return provider.list_tags(context(), {"Resource": resource})["Tags"]


class _Sqs:
    def get_queue_url(self, **_):
        return {"QueueUrl": "http://q"}

    def get_queue_attributes(self, **_):
        return {"Attributes": {"VisibilityTimeout": "30"}}


@pytest.fixture(params=["function", "code signing config", "capacity provider", "event source mapping"])
def resource(request, provider, host, active):
    if request.param == "function":
        return arn(active("f", Tags={"a": "1"}))
    if request.param == "event source mapping":
        host.clients["sqs"] = _Sqs()
        queue = f"arn:aws:sqs:{REGION}:{ACCOUNT}:q"
        created = provider.create_event_source_mapping(
            context(), {"FunctionName": active("f"), "EventSourceArn": queue, "Tags": {"a": "1"}}
        )
        return created["EventSourceMappingArn"]
    if request.param == "code signing config":
        publishers = {"SigningProfileVersionArns": ["arn:aws:signer:eu-west-1:111111111111:/signing-profiles/p"]}
        created = provider.create_code_signing_config(context(), {"AllowedPublishers": publishers, "Tags": {"a": "1"}})
        return created["CodeSigningConfig"]["CodeSigningConfigArn"]
    host.clients["ec2"] = FakeEc2()
    created = provider.create_capacity_provider(
        context(),
        {
            "CapacityProviderName": "c",
            "VpcConfig": {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]},
            "PermissionsConfig": {"CapacityProviderOperatorRoleArn": ROLE},
            "Tags": {"a": "1"},
        },
    )
    return created["CapacityProvider"]["CapacityProviderArn"]


def test_tags_come_and_go(provider, resource):
    assert tags_of(provider, resource) == {"a": "1"}
    tag(provider, resource, a="2", b="3")
    assert tags_of(provider, resource) == {"a": "2", "b": "3"}
    untag(provider, resource, "a", "not there")
    assert tags_of(provider, resource) == {"b": "3"}


def test_fifty_tags_at_most(provider, resource):
    """Recorded: test_tag_limits. What is there already counts, what gets a new value counts once."""
    tag(provider, resource, **{f"{number}": "" for number in range(49)})
    tag(provider, resource, a="other")
    with pytest.raises(InvalidParameterValueException, match=r"^Number of tags exceeds resource tag limit\.$"):
        tag(provider, resource, b="one too many")
    assert len(tags_of(provider, resource)) == 50


def test_keys_that_belong_to_aws_are_refused(provider, resource):
    with pytest.raises(InvalidParameterValueException, match="reserved for system use: AWS:x"):
        tag(provider, resource, **{"AWS:x": "1"})
    assert tags_of(provider, resource) == {"a": "1"}


def test_tagging_with_nothing_is_refused(provider, resource):
    with pytest.raises(InvalidParameterValueException):
        tag(provider, resource)


@pytest.mark.parametrize("suffix", ["$LATEST", "1", "alias"])
def test_versions_and_aliases_have_no_tags(provider, active, suffix):
    """Recorded: test_tag_versions; whether the function exists is not asked before (test_tag_exceptions)."""
    for call in (
        lambda: tag(provider, f"{arn('nope')}:{suffix}", a="1"),
        lambda: untag(provider, f"{arn('nope')}:{suffix}", "a"),
        lambda: tags_of(provider, f"{arn('nope')}:{suffix}"),
    ):
        with pytest.raises(InvalidParameterValueException) as raised:
            call()
        assert raised.value.message == (
            "Tags on function aliases and versions are not supported. Please specify a function ARN."
        )


@pytest.mark.parametrize(
    ("absent", "message"),
    [
        (f"{PREFIX}:function:nope", "Function not found: {}"),
        (f"{PREFIX}:capacity-provider:nope", "Capacity provider not found: {}"),
        (f"{PREFIX}:code-signing-config:csc-{'0' * 17}", "The Lambda code signing configuration {} can not be found."),
        (
            f"arn:aws:lambda:us-east-1:{ACCOUNT}:capacity-provider:nope",
            "Capacity provider not found: {}",
        ),
    ],
)
def test_what_is_not_there(provider, absent, message):
    """Recorded: test_tag_exceptions."""
    for call in (
        lambda: tag(provider, absent, a="1"),
        lambda: untag(provider, absent, "a"),
        lambda: tags_of(provider, absent),
    ):
        with pytest.raises(ResourceNotFoundException) as raised:
            call()
        assert raised.value.message == message.format(absent)


def test_layers_have_no_tags(provider):
    with pytest.raises(InvalidParameterValueException):
        tags_of(provider, f"{PREFIX}:layer:l")


def test_tags_change_no_revision(provider, active):
    active("f")
    before = provider.get_function(context(), {"FunctionName": "f"})["Configuration"]["RevisionId"]
    tag(provider, arn("f"), a="1")
    after = provider.get_function(context(), {"FunctionName": "f"})
    assert after["Configuration"]["RevisionId"] == before
    assert after["Tags"] == {"a": "1"}
