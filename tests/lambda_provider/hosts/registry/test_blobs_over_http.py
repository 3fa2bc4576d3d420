"""Layers by the distribution specification: uploads in every form, reads, mounts."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.lambda_provider.hosts.registry.conftest import Client, digest_of

CONTENT = b"a layer of some bytes"
DIGEST = digest_of(CONTENT)


def begin(app: Client) -> str:
    answer = app("POST", "blobs/uploads/")
    assert answer.status == 202
    assert answer.headers["range"] == "0-0" and answer.headers["location"].endswith(
        answer.headers["docker-upload-uuid"]
    )
    return answer.headers["location"]


def test_the_version_of_the_api_can_be_asked(app: Client) -> None:
    for path in ("/v2/", "/v2"):
        answer = app.call("GET", path)
        assert (answer.status, answer.json) == (200, {})
        assert answer.headers["docker-distribution-api-version"] == "registry/2.0"


def test_a_blob_in_one_request(app: Client) -> None:
    answer = app("POST", f"blobs/uploads/?digest={DIGEST}", CONTENT)
    assert answer.status == 201
    assert answer.headers["docker-content-digest"] == DIGEST
    assert app.call("GET", answer.headers["location"]).body == CONTENT


def test_a_blob_in_a_session_of_one_part(app: Client) -> None:
    location = begin(app)
    answer = app.call("PUT", f"{location}?digest={DIGEST}", CONTENT)
    assert answer.status == 201
    found = app("GET", f"blobs/{DIGEST}")
    assert found.body == CONTENT and found.headers["content-length"] == str(len(CONTENT))


def test_a_blob_in_parts_that_say_where_they_belong(app: Client) -> None:
    location = begin(app)
    answer = app.call("PATCH", location, CONTENT[:5], content_range="0-4")
    assert (answer.status, answer.headers["range"]) == (202, "0-4")
    progress = app.call("GET", location)
    assert (progress.status, progress.headers["range"]) == (204, "0-4")
    answer = app.call("PATCH", answer.headers["location"], CONTENT[5:8], content_range="5-7")
    assert answer.headers["range"] == "0-7"
    last = f"8-{len(CONTENT) - 1}"
    answer = app.call("PUT", f"{location}?digest={DIGEST}", CONTENT[8:], content_range=last)
    assert answer.status == 201 and app("GET", f"blobs/{DIGEST}").body == CONTENT


def test_a_part_that_does_not_follow_is_refused_and_the_upload_goes_on(app: Client) -> None:
    location = begin(app)
    app.call("PATCH", location, CONTENT[:5], content_range="0-4")
    for wrong in ("7-9", "0-4", "what"):
        refused = app.call("PATCH", location, b"xxx", content_range=wrong)
        assert (refused.status, refused.error) == (416, "BLOB_UPLOAD_INVALID")
        assert refused.headers["range"] == "0-4" and refused.headers["location"] == location
    assert app.call("PUT", f"{location}?digest={DIGEST}", CONTENT[5:]).status == 201


def test_a_blob_as_docker_streams_it_without_a_length(app: Client) -> None:
    content = os.urandom(5 * 1024 * 1024 + 17)
    location = begin(app)
    parts = (content[start : start + 300_000] for start in range(0, len(content), 300_000))
    answer = app.call("PATCH", location, parts, transfer_encoding="chunked")
    assert (answer.status, answer.headers["range"]) == (202, f"0-{len(content) - 1}")
    assert app.call("PUT", f"{location}?digest={digest_of(content)}").status == 201
    assert app("GET", f"blobs/{digest_of(content)}").body == content


def test_content_of_another_digest_is_refused_and_not_kept(app: Client) -> None:
    location = begin(app)
    refused = app.call("PUT", f"{location}?digest={DIGEST}", b"something else")
    assert (refused.status, refused.error) == (400, "DIGEST_INVALID")
    assert app("HEAD", f"blobs/{DIGEST}").status == 404
    assert app.call("GET", location).error == "BLOB_UPLOAD_UNKNOWN"


@pytest.mark.parametrize("digest", ["", "sha256:12", "md5:" + "0" * 64, "sha256:" + "G" * 64])
def test_what_is_no_digest_is_refused(app: Client, digest: str) -> None:
    location = begin(app)
    assert app.call("PUT", f"{location}?digest={digest}", CONTENT).error == "DIGEST_INVALID"
    assert app.call("PUT", f"{location}?digest={DIGEST}", CONTENT).status == 201


def test_an_upload_can_be_cancelled(app: Client) -> None:
    location = begin(app)
    assert app.call("DELETE", location).status == 204
    assert app.call("PATCH", location, CONTENT).error == "BLOB_UPLOAD_UNKNOWN"


def test_an_upload_is_of_one_repository(app: Client, repository: Callable[..., Client]) -> None:
    other = repository()
    upload = begin(app).rpartition("/")[2]
    assert other("PATCH", f"blobs/uploads/{upload}", CONTENT).error == "BLOB_UPLOAD_UNKNOWN"


def test_a_blob_that_is_not_there(app: Client) -> None:
    head = app("HEAD", f"blobs/{DIGEST}")
    assert (head.status, head.body) == (404, b"")
    assert app("GET", f"blobs/{DIGEST}").error == "BLOB_UNKNOWN"


def test_the_head_of_a_blob_has_its_size(app: Client) -> None:
    app.blob(CONTENT)
    answer = app("HEAD", f"blobs/{DIGEST}")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["content-length"] == str(len(CONTENT))
    assert answer.headers["docker-content-digest"] == DIGEST


@pytest.mark.parametrize(
    ("wanted", "first", "last"),
    [("bytes=2-5", 2, 5), ("bytes=2-", 2, 20), ("bytes=-4", 17, 20), ("bytes=20-99", 20, 20)],
)
def test_a_part_of_a_blob(app: Client, wanted: str, first: int, last: int) -> None:
    app.blob(CONTENT)
    answer = app("GET", f"blobs/{DIGEST}", range=wanted)
    assert (answer.status, answer.body) == (206, CONTENT[first : last + 1])
    assert answer.headers["content-range"] == f"bytes {first}-{last}/{len(CONTENT)}"


@pytest.mark.parametrize("wanted", ["bytes=21-", "bytes=5-2", "bytes=-", "lines=1-2"])
def test_a_part_that_is_not_in_the_blob(app: Client, wanted: str) -> None:
    app.blob(CONTENT)
    answer = app("GET", f"blobs/{DIGEST}", range=wanted)
    assert (answer.status, answer.headers["content-range"]) == (416, f"bytes */{len(CONTENT)}")


def test_an_empty_blob(app: Client) -> None:
    digest = app.blob(b"")
    answer = app("GET", f"blobs/{digest}")
    assert (answer.status, answer.body, answer.headers["content-length"]) == (200, b"", "0")


def test_a_blob_of_another_repository_is_not_here_until_it_is_mounted(
    app: Client, repository: Callable[..., Client]
) -> None:
    other = repository()
    other.blob(CONTENT)
    assert app("HEAD", f"blobs/{DIGEST}").status == 404
    answer = app("POST", f"blobs/uploads/?mount={DIGEST}&from={other.path}")
    assert (answer.status, answer.headers["docker-content-digest"]) == (201, DIGEST)
    assert app("GET", f"blobs/{DIGEST}").body == CONTENT


def test_what_cannot_be_mounted_is_to_be_uploaded(app: Client) -> None:
    for source in ("", "&from=nowhere/at-all", f"&from={app.path}"):
        answer = app("POST", f"blobs/uploads/?mount={DIGEST}{source}")
        assert answer.status == 202
        assert app.call("DELETE", answer.headers["location"]).status == 204


def test_blobs_cannot_be_deleted(app: Client) -> None:
    app.blob(CONTENT)
    answer = app("DELETE", f"blobs/{DIGEST}")
    assert (answer.status, answer.error) == (405, "UNSUPPORTED")


def test_many_uploads_at_once(app: Client) -> None:
    contents = [os.urandom(200_000) for _ in range(12)]
    with ThreadPoolExecutor(12) as pool:
        digests = list(pool.map(app.blob, contents))
        found: Any = list(pool.map(lambda digest: app("GET", f"blobs/{digest}").body, digests))
    assert found == contents


def test_requests_for_one_upload_wait_for_each_other(app: Client) -> None:
    location = begin(app)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: app.call("PUT", f"{location}?digest={DIGEST}", CONTENT), range(8)))
    assert sorted(answer.status for answer in answers) == [201] + 7 * [404]
    assert app("GET", f"blobs/{DIGEST}").body == CONTENT
