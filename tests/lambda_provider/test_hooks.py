"""The hooks of a life, called as a host with visitors calls them: it knows directories and stores, nothing else of ours."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar

import pytest

from lambda_provider.event_sources.source import EventSource
from lambda_provider.provider import LambdaProvider
from lambda_provider.store.store import Store

from .every_operation import QUEUE, Agreeable
from .fakes import FakeHost, FakeRuntime, archive, context, creation


class Copying:
    """A host's visitor: it copies directories, and looks at stores."""

    def __init__(self, place: Path, *, back: bool = False) -> None:
        self.place = place
        self.back = back
        self.stores: list[Store] = []

    def visit(self, container: Any) -> None:
        if isinstance(container, Store):
            self.stores.append(container)
        elif isinstance(container, Path):
            source, target = (self.place, container) if self.back else (container, self.place)
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(source, target)


class SomeHost:
    """An emulator around a provider: it calls the hooks in its order, and every save and load goes through visitors."""

    def __init__(self, state_dir: Path | None, saved: Path) -> None:
        self.runtime = FakeRuntime()
        host = FakeHost()
        host.clients["sqs"] = Agreeable()
        self.saved = saved
        self.provider = LambdaProvider(host, self.runtime, state_dir=state_dir)  # type: ignore[arg-type]
        self.provider.event_sources.manager._load = lambda: {"sqs": Counting}

    def start(self) -> LambdaProvider:
        self.provider.on_after_init()
        return self.provider

    def save(self) -> Copying:
        self.provider.on_before_state_save()
        visitor = Copying(self.saved)
        self.provider.accept_state_visitor(visitor)
        self.provider.on_after_state_save()
        return visitor

    def load(self) -> None:
        self.provider.on_before_state_load()
        self.provider.accept_state_visitor(Copying(self.saved, back=True))
        self.provider.on_after_state_load()

    def reset(self) -> None:
        self.provider.on_before_state_reset()
        self.provider.on_after_state_reset()

    def stop(self) -> None:
        self.provider.on_before_stop()
        self.runtime.close()

    def until(self, true: Callable[[], bool]) -> None:
        self.runtime.until(true)


class Counting(EventSource):
    """A source that has seen one record more each time it looks; where it is is its position."""

    running: ClassVar[list[str]] = []
    began_at: ClassVar[list[int | None]] = []

    async def run(self) -> None:
        self.running.append(self.mapping.name)
        self.began_at.append(self.positions.get(self.mapping.name, ""))
        try:
            while not self.stopping:
                self.positions.put(self.mapping.name, "", (self.positions.get(self.mapping.name, "") or 0) + 1)
                await asyncio.sleep(0.001)
        finally:
            self.running.remove(self.mapping.name)


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Callable[..., SomeHost]]:
    Counting.running.clear()
    Counting.began_at.clear()
    with ExitStack() as stack:

        def make(state_dir: Path | None = tmp_path / "state") -> SomeHost:
            host = SomeHost(state_dir, tmp_path / "saved")
            stack.callback(host.stop)
            return host

        yield make


def names(provider: LambdaProvider) -> list[str]:
    found = provider.list_functions(context(), {"MaxItems": 10_000})["Functions"]
    return [function["FunctionName"] for function in found]


def test_a_visitor_meets_the_store_and_the_directory(hosts, tmp_path):
    host = hosts()
    host.start().create_function(context(), creation("f"))
    visitor = host.save()
    assert visitor.stores == [host.provider.store]
    assert (tmp_path / "saved" / "state.sqlite3").is_file()
    assert len(list((tmp_path / "saved" / "code").iterdir())) == 1


def test_a_visitor_of_a_provider_in_memory_meets_the_store_alone(hosts, tmp_path):
    host = hosts(None)
    host.start()
    assert host.save().stores == [host.provider.store]
    assert not (tmp_path / "saved").exists()


