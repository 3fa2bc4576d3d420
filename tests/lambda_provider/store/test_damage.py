"""State that cannot be used: a clear error, and nothing is overwritten."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from lambda_provider.store.errors import StateError
from lambda_provider.store.journal import EventRow, Journal, Key, PositionRow, Rows

WHAT_TO_DO = "Nothing was overwritten: restore the file from a copy, or move the state directory away to start empty"


@pytest.fixture
def rows() -> Rows:
    return Rows(
        [(Key("version", "1" * 12, "eu-west-1", f"f{number}:1"), f'{{"n":{number},"a":"{"x" * 300}"}}') for number in range(80)],
        [EventRow(number, '{"versionArn":"a"}', b"payload" * 20, None) for number in range(1, 20)],
        [PositionRow("m", f"shard-{number}", '{"after":"1"}') for number in range(20)],
    )  # fmt: skip


@pytest.fixture
def state(tmp_path: Path, rows: Rows) -> Path:
    """A state directory that was closed well; its database file."""
    directory = tmp_path / "state"
    journal = Journal(directory)
    journal.replace(rows)
    journal.close()
    (directory / "code").mkdir()
    (directory / "code" / f"{'ab' * 32}.zip").write_bytes(b"code")
    return directory / "state.sqlite3"


def files(directory: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in directory.rglob("*") if path.is_file() and path.name != "lock"}


def load(database: Path) -> Rows:
    journal = Journal(database.parent)
    try:
        return journal.load()
    finally:
        journal.close()


def refused(database: Path) -> str:
    """Why the state is refused; none of its files may have changed."""
    before = files(database.parent)
    with pytest.raises(StateError) as raised:
        load(database)
    assert files(database.parent) == before
    return str(raised.value)


@pytest.mark.parametrize("length", [0, 10, 100, 4096, 8000, 20000])
def test_a_truncated_file_is_refused(state, length):
    os.truncate(state, length)
    assert WHAT_TO_DO in refused(state)


def test_a_file_that_is_gone_is_refused_while_its_code_is_there(state):
    state.unlink()
    assert "it is missing or empty, but there is code of functions beside it" in refused(state)


def test_a_garbage_header_is_refused(state):
    with state.open("r+b") as file:
        file.write(random.Random(1).randbytes(100))
    assert WHAT_TO_DO in refused(state)


@pytest.mark.parametrize(
    ("text", "changed", "named"),
    [
        (b'{"n":7,', b'{"n":8,', "the checksum of the record version/111111111111/eu-west-1/f7:1 is wrong"),
        (b'{"n":7,', b'{"n":7;', "the checksum of the record version/111111111111/eu-west-1/f7:1 is wrong"),
        (b'{"n":7,', b'{"n\xff:7,', "the checksum of the record version/111111111111/eu-west-1/f7:1 is wrong"),
        (b"payloadp", b"payloadq", "the checksum of the event "),
        (b'{"after":"1"}', b'{"after":"2"}', "the checksum of the position m/shard-"),
    ],
)
def test_a_changed_byte_in_a_row_is_known_and_the_row_named(state, text, changed, named):
    content = state.read_bytes()
    assert text in content
    state.write_bytes(content.replace(text, changed, 1))
    message = refused(state)
    assert named in message
    assert WHAT_TO_DO in message


@pytest.mark.parametrize("seed", range(40))
def test_a_changed_byte_anywhere_is_an_error_or_changes_nothing(state, rows, seed):
    chosen = random.Random(seed)
    content = bytearray(state.read_bytes())
    for _ in range(25):
        place = chosen.randrange(len(content))
        damaged = bytearray(content)
        damaged[place] ^= 1 << chosen.randrange(8)
        state.write_bytes(damaged)
        try:
            found = load(state)
        except StateError:
            assert state.read_bytes() == damaged, place
        else:
            assert tuple(map(sorted, found)) == tuple(map(sorted, rows)), place
        for left in ("-wal", "-shm"):
            Path(f"{state}{left}").unlink(missing_ok=True)


def test_a_table_that_is_missing_is_refused(state):
    database = sqlite3.connect(state)
    database.execute("DROP TABLE positions")
    database.close()
    assert "no such table: positions" in refused(state)


def test_a_directory_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "state").write_text("mine")
    with pytest.raises(StateError, match=r"cannot be used: .*exists\. Choose a directory that this user may write to"):
        Journal(tmp_path / "state")
    assert (tmp_path / "state").read_text() == "mine"


@pytest.mark.parametrize("kind", ["directory", "file", "new directory"])
def test_what_this_user_may_not_write_to_is_refused(state, kind):
    parent = state.parent.parent
    if kind == "directory":
        (state.parent / "lock").unlink()
        state.parent.chmod(0o555)
    elif kind == "file":
        state.chmod(0o444)
        (state.parent / "lock").chmod(0o666)
        state.parent.chmod(0o777)
    else:
        shutil.rmtree(state.parent)
        parent.chmod(0o555)
    before = files(parent)
    script = (
        "import sys, os, pathlib\n"
        "from lambda_provider.store.errors import StateError\n"
        "from lambda_provider.store.journal import Journal\n"
        "if os.getuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "try: Journal(pathlib.Path(sys.argv[1]))\n"
        "except StateError as error: print(error)\n"
    )
    for path in (parent, *parent.parents[:-2]):
        path.chmod(path.stat().st_mode | 0o111)
    try:
        found = subprocess.run(
            [sys.executable, "-c", script, str(state.parent)], capture_output=True, text=True, check=True
        )
    finally:
        parent.chmod(0o755)
        if state.parent.exists():
            state.parent.chmod(0o755)
    assert f"the state directory {state.parent} cannot be used: " in found.stdout
    assert "Choose a directory that this user may write to" in found.stdout
    assert files(parent) == before
