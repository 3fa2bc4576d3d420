from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lambda_provider.api import InvalidZipFileException, ServiceException
from lambda_provider.api.coverage import implemented_operations
from lambda_provider.provider import LambdaProvider
from lambda_provider.store.errors import StateError
from lambda_provider.store.journal import Journal
from lambda_runtime.errors import VersionFailed
from lambda_runtime.event_queue import QueuedEvent
from lambda_runtime.types import Invocation

from .fakes import ACCOUNT, REGION, FakeHost, FakeRuntime, archive, arn, context, creation


@pytest.fixture
def runtime() -> Iterator[FakeRuntime]:
    fake = FakeRuntime()
    yield fake
    fake.close()


def started(runtime: FakeRuntime, state_dir: Path | None = None) -> LambdaProvider:
    provider = LambdaProvider(FakeHost(), runtime, state_dir=state_dir)  # type: ignore[arg-type]
    provider.start()
    return provider


def restarted(provider: LambdaProvider, runtime: FakeRuntime, state_dir: Path) -> LambdaProvider:
    """Another provider with the state of one that is stopped; no preparation ends before `release_preparations`."""
    provider.stop()
    runtime.run(provider.transitions.cancelled())  # A preparation that has just begun would be one of the other's.
    runtime.begun.clear()
    runtime.deployments.clear()
    runtime.hold_preparations()
    return started(runtime, state_dir)


def configuration(provider: LambdaProvider, qualifier: str | None = None) -> Any:
    request: Any = {"FunctionName": "f"} | ({"Qualifier": qualifier} if qualifier else {})
    return provider.get_function_configuration(context(), request)


def populate(provider: LambdaProvider) -> None:
    provider.create_function(context(), creation("f", Publish=True, Tags={"a": "b"}))
    provider.create_alias(context(), {"FunctionName": "f", "Name": "live", "FunctionVersion": "1"})
    assert configuration(provider)["State"] == configuration(provider, "1")["State"] == "Active"


def test_it_implements_the_operations_of_functions_versions_aliases_and_invokes():
    assert implemented_operations(LambdaProvider) >= {
        *("CreateFunction", "GetFunction", "GetFunctionConfiguration", "ListFunctions", "DeleteFunction"),
        *("UpdateFunctionCode", "UpdateFunctionConfiguration", "PublishVersion", "ListVersionsByFunction"),
        *("CreateAlias", "GetAlias", "ListAliases", "UpdateAlias", "DeleteAlias"),
        *("Invoke", "InvokeAsync", "InvokeWithResponseStream", "GetAccountSettings"),
    }


def test_a_restart_brings_everything_back_to_life_with_its_revisions(runtime, tmp_path):
    first = started(runtime, tmp_path)
    populate(first)
    latest, version = configuration(first), configuration(first, "1")
    alias = first.get_alias(context(), {"FunctionName": "f", "Name": "live"})
    first.stop()
    runtime.deployed.clear()

    runtime.hold_preparations()
    second = started(runtime, tmp_path)
    pending = second.get_function(context(), {"FunctionName": "f", "Qualifier": "1"})["Configuration"]
    assert (pending["State"], pending["StateReasonCode"]) == ("Pending", "Restoring")
    runtime.release_preparations()
    assert (configuration(second), configuration(second, "1")) == (latest, version)
    assert second.get_alias(context(), {"FunctionName": "f", "Name": "live"}) == alias
    assert second.get_function(context(), {"FunctionName": "f"})["Tags"] == {"a": "b"}
    assert runtime.deployed.keys() == {arn("f", "$LATEST"), arn("f", "1")}
    code = runtime.deployed[arn("f", "1")].code
    assert code is not None and code.path.read_bytes() == archive()
    second.stop()


def test_one_function_that_cannot_be_restored_does_not_stop_the_others(runtime, tmp_path):
    first = started(runtime, tmp_path)
    populate(first)
    first.create_function(context(), creation("broken"))
    first.stop()
    runtime.failures[arn("broken", "$LATEST")] = VersionFailed("InvalidRuntime", "gone")
    second = started(runtime, tmp_path)
    broken = second.get_function_configuration(context(), {"FunctionName": "broken"})
    assert (broken["State"], broken["StateReason"]) == ("Failed", "gone")
    assert configuration(second)["State"] == "Active"
    second.stop()


def test_a_function_whose_code_is_gone_fails_with_a_reason_until_it_is_uploaded_again(runtime, tmp_path):
    first = started(runtime, tmp_path)
    populate(first)
    first.create_function(context(), creation("broken", Code={"ZipFile": archive("lost")}))
    lost = first.store.find(ACCOUNT, REGION, "broken").latest.configuration.code.sha256
    first.stop()
    (tmp_path / "code" / f"{lost}.zip").unlink()
    second = started(runtime, tmp_path)
    broken = second.get_function_configuration(context(), {"FunctionName": "broken"})
    assert (broken["State"], broken["StateReasonCode"]) == ("Failed", "InvalidZipFileException")
    assert f"(archive {lost})" in broken["StateReason"]
    assert "Upload the code again" in broken["StateReason"]
    with pytest.raises(InvalidZipFileException, match="is missing from the state directory"):
        runtime.run(second.invoke(context("Invoke"), {"FunctionName": "broken"}))
    assert configuration(second)["State"] == configuration(second, "1")["State"] == "Active"
    second.update_function_code(context(), {"FunctionName": "broken", "ZipFile": archive("lost")})
    mended = second.get_function_configuration(context(), {"FunctionName": "broken"})
    assert (mended["State"], mended["LastUpdateStatus"]) == ("Active", "Successful")
    second.stop()


