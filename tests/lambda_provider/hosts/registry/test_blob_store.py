"""Blobs on the disk, and which of them go."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from lambda_provider.hosts.registry.blobs import BlobStore, WrongDigest
from lambda_provider.hosts.registry.exchange import PART_BYTES, Request
from lambda_provider.hosts.registry.names import Repository
from tests.lambda_provider.hosts.registry.conftest import digest_of

APP = Repository("000000000000", "us-east-1", "app")
OTHER = Repository("000000000000", "us-east-1", "other")
HOUR_S = 3600


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def blobs(tmp_path: Path, clock: Clock) -> BlobStore:
    return BlobStore(tmp_path, durable=True, now=clock)


def push(blobs: BlobStore, content: bytes, repository: Repository = APP) -> str:
    upload = blobs.begin(repository)
    upload.append(content)
    digest = digest_of(content)
    blobs.commit(upload, digest)
    return digest


def test_a_blob_is_stored_once_and_is_in_the_repositories_that_have_it(blobs: BlobStore) -> None:
    digest = push(blobs, b"content")
    assert blobs.find(APP, digest) is not None and blobs.find(OTHER, digest) is None
    push(blobs, b"content", OTHER)
    assert blobs.find(OTHER, digest) == blobs.find(APP, digest)
    assert blobs.size() == len(b"content")


def test_wrong_content_leaves_nothing(blobs: BlobStore, tmp_path: Path) -> None:
    upload = blobs.begin(APP)
    upload.append(b"content")
    with pytest.raises(WrongDigest):
        blobs.commit(upload, digest_of(b"other"))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_what_nothing_refers_to_goes_when_its_time_is_over(blobs: BlobStore, clock: Clock) -> None:
    kept, left = push(blobs, b"kept"), push(blobs, b"left")
    clock.now += HOUR_S - 1
    assert blobs.collect(lambda: {(APP, kept)}, HOUR_S) == 0
    clock.now += 2
    assert blobs.collect(lambda: {(APP, kept)}, HOUR_S) == 1
    assert blobs.find(APP, kept) is not None and blobs.find(APP, left) is None
    assert blobs.size() == len(b"kept")


def test_what_comes_after_the_moment_in_question_is_kept(blobs: BlobStore, clock: Clock) -> None:
    before = push(blobs, b"before")
    clock.now += 1
    opened = clock.now
    after = push(blobs, b"after")
    clock.now += 1
    assert blobs.collect(set, 0, opened) == 1
    assert blobs.find(APP, before) is None and blobs.find(APP, after) is not None


def test_who_asks_for_a_blob_may_rely_on_it(blobs: BlobStore, clock: Clock) -> None:
    digest = push(blobs, b"content")
    clock.now += 2 * HOUR_S
    blobs.keep(digest)
    assert blobs.collect(set, HOUR_S) == 0
    assert blobs.mount(APP, OTHER, digest)
    clock.now += 2 * HOUR_S
    assert blobs.collect(lambda: {(OTHER, digest)}, HOUR_S) == 0
    assert blobs.find(OTHER, digest) is not None and blobs.find(APP, digest) is None


def test_a_push_that_ends_while_garbage_is_looked_for_is_not_garbage(blobs: BlobStore, clock: Clock) -> None:
    old = push(blobs, b"old")
    clock.now += 2 * HOUR_S
    pushed = []

    def needed() -> set[tuple[Repository, str]]:
        pushed.append(push(blobs, b"new"))
        return {(APP, old)}

    assert blobs.collect(needed, HOUR_S) == 0
    assert all(blobs.find(APP, digest) for digest in (old, *pushed))


def test_a_blob_that_goes_while_they_are_counted_is_no_error(blobs: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    push(blobs, b"stays")
    gone = blobs.find(APP, push(blobs, b"goes"))
    assert gone is not None
    all_of_them = list(blobs._all())
    gone.unlink()
    monkeypatch.setattr(blobs, "_all", lambda: iter(all_of_them))
    assert blobs.size() == len(b"stays")


def test_a_blob_that_is_being_read_is_read_to_its_end(blobs: BlobStore, clock: Clock) -> None:
    digest = push(blobs, b"content")
    file = blobs.open(APP, digest)
    assert file is not None
    with file:
        clock.now += 2 * HOUR_S
        assert blobs.collect(set, HOUR_S) == 1
        assert file.read() == b"content"
    assert blobs.open(APP, digest) is None


def test_a_blob_that_goes_while_it_is_opened_is_not_there(blobs: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = push(blobs, b"content")
    monkeypatch.setattr(blobs, "keep", lambda digest: blobs.clear())
    assert blobs.open(APP, digest) is None


def test_names_that_look_alike_on_a_disk_are_different_repositories(blobs: BlobStore) -> None:
    digest = push(blobs, b"content", Repository("000000000000", "us-east-1", "a/b"))
    for name in ("a%2Fb", "a", "b", "a_b"):
        assert blobs.find(Repository("000000000000", "us-east-1", name), digest) is None


def test_what_was_being_uploaded_when_a_gateway_was_killed_is_dropped(blobs: BlobStore, tmp_path: Path) -> None:
    blobs.begin(APP).append(b"half")
    kept = push(blobs, b"whole")
    again = BlobStore(tmp_path)
    again.prepare()
    assert again.find(APP, kept) is not None
    assert not (tmp_path / "uploads").exists()


def test_an_upload_that_is_discarded_leaves_no_file(blobs: BlobStore, tmp_path: Path) -> None:
    upload = blobs.begin(APP)
    upload.append(b"half")
    upload.discard()
    upload.discard()
    assert list((tmp_path / "uploads").iterdir()) == []


async def test_a_body_is_taken_in_parts_of_bounded_size() -> None:
    pieces = count()

    async def receive() -> dict[str, object]:
        number = next(pieces)
        return {"type": "http.request", "body": bytes(60_000), "more_body": number < 99}

    request = Request("PATCH", "/v2/app/blobs/uploads/1", {}, {}, receive)
    sizes = [len(part) async for part in request.parts()]
    assert sum(sizes) == 6_000_000 and max(sizes) < PART_BYTES + 60_000


@pytest.fixture(autouse=True)
def no_open_files() -> Iterator[None]:
    def opened() -> set[str]:
        found = set()
        for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
            with contextlib.suppress(FileNotFoundError):  # It was closed while we looked.
                found.add(os.readlink(f"/proc/self/fd/{name}"))  # noqa: PTH115
        return found

    before = opened()
    yield
    assert not [path for path in opened() - before if "/blobs/" in path]
