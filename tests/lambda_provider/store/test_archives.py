from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor

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
