"""Reserved and provisioned concurrency."""

from __future__ import annotations

from functools import partial

import pytest

from .harness.plugin import recorded
from .harness.steps import all_pages, allocated, payload, refused, updated, while_it_settles
from .harness.transformers import masked_text, value

pytestmark = pytest.mark.scenario
api = partial(recorded, "lambda_api.json")
functions = partial(recorded, "lambda.json")

WITH_ENVIRONMENT = {"Environment": {"Variables": {}}, "Timeout": 30}


def provisioned(aws, config, count):
    """What asking for provisioned concurrency answers, and what the config says right after that."""

    def ask():
        put = aws.lambda_.put_provisioned_concurrency_config(**config, ProvisionedConcurrentExecutions=count)
        return put, aws.lambda_.get_provisioned_concurrency_config(**config)

    def take_back():
        allocated(aws, **config)
        aws.lambda_.delete_provisioned_concurrency_config(**config)

    return while_it_settles(aws, ask, take_back)


@api("TestLambdaReservedConcurrency::test_function_concurrency")
def test_reserved_concurrency(aws, snapshot, create):
    client, name = aws.lambda_, create()["FunctionName"]
    for reserved in (0, 1):
        answer = client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=reserved)
        snapshot.match(f"put_function_concurrency_with_reserved_{reserved}", answer)
    snapshot.match("get_function_concurrency", client.get_function_concurrency(FunctionName=name))
    snapshot.match("delete_response", client.delete_function_concurrency(FunctionName=name))
    snapshot.match("get_function_concurrency_after_delete", client.get_function_concurrency(FunctionName=name))


@functions("TestLambdaConcurrency::test_lambda_concurrency_crud")
def test_no_concurrency_at_all(aws, snapshot, create):
    client, name = aws.lambda_, create()["FunctionName"]
    snapshot.match("get_function_concurrency_default", client.get_function_concurrency(FunctionName=name))
    answer = client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    snapshot.match("put_function_concurrency", answer)
    snapshot.match("get_function_concurrency_updated", client.get_function_concurrency(FunctionName=name))
    client.delete_function_concurrency(FunctionName=name)
    snapshot.match("get_function_concurrency_deleted", client.get_function_concurrency(FunctionName=name))


@functions("TestLambdaConcurrency::test_lambda_concurrency_update")
def test_get_function_tells_the_reserved_concurrency(aws, snapshot, create):
    client, name = aws.lambda_, create(**WITH_ENVIRONMENT)["FunctionName"]
    answer = client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=3)
    snapshot.match("put_function_concurrency", answer)
    snapshot.match("get_function_concurrency_updated", client.get_function_concurrency(FunctionName=name))
    snapshot.match("get_function_concurrency_info", client.get_function(FunctionName=name))
    client.delete_function_concurrency(FunctionName=name)
    snapshot.match("get_function_concurrency_deleted", client.get_function_concurrency(FunctionName=name))


@api("TestLambdaReservedConcurrency::test_function_concurrency_exceptions")
def test_reserved_concurrency_exceptions(aws, snapshot, create):
    unchecked = aws.client("lambda", validate=False)

    def error(step, name, reserved):
        call = unchecked.put_function_concurrency
        snapshot.match(step, refused(call, FunctionName=name, ReservedConcurrentExecutions=reserved))

    step = "put_function_concurrency_with_function_name_doesnotexist"
    error(step, "doesnotexist", 1)
    error(f"{step}_and_invalid_concurrency", "doesnotexist", -1)
    name = create()["FunctionName"]
    version = aws.lambda_.publish_version(FunctionName=name)["FunctionArn"]
    error("put_function_concurrency_with_qualified_arn", version, 1)


@api("TestLambdaReservedConcurrency::test_function_concurrency_limits")
def test_reserved_concurrency_limits(aws, snapshot, create):
    snapshot.transform(masked_text(r"minimum value of \[\d+\]", "minimum value of [<min_unreserved_concurrency>]"))
    client, name = aws.lambda_, create()["FunctionName"]
    unreserved = client.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"]

    def error(step, reserved):
        call = client.put_function_concurrency
        snapshot.match(step, refused(call, FunctionName=name, ReservedConcurrentExecutions=reserved))

    error("put_function_concurrency_account_limit_exceeded", unreserved + 1)
    error("put_function_concurrency_below_unreserved_min_value", unreserved)


