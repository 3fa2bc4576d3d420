"""The conformance kit finds our own hosts right, and wrong ones wrong."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from lambda_provider.host import FunctionCredentials, HostBase
from lambda_provider.hosts.standalone import StandaloneHost
from lambda_provider.testing.conformance import HostConformance

pytestmark = pytest.mark.scenario


class TestBareHost(HostConformance):
    def make_host(self) -> Any:
        return HostBase({})


class TestStandaloneHost(HostConformance):
    services = ("s3", "sqs", "kinesis")

    def make_host(self) -> Any:
        return StandaloneHost({})


class Least:
    name = "least"


class TestHostThatLacksAlmostEverything(HostConformance):
    def make_host(self) -> Any:
        return Least()


class Nameless(HostBase):
    name = ""


class Numbers(HostBase):
    def __init__(self) -> None:
        super().__init__({"LAMBDA_KEEPALIVE_S": 5})  # type: ignore[dict-item]


class EveryService(HostBase):
    def connect_to(self, service: str, *, account_id: str, region: str) -> Any:
        return object()


class SomebodyElse(HostBase):
    def issue_credentials(self, **asked: str) -> FunctionCredentials:
        return FunctionCredentials("999999999999", "test", "test")


class Slow(HostBase):
    def put_log_events(self, **what: Any) -> None:
        time.sleep(0.1)


class NoUrl(HostBase):
    def function_endpoint_url(self) -> str | None:
        return "localhost:4566"


@pytest.mark.parametrize(
    ("host", "check", "says"),
    [
        (Nameless, HostConformance.test_it_has_a_name_and_settings, "name has to be a string"),
        (Numbers, HostConformance.test_it_has_a_name_and_settings, "settings have to be strings"),
        (
            EveryService,
            HostConformance.test_a_service_that_it_does_not_have_is_service_unavailable,
            "has to raise ServiceUnavailable",
        ),
        (SomebodyElse, HostConformance.test_credentials_are_those_of_the_account, "seen as those of 999999999999"),
        (Slow, HostConformance.test_logs_and_metrics_are_taken_at_once, "the event loop was held up"),
        (NoUrl, HostConformance.test_its_endpoint_is_a_url_or_none, "is not a URL"),
    ],
)
def test_a_host_that_is_wrong_is_told_what_is(
    host: Callable[[], Any], check: Callable[[HostConformance], None], says: str
) -> None:
    conformance = HostConformance()
    conformance.make_host = host  # type: ignore[method-assign]
    with pytest.raises(AssertionError, match=says):
        check(conformance)


def test_it_has_to_be_told_which_host() -> None:
    with pytest.raises(NotImplementedError, match="make_host"):
        HostConformance().test_it_has_a_name_and_settings()
