"""State of every format there ever was is read, with nothing missing.

`formats/N` is a state directory as the last version of this project with format N wrote it, and `answers.json` what that
version answered from it: operation, request, response.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lambda_provider.provider import LambdaProvider
from lambda_provider.store import formats
from lambda_provider.store.formats import FORMAT, checksum
from lambda_provider.store.journal import Journal

from ..fakes import FakeHost, FakeRuntime, arn, context

FIXTURES = Path(__file__).parent / "formats"
FORMATS = sorted(int(path.name) for path in FIXTURES.iterdir())


@pytest.fixture
def runtime() -> Iterator[FakeRuntime]:
    fake = FakeRuntime()
    yield fake
    fake.close()


def stored(format_: int, directory: Path) -> Path:
    """A state directory of that format, to be changed."""
    return Path(shutil.copytree(FIXTURES / str(format_), directory / "state", ignore=shutil.ignore_patterns("*.json")))


def found_format(directory: Path) -> int:
    database = sqlite3.connect(directory / "state.sqlite3")
    (number,) = database.execute("PRAGMA user_version").fetchone()
    database.close()
    return int(number)


def test_there_is_a_file_of_every_format():
    assert list(range(1, FORMAT + 1)) == FORMATS


@pytest.mark.parametrize("format_", FORMATS)
def test_state_of_every_format_answers_as_it_did(format_, runtime, tmp_path):
    directory = stored(format_, tmp_path)
    assert found_format(directory) == format_
    provider = LambdaProvider(FakeHost(), runtime, state_dir=directory)  # type: ignore[arg-type]
    provider.event_sources.manager._load = dict  # Nobody polls, which would tell in the mapping that there is no queue.
    provider.start()
    for what, (operation, request, answer) in json.loads(
        (FIXTURES / str(format_) / "answers.json").read_text()
    ).items():
        for name in ("f", "g"):
            provider.get_function(context(), {"FunctionName": name})  # type: ignore[typeddict-item]
        assert plain(getattr(provider, operation)(context(), request)) == answer, what
    # Versions are prepared on the runtime's loop, one after the other; reading f and g waits for their $LATEST alone.
    versions = {arn("f", "$LATEST"), arn("f", "1"), arn("f", "2"), arn("g", "$LATEST")}
    runtime.until(lambda: len(runtime.deployed) >= len(versions))
    assert runtime.deployed.keys() == versions
    assert sum(runtime.provisioned_requests[arn("f", "a")].values()) == 2
    provider.stop()
    assert found_format(directory) == FORMAT


def plain(answer: Any) -> Any:
    return json.loads(json.dumps(answer, default=str))


@pytest.mark.parametrize("format_", [each for each in FORMATS if each >= 2])
def test_events_are_read_since_format_2(format_, tmp_path):
    journal = Journal(stored(format_, tmp_path))
    (event,) = journal.load().events
    assert (json.loads(event.document)["attempts"], event.payload, event.response) == (1, b'{"n":1}', None)
    journal.close()


def test_positions_of_format_3_are_read(tmp_path):
    journal = Journal(stored(3, tmp_path))
    (position,) = journal.load().positions
    assert (position.shard, position.document) == ("shard-0", '{"after":"1"}')
    journal.close()


def test_a_migration_that_is_interrupted_leaves_the_older_file(tmp_path, monkeypatch):
    directory = stored(2, tmp_path)
    before = list_tables(directory)

    def fails(database: sqlite3.Connection) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(formats, "_MIGRATIONS", (*formats._MIGRATIONS, fails))
    monkeypatch.setattr(formats, "FORMAT", FORMAT + 1)
    with pytest.raises(KeyboardInterrupt):
        Journal(directory)
    assert found_format(directory) == 2
    assert list_tables(directory) == before


def list_tables(directory: Path) -> list[Any]:
    database = sqlite3.connect(directory / "state.sqlite3")
    found = database.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()
    database.close()
    return found


def test_a_checksum_tells_fields_apart():
    assert checksum("ab", "c") != checksum("a", "bc")
    assert checksum(b"x", None) != checksum(b"x", b"")
    assert checksum("é") != checksum("é".encode())
