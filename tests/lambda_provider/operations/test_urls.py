from __future__ import annotations

from dataclasses import replace

import pytest

from lambda_provider.api import (
    InvalidParameterValueException,
    ResourceConflictException,
    ResourceNotFoundException,
)
from lambda_provider.operations.urls import url_of

from ..fakes import arn, context


def create(provider, name="f", **members):
    return provider.create_function_url_config(context(), {"FunctionName": name, "AuthType": "NONE", **members})


def get(provider, name="f", **members):
    return provider.get_function_url_config(context(), {"FunctionName": name, **members})


def test_create_answers_neither_modification_time_nor_a_mode_that_was_not_chosen(provider, active):
    """Recorded: test_url_config_lifecycle."""
    active()
    created = create(provider)
    assert created.keys() == {"FunctionUrl", "FunctionArn", "AuthType", "CreationTime"}
    assert created["FunctionArn"] == arn("f")
    assert get(provider) == {
        **created,
        "InvokeMode": "BUFFERED",
        "LastModifiedTime": created["CreationTime"],
    }


def test_the_mode_is_kept_and_answered_once_it_was_chosen(provider, active):
    """Recorded: test_lambda_update_function_url_config."""
    active()
    assert create(provider, InvokeMode="BUFFERED")["InvokeMode"] == "BUFFERED"
    changed = provider.update_function_url_config(
        context(), {"FunctionName": "f", "InvokeMode": "RESPONSE_STREAM", "Cors": {"AllowOrigins": ["*"]}}
    )
    assert changed["InvokeMode"] == "RESPONSE_STREAM"
    unchanged = provider.update_function_url_config(context(), {"FunctionName": "f", "AuthType": "AWS_IAM"})
    assert (unchanged["InvokeMode"], unchanged["AuthType"]) == ("RESPONSE_STREAM", "AWS_IAM")
    assert unchanged["Cors"] == {"AllowOrigins": ["*"]}
    assert unchanged["CreationTime"] == changed["CreationTime"]


def test_a_function_has_one_url_of_its_own(provider, active):
    active()
    create(provider)
    with pytest.raises(ResourceConflictException) as raised:
        create(provider)
    assert raised.value.message == (
        f"Failed to create function url config for [functionArn = {arn('f')}]. "
        "Error message:  FunctionUrlConfig exists for this Lambda function"
    )


def test_a_url_of_an_alias_outlives_it(provider, active):
    """Recorded: test_lambda_url_persists_after_alias_delete, test_url_config_deletion_without_qualifier."""
    active()
    provider.create_alias(context(), {"FunctionName": "f", "Name": "a", "FunctionVersion": "$LATEST"})
    create(provider)
    created = create(provider, Qualifier="a")
    assert created["FunctionArn"] == arn("f", "a")
    provider.delete_function_url_config(context(), {"FunctionName": "f"})
    provider.delete_alias(context(), {"FunctionName": "f", "Name": "a"})
    assert get(provider, "f:a")["FunctionUrl"] == created["FunctionUrl"]
    with pytest.raises(ResourceNotFoundException, match=r"^The resource you requested does not exist\.$"):
        get(provider)


@pytest.mark.parametrize("operation", ["get", "update", "delete"])
@pytest.mark.parametrize("name", ["f", "nope"])
def test_there_is_no_url(provider, active, operation, name):
    """The same words whether the function exists or not (recorded: test_ops_on_nonexisting_fn)."""
    active()
    with pytest.raises(ResourceNotFoundException) as raised:
        getattr(provider, f"{operation}_function_url_config")(context(), {"FunctionName": name})
    assert raised.value.message == "The resource you requested does not exist."


@pytest.mark.parametrize("members", [{"name": "nope"}, {"Qualifier": "nope"}])
def test_a_url_needs_a_function_and_its_alias(provider, active, members):
    active()
    with pytest.raises(ResourceNotFoundException, match=r"^Function does not exist$"):
        create(provider, **members)


def test_list_is_in_pages(provider, active):
    active()
    for name in ("b", "a"):
        provider.create_alias(context(), {"FunctionName": "f", "Name": name, "FunctionVersion": "$LATEST"})
        create(provider, Qualifier=name)
    create(provider)
    first = provider.list_function_url_configs(context(), {"FunctionName": "f", "MaxItems": 2})
    second = provider.list_function_url_configs(context(), {"FunctionName": "f", "Marker": first["NextMarker"]})
    found = [url["FunctionArn"] for url in first["FunctionUrlConfigs"] + second["FunctionUrlConfigs"]]
    assert found == [arn("f"), arn("f", "a"), arn("f", "b")]
    assert "NextMarker" not in second


def test_methods_that_cannot_be_allowed_are_refused(provider, active):
    active()
    with pytest.raises(InvalidParameterValueException, match="invalid method: TRACE"):
        create(provider, Cors={"AllowMethods": ["GET", "TRACE"]})


def test_a_url_is_found_by_its_id_while_it_exists(provider, active):
    active()
    url_id = create(provider)["FunctionUrl"].removeprefix("https://").partition(".")[0]
    assert len(url_id) == 32
    function, qualifier = provider.store.url(url_id)
    assert (function.arn, qualifier) == (arn("f"), "$LATEST")
    provider.delete_function(context(), {"FunctionName": "f"})
    assert provider.store.url(url_id) is None


def test_a_tag_chooses_the_id(provider, active):
    active("f", Tags={"_custom_id_": "My-Id"})
    provider.create_alias(context(), {"FunctionName": "f", "Name": "a", "FunctionVersion": "$LATEST"})
    assert create(provider)["FunctionUrl"].startswith("https://my-id.lambda-url.")
    assert create(provider, Qualifier="a")["FunctionUrl"].startswith("https://my-id-a.lambda-url.")
    active("g", Tags={"_custom_id_": "my-id"})
    assert not create(provider, "g")["FunctionUrl"].startswith("https://my-id.")


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        (None, "https://i.lambda-url.eu-west-1.on.aws/"),
        ("http://127.0.0.1:4566", "http://i.lambda-url.eu-west-1.localhost:4566/"),
        ("http://[::1]:4566", "http://i.lambda-url.eu-west-1.localhost:4566/"),
        ("http://gateway:80", "http://i.lambda-url.eu-west-1.localhost:80/"),
        ("https://aws.example.org", "https://i.lambda-url.eu-west-1.aws.example.org/"),
    ],
)
def test_the_address_is_at_the_endpoint_that_was_called(endpoint, url):
    assert url_of("i", "eu-west-1", endpoint) == url


def test_the_address_follows_the_client_where_the_host_has_an_endpoint(provider, host, active, monkeypatch):
    active()
    create(provider)
    monkeypatch.setattr(host, "function_endpoint_url", lambda: "http://internal:1")
    called = replace(context(), endpoint_url="http://localhost:4566")
    url = provider.get_function_url_config(called, {"FunctionName": "f"})["FunctionUrl"]
    assert url.endswith(".lambda-url.eu-west-1.localhost:4566/")


def test_urls_and_tenant_isolation_exclude_each_other(provider, active):
    active("f", TenancyConfig={"TenantIsolationMode": "PER_TENANT"})
    with pytest.raises(InvalidParameterValueException, match="tenant isolation"):
        create(provider)
