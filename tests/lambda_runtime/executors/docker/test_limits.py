from __future__ import annotations

from typing import Any

import docker.errors
import pytest
import requests

from lambda_runtime.executors.containers.plan import ulimits
from lambda_runtime.executors.containers.settings import parse_flags
from lambda_runtime.executors.docker.limits import accepted

NUMBERS = {"core": 4, "nproc": 6, "nofile": 7}


class Bounded:
    """An engine that may not set some limits as high as asked, in the words of an OCI runtime."""

    def __init__(self, *, crun: bool, own: dict[str, int] | None = None, **most: int) -> None:
        self._crun = crun
        self._own = own or {}
        self._most = most
        self._limits: dict[str, int] = {}
        self.left = 0

    def create_container_from_config(self, config: dict[str, Any]) -> dict[str, str]:
        self.left += 1
        self._limits = {each["Name"]: each["Hard"] for each in config["HostConfig"]["Ulimits"]}
        return {"Id": "c"}

    def start(self, container: str) -> None:
        for name, value in {**self._own, **self._limits}.items():
            if value > self._most.get(name, value):
                words = f"setrlimit `RLIMIT_{name.upper()}`" if self._crun else f"setting rlimit type {NUMBERS[name]}"
                text = f"{words}: Operation not permitted"
                raise docker.errors.APIError("500", response=requests.Response(), explanation=text)

    def wait(self, container: str, timeout: int) -> None:
        pass

    def remove_container(self, container: str, **options: Any) -> None:
        self.left -= 1


@pytest.mark.parametrize("crun", [False, True])
def test_a_limit_that_cannot_be_set_is_left_to_the_engine(crun: bool) -> None:
    client = Bounded(crun=crun, core=0)
    found = {each["Name"] for each in accepted(client, "i", {}, ulimits(parse_flags("")))}
    assert found == {"memlock", "nofile", "stack"}
    assert client.left == 0


@pytest.mark.parametrize("crun", [False, True])
def test_the_engines_own_number_of_processes_is_replaced_by_one_that_it_may_set(crun: bool) -> None:
    client = Bounded(crun=crun, own={"nproc": 4194304}, nproc=5000)
    found = {each["Name"]: each["Hard"] for each in accepted(client, "i", {}, ulimits(parse_flags("")))}
    assert found["nproc"] == 4096 and found["nofile"] == 1024


def test_where_all_can_be_set_all_are() -> None:
    wanted = ulimits(parse_flags("--ulimit nproc=100"))
    assert list(accepted(Bounded(crun=False), "i", {}, wanted)) == wanted


def test_an_engines_own_limit_of_which_nothing_better_is_known_ends_the_search() -> None:
    client = Bounded(crun=False, own={"nofile": 1 << 20}, nofile=20)
    assert "nofile" not in {each["Name"] for each in accepted(client, "i", {}, ulimits(parse_flags("")))}