@api("TestLambdaProvisionedConcurrency::test_lambda_provisioned_lifecycle")
def test_provisioned_concurrency(aws, snapshot, create):
    client, name = aws.lambda_, create(**WITH_ENVIRONMENT)["FunctionName"]
    snapshot.transform(value("provisioned-alias", "alias-name"))
    published = client.publish_version(FunctionName=name)
    snapshot.match("publish_version_result", published)
    alias = client.create_alias(FunctionName=name, Name="provisioned-alias", FunctionVersion="1")
    snapshot.match("create_alias_result", alias)
    on_version = {"FunctionName": name, "Qualifier": "1"}
    on_alias = {"FunctionName": name, "Qualifier": "provisioned-alias"}
    one = {"ProvisionedConcurrentExecutions": 1}
    put = client.put_provisioned_concurrency_config
    snapshot.match("put_provisioned_on_version", put(**on_version, **one))
    snapshot.match("put_provisioned_on_alias_versionconflict", refused(put, **on_alias, **one))
    deleted = client.delete_provisioned_concurrency_config(**on_version)
    snapshot.match("delete_provisioned_version", deleted)
    error = refused(client.get_provisioned_concurrency_config, **on_version)
    snapshot.match("get_provisioned_version_postdelete", error)
    snapshot.match("put_provisioned_on_alias", put(**on_alias, **one))
    snapshot.match("put_provisioned_on_version_conflict", refused(put, **on_version, **one))
    deleted = client.delete_alias(FunctionName=name, Name="provisioned-alias")
    snapshot.match("delete_alias_result", deleted)
    error = refused(client.get_provisioned_concurrency_config, **on_alias)
    snapshot.match("get_provisioned_alias_postaliasdelete", error)
    listed = client.list_provisioned_concurrency_configs(FunctionName=name)
    snapshot.match("list_response_postdeletes", listed)


@api("TestLambdaProvisionedConcurrency::test_provisioned_concurrency_exceptions")
def test_provisioned_concurrency_exceptions(aws, snapshot, create):
    client, name = aws.client("lambda", validate=False), create(**WITH_ENVIRONMENT)["FunctionName"]
    snapshot.match("publish_version_result", client.publish_version(FunctionName=name))

    def error(step, call, qualifier=None, function=name, **parameters):
        qualified = {"Qualifier": qualifier} if qualifier else {}
        snapshot.match(step, refused(call, FunctionName=function, **qualified, **parameters))

    get = client.get_provisioned_concurrency_config
    error("get_provisioned_config_doesnotexist", get, "1")
    error("get_provisioned_functionname_doesnotexist", get, "noalias", "doesnotexist")
    error("get_provisioned_qualifier_doesnotexist", get, "noalias")
    error("get_provisioned_version_doesnotexist", get, "10")
    error("get_provisioned_latest", get, "$LATEST")
    configs = client.list_provisioned_concurrency_configs
    snapshot.match("list_provisioned_noconfigs", configs(FunctionName=name))
    error("list_provisioned_functionname_doesnotexist", configs, function="doesnotexist")
    delete = client.delete_provisioned_concurrency_config
    error("delete_provisioned_functionname_doesnotexist", delete, "1", "doesnotexist")
    error("delete_provisioned_qualifier_doesnotexist", delete, "noalias")
    error("delete_provisioned_version_doesnotexist", delete, "10")
    error("delete_provisioned_latest", delete, "$LATEST")
    snapshot.match("delete_provisioned_config_doesnotexist", delete(FunctionName=name, Qualifier="1"))
    put, one = client.put_provisioned_concurrency_config, {"ProvisionedConcurrentExecutions": 1}
    error("put_provisioned_invalid_param_0", put, "1", ProvisionedConcurrentExecutions=0)
    error("put_provisioned_functionname_doesnotexist_alias", put, "noalias", "doesnotexist", **one)
    error("put_provisioned_functionname_doesnotexist_version", put, "1", "doesnotexist", **one)
    error("put_provisioned_qualifier_doesnotexist", put, "doesnotexist", **one)
    error("put_provisioned_version_doesnotexist", put, "10", **one)
    error("put_provisioned_latest", put, "$LATEST", **one)


@api("TestLambdaProvisionedConcurrency::test_provisioned_concurrency_limits")
def test_provisioned_concurrency_limits(aws, snapshot, create):
    snapshot.transform(
        masked_text(r"minimum value of \[\d+\]", "minimum value of [<min_unreserved_concurrency>]"),
        masked_text(r"unreserved concurrency \[\d+\]", "unreserved concurrency [<unreserved_concurrency>]"),
    )
    client, name = aws.lambda_, create()["FunctionName"]
    client.publish_version(FunctionName=name)
    unreserved = client.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"]

    def error(step, provisioned):
        parameters = {"FunctionName": name, "Qualifier": "1", "ProvisionedConcurrentExecutions": provisioned}
        snapshot.match(step, refused(client.put_provisioned_concurrency_config, **parameters))

    error("put_provisioned_concurrency_account_limit_exceeded", unreserved + 1)
    error("put_provisioned_concurrency_below_unreserved_min_value", unreserved - 20)