def test_what_was_saved_is_loaded_into_another_host(hosts, tmp_path):
    host = hosts()
    host.start().create_function(context(), creation("f"))
    host.save()
    other = hosts(tmp_path / "elsewhere")
    other.start().create_function(context(), creation("g"))
    other.load()
    assert names(other.provider) == ["f"]
    other.until(lambda: not other.provider.transitions.pending)
    described = other.provider.get_function(context(), {"FunctionName": "f"})["Configuration"]
    assert described["State"] == "Active"


def test_stop_may_be_called_twice_and_before_the_start(hosts):
    host = hosts()
    host.provider.on_before_stop()
    host.provider.on_before_stop()


def test_a_copy_that_is_made_while_work_goes_on_is_whole(hosts, tmp_path):
    host = hosts()
    provider = host.start()
    for number in range(10):
        provider.create_function(context(), creation(f"kept-{number}", Code={"ZipFile": archive(f"kept {number}")}))
    done, made = threading.Event(), []

    def work() -> None:
        number = 0
        while not done.is_set():
            name = f"passing-{number}"
            provider.create_function(context(), creation(name, Code={"ZipFile": archive(f"code of {name}")}))
            made.append(name)
            if number % 2:
                provider.delete_function(context(), {"FunctionName": name})
            number += 1

    worker = threading.Thread(target=work)
    worker.start()
    try:
        for _ in range(5):
            known, seen = len(made), list(made)
            host.until(lambda known=known: len(made) > known + 5)
            host.save()
            other = hosts(tmp_path / "elsewhere")
            other.start()
            other.load()
            found = names(other.provider)
            assert {f"kept-{number}" for number in range(10)} <= set(found)
            assert {name for name in seen[:-1] if int(name.partition("-")[2]) % 2 == 0} <= set(found)
            for function in other.provider.store.all_functions():
                assert other.provider.archives.missing(function.archives()) == []
            other.provider.on_before_stop()
    finally:
        done.set()
        worker.join()
    kept = {function.latest.configuration.code.sha256 for function in provider.store.all_functions()}
    assert {path.stem for path in (tmp_path / "state" / "code").iterdir()} == kept, "deleted code goes after the copy"


def test_mappings_go_on_where_they_were_after_a_load(hosts):
    host = hosts()
    provider = host.start()
    provider.create_function(context(), creation("f"))
    mapping = provider.create_event_source_mapping(context(), {"FunctionName": "f", "EventSourceArn": QUEUE})["UUID"]
    host.until(lambda: (provider.positions.get(mapping, "") or 0) > 5)
    assert Counting.began_at == [None]
    provider.positions.flush()
    before = provider.positions.get(mapping, "")
    host.save()
    host.reset()
    assert Counting.running == []
    assert provider.positions.of(mapping) == {}
    host.load()
    host.until(lambda: Counting.running == [mapping])
    assert Counting.began_at[-1] >= before
    host.reset()
    assert Counting.running == []


def test_mappings_are_polled_after_a_reset(hosts):
    host = hosts()
    provider = host.start()
    host.reset()
    provider.create_function(context(), creation("f"))
    mapping = provider.create_event_source_mapping(context(), {"FunctionName": "f", "EventSourceArn": QUEUE})["UUID"]
    host.until(lambda: Counting.running == [mapping])


def test_mappings_go_on_where_they_were_after_a_restart(hosts, tmp_path):
    first = hosts()
    provider = first.start()
    provider.create_function(context(), creation("f"))
    mapping = provider.create_event_source_mapping(context(), {"FunctionName": "f", "EventSourceArn": QUEUE})["UUID"]
    first.until(lambda: (provider.positions.get(mapping, "") or 0) > 5)
    provider.positions.flush()
    shutil.copytree(tmp_path / "state", tmp_path / "left behind")  # As a kill leaves it.
    second = hosts(tmp_path / "left behind")
    began = len(Counting.began_at)
    second.start()
    second.until(lambda: len(Counting.began_at) > began)
    assert Counting.began_at[-1] > 5
