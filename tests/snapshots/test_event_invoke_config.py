"""How asynchronous invokes of a function are retried."""

from __future__ import annotations

import pytest

from .harness.plugin import recorded
from .harness.steps import refused
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