def initialization(aws, name, qualifier="$LATEST"):
    """How the environment that answers came to be: `on-demand` or `provisioned-concurrency`."""
    event = b'{"names": ["AWS_LAMBDA_INITIALIZATION_TYPE"]}'
    return payload(aws.lambda_.invoke(FunctionName=name, Qualifier=qualifier, Payload=event))[
        "AWS_LAMBDA_INITIALIZATION_TYPE"
    ]


@functions("TestLambdaConcurrency::test_lambda_provisioned_concurrency_scheduling")
def test_provisioned_environments_are_preferred(aws, snapshot, create):
    client, name = aws.lambda_, create("environment.py")["FunctionName"]
    config = {"FunctionName": name, "Qualifier": client.publish_version(FunctionName=name)["Version"]}
    assert initialization(aws, name, "1") == "on-demand"
    client.put_provisioned_concurrency_config(**config, ProvisionedConcurrentExecutions=1)
    snapshot.match("get_provisioned_postwait", allocated(aws, **config))
    for _ in range(3):
        assert initialization(aws, name, "1") == "provisioned-concurrency"
    assert initialization(aws, name) == "on-demand"
    client.delete_provisioned_concurrency_config(**config)
    assert initialization(aws, name, "1") == "on-demand"


@functions("TestLambdaConcurrency::test_provisioned_concurrency_init_failure")
def test_provisioned_environments_that_do_not_initialise(aws, snapshot, create):
    client, name = aws.lambda_, create("fails_to_initialise.py")["FunctionName"]
    config = {"FunctionName": name, "Qualifier": client.publish_version(FunctionName=name)["Version"]}
    put, get = provisioned(aws, config, 1)
    snapshot.match("put_provisioned", put)
    snapshot.match("get_provisioned_prewait", get)
    snapshot.match("get_provisioned_postwait", allocated(aws, **config))


@functions("TestLambdaConcurrency::test_reserved_provisioned_overlap")
def test_provisioned_concurrency_counts_towards_the_reserve(aws, snapshot, create):
    client, name = aws.lambda_, create("environment.py", **WITH_ENVIRONMENT)["FunctionName"]
    config = {"FunctionName": name, "Qualifier": client.publish_version(FunctionName=name)["Version"]}
    put = partial(client.put_provisioned_concurrency_config, FunctionName=name)
    reserve = partial(client.put_function_concurrency, FunctionName=name)
    answer, get = provisioned(aws, config, 2)
    snapshot.match("put_provisioned_5", answer)
    snapshot.match("get_provisioned_prewait", get)
    snapshot.match("get_provisioned_postwait", allocated(aws, **config))
    snapshot.match("reserved_lower_than_provisioned_exc", refused(reserve, ReservedConcurrentExecutions=1))
    reserve(ReservedConcurrentExecutions=2)
    snapshot.match("get_concurrency", client.get_function_concurrency(FunctionName=name))
    error = refused(client.invoke, FunctionName=name, Qualifier="$LATEST")
    snapshot.match("reserved_equals_provisioned_latest_invoke_exc", error)
    assert initialization(aws, name, "1") == "provisioned-concurrency"
    snapshot.match("update_func_config", client.update_function_configuration(FunctionName=name, Timeout=15))
    updated(aws, name)
    version_2 = client.publish_version(FunctionName=name)["Version"]
    another = refused(put, Qualifier=version_2, ProvisionedConcurrentExecutions=1)
    snapshot.match("reserved_equals_provisioned_another_provisioned_exc", another)
    increase = refused(put, Qualifier="1", ProvisionedConcurrentExecutions=3)
    snapshot.match("reserved_equals_provisioned_increase_provisioned_exc", increase)


