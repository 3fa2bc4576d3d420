from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping

import pytest

from lambda_provider.api import ResourceConflictException, ResourceNotFoundException, ServiceException
from lambda_provider.model.configuration import Code, FunctionConfiguration, LoggingSettings
from lambda_provider.model.function import FunctionSettings, Status
from lambda_provider.store.archives import ArchiveStore
from lambda_provider.store.editor import FunctionEditor
from lambda_provider.store.errors import StateError
from lambda_provider.store.journal import Journal
from lambda_provider.store.state import State
from lambda_provider.store.store import Store
from lambda_provider.validation.names import FunctionId

from ..fakes import ACCOUNT, REGION


def identity(name: str = "f") -> FunctionId:
    return FunctionId(ACCOUNT, REGION, name)


def configuration(sha256: str = "ab" * 32, **members: object) -> FunctionConfiguration:
    return FunctionConfiguration(
        code=Code(sha256=sha256, size=5),
        role="r",
        logging=LoggingSettings(log_group="g"),
        **members,  # type: ignore[arg-type]
    )


def create(store: Store, name: str = "f", content: bytes = b"code") -> None:
    settings = FunctionSettings(name=name, account_id=ACCOUNT, region=REGION)
    with (
        store.archives.hold(content) as archive,
        store.new_function(FunctionEditor.new(settings, configuration(archive.sha256))) as editor,
    ):
        editor.settle("$LATEST", Status.active())


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(ArchiveStore(tmp_path / "code"))


def test_nothing_changes_when_a_unit_of_work_raises(store):
    create(store)
    before = store.get(identity())
    with pytest.raises(RuntimeError), store.function(identity()) as function:
        function.update_latest(configuration(description="new"))
        function.put_alias("a", version="1", description="", weights={})
        raise RuntimeError
    assert store.get(identity()) is before


def test_readers_see_a_change_when_it_is_complete(store):
    create(store)
    with store.function(identity()) as function:
        function.put_alias("a", version="1", description="", weights={})
        function.put_alias("b", version="1", description="", weights={})
        assert store.get(identity()).aliases == {}
    assert store.get(identity()).aliases.keys() == {"a", "b"}


def test_a_unit_of_work_that_changes_nothing_keeps_the_value(store):
    create(store)
    before = store.get(identity())
    with store.function(identity()):
        pass
    assert store.get(identity()) is before


def test_every_change_of_a_part_gives_it_a_new_revision_and_no_other(store):
    create(store)
    with store.function(identity()) as function:
        version = function.publish()
        alias = function.put_alias("a", version="1", description="", weights={})
    before = store.get(identity())
    assert (before.versions["1"], before.aliases["a"]) == (version, alias)
    with store.function(identity()) as function:
        function.put_alias("a", version="1", description="new", weights={})
    after = store.get(identity())
    assert after.aliases["a"].revision_id != before.aliases["a"].revision_id
    assert (after.latest, after.versions) == (before.latest, before.versions)


def test_changes_of_one_function_wait_for_each_other(store):
    create(store)

    def work(number: int) -> None:
        for round_ in range(50):
            with store.function(identity()) as function:
                function.put_alias(f"a{number}-{round_}", version="1", description="", weights={})

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.get(identity()).aliases) == 400


def test_one_of_many_creations_of_a_name_wins(store):
    outcomes: list[str] = []

    def work() -> None:
        try:
            create(store)
            outcomes.append("created")
        except ResourceConflictException:
            outcomes.append("conflict")

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["conflict"] * 15 + ["created"]
    assert len(list(store.functions(ACCOUNT, REGION))) == 1


def test_a_failed_creation_frees_the_name(store):
    settings = FunctionSettings(name="f", account_id=ACCOUNT, region=REGION)
    with pytest.raises(RuntimeError), store.new_function(FunctionEditor.new(settings, configuration())):
        raise RuntimeError
    assert store.usage(ACCOUNT, REGION) == (0, 0)
    create(store)


def test_what_does_not_exist_cannot_be_changed_or_deleted(store):
    with pytest.raises(ResourceNotFoundException), store.function(identity()):
        pass
    with pytest.raises(ResourceNotFoundException):
        store.delete(identity())


