from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from lambda_runtime.executors.containers.settings import ContainerSettings
from lambda_runtime.executors.docker import reach
from lambda_runtime.executors.docker.engine import EngineInfo
from lambda_runtime.executors.docker.reach import Reach

LOCAL, ELSEWHERE = "127.0.0.9", "203.0.113.1"
"""An address that this machine can listen at, and one that it has not."""


class Networks:
    """An engine with networks, and perhaps the container that we run in."""

    def __init__(
        self, *, gateway: str = LOCAL, driver: str = "bridge", own: dict[str, str] | None = None, mode: str = ""
    ) -> None:
        self._network = {"Driver": driver, "IPAM": {"Config": [{"Gateway": gateway}]}}
        self.own = {
            "Id": "own",
            "State": {"Running": True},
            "HostConfig": {"NetworkMode": mode, "PidMode": ""},
            "NetworkSettings": {"Networks": {name: {"IPAddress": ip} for name, ip in (own or {}).items()}},
        }
        self.joined: list[str] = []

    def inspect_network(self, name: str) -> dict[str, Any]:
        return {"Name": name, **self._network}

    def inspect_container(self, name: str) -> dict[str, Any]:
        return self.own

    def connect_container_to_network(self, container: str, network: str) -> None:
        self.joined.append(network)
        self.own["NetworkSettings"]["Networks"][network] = {"IPAddress": "10.9.0.2"}  # type: ignore[index]


@pytest.fixture
def find(info: EngineInfo, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Reach]:
    """`find(Networks(…), contained=…, network=…, **engine)`: where the gateway is for containers."""

    def call(client: Networks, *, contained: bool = False, join: bool = True, **fields: Any) -> Reach:
        monkeypatch.setattr(reach, "in_container", lambda: contained)
        monkeypatch.setattr(reach, "_outward_address", lambda engine: "192.0.2.7")
        names = {field.name for field in dataclasses.fields(ContainerSettings)}
        settings = ContainerSettings(**{name: fields.pop(name) for name in list(fields) if name in names})
        return reach.find(client, dataclasses.replace(info, **fields), settings, join=join)

    return call


def test_on_the_engines_machine_it_is_the_bridge(find: Any) -> None:
    found = find(Networks())
    assert (found.network, found.listen, found.address, found.sees_containers) == ("bridge", LOCAL, LOCAL, True)
    assert found.sees_processes and not found.shares_network


def test_of_an_engine_elsewhere_it_is_this_machines_address_and_containers_are_not_told_apart(find: Any) -> None:
    found = find(Networks(gateway=ELSEWHERE), address="tcp://192.0.2.9:2376")
    assert (found.listen, found.address, found.sees_containers) == ("0.0.0.0", "192.0.2.7", False)
    assert find(Networks(gateway=ELSEWHERE, driver="macvlan")).sees_containers


def test_a_rootless_engine_connects_from_this_machine_whatever_the_network_is_called(find: Any) -> None:
    for network in ("", "host"):
        found = find(Networks(), network=network, rootless=True)
        assert (found.listen, found.address) == ("192.0.2.7", "192.0.2.7")
        assert (found.sees_containers, found.from_this_machine, found.shares_network) == (False, True, False)


def test_in_a_container_it_is_that_containers_place_in_the_network(find: Any) -> None:
    found = find(Networks(own={"app": "10.1.0.5"}), contained=True)
    assert (found.network, found.address, found.sees_containers, found.own_container) == (
        "app",
        "10.1.0.5",
        True,
        "own",
    )
    assert not found.sees_processes


def test_a_container_joins_the_wanted_network_but_not_for_somebody_who_only_asks(find: Any) -> None:
    client = Networks(own={"bridge": "172.17.0.2"})
    asked = find(client, contained=True, network="app", join=False)
    assert client.joined == [] and asked.address == "172.17.0.2"
    found = find(client, contained=True, network="app")
    assert client.joined == ["app"]
    assert (found.network, found.address, found.sees_containers) == ("app", "10.9.0.2", True)
    assert find(client, contained=True, network="app").address == "10.9.0.2"
    assert client.joined == ["app"]


def test_functions_in_the_machines_network_reach_a_contained_gateway_by_its_address(find: Any) -> None:
    client = Networks(own={"bridge": "172.17.0.2"})
    found = find(client, contained=True, network="host")
    assert (found.network, found.address, found.sees_containers, found.shares_network) == (
        "host",
        "172.17.0.2",
        False,
        False,
    )
    assert client.joined == []


def test_a_gateway_in_the_machines_network_is_found_as_one_in_no_container(find: Any) -> None:
    client = Networks(own={"host": ""}, mode="host")
    assert find(client, contained=True).address == LOCAL
    assert find(client, contained=True, network="host").shares_network


def test_the_address_that_is_set_wins(find: Any) -> None:
    found = find(Networks(own={"app": "10.1.0.5"}), contained=True, host_address="gateway.test")
    assert (found.listen, found.address, found.sees_containers) == ("0.0.0.0", "gateway.test", False)


def test_processes_are_seen_from_a_container_that_shares_the_machines(find: Any) -> None:
    client = Networks(own={"app": "10.1.0.5"})
    client.own["HostConfig"]["PidMode"] = "host"  # type: ignore[index]
    assert find(client, contained=True).sees_processes
