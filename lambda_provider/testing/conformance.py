"""Whether a host does what the Host protocol says, for its author: derive from `HostConformance` in a test of yours.

    class TestAcmeHost(HostConformance):
        services = ("s3", "sqs")

        def make_host(self):
            return AcmeHost()

The checks are plain methods `test_…`: pytest finds them by itself; with unittest, derive from `unittest.TestCase` as well.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from lambda_provider.host import FunctionCredentials, LogEvent, ServiceUnavailable, complete
from lambda_provider.hosts.clients import make_client
from lambda_provider.hosts.credentials import account_of
from lambda_provider.hosts.gateway import GatewayOptions
from lambda_provider.hosts.gateway_thread import GatewayThread
from lambda_provider.testing.deployment import deployment_of

ACCOUNT_ID = "111122223333"
REGION = "eu-west-1"
AT_ONCE_S = 0.05
"""What is called on the event loop may take this long at most: all functions wait meanwhile."""

_PLACE: dict[str, Any] = {"account_id": ACCOUNT_ID, "region": REGION}
_ROLE = f"arn:aws:iam::{ACCOUNT_ID}:role/conformance"
_SOURCE = """
import os
def handler(event, context):
    print("conformance")
    return dict(os.environ)
"""


class HostConformance:
    """The checks. `services` are those that `connect_to` has a client for, by botocore's names."""

    services: Sequence[str] = ()

    def make_host(self) -> Any:
        """A new host, as it is given to us."""
        raise NotImplementedError("make_host has to return the host that is to be checked")

    # The parts one by one

    def test_it_has_a_name_and_settings(self) -> None:
        host = complete(self.make_host())
        assert isinstance(host.name, str) and host.name, "name has to be a string"
        assert isinstance(host.settings, Mapping), "settings have to be a mapping"
        strange = {name: value for name, value in host.settings.items() if not isinstance(value, str)}
        assert not strange, f"settings have to be strings: {strange}"

    def test_a_service_that_it_does_not_have_is_service_unavailable(self) -> None:
        with self._served() as (host, _):
            try:
                host.connect_to("no-such-service", **_PLACE)
            except ServiceUnavailable as error:
                assert str(error), "ServiceUnavailable has to say what is missing"
            else:
                raise AssertionError(
                    "connect_to has to raise ServiceUnavailable for a service that the host does not have"
                )

    def test_clients_are_for_the_service_and_region_that_were_asked_for(self) -> None:
        with self._served() as (host, _):
            for service in self.services:
                client = _in_a_thread(partial(host.connect_to, service, **_PLACE))
                assert client.meta.service_model.service_name == service
                assert client.meta.region_name == REGION, f"the client of {service} is for {client.meta.region_name}"

    def test_its_endpoint_is_a_url_or_none(self) -> None:
        with self._served() as (host, _):
            url = host.function_endpoint_url()
            parts = urlsplit(url or "http://none")
            assert parts.scheme in ("http", "https") and parts.netloc, f"{url!r} is not a URL"

    def test_an_image_of_somewhere_else_is_not_its_own(self) -> None:
        with self._served() as (host, _):
            found = _in_a_thread(partial(host.find_image, "registry.example/team/app:v1"))
            assert found is None, f"find_image has to answer None for an image of another registry, not {found}"

    def test_credentials_are_those_of_the_account(self) -> None:
        with self._served() as (host, _):
            session = {"role_arn": _ROLE, "session_name": "conformance"}
            issued = _in_a_thread(partial(host.issue_credentials, **session, **_PLACE))
            assert isinstance(issued, FunctionCredentials)
            assert issued.access_key_id and issued.secret_access_key, "a key without a secret cannot sign"
            identities = getattr(host, "identities", None)
            knows = account_of if identities is None else identities.account_of
            found = knows(issued.access_key_id)
            assert found == ACCOUNT_ID, f"requests with key {issued.access_key_id} are seen as those of {found}"

    def test_logs_and_metrics_are_taken_at_once(self) -> None:
        with self._served() as (host, gateway):
            events = [LogEvent(int(time.time() * 1000), "ü" * size) for size in (0, 1, 256 * 1024)]
            group = {"log_group": "/aws/lambda/conformance", "log_stream": "2026/01/01/[$LATEST]0"}
            metric = {"MetricName": "Invocations", "Value": 1.0, "Unit": "Count", "Timestamp": time.time()}
            for call in (
                lambda: host.put_log_events(events=events, **group, **_PLACE),
                lambda: host.put_log_events(events=[], **group, **_PLACE),
                lambda: host.put_metric_data(namespace="AWS/Lambda", metrics=[metric], **_PLACE),
            ):
                took_s = gateway.run(_timed(call))
                assert took_s < AT_ONCE_S, f"the event loop was held up for {took_s:.3f} s; hand the work to a thread"

    # Together

    def test_functions_run_and_their_logs_arrive(self) -> None:
        logged: list[str] = []
        with self._served(logged) as (host, gateway):
            client = make_client("lambda", ACCOUNT_ID, REGION, gateway.url)
            environment = _deploy_and_invoke(client)
            assert environment.get("AWS_ENDPOINT_URL") == host.function_endpoint_url()
            gateway.run(_call(gateway.hosted.assembly.runtime.deliver_telemetry))
            kinds = [line.split()[0] for line in logged]
            assert kinds[-4:] == ["START", "conformance", "END", "REPORT"], f"the host was given {logged}"

    def test_a_reset_leaves_nothing_and_functions_run_afterwards(self) -> None:
        with self._served() as (_, gateway):
            client = make_client("lambda", ACCOUNT_ID, REGION, gateway.url)
            for _round in range(2):
                _deploy_and_invoke(client)
                gateway.run(gateway.hosted.reset(), 30)
                assert client.list_functions()["Functions"] == []

    def test_it_can_be_stopped_twice(self) -> None:
        host = self.make_host()
        gateway = GatewayThread(GatewayOptions(port=0), host)
        gateway.stop()
        if (stop := getattr(host, "stop", None)) is not None:
            asyncio.run(_await(stop))

    @contextmanager
    def _served(self, logged: list[str] | None = None) -> Iterator[tuple[Any, GatewayThread]]:
        host = self.make_host()
        gateway = GatewayThread(GatewayOptions(port=0), host if logged is None else _Observed(host, logged))
        try:
            yield gateway.hosted.host, gateway
        finally:
            gateway.stop()


