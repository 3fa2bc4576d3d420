"""Reserved and provisioned concurrency, and what of the account's concurrency they leave."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from lambda_provider.api import (
    InvalidParameterValueException,
    ProvisionedConcurrencyConfigNotFoundException,
    ResourceConflictException,
    ResourceNotFoundException,
    ValidationException,
)
from lambda_provider.provider import LambdaProvider
from lambda_runtime.provisioned import Allocation, ProvisionedStatus

from ..fakes import FakeHost, FakeRuntime, arn, context, creation
from .conftest import configuration

BELOW_MINIMUM = "decreases account's UnreservedConcurrentExecution below its minimum value of [100]."


def reserve(provider, count, name="f", **at):
    request = {"FunctionName": name, "ReservedConcurrentExecutions": count}
    return provider.put_function_concurrency(context(**at), request)


def provision(provider, qualifier, count, name="f"):
    request = {"FunctionName": name, "Qualifier": qualifier, "ProvisionedConcurrentExecutions": count}
    return provider.put_provisioned_concurrency_config(context(), request)


def provisioned(provider, qualifier, name="f"):
    return provider.get_provisioned_concurrency_config(context(), {"FunctionName": name, "Qualifier": qualifier})


def unreserved(provider, **at):
    return provider.get_account_settings(context(**at), {})["AccountLimit"]["UnreservedConcurrentExecutions"]


def told(runtime: FakeRuntime) -> FakeRuntime:
    """The runtime, once everything that it was told has arrived."""
    runtime.run(asyncio.sleep(0))
    return runtime


@pytest.fixture
def versions(active, publish) -> list[str]:
    """The versions 1 and 2 of a function."""
    active()
    return [publish(description="one"), publish(description="two")]


@pytest.fixture
def alias(provider, versions):
    """`live` points at version 1."""

    def point(version="1", name="live", **members: Any) -> None:
        provider.create_alias(context(), {"FunctionName": "f", "Name": name, "FunctionVersion": version, **members})

    point()
    return point


def move(provider, version, name="live", **members):
    provider.update_alias(context(), {"FunctionName": "f", "Name": name, "FunctionVersion": version, **members})


class TestReserved:
    def test_put_get_delete_reach_the_runtime(self, provider, runtime, active):
        active()
        assert provider.get_function_concurrency(context(), {"FunctionName": "f"}) == {}
        for count in (0, 7):
            assert reserve(provider, count) == {"ReservedConcurrentExecutions": count}
            got = provider.get_function_concurrency(context(), {"FunctionName": arn("f")})
            assert got == {"ReservedConcurrentExecutions": count}
            assert told(runtime).reserved == {arn("f"): count}
        assert provider.get_function(context(), {"FunctionName": "f"})["Concurrency"] == {
            "ReservedConcurrentExecutions": 7
        }
        for _ in range(2):
            provider.delete_function_concurrency(context(), {"FunctionName": "f"})
        assert provider.get_function_concurrency(context(), {"FunctionName": "f"}) == {}
        assert told(runtime).reserved == {}

    def test_deletion_of_the_function_gives_the_reserve_back(self, provider, runtime, active):
        active()
        reserve(provider, 10)
        assert unreserved(provider) == 990
        provider.delete_function(context(), {"FunctionName": "f"})
        assert unreserved(provider) == 1000
        assert told(runtime).reserved == {}

    @pytest.mark.parametrize("operation", ["put_function_concurrency", "delete_function_concurrency"])
    def test_function_that_is_not_there_is_reported_as_its_latest_version(self, provider, operation):
        request = {"FunctionName": "f", "ReservedConcurrentExecutions": -1}
        with pytest.raises(ResourceNotFoundException) as error:
            getattr(provider, operation)(context(), request)
        assert str(error.value) == f"Function not found: {arn('f', '$LATEST')}"

    def test_get_of_a_function_that_is_not_there_names_no_version(self, provider):
        with pytest.raises(ResourceNotFoundException) as error:
            provider.get_function_concurrency(context(), {"FunctionName": "f"})
        assert str(error.value) == f"Function not found: {arn('f')}"

    def test_negative_is_refused_once_the_function_is_found(self, provider, active):
        active()
        with pytest.raises(ValidationException, match="Value '-1' at 'reservedConcurrentExecutions' failed"):
            reserve(provider, -1)

    @pytest.mark.parametrize("operation", ["put_function_concurrency", "delete_function_concurrency"])
    def test_it_is_for_functions_only(self, provider, active, operation):
        active()
        request = {"FunctionName": arn("f", "1"), "ReservedConcurrentExecutions": 1}
        with pytest.raises(InvalidParameterValueException, match="permitted on Lambda functions only"):
            getattr(provider, operation)(context(), request)

    def test_a_hundred_stay_unreserved(self, provider, active):
        active("f")
        active("g")
        reserve(provider, 500, "f")
        with pytest.raises(InvalidParameterValueException) as error:
            reserve(provider, 401, "g")
        assert str(error.value) == f"Specified ReservedConcurrentExecutions for function {BELOW_MINIMUM}"
        reserve(provider, 400, "g")
        assert unreserved(provider) == 100
        # A function's own reserve is there for its next one.
        reserve(provider, 500, "f")
        reserve(provider, 499, "f")
        assert unreserved(provider) == 101

    def test_what_is_less_than_before_is_never_refused(self, runtime):
        host = FakeHost({"LAMBDA_LIMITS_CONCURRENT_EXECUTIONS": "10"})
        provider = LambdaProvider(host, runtime)  # type: ignore[arg-type]
        provider.start()
        create(provider)
        assert reserve(provider, 0) == {"ReservedConcurrentExecutions": 0}
        with pytest.raises(InvalidParameterValueException, match="below its minimum"):
            reserve(provider, 1)
        provider.stop()

    def test_accounts_and_regions_have_pools_of_their_own(self, provider, active):
        active()
        reserve(provider, 100)
        assert unreserved(provider, region="us-west-2") == 1000
        assert unreserved(provider, account_id="222222222222") == 1000

    def test_reserves_that_are_taken_at_once_do_not_take_the_same(self, provider, active):
        names = [active(f"f{number}") for number in range(8)]
        refused: list[str] = []

        def take(name: str) -> None:
            try:
                reserve(provider, 200, name)
            except InvalidParameterValueException:
                refused.append(name)

        threads = [threading.Thread(target=take, args=(name,)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(refused) == 4
        assert unreserved(provider) == 200


class TestProvisioned:
    def test_put_get_list_delete(self, provider, runtime, versions):
        requested = {"RequestedProvisionedConcurrentExecutions": 3}
        nothing_yet = {"AllocatedProvisionedConcurrentExecutions": 0, "AvailableProvisionedConcurrentExecutions": 0}
        put = provision(provider, "1", 3)
        put.pop("LastModified")
        assert put == {**requested, **nothing_yet, "Status": "IN_PROGRESS"}
        assert runtime.provisioned_requests == {arn("f", "1"): {arn("f", "1"): 3}}
        runtime.provisioned_status = ProvisionedStatus(Allocation.READY, 3, 2)
        got = provisioned(provider, "1")
        assert got.pop("LastModified").endswith("+0000")
        assert got == {
            **requested,
            "AllocatedProvisionedConcurrentExecutions": 3,
            "AvailableProvisionedConcurrentExecutions": 2,
            "Status": "READY",
        }
        listed = provider.list_provisioned_concurrency_configs(context(), {"FunctionName": "f"})
        (item,) = listed["ProvisionedConcurrencyConfigs"]
        item.pop("LastModified")
        assert item == {**got, "FunctionArn": arn("f", "1")}
        for _ in range(2):
            provider.delete_provisioned_concurrency_config(context(), {"FunctionName": "f", "Qualifier": "1"})
        with pytest.raises(ProvisionedConcurrencyConfigNotFoundException):
            provisioned(provider, "1")
        assert told(runtime).provisioned_requests == {}

    def test_failure_has_its_reason(self, provider, runtime, versions):
        provision(provider, "1", 1)
        runtime.provisioned_status = ProvisionedStatus(Allocation.FAILED, reason="FUNCTION_ERROR_INIT_FAILURE")
        got = provisioned(provider, "1")
        assert (got["Status"], got["StatusReason"]) == ("FAILED", "FUNCTION_ERROR_INIT_FAILURE")

    def test_asking_again_reaches_the_runtime_even_if_nothing_changed(self, provider, runtime, versions):
        provision(provider, "1", 1)
        told(runtime).provisioned_requests.clear()
        provision(provider, "1", 1)
        assert runtime.provisioned_requests == {arn("f", "1"): {arn("f", "1"): 1}}

    def test_it_gives_the_version_a_new_revision(self, provider, versions):
        """Recorded: test_lambda_provisioned_concurrency_moves_with_alias."""
        before = configuration(provider, "f", "1")
        provision(provider, "1", 1)
        after = configuration(provider, "f", "1")
        assert after.pop("RevisionId") != before.pop("RevisionId")
        assert after == before

    def test_alias_takes_it_to_the_version_that_it_points_at(self, provider, runtime, alias):
        provision(provider, "live", 5)
        assert runtime.provisioned_requests == {arn("f", "live"): {arn("f", "1"): 5}}
        move(provider, "2")
        assert told(runtime).provisioned_requests == {arn("f", "live"): {arn("f", "2"): 5}}
        move(provider, "2", RoutingConfig={"AdditionalVersionWeights": {"1": 0.2}})
        assert told(runtime).provisioned_requests == {arn("f", "live"): {arn("f", "1"): 1, arn("f", "2"): 4}}
        provider.delete_alias(context(), {"FunctionName": "f", "Name": "live"})
        assert told(runtime).provisioned_requests == {}

    def test_deletion_of_version_or_function_ends_it(self, provider, runtime, versions):
        provision(provider, "1", 1)
        provision(provider, "2", 1)
        provider.delete_function(context(), {"FunctionName": "f", "Qualifier": "1"})
        assert told(runtime).provisioned_requests.keys() == {arn("f", "2")}
        listed = provider.list_provisioned_concurrency_configs(context(), {"FunctionName": "f"})
        assert [item["FunctionArn"] for item in listed["ProvisionedConcurrencyConfigs"]] == [arn("f", "2")]
        provider.delete_function(context(), {"FunctionName": "f"})
        assert told(runtime).provisioned_requests == {}

    def test_latest_cannot_be_provisioned(self, provider, alias):
        alias("$LATEST", "latest")
        for qualifier in ("$LATEST", "latest"):
            with pytest.raises(
                InvalidParameterValueException, match="cannot be applied to unpublished function versions"
            ):
                provision(provider, qualifier, 1)

    def test_one_version_is_provisioned_by_one_qualifier(self, provider, alias):
        """Recorded: test_lambda_provisioned_lifecycle."""
        provision(provider, "1", 1)
        with pytest.raises(ResourceConflictException, match="Alias can't be used for Provisioned Concurrency"):
            provision(provider, "live", 1)
        provider.delete_provisioned_concurrency_config(context(), {"FunctionName": "f", "Qualifier": "1"})
        provision(provider, "live", 1)
        with pytest.raises(ResourceConflictException, match="Version is pointed by a Provisioned Concurrency alias"):
            provision(provider, "1", 1)
        alias("1", "other")
        with pytest.raises(ResourceConflictException, match="Alias can't be used for Provisioned Concurrency"):
            provision(provider, "other", 1)

    def test_alias_does_not_move_onto_what_another_qualifier_provisioned(self, provider, alias):
        provision(provider, "live", 1)
        provision(provider, "2", 1)
        for changes in ({"version": "2"}, {"version": "1", "RoutingConfig": {"AdditionalVersionWeights": {"2": 0.5}}}):
            with pytest.raises(ResourceConflictException, match="already Provisioned version"):
                move(provider, **changes)
        with pytest.raises(InvalidParameterValueException, match="unpublished"):
            move(provider, "$LATEST")

    def test_alias_with_weights_cannot_be_provisioned(self, provider, alias):
        alias("1", "canary", RoutingConfig={"AdditionalVersionWeights": {"2": 0.5}})
        with pytest.raises(InvalidParameterValueException, match="Alias with weights can not be used with"):
            provision(provider, "canary", 1)

    def test_snapstart_and_provisioned_concurrency_exclude_each_other(self, provider, active):
        active(SnapStart={"ApplyOn": "PublishedVersions"})
        provider.publish_version(context(), {"FunctionName": "f"})
        with pytest.raises(InvalidParameterValueException, match="SnapStart"):
            provision(provider, "1", 1)

    def test_alias_does_not_take_provisioned_concurrency_to_a_version_with_snapstart(self, provider, alias):
        provision(provider, "live", 1)
        provider.update_function_configuration(
            context(), {"FunctionName": "f", "SnapStart": {"ApplyOn": "PublishedVersions"}}
        )
        configuration(provider)  # Settles the update.
        number = provider.publish_version(context(), {"FunctionName": "f"})["Version"]
        with pytest.raises(InvalidParameterValueException, match="SnapStart"):
            move(provider, number)

    @pytest.mark.parametrize("name", ["f", "other"])
    @pytest.mark.parametrize("operation", ["put", "get", "delete"])
    def test_target_that_is_not_there(self, provider, versions, operation, name):
        call = getattr(provider, f"{operation}_provisioned_concurrency_config")
        for qualifier, words in (("no", "Cannot find alias arn"), ("10", "Function not found")):
            request = {"FunctionName": name, "Qualifier": qualifier, "ProvisionedConcurrentExecutions": 1}
            with pytest.raises(ResourceNotFoundException) as error:
                call(context(), request)
            assert str(error.value) == f"{words}: {arn(name, qualifier)}"

    @pytest.mark.parametrize("operation", ["get", "delete"])
    def test_latest_has_none(self, provider, versions, operation):
        call = getattr(provider, f"{operation}_provisioned_concurrency_config")
        with pytest.raises(InvalidParameterValueException, match="must be an alias or a published version"):
            call(context(), {"FunctionName": "f", "Qualifier": "$LATEST"})

    def test_it_fits_into_the_reserve(self, provider, versions):
        """Recorded: test_reserved_provisioned_overlap."""
        reserve(provider, 3)
        provision(provider, "1", 2)
        assert unreserved(provider) == 997
        for qualifier, count in (("1", 4), ("2", 2)):
            with pytest.raises(
                InvalidParameterValueException, match="not be greater than the reservedConcurrentExecution"
            ):
                provision(provider, qualifier, count)
        provision(provider, "2", 1)
        with pytest.raises(InvalidParameterValueException) as error:
            reserve(provider, 2)
        assert str(error.value) == (
            " ReservedConcurrentExecutions  2 should not be lower than function's total provisioned concurrency [3]."
        )

    def test_without_a_reserve_it_is_taken_from_what_is_unreserved(self, provider, versions):
        """Recorded: test_provisioned_concurrency_limits."""
        provision(provider, "1", 300)
        assert unreserved(provider) == 700
        with pytest.raises(InvalidParameterValueException) as error:
            provision(provider, "2", 701)
        assert str(error.value) == (
            "Specified ConcurrentExecutions for function is greater than account's unreserved concurrency [700]."
        )
        with pytest.raises(InvalidParameterValueException) as error:
            provision(provider, "2", 601)
        assert str(error.value) == f"Specified ConcurrentExecutions for function {BELOW_MINIMUM}"
        # What a version has is there for its next request, and for the reserve of its function.
        provision(provider, "1", 900)
        reserve(provider, 900)
        assert unreserved(provider) == 100


def create(provider: LambdaProvider, name: str = "f", **members: Any) -> None:
    provider.create_function(context(), creation(name, **members))
    assert configuration(provider, name)["State"] == "Active"


def test_both_are_restored_after_a_restart_and_forgotten_with_the_state(runtime: FakeRuntime, tmp_path: Path) -> None:
    def started() -> LambdaProvider:
        provider = LambdaProvider(FakeHost(), runtime, state_dir=tmp_path)  # type: ignore[arg-type]
        provider.start()
        return provider

    first = started()
    create(first, Publish=True)
    first.create_alias(context(), {"FunctionName": "f", "Name": "live", "FunctionVersion": "1"})
    reserve(first, 5)
    provision(first, "live", 2)
    modified = provisioned(first, "live")["LastModified"]
    first.stop()
    told(runtime).reserved.clear()
    runtime.provisioned_requests.clear()

    second = started()
    assert told(runtime).reserved == {arn("f"): 5}
    assert runtime.provisioned_requests == {arn("f", "live"): {arn("f", "1"): 2}}
    got = provisioned(second, "live")
    assert (got["RequestedProvisionedConcurrentExecutions"], got["LastModified"]) == (2, modified)
    second.on_before_state_load()
    assert told(runtime).reserved == {}
    assert runtime.provisioned_requests == {}
    second.on_after_state_load()
    assert told(runtime).reserved == {arn("f"): 5}
    second.on_before_state_reset()
    second.on_after_state_reset()
    assert told(runtime).reserved == {}
    assert unreserved(second) == 1000
    second.stop()


def test_account_usage_is_counted(provider, active, publish):
    settings = provider.get_account_settings(context(), {})
    assert settings["AccountUsage"] == {"TotalCodeSize": 0, "FunctionCount": 0}
    active()
    one = provider.get_account_settings(context(), {})["AccountUsage"]
    assert one == {"TotalCodeSize": configuration(provider)["CodeSize"], "FunctionCount": 1}
    publish()
    two = provider.get_account_settings(context(), {})["AccountUsage"]
    assert two == {"TotalCodeSize": 2 * one["TotalCodeSize"], "FunctionCount": 1}
    assert provider.get_account_settings(context(account_id="222222222222"), {})["AccountUsage"]["FunctionCount"] == 0
