"""How asynchronous invokes of a function are retried."""

from __future__ import annotations

import pytest

from .harness.plugin import recorded
from .harness.steps import all_pages, refused, wait_for_log
from .harness.transformers import value

pytestmark = pytest.mark.scenario


@recorded("lambda_api.json", "TestLambdaEventInvokeConfig::test_lambda_eventinvokeconfig_lifecycle")
def test_event_invoke_config_lifecycle(aws, snapshot, create):
    client = aws.lambda_
    name = create(Environment={"Variables": {}}, Timeout=30)["FunctionName"]
    snapshot.transform(value(name, "function-name"))
    put, update = client.put_function_event_invoke_config, client.update_function_event_invoke_config
    get, configs = client.get_function_event_invoke_config, client.list_function_event_invoke_configs
    snapshot.match("put_invokeconfig_retries_0", put(FunctionName=name, MaximumRetryAttempts=0))
    snapshot.match("put_invokeconfig_eventage_60", put(FunctionName=name, MaximumEventAgeInSeconds=60))
    unchanged = update(FunctionName=name, MaximumEventAgeInSeconds=60)
    snapshot.match("update_invokeconfig_eventage_nochange", unchanged)
    snapshot.match("update_invokeconfig_retries", update(FunctionName=name, MaximumRetryAttempts=1))
    snapshot.match("get_invokeconfig", get(FunctionName=name))
    snapshot.match("get_invokeconfig_latest", get(FunctionName=name, Qualifier="$LATEST"))
    snapshot.match("list_single_invokeconfig", configs(FunctionName=name))
    published = client.publish_version(FunctionName=name)
    snapshot.match("publish_version_result", published)
    version = {"FunctionName": name, "Qualifier": published["Version"]}
    snapshot.match("get_invokeconfig_postpublish", refused(get, **version))
    snapshot.match("put_published_invokeconfig", put(**version, MaximumEventAgeInSeconds=120))
    snapshot.match("get_published_invokeconfig", get(**version))
    client.delete_function_event_invoke_config(FunctionName=name)
    snapshot.match("list_paging_nolimit_postdelete", configs(FunctionName=name))


def test_what_is_refused(aws, snapshot, create):
    client = aws.lambda_
    name = create()["FunctionName"]
    snapshot.transform(value(name, "function-name"))
    put, update = client.put_function_event_invoke_config, client.update_function_event_invoke_config

    def error(step, call, **parameters):
        snapshot.match(step, refused(call, **parameters))

    error("nothing", put, FunctionName=name)
    error("no_function", put, FunctionName="nope", MaximumRetryAttempts=0)
    error("no_version", put, FunctionName=name, Qualifier="7", MaximumRetryAttempts=0)
    error("no_alias", put, FunctionName=name, Qualifier="nope", MaximumRetryAttempts=0)
    error("too_many_retries", put, FunctionName=name, MaximumRetryAttempts=3)
    error("too_old", put, FunctionName=name, MaximumEventAgeInSeconds=21601)
    error("update_what_is_not_there", update, FunctionName=name, MaximumRetryAttempts=0)
    error("delete_what_is_not_there", client.delete_function_event_invoke_config, FunctionName=name)
    error("list_of_no_function", client.list_function_event_invoke_configs, FunctionName="nope")

    def destination(step, side, arn):
        config = {side: {"Destination": arn}}
        error(step, put, FunctionName=name, DestinationConfig=config)

    destination("itself", "OnSuccess", aws.arn(name))
    destination("function_that_is_not_there", "OnFailure", aws.arn("nope"))
    destination("bucket_for_successes", "OnSuccess", f"arn:{aws.partition}:s3:::bucket")
    destination("no_destination", "OnFailure", f"arn:{aws.partition}:iam::{aws.account_id}:role/r")


def test_configurations_are_listed_in_pages(aws, snapshot, create):
    client = aws.lambda_
    name = create(Publish=True)["FunctionName"]
    snapshot.transform(value(name, "function-name"))
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    for number, qualifier in enumerate(({}, {"Qualifier": "1"}, {"Qualifier": "live"})):
        client.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=number, **qualifier)
    operation, listed = "list_function_event_invoke_configs", "FunctionEventInvokeConfigs"
    pages = all_pages(aws, operation, listed, FunctionName=name, PaginationConfig={"PageSize": 1})
    snapshot.match("configurations", pages)
    client.delete_function(FunctionName=name)
    create(FunctionName=name)
    listed = client.list_function_event_invoke_configs(FunctionName=name)
    snapshot.match("of_the_next_function_of_the_name", listed)


def test_a_failed_event_is_not_tried_again_without_retries(aws, create):
    client = aws.lambda_
    name = create("custom_error.py")["FunctionName"]
    client.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0)
    client.invoke(FunctionName=name, InvocationType="Event", Payload=b"{}")
    wait_for_log(aws, name, "REPORT RequestId")
    # Deliveries are in order, so a later event shows that the first is done with.
    client.invoke(FunctionName=name, InvocationType="Event", Payload=b"{}")
    events = wait_for_log(aws, name, "REPORT RequestId", count=2)
    starts = [event["message"].split()[2] for event in events if event["message"].startswith("START")]
    assert len(starts) == len(set(starts)) == 2