def test_functions_are_listed_in_order_of_creation_from_any_point(store):
    for number in range(200):
        create(store, f"f{number}")
    store.delete(identity("f7"))
    names = [function.name for function in store.functions(ACCOUNT, REGION)]
    assert names == [f"f{number}" for number in range(200) if number != 7]
    after = store.get(identity("f150")).settings.sequence
    assert next(store.functions(ACCOUNT, REGION, after)).name == "f151"


@pytest.fixture
def reopened(tmp_path) -> Iterator[Callable[[], Store]]:
    """`reopened()` is the store of the test's state directory, read anew."""
    opened: list[State] = []

    def reopen() -> Store:
        for state in opened:
            state.close()
        opened.append(State(tmp_path))
        opened[-1].open()
        return opened[-1].store

    yield reopen
    for state in opened:
        state.close()


def test_a_restart_finds_everything_that_was_committed(reopened, tmp_path):
    store = reopened()
    for name in ("b", "a", "gone"):
        create(store, name)
    with store.function(identity("b")) as function:
        function.publish("first")
        function.put_alias("live", version="1", description="d", weights={})
        function.change_settings(tags={"a": "b"})
    store.delete(identity("gone"))
    before = [store.get(identity(name)) for name in ("b", "a")]
    store = reopened()
    after = list(store.functions(ACCOUNT, REGION))
    assert [function.name for function in after] == ["b", "a"]
    assert [function.settings for function in after] == [function.settings for function in before]
    assert after[0].aliases == before[0].aliases
    assert after[0].latest.revision_id == before[0].latest.revision_id
    assert after[0].versions["1"].configuration == before[0].versions["1"].configuration
    assert {version.status for version in after[0].all_versions()} == {Status.restoring()}
    assert store.usage(ACCOUNT, REGION) == (2, 3 * 5)
    create(store, "c")
    assert [function.name for function in store.functions(ACCOUNT, REGION)] == ["b", "a", "c"]


def test_a_change_writes_only_the_parts_that_it_changed(reopened, tmp_path, monkeypatch):
    store = reopened()
    create(store)
    with store.function(identity()) as function:
        function.publish()
        function.put_alias("a", version="1", description="", weights={})
    written: list[Mapping[object, str]] = []
    original = Journal.write

    def write(self: Journal, puts, deletes=()) -> None:
        written.append(puts)
        original(self, puts, deletes)

    monkeypatch.setattr(Journal, "write", write)
    with store.function(identity()) as function:
        function.put_alias("a", version="1", description="new", weights={})
    assert [key.name for key in written[0]] == ["f:a"]


def test_a_change_that_cannot_be_made_durable_is_not_made(reopened, tmp_path, monkeypatch):
    store = reopened()
    create(store)
    before = store.get(identity())

    def full(self: Journal, puts, deletes=()) -> None:
        raise StateError("the disk is full")

    monkeypatch.setattr(Journal, "write", full)
    with pytest.raises(ServiceException, match="could not be stored"), store.function(identity()) as function:
        function.put_alias("a", version="1", description="", weights={})
    with pytest.raises(ServiceException, match="could not be stored"):
        create(store, "g", b"other code")
    with pytest.raises(ServiceException, match="could not be stored"):
        store.delete(identity())
    assert store.get(identity()) is before
    assert store.usage(ACCOUNT, REGION)[0] == 1
    assert len(list((tmp_path / "code").iterdir())) == 1


def test_function_whose_code_is_missing_is_loaded_and_the_log_says_so(reopened, tmp_path, caplog):
    store = reopened()
    create(store)
    create(store, "g", b"other code")
    lost = store.get(identity()).latest.configuration.code.sha256
    (tmp_path / "code" / f"{lost}.zip").unlink()
    store = reopened()
    assert [function.name for function in store.all_functions()] == ["f", "g"]
    assert f"the code of function {store.get(identity()).arn} is missing: no archive {lost}" in caplog.text
    create(store, "h")  # The same content is the same archive: it is there again for both.
    store.delete(identity("h"))
    assert store.archives.missing([lost]) == []
    store.delete(identity())
    assert store.archives.missing([lost]) == [lost]


def test_clearing_is_durable(reopened, tmp_path):
    store = reopened()
    create(store)
    store.clear()
    assert store.usage(ACCOUNT, REGION) == (0, 0)
    assert list((tmp_path / "code").iterdir()) == []
    store = reopened()
    assert list(store.all_functions()) == []