def many(provider: LambdaProvider, count: int) -> list[str]:
    names = [f"f{number:02}" for number in range(count)]
    for name in names:
        provider.create_function(context(), creation(name))
    return [arn(name, "$LATEST") for name in names]


def test_stored_versions_are_prepared_in_their_order_eight_at_a_time(runtime, tmp_path):
    first = started(runtime, tmp_path)
    arns = many(first, 20)
    second = restarted(first, runtime, tmp_path)
    runtime.run(turns())
    assert runtime.begun == arns[:8]
    runtime.release_preparations()
    runtime.until(lambda: len(runtime.deployments) == 20)
    assert runtime.begun == arns
    second.stop()


@pytest.mark.parametrize("by", ["an invoke", "a reader", "an event"])
def test_a_version_that_somebody_waits_for_is_next(runtime, tmp_path, by):
    first = started(runtime, tmp_path)
    arns = many(first, 30)
    if by == "an event":
        accept(first, runtime, "f25", "$LATEST")
    second = restarted(first, runtime, tmp_path)
    with ThreadPoolExecutor(1) as thread:
        if by == "an invoke":
            waiting = runtime.submit(second.invoke(context("Invoke"), {"FunctionName": "f25"}))
        elif by == "a reader":
            waiting = thread.submit(second.get_function, context(), {"FunctionName": "f25"})
        else:
            waiting = runtime.submit(until_resumed(runtime))
        runtime.until(lambda: arns[25] not in second.transitions._line)
        runtime.release_preparations()
        answer = waiting.result(30)
        assert arns[25] in runtime.begun[:9], "those eight that had begun, and then it"
        if by == "an invoke":
            assert answer["ExecutedVersion"] == "$LATEST"
        elif by == "a reader":
            assert answer["Configuration"]["State"] == "Active"
    runtime.until(lambda: sorted(runtime.deployments) == arns)
    second.stop()


def test_a_version_that_is_deleted_in_line_is_not_prepared(runtime, tmp_path):
    first = started(runtime, tmp_path)
    arns = many(first, 20)
    second = restarted(first, runtime, tmp_path)
    second.delete_function(context(), {"FunctionName": "f15"})
    runtime.release_preparations()
    runtime.until(lambda: len(runtime.deployments) == 19)
    assert arns[15] not in runtime.deployments
    second.stop()


def test_a_load_writes_nothing(runtime, tmp_path):
    first = started(runtime, tmp_path)
    populate(first)
    first.stop()
    second = started(runtime, tmp_path)
    writes: list[Any] = []
    second.store._write = lambda *change: writes.append(change)  # type: ignore[method-assign,assignment]
    assert configuration(second)["State"] == configuration(second, "1")["State"] == "Active"
    assert writes == []
    second.stop()


def test_readers_and_invokes_go_on_while_the_disk_takes_nothing(runtime, tmp_path, monkeypatch):
    provider = started(runtime, tmp_path)
    provider.create_function(context(), creation("f"))
    write = Journal.write

    def full(self: Journal, puts: Any, deletes: Any = ()) -> None:
        raise StateError("no room")

    monkeypatch.setattr(Journal, "write", full)
    assert configuration(provider)["State"] == "Pending", "that it is Active cannot be stored"
    assert runtime.run(provider.invoke(context("Invoke"), {"FunctionName": "f"}))["StatusCode"] == 200
    with pytest.raises(ServiceException):
        provider.delete_function(context(), {"FunctionName": "f"})
    monkeypatch.setattr(Journal, "write", write)
    assert configuration(provider)["State"] == "Active"
    provider.stop()


def test_the_state_directory_is_free_after_stop(runtime, tmp_path):
    first = started(runtime, tmp_path)
    with pytest.raises(StateError, match=r"in use by another process"):
        LambdaProvider(FakeHost(), runtime, state_dir=tmp_path)  # type: ignore[arg-type]
    first.stop()
    first.stop()
    started(runtime, tmp_path).stop()


def test_without_a_state_directory_stop_leaves_no_file(runtime):
    provider = started(runtime)
    populate(provider)
    directory = provider.archives.get("0").path.parent
    assert directory.is_dir()
    provider.stop()
    assert not directory.exists()


@pytest.mark.parametrize("durable", [True, False])
def test_reset_forgets_everything(runtime, tmp_path, durable):
    provider = started(runtime, tmp_path if durable else None)
    populate(provider)
    provider.on_before_state_reset()
    provider.on_after_state_reset()
    runtime.run(_nothing())
    assert provider.list_functions(context(), {})["Functions"] == []
    assert runtime.deployed == {}
    assert provider.transitions._transitions == {}
    assert provider.store.usage(ACCOUNT, REGION) == (0, 0)
    populate(provider)
    provider.stop()