class _Observed:
    """A host, and a look at what it is told to log."""

    def __init__(self, host: Any, logged: list[str]) -> None:
        self._host = host
        self._logged = logged

    def __getattr__(self, name: str) -> Any:
        return getattr(self._host, name)

    def put_log_events(self, *, events: Sequence[LogEvent], **more: Any) -> None:
        self._logged.extend(event.message for event in events)
        if (put := getattr(self._host, "put_log_events", None)) is not None:
            put(events=events, **more)


def _deploy_and_invoke(client: Any) -> dict[str, str]:
    """The environment variables that a function sees."""
    deployment = deployment_of({"index.py": _SOURCE})
    client.create_function(
        FunctionName="conformance",
        Runtime=deployment.runtime,
        Handler=deployment.handler,
        Role=_ROLE,
        Code={"ZipFile": deployment.archive},
    )
    client.get_waiter("function_active_v2").wait(FunctionName="conformance")
    answer = client.invoke(FunctionName="conformance")
    value = json.loads(answer["Payload"].read())
    assert "FunctionError" not in answer, f"the function failed: {value}"
    variables: dict[str, str] = value
    return variables


def _in_a_thread(work: Callable[[], Any]) -> Any:
    """The protocol's methods are called from any thread."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(work()))
    thread.start()
    thread.join()
    assert results, "it failed in another thread than the one that made the host; the traceback is above"
    return results[0]


async def _timed(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


async def _call(function: Callable[[], Any]) -> Any:
    return function()


async def _await(function: Callable[[], Any]) -> Any:
    return await function()