@functions("TestLambdaConcurrency::test_lambda_provisioned_concurrency_moves_with_alias")
def test_provisioned_concurrency_moves_with_its_alias(aws, snapshot, create):
    snapshot.transform(value("live", "alias-name"))
    client = aws.lambda_
    created = create("environment.py", Runtime="python3.8", Timeout=2, Environment={"Variables": {}})
    name = created["FunctionName"]
    snapshot.match("create-result", created)
    latest = client.get_function_configuration(FunctionName=name, Qualifier="$LATEST")
    snapshot.match("get-function-configuration", latest)
    published = client.publish_version(FunctionName=name, Description="my-first-version")
    snapshot.match("publish_version_1", published)
    version_1 = client.get_function_configuration(FunctionName=name, Qualifier="1")
    snapshot.match("get_function_configuration_version_1", version_1)
    snapshot.match("create_alias", client.create_alias(FunctionName=name, Name="live", FunctionVersion="1"))
    snapshot.match("get_function_before_provisioned", client.get_function(FunctionName=name, Qualifier="1"))
    config = {"FunctionName": name, "Qualifier": "live"}
    client.put_provisioned_concurrency_config(**config, ProvisionedConcurrentExecutions=1)
    allocated(aws, **config)
    snapshot.match("get_function_after_provisioned", client.get_function(**config))
    assert initialization(aws, name, "live") == "provisioned-concurrency"
    client.update_function_configuration(FunctionName=name, Timeout=10)
    updated(aws, name)
    snapshot.match("get_function_after_update", client.get_function_configuration(FunctionName=name))
    snapshot.match("publish_version_2", client.publish_version(FunctionName=name))

    def move():
        moved = client.update_alias(FunctionName=name, Name="live", FunctionVersion="2")
        return moved, client.get_provisioned_concurrency_config(**config)

    def move_back():
        client.update_alias(FunctionName=name, Name="live", FunctionVersion="1")
        allocated(aws, **config)

    moved, get = while_it_settles(aws, move, move_back)
    snapshot.match("update_alias", moved)
    snapshot.match("get_provisioned_config_after_alias_move", get)
    assert allocated(aws, **config)["Status"] == "READY"
    assert initialization(aws, name, "live") == "provisioned-concurrency"
    assert initialization(aws, name, "2") == "provisioned-concurrency"
    error = refused(client.get_provisioned_concurrency_config, FunctionName=name, Qualifier="1")
    snapshot.match("provisioned_concurrency_notfound", error)


def test_what_cannot_be_provisioned(aws, snapshot, create):
    client, name = aws.lambda_, create()["FunctionName"]
    for number in (1, 2):
        client.update_function_configuration(FunctionName=name, Description=f"version {number}")
        updated(aws, name)
        client.publish_version(FunctionName=name)
    client.create_alias(FunctionName=name, Name="latest", FunctionVersion="$LATEST")
    weights = {"AdditionalVersionWeights": {"2": 0.5}}
    client.create_alias(FunctionName=name, Name="canary", FunctionVersion="1", RoutingConfig=weights)
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")

    def error(step, qualifier):
        parameters = {"FunctionName": name, "Qualifier": qualifier, "ProvisionedConcurrentExecutions": 1}
        snapshot.match(step, refused(client.put_provisioned_concurrency_config, **parameters))

    error("alias_of_latest", "latest")
    error("alias_with_weights", "canary")
    for qualifier in ("live", "2"):
        on = {"FunctionName": name, "Qualifier": qualifier}
        client.put_provisioned_concurrency_config(**on, ProvisionedConcurrentExecutions=1)
    move = partial(client.update_alias, FunctionName=name, Name="live")
    snapshot.match("alias_moves_onto_provisioned_version", refused(move, FunctionVersion="2"))
    snapshot.match("alias_moves_onto_latest", refused(move, FunctionVersion="$LATEST"))


def test_provisioned_concurrency_in_pages(aws, create):
    client, name = aws.lambda_, create()["FunctionName"]
    client.publish_version(FunctionName=name)
    update = client.update_function_configuration(FunctionName=name, Description="other")
    updated(aws, name)
    client.publish_version(FunctionName=name)
    for qualifier in ("1", "2"):
        on = {"FunctionName": name, "Qualifier": qualifier}
        client.put_provisioned_concurrency_config(**on, ProvisionedConcurrentExecutions=1)
    page = client.list_provisioned_concurrency_configs(FunctionName=name, MaxItems=1)
    assert len(page["ProvisionedConcurrencyConfigs"]) == 1
    configs = all_pages(aws, "list_provisioned_concurrency_configs", "ProvisionedConcurrencyConfigs", FunctionName=name)
    arn = update["FunctionArn"]
    assert sorted(config["FunctionArn"] for config in configs) == [f"{arn}:1", f"{arn}:2"]
    assert {config["RequestedProvisionedConcurrentExecutions"] for config in configs} == {1}


def test_reserved_concurrency_of_zero_throttles(aws, snapshot, create):
    client, name = aws.lambda_, create()["FunctionName"]
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    snapshot.match("invoke_exc", refused(client.invoke, FunctionName=name))
    client.delete_function_concurrency(FunctionName=name)
    assert payload(client.invoke(FunctionName=name, Payload=b"1")) == 1
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    client.delete_function(FunctionName=name)
    create(FunctionName=name)
    assert payload(client.invoke(FunctionName=name, Payload=b"2")) == 2