async def _nothing() -> None:
    """Reached when everything submitted before it has run."""


def test_a_load_reads_what_the_host_put_into_the_directory(runtime, tmp_path):
    saved, live = tmp_path / "saved", tmp_path / "live"
    provider = started(runtime, live)
    populate(provider)
    before = configuration(provider)
    provider.on_before_state_save()
    shutil.copytree(live, saved)
    provider.on_after_state_save()
    provider.delete_function(context(), {"FunctionName": "f"})

    provider.on_before_state_load()
    shutil.rmtree(live)
    shutil.copytree(saved, live)
    provider.on_after_state_load()
    assert configuration(provider) == before
    assert arn("f", "1") in runtime.deployed or configuration(provider, "1")["State"] == "Active"
    provider.stop()


def test_a_visitor_sees_the_store_and_its_directory(runtime, tmp_path):
    class Visitor:
        def __init__(self) -> None:
            self.seen: list[Any] = []

        def visit(self, container: Any) -> None:
            self.seen.append(container)

    provider = started(runtime, tmp_path)
    visitor = Visitor()
    provider.accept_state_visitor(visitor)
    assert visitor.seen == [provider.store, tmp_path]
    provider.stop()


def test_a_setting_that_makes_no_sense_is_named(runtime):
    with pytest.raises(ValueError, match=r"setting LAMBDA_LIMITS_TOTAL_CODE_SIZE='much'"):
        LambdaProvider(FakeHost({"LAMBDA_LIMITS_TOTAL_CODE_SIZE": "much"}), runtime)  # type: ignore[arg-type]


def test_a_code_location_expires(runtime, monkeypatch):
    provider = started(runtime)
    populate(provider)
    location = provider.get_function(context(), {"FunctionName": "f"})["Code"]["Location"]
    path, _, query = location.removeprefix("http://gateway:4566").partition("?")
    assert provider.download_code(path, query).status == 200
    now = provider.code_locations._now
    monkeypatch.setattr(provider.code_locations, "_now", lambda: now() + 601)
    expired = provider.download_code(path, query)
    assert expired.status == 403
    assert b"Request has expired" in bytes(expired.body)  # type: ignore[arg-type]
    provider.stop()


def test_a_code_location_of_a_deleted_function_is_not_found(runtime):
    provider = started(runtime)
    populate(provider)
    location = provider.get_function(context(), {"FunctionName": "f"})["Code"]["Location"]
    path, _, query = location.removeprefix("http://gateway:4566").partition("?")
    provider.delete_function(context(), {"FunctionName": "f"})
    assert provider.download_code(path, query).status == 404
    provider.stop()


def accept(provider: LambdaProvider, runtime: FakeRuntime, name: str = "f", number: str = "1") -> QueuedEvent:
    """An event in the journal of a provider, as the runtime's queue puts it there."""
    call = Invocation(arn(name, number), arn(name, number), b"{}", "r-1")
    event = QueuedEvent(call, 1000.0, attempts=1)

    async def add() -> None:
        assert runtime.event_journal is not None
        await runtime.event_journal.add(event)

    runtime.run(add())
    return event


def test_accepted_events_go_on_after_a_restart_once_their_version_is_ready(runtime, tmp_path):
    first = started(runtime, tmp_path)
    populate(first)
    accept(first, runtime)
    first.stop()
    runtime.deployed.clear()
    runtime.hold_preparations()
    second = started(runtime, tmp_path)
    assert runtime.resumed == []
    runtime.release_preparations()
    runtime.run(until_resumed(runtime))
    assert configuration(second, "1")["State"] == "Active"
    (event,) = runtime.resumed
    assert (event.invocation.version_arn, event.attempts) == (arn("f", "1"), 1)
    second.stop()


def test_a_reset_forgets_accepted_events(runtime, tmp_path):
    first = started(runtime, tmp_path)
    populate(first)
    accept(first, runtime)
    first.on_before_state_reset()
    first.on_after_state_reset()
    first.stop()
    second = started(runtime, tmp_path)
    runtime.run(turns())
    assert runtime.resumed == []
    second.stop()


def test_events_of_a_loaded_state_go_on_instead_of_those_before(runtime, tmp_path):
    saved = tmp_path / "saved"
    first = started(runtime, tmp_path / "state")
    populate(first)
    accept(first, runtime)
    first.on_before_state_save()
    shutil.copytree(tmp_path / "state", saved)
    first.on_before_state_load()
    shutil.rmtree(tmp_path / "state")
    shutil.copytree(saved, tmp_path / "state")
    first.on_after_state_load()
    runtime.run(until_resumed(runtime))
    assert [event.invocation.request_id for event in runtime.resumed] == ["r-1"]
    first.stop()


async def until_resumed(runtime: FakeRuntime) -> None:
    while not runtime.resumed:  # noqa: ASYNC110  (nothing tells; `run` has a time limit)
        await asyncio.sleep(0)


async def turns() -> None:
    """Let the runtime's loop do what it was told before."""
    for _ in range(20):
        await asyncio.sleep(0)
