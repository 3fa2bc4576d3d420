"""The states of extensions, one transition a test."""

from __future__ import annotations

import json

import pytest

from lambda_runtime.executors.base import ExitStatus
from lambda_runtime.extensions import Extension, ExtensionGroup, ExtensionState
from lambda_runtime.runtime_api.routes import Refused


class Owner:
    def __init__(self) -> None:
        self.told: list[object] = []

    def extensions_registered(self) -> None:
        self.told.append("registered")

    def extensions_ready(self) -> None:
        self.told.append("ready")

    def extension_failed(self, extension: Extension, error_type: str, message: str) -> None:
        self.told.append((extension.name, error_type, message))


class Connection:
    def __init__(self) -> None:
        self.answers: list[tuple[int, bytes, dict[str, object]]] = []

    def reply(self, status: int, headers: bytes, body: bytes) -> None:
        self.answers.append((status, headers, json.loads(body)))

    @property
    def event(self) -> dict[str, object]:
        assert len(self.answers) == 1
        return self.answers[0][2]


@pytest.fixture
def owner() -> Owner:
    return Owner()


def invoke(group: ExtensionGroup) -> None:
    group.invoke(1000, "id", "arn:f", "Root=1")


def refusal(error_type: str) -> object:
    return pytest.raises(Refused, check=lambda error: (error.error_type, error.status) == (error_type, 403))


def test_the_runtime_may_start_when_every_external_extension_has_registered(owner: Owner) -> None:
    group = ExtensionGroup(owner, ["a", "b"])
    first = group.register("a", ["INVOKE"])
    assert (first.state, group.registered, owner.told) == (ExtensionState.REGISTERED, False, [])
    group.register("b", [])
    assert (group.registered, owner.told) == (True, ["registered"])


def test_the_group_is_ready_when_all_have_asked_for_an_event(owner: Owner) -> None:
    group = ExtensionGroup(owner, ["a"])
    external, internal = group.register("a", []), group.register("inside", ["INVOKE"])
    assert (external.external, internal.external) == (True, False)
    group.waits(external, Connection())
    assert owner.told == ["registered"]
    group.waits(internal, Connection())
    assert owner.told == ["registered", "ready"]
    group.waits(internal, Connection())
    assert owner.told == ["registered", "ready"], "asking again is no news"


def test_an_invocation_goes_to_those_that_want_it(owner: Owner) -> None:
    group = ExtensionGroup(owner, ["a", "b"])
    listening, other = group.register("a", ["INVOKE"]), group.register("b", ["SHUTDOWN"])
    mine, others = Connection(), Connection()
    group.waits(listening, mine)
    group.waits(other, others)
    invoke(group)
    tracing = {"type": "X-Amzn-Trace-Id", "value": "Root=1"}
    assert mine.event == {
        "eventType": "INVOKE",
        "deadlineMs": 1000,
        "requestId": "id",
        "invokedFunctionArn": "arn:f",
        "tracing": tracing,
    }
    assert list(mine.event) == ["eventType", "deadlineMs", "requestId", "invokedFunctionArn", "tracing"]
    assert b"Lambda-Extension-Event-Identifier: " in mine.answers[0][1]
    assert (others.answers, listening.state, other.state) == ([], ExtensionState.RUNNING, ExtensionState.READY)
    assert not group.ready
    group.waits(listening, Connection())
    assert group.ready
    assert owner.told[-1] == "ready"


def test_an_event_waits_for_an_extension_whose_connection_was_lost(owner: Owner) -> None:
    group = ExtensionGroup(owner, ["a"])
    extension, lost, again = group.register("a", ["INVOKE"]), Connection(), Connection()
    group.waits(extension, lost)
    group.gone(extension, lost)
    invoke(group)
    group.waits(extension, again)
    assert (lost.answers, again.event["eventType"]) == ([], "INVOKE")


