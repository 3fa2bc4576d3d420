from __future__ import annotations

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lambda_provider.store.archives import ArchiveStore


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_an_archive_lives_as_long_as_somebody_counts_on_it(tmp_path):
    store = ArchiveStore(tmp_path)
    with store.hold(b"code") as archive:
        assert (archive.sha256, archive.path.read_bytes()) == (sha256(b"code"), b"code")
        store.retain([archive.sha256])
    assert archive.path.exists()
    store.release([archive.sha256])
    assert list(tmp_path.iterdir()) == []


def test_equal_archives_are_one_file(tmp_path):
    store = ArchiveStore(tmp_path)
    with store.hold(b"code") as one, store.hold(b"code") as other:
        assert one == other
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_refused_operation_leaves_no_archive(tmp_path):
    store = ArchiveStore(tmp_path)
    with pytest.raises(RuntimeError), store.hold(b"code"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_without_a_directory_nothing_stays():
    store = ArchiveStore()
    with store.hold(b"code") as archive:
        store.retain([archive.sha256])
    directory = archive.path.parent
    assert archive.path.exists()
    store.close()
    store.close()
    assert not directory.exists()


def test_files_that_nobody_counts_on_are_collected(tmp_path):
    (tmp_path / f"{sha256(b'lost')}.zip").write_bytes(b"lost")
    (tmp_path / "half.new").write_bytes(b"half")
    store = ArchiveStore(tmp_path)
    kept = tmp_path / f"{sha256(b'kept')}.zip"
    kept.write_bytes(b"kept")
    store.retain([sha256(b"kept")])
    store.collect()
    assert list(tmp_path.iterdir()) == [kept]
    assert store.missing([sha256(b"kept"), sha256(b"lost")]) == [sha256(b"lost")]


def test_many_threads_hold_and_let_go_of_one_archive(tmp_path):
    store = ArchiveStore(tmp_path)

    def work(_: int) -> None:
        for _ in range(100):
            with store.hold(b"code") as archive:
                assert archive.path.read_bytes() == b"code"

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))
    assert list(tmp_path.iterdir()) == []


def test_no_file_comes_while_the_directory_is_copied(tmp_path: Path) -> None:
    """A draft that was listed was gone before it was copied, and the copy failed."""
    archives, written = ArchiveStore(tmp_path), threading.Event()

    def write() -> None:
        with archives.hold(b"new"):
            written.set()

    archives.keep_still(30)
    writer = threading.Thread(target=write)
    writer.start()
    assert not written.wait(0.05)
    assert list(tmp_path.iterdir()) == []
    archives.go_on()
    assert written.wait(30)
    writer.join(30)


def test_a_copy_begins_when_what_is_being_written_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archives, begun, go_on, still = ArchiveStore(tmp_path), threading.Event(), threading.Event(), threading.Event()
    monkeypatch.setattr("lambda_provider.store.archives._sync_directory", lambda path: begun.set() or go_on.wait(30))

    def write() -> None:
        with archives.hold(b"new"):
            assert still.wait(30)

    def copy() -> None:
        archives.keep_still(30)
        still.set()

    threads = [threading.Thread(target=each) for each in (write, copy)]
    threads[0].start()
    assert begun.wait(30)
    threads[1].start()
    assert not still.wait(0.05)
    go_on.set()
    assert still.wait(30)
    archives.go_on()
    for thread in threads:
        thread.join(30)


def test_a_copy_that_takes_too_long_is_not_waited_for(tmp_path: Path) -> None:
    archives = ArchiveStore(tmp_path)
    archives.keep_still(0.01)
    with archives.hold(b"new") as archive:
        assert archive.path.exists()
