"""What holds for a host that lacks parts of the protocol."""

from __future__ import annotations

from typing import Any

import pytest

from lambda_provider.host import FunctionCredentials, Host, HostBase, ServiceUnavailable, complete

PLACE = {"account_id": "111111111111", "region": "eu-west-1"}


def test_a_host_that_has_nothing_speaks_the_protocol() -> None:
    assert isinstance(HostBase(), Host)


def test_it_has_no_services_and_says_whose_fault_that_is() -> None:
    host = HostBase()
    host.name = "acme"
    with pytest.raises(ServiceUnavailable, match="the host 'acme' has no s3"):
        host.connect_to("s3", **PLACE)


def test_its_settings_are_the_environment_unless_they_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMBDA_KEEPALIVE_S", "7")
    assert HostBase().settings["LAMBDA_KEEPALIVE_S"] == "7"
    assert HostBase({"LAMBDA_SETTLE_MS": "1"}).settings == {"LAMBDA_SETTLE_MS": "1"}


def test_functions_are_told_an_endpoint_only_where_a_setting_names_one() -> None:
    assert HostBase({}).function_endpoint_url() is None
    assert HostBase({"LAMBDA_FUNCTION_ENDPOINT_URL": "http://x"}).function_endpoint_url() == "http://x"


def test_the_access_key_of_functions_is_their_account() -> None:
    issued = HostBase({}).issue_credentials(role_arn="arn:aws:iam::1:role/r", session_name="f", **PLACE)
    assert issued == FunctionCredentials("111111111111", "test", "test")


def test_it_has_no_registry_so_an_image_is_somewhere_else() -> None:
    assert HostBase({}).find_image("000000000000.dkr.ecr.us-east-1.amazonaws.com/app:v1") is None


def test_logs_and_metrics_are_dropped() -> None:
    HostBase({}).put_log_events(log_group="g", log_stream="s", events=[], **PLACE)
    HostBase({}).put_metric_data(namespace="AWS/Lambda", metrics=[], **PLACE)


class OnlyLogs:
    """A host that derives from nothing."""

    name = "only logs"

    def __init__(self) -> None:
        self.logged: list[Any] = []

    def put_log_events(self, **what: Any) -> None:
        self.logged.append(what)


def test_a_host_that_lacks_parts_gets_those_of_a_host_that_has_nothing() -> None:
    host = OnlyLogs()
    completed = complete(host)
    assert completed.name == "only logs"
    completed.put_log_events(log_group="g", log_stream="s", events=[], **PLACE)
    assert [each["log_group"] for each in host.logged] == ["g"]
    with pytest.raises(ServiceUnavailable, match="the host 'only logs' has no sqs"):
        completed.connect_to("sqs", **PLACE)
    assert completed.issue_credentials(role_arn="", session_name="", **PLACE).access_key_id == "111111111111"


def test_the_default_of_a_part_sees_the_settings_of_the_host() -> None:
    class Settled:
        settings = {"LAMBDA_FUNCTION_ENDPOINT_URL": "http://x"}

    assert complete(Settled()).function_endpoint_url() == "http://x"


def test_a_host_that_has_all_parts_is_taken_as_it_is() -> None:
    host = HostBase()
    assert complete(host) is host


def test_what_is_no_host_at_all_is_refused() -> None:
    with pytest.raises(TypeError, match="is not a host"):
        complete(object())