def test_shutdown_goes_to_those_that_want_it_and_ends_with_their_processes(owner: Owner) -> None:
    group = ExtensionGroup(owner, ["a", "b"])
    listening, other = group.register("a", ["SHUTDOWN"]), group.register("b", ["INVOKE"])
    mine, others = Connection(), Connection()
    group.waits(listening, mine)
    group.waits(other, others)
    group.stop_judging()
    changes: list[int] = []
    group.shut_down("spindown", 7, lambda: changes.append(1))
    assert mine.event == {"eventType": "SHUTDOWN", "shutdownReason": "spindown", "deadlineMs": 7}
    assert (others.answers, group.shut_down_in_peace) == ([], False)
    group.process_ended("a", ExitStatus(0))
    assert (changes, group.shut_down_in_peace, owner.told) == ([1], True, ["registered", "ready"])


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (ExitStatus(0), "exit code 0"),
        (ExitStatus(3), "exit status 3"),
        (ExitStatus(None, 9), "signal: killed"),
    ],
)
def test_an_extension_that_ends_has_crashed(owner: Owner, status: ExitStatus, message: str) -> None:
    group = ExtensionGroup(owner, ["a"])
    group.process_ended("a", status)
    assert owner.told == [("a", "Extension.Crash", message)]


def test_an_extension_that_cannot_be_executed_is_a_launch_error(owner: Owner) -> None:
    group = ExtensionGroup(owner, ["a", "b"])
    problem = "fork/exec /opt/extensions/a: permission denied"
    group.process_ended("a", ExitStatus(126, entry_point_error=problem))
    group.process_ended("b", ExitStatus(1))
    assert owner.told == [("a", "Extension.LaunchError", problem)], "the first failure is the one that is told"
    states = [(each.state, each.error_type) for each in group]
    assert states == [(ExtensionState.LAUNCH_ERROR, "PermissionDenied"), (ExtensionState.EXITED, None)]


@pytest.mark.parametrize(
    ("state", "error_type"),
    [(ExtensionState.INIT_ERROR, "Extension.InitError"), (ExtensionState.EXIT_ERROR, "Extension.ExitError")],
)
def test_a_reported_error_is_told_when_the_process_ends(owner: Owner, state: ExtensionState, error_type: str) -> None:
    group = ExtensionGroup(owner, ["a"])
    extension = group.register("a", [])
    group.reported(extension, state, "Fatal.ConnectFailed")
    assert owner.told == ["registered"]
    with refusal("Extension.InvalidExtensionState"):
        group.waits(extension, Connection())
    group.process_ended("a", ExitStatus(0))
    assert owner.told[1:] == [("a", error_type, "exit code 0")]


def test_an_error_of_an_internal_extension_is_told_at_once(owner: Owner) -> None:
    group = ExtensionGroup(owner)
    group.reported(group.register("inside", []), ExtensionState.EXIT_ERROR, "Fatal.Mine")
    assert owner.told == [("inside", "Extension.ExitError", "Fatal.Mine")]


def test_an_init_error_is_one_before_the_first_event_only(owner: Owner) -> None:
    group = ExtensionGroup(owner, ["a"])
    extension = group.register("a", [])
    group.waits(extension, Connection())
    with refusal("Extension.InvalidExtensionState"):
        group.reported(extension, ExtensionState.INIT_ERROR, "Fatal.Late")


def test_what_cannot_be_registered(owner: Owner) -> None:
    group = ExtensionGroup(owner, ["a"])
    with refusal("Extension.InvalidEventType"):
        group.register("a", ["BREAKFAST"])
    with refusal("Extension.InvalidEventType"):
        group.register("inside", ["SHUTDOWN"])
    assert [each.name for each in group] == ["a"], "what was refused leaves nothing behind"
    group.register("a", ["INVOKE", "SHUTDOWN"])
    with refusal("Extension.InvalidExtensionState"):
        group.register("a", [])
    group.close_registration()
    with refusal("Extension.RegistrationClosed"):
        group.register("late", [])


def test_ten_extensions_are_the_most(owner: Owner) -> None:
    group = ExtensionGroup(owner, [f"e{number}" for number in range(6)])
    for number in range(10):
        group.register(f"e{number}", [])
    with refusal("Extension.TooManyExtensions"):
        group.register("e10", [])
    crowded = ExtensionGroup(owner, [f"e{number}" for number in range(11)])
    for number in range(10):
        crowded.register(f"e{number}", [])
    with refusal("Extension.TooManyExtensions"):
        crowded.register("e10", [])


def test_identifiers(owner: Owner) -> None:
    group = ExtensionGroup(owner, ["a"])
    extension = group.register("a", [])
    assert group.find(extension.identifier) is extension
    with refusal("Extension.MissingHeader"):
        group.find(None)
    with refusal("Extension.InvalidExtensionIdentifier"):
        group.find("me")
    with refusal("Extension.UnknownExtensionIdentifier"):
        group.find("11111111-1111-4111-8111-111111111111")
