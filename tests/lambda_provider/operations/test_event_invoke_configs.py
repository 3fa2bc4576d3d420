from __future__ import annotations

import pytest

from lambda_provider.api import InvalidParameterValueException, ResourceNotFoundException
from lambda_runtime.event_queue import RetryPolicy
from lambda_runtime.types import Invocation

from ..fakes import ACCOUNT, REGION, arn, context

QUEUE = f"arn:aws:sqs:{REGION}:{ACCOUNT}:q"


def put(provider, name="f", **members):
    return provider.put_function_event_invoke_config(context(), {"FunctionName": name, **members})


def update(provider, name="f", **members):
    return provider.update_function_event_invoke_config(context(), {"FunctionName": name, **members})


def get(provider, name="f", **members):
    return provider.get_function_event_invoke_config(context(), {"FunctionName": name, **members})


def without_date(config):
    return {name: value for name, value in config.items() if name != "LastModified"}


def test_put_replaces_and_update_adds(provider, active):
    """Recorded: test_lambda_eventinvokeconfig_lifecycle."""
    active()
    common = {"FunctionArn": arn("f", "$LATEST"), "DestinationConfig": {"OnFailure": {}, "OnSuccess": {}}}
    assert without_date(put(provider, MaximumRetryAttempts=0)) == {**common, "MaximumRetryAttempts": 0}
    assert without_date(put(provider, MaximumEventAgeInSeconds=60)) == {**common, "MaximumEventAgeInSeconds": 60}
    both = {**common, "MaximumEventAgeInSeconds": 60, "MaximumRetryAttempts": 1}
    assert without_date(update(provider, MaximumRetryAttempts=1)) == both
    assert without_date(get(provider)) == without_date(get(provider, Qualifier="$LATEST")) == both


def test_a_side_of_the_destinations_that_is_not_sent_stays(provider, active):
    active()
    put(provider, DestinationConfig={"OnFailure": {"Destination": QUEUE}})
    update(provider, DestinationConfig={"OnSuccess": {"Destination": f"{QUEUE}2"}})
    assert get(provider)["DestinationConfig"] == {
        "OnSuccess": {"Destination": f"{QUEUE}2"},
        "OnFailure": {"Destination": QUEUE},
    }
    update(provider, DestinationConfig={"OnFailure": {}})
    assert get(provider)["DestinationConfig"]["OnFailure"] == {}


@pytest.mark.parametrize("configure", [put, update])
def test_something_has_to_be_configured(provider, active, configure):
    active()
    with pytest.raises(InvalidParameterValueException) as raised:
        configure(provider)
    assert raised.value.message == "You must specify at least one of error handling or destination setting."


@pytest.mark.parametrize("name", ["nope", "f:nope", "f:7"])
def test_what_does_not_exist_cannot_be_configured(provider, active, name):
    active()
    with pytest.raises(ResourceNotFoundException, match=r"^The function doesn't exist\.$"):
        put(provider, name, MaximumRetryAttempts=0)


@pytest.mark.parametrize("name", ["nope", "f"])
def test_there_is_no_configuration(provider, active, name):
    """Recorded: test_ops_on_nonexisting_fn, test_ops_on_nonexisting_version."""
    active()
    message = f"The function {arn(name, '$LATEST')} doesn't have an EventInvokeConfig"
    delete = provider.delete_function_event_invoke_config
    for call in (
        lambda: get(provider, name),
        lambda: update(provider, name, MaximumRetryAttempts=0),
        lambda: delete(context(), {"FunctionName": name}),
    ):
        with pytest.raises(ResourceNotFoundException) as raised:
            call()
        assert raised.value.message == message


def test_a_version_has_its_own_and_loses_it_when_it_is_deleted(provider, active, publish):
    active()
    publish()
    put(provider, MaximumRetryAttempts=0)
    with pytest.raises(ResourceNotFoundException):
        get(provider, Qualifier="1")
    put(provider, Qualifier="1", MaximumEventAgeInSeconds=120)
    listed = provider.list_function_event_invoke_configs(context(), {"FunctionName": "f"})
    found = [config["FunctionArn"] for config in listed["FunctionEventInvokeConfigs"]]
    assert found == [arn("f", "$LATEST"), arn("f", "1")]
    provider.delete_function(context(), {"FunctionName": "f", "Qualifier": "1"})
    with pytest.raises(ResourceNotFoundException):
        get(provider, Qualifier="1")


def test_list_of_a_function_that_does_not_exist(provider):
    with pytest.raises(ResourceNotFoundException, match=r"^The function doesn't exist\.$"):
        provider.list_function_event_invoke_configs(context(), {"FunctionName": "nope"})


@pytest.mark.parametrize(
    ("side", "destination", "message"),
    [
        ("OnSuccess", arn("f"), "You can't specify the function as a destination for itself."),
        ("OnFailure", arn("f", "1"), "You can't specify the function as a destination for itself."),
        ("OnSuccess", arn("nope"), f"The destination ARN {arn('nope')} is invalid."),
        ("OnFailure", f"{QUEUE}.fifo", f"The destination ARN {QUEUE}.fifo is invalid."),
        (
            "OnSuccess",
            "arn:aws:s3:::bucket",
            "The provided destination config DestinationConfig(onSuccess=OnSuccess(destination=arn:aws:s3:::bucket), "
            "onFailure=null) is invalid.",
        ),
        (
            "OnFailure",
            f"arn:aws:iam:{REGION}:{ACCOUNT}:role/r",
            "The provided destination config DestinationConfig(onSuccess=null, "
            f"onFailure=OnFailure(destination=arn:aws:iam:{REGION}:{ACCOUNT}:role/r)) is invalid.",
        ),
    ],
)
def test_destinations_that_cannot_be(provider, active, side, destination, message):
    active()
    with pytest.raises(InvalidParameterValueException) as raised:
        put(provider, DestinationConfig={side: {"Destination": destination}})
    assert raised.value.message == message


@pytest.mark.parametrize(
    "destination",
    [
        QUEUE,
        f"arn:aws:sns:{REGION}:{ACCOUNT}:t",
        f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/default",
        "arn:aws:s3:::bucket",
        arn("g"),
        arn("g", "$LATEST"),
    ],
)
def test_destinations_that_can_be(provider, active, destination):
    active("f")
    active("g")
    put(provider, DestinationConfig={"OnFailure": {"Destination": destination}})
    assert get(provider)["DestinationConfig"]["OnFailure"] == {"Destination": destination}


@pytest.mark.parametrize(
    ("invoked", "policy"),
    [
        (arn("f"), RetryPolicy(0, 21600)),
        (arn("f", "$LATEST"), RetryPolicy(0, 21600)),
        (arn("f", "a"), RetryPolicy(2, 60)),
        (arn("f", "1"), RetryPolicy(2, 21600)),
    ],
)
def test_retries_are_those_of_the_qualifier_that_was_invoked(provider, active, publish, invoked, policy):
    active()
    publish()
    provider.create_alias(context(), {"FunctionName": "f", "Name": "a", "FunctionVersion": "1"})
    put(provider, MaximumRetryAttempts=0)
    put(provider, "f:a", MaximumEventAgeInSeconds=60)
    invocation = Invocation(version_arn=arn("f", "1"), invoked_arn=invoked, payload=b"", request_id="r")
    assert provider.retry_policy(invocation) == policy
