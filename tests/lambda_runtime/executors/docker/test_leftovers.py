from __future__ import annotations

from pathlib import Path
from typing import Any

import docker.errors
import pytest

from lambda_runtime.executors.docker import leftovers
from lambda_runtime.executors.docker.leftovers import GATEWAY, MACHINE, owner_labels, remove_leftovers
from lambda_runtime.scratch import Scratch


class Shelf:
    """An engine with containers and volumes that have labels."""

    def __init__(self, *labels: dict[str, str], state: str = "running", alive: tuple[str, ...] = ()) -> None:
        self.left = [{"Id": f"c{number}", "Labels": each, "State": state} for number, each in enumerate(labels)]
        self.shelved = [{"Name": f"v{number}", "Labels": each} for number, each in enumerate(labels)]
        self.removed: list[str] = []
        self._alive = alive

    def containers(self, **filters: Any) -> list[dict[str, Any]]:
        return self.left

    def volumes(self, **filters: Any) -> dict[str, Any]:
        return {"Volumes": self.shelved}

    def inspect_container(self, name: str) -> dict[str, Any]:
        if name not in self._alive:
            raise docker.errors.NotFound("gone")
        return {"State": {"Running": True}}

    def kill(self, name: str) -> None:
        pass

    def remove_container(self, name: str, **options: Any) -> None:
        self.removed.append(name)

    def remove_volume(self, name: str, **options: Any) -> None:
        self.removed.append(name)


@pytest.fixture
def own() -> Any:
    scratch = Scratch()
    yield owner_labels(scratch.path, "")
    scratch.remove()


def test_what_a_dead_gateway_of_this_machine_left_is_removed(own: Any, tmp_path: Path) -> None:
    shelf = Shelf(owner_labels(tmp_path / "gone", ""))
    assert remove_leftovers(shelf, own) == 2
    assert shelf.removed == ["c0", "v0"]


def test_what_belongs_to_a_gateway_that_lives_is_left_alone(own: Any) -> None:
    other = Scratch()
    try:
        shelf = Shelf(own, owner_labels(other.path, ""))
        assert remove_leftovers(shelf, own) == 0
    finally:
        other.remove()
    assert remove_leftovers(Shelf(owner_labels(other.path, "")), own) == 2


@pytest.mark.parametrize(("state", "removed"), [("running", []), ("created", []), ("exited", ["c0"])])
def test_of_another_machine_only_what_has_ended_goes(own: Any, tmp_path: Path, state: str, removed: list[str]) -> None:
    shelf = Shelf({**owner_labels(tmp_path / "gone", ""), MACHINE: "elsewhere"}, state=state)
    remove_leftovers(shelf, own)
    assert shelf.removed == removed


def test_a_gateway_in_a_container_lives_as_long_as_that(own: Any, tmp_path: Path) -> None:
    labels = {**owner_labels(tmp_path / "gone", "gateway"), MACHINE: "elsewhere"}
    assert labels[GATEWAY] == "gateway"
    assert remove_leftovers(Shelf(labels, alive=("gateway",)), own) == 0
    assert remove_leftovers(Shelf(labels), own) == 2


def test_what_a_gateway_left_in_this_container_before_that_was_started_again_is_removed(tmp_path: Path) -> None:
    scratch, beside = Scratch(), Scratch()
    try:
        own = owner_labels(scratch.path, "gateway")
        before = {**owner_labels(tmp_path / "before", "gateway"), MACHINE: "the one before"}
        assert remove_leftovers(Shelf(before, alive=("gateway",)), own) == 2
        assert remove_leftovers(Shelf(owner_labels(beside.path, "gateway"), alive=("gateway",)), own) == 0
    finally:
        scratch.remove()
        beside.remove()


def test_own_labels_name_the_lock_that_is_held(own: Any) -> None:
    assert (Path(own[leftovers.OWNER]) / ".lock").exists()
