from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from lambda_provider.store.errors import StateError
from lambda_provider.store.journal import FORMAT, Journal, Key

ONE, TWO = Key("alias", "1" * 12, "eu-west-1", "f:one"), Key("alias", "1" * 12, "eu-west-1", "f:two")


def test_what_was_written_is_there_after_reopening(tmp_path):
    journal = Journal(tmp_path)
    journal.write({ONE: "1", TWO: "2"})
    journal.write({ONE: "3"}, [TWO])
    journal.close()
    journal.close()
    assert Journal(tmp_path).load().records == [(ONE, "3")]


def test_a_second_process_is_refused_with_the_pid_of_the_first(tmp_path):
    journal = Journal(tmp_path)
    with pytest.raises(StateError, match=rf"in use by another process \(pid {os.getpid()}\): stop that one first"):
        Journal(tmp_path)
    journal.close()
    Journal(tmp_path).close()


def test_a_process_that_is_killed_loses_nothing_and_holds_nothing(tmp_path):
    script = (
        "import sys, pathlib, time\n"
        "from lambda_provider.store.journal import Journal, Key\n"
        "journal = Journal(pathlib.Path(sys.argv[1]))\n"
        "journal.write({Key('alias', 'a', 'r', 'n'): '1'})\n"
        "print('written', flush=True)\n"
        "time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"written\n"
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    process.stdout.close()
    journal = Journal(tmp_path)
    assert journal.load().records == [(Key("alias", "a", "r", "n"), "1")]
    journal.close()


def test_a_newer_format_is_refused_and_left_alone(tmp_path):
    Journal(tmp_path).close()
    database = sqlite3.connect(tmp_path / "state.sqlite3")
    database.execute(f"PRAGMA user_version = {FORMAT + 1}")
    database.close()
    before = (tmp_path / "state.sqlite3").read_bytes()
    with pytest.raises(StateError, match=rf"has format {FORMAT + 1}, this version reads up to {FORMAT}"):
        Journal(tmp_path)
    assert (tmp_path / "state.sqlite3").read_bytes() == before


def test_a_damaged_file_is_refused_and_left_alone(tmp_path):
    (tmp_path / "state.sqlite3").write_bytes(b"this is no database " * 100)
    with pytest.raises(StateError, match=r"is damaged: .*Nothing was overwritten"):
        Journal(tmp_path)
    assert (tmp_path / "state.sqlite3").read_bytes() == b"this is no database " * 100
    (tmp_path / "state.sqlite3").unlink()
    Journal(tmp_path).close()


def test_a_database_of_something_else_is_refused(tmp_path):
    database = sqlite3.connect(tmp_path / "state.sqlite3")
    database.execute("CREATE TABLE mine (a)")
    database.close()
    with pytest.raises(StateError, match=r"a database of something else"):
        Journal(tmp_path)


def test_a_change_is_written_whole_or_not_at_all(tmp_path):
    journal = Journal(tmp_path)
    with pytest.raises(StateError, match=r"the change was not made|is damaged"):
        journal.write({ONE: "1", TWO: None})  # type: ignore[dict-item]
    assert journal.load().records == []
    journal.close()


def test_changes_wait_while_the_directory_is_copied(tmp_path, monkeypatch):
    journal = Journal(tmp_path / "state")
    journal.write({ONE: "1"})
    journal.freeze()
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(journal.write, {TWO: "2"})
        assert journal.load().records == [(ONE, "1")], "readers do not wait"
        shutil.copytree(tmp_path / "state", tmp_path / "copy")
        assert not waiting.done()
        journal.thaw()
        waiting.result(30)
    assert Journal(tmp_path / "copy").load().records == [(ONE, "1")]
    assert journal.load().records == [(ONE, "1"), (TWO, "2")]
    journal.close()


def test_a_copy_that_never_ends_does_not_stop_changes_for_good(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("lambda_provider.store.journal.COPY_S", 0.01)
    journal = Journal(tmp_path)
    journal.freeze()
    journal.write({ONE: "1"})
    assert journal.load().records == [(ONE, "1")]
    assert "is being copied for more than" in caplog.text
    journal.close()
