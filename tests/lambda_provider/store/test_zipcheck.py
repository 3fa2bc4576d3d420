from __future__ import annotations

import contextlib
import io
import random
import stat
import struct
import time
import warnings
import zipfile
from collections.abc import Mapping

import pytest

from lambda_provider.api import InvalidParameterValueException
from lambda_provider.store.zipcheck import check

COULD_NOT_UNZIP = "Could not unzip uploaded file. Please check your file, then try to upload again."
LIMIT = 10_000


def archive(
    *members: tuple[str, bytes], links: Mapping[str, str] | None = None, method: int = zipfile.ZIP_DEFLATED
) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as opened, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, target in (links or {}).items():
            info = zipfile.ZipInfo(name)
            info.create_system = 3
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
            opened.writestr(info, target)
        for name, content in members:
            opened.writestr(name, content)
    return buffer.getvalue()


def refusal(content: bytes, limit: int = LIMIT) -> str:
    with pytest.raises(InvalidParameterValueException) as raised:
        check(content, unzipped_limit=limit)
    return raised.value.message


def test_an_ordinary_archive_is_taken():
    check(archive(("index.py", b"x" * LIMIT), ("pkg/", b""), ("pkg/a.py", b""), ("a\\b.py", b"")), unzipped_limit=LIMIT)


@pytest.mark.parametrize("content", [b"", archive()])
def test_an_archive_must_have_something_in_it(content):
    assert refusal(content) == "Uploaded file must be a non-empty zip"


@pytest.mark.parametrize(
    "content",
    [
        b"this is not a zip file, just a random string",
        archive(("a", b"x" * 1000))[:-30],
        archive(("../evil", b"x")),
        archive(("a/../../evil", b"x")),
        archive(("/etc/passwd", b"x")),
        archive(("a", b"1"), ("a", b"2")),
        archive(("a", b"1"), ("./a", b"2")),
        archive(links={"out": "../outside"}),
        archive(links={"out": "/etc"}),
        archive(links={"a/out": "../../outside"}),
        archive(("dir/file", b"x"), links={"dir": "other"}),
        archive(links={"dir": "other", "dir/link": "other"}),
        archive(("a" * 256, b"x")),
        archive(("a/" * 2049 + "a", b"x")),
        archive(("a", b"x"), method=zipfile.ZIP_LZMA),
        archive(("a", b"x"), method=zipfile.ZIP_BZIP2),
    ],
    ids=[
        "no zip",
        "cut off",
        "slip",
        "slip within",
        "absolute",
        "duplicate",
        "duplicate in other words",
        "link out",
        "absolute link",
        "link out of a directory",
        "file through a link",
        "link through a link",
        "name too long",
        "path too long",
        "LZMA",
        "bzip2",
    ],
)
def test_what_cannot_be_unpacked_safely_could_not_be_unzipped(content):
    assert refusal(content) == COULD_NOT_UNZIP


def test_links_that_stay_inside_are_taken():
    check(archive(("lib/a.so.1", b"x"), links={"lib/a.so": "a.so.1", "top": "lib/a.so.1"}), unzipped_limit=LIMIT)


def test_damaged_content_is_found():
    content = bytearray(archive(("a", b"some content, stored"), method=zipfile.ZIP_STORED))
    content[content.index(b"some")] ^= 1
    assert refusal(bytes(content)) == COULD_NOT_UNZIP


def test_an_encrypted_member_could_not_be_unzipped():
    content = bytearray(archive(("a", b"x")))
    content[content.index(b"PK\x01\x02") + 8] |= 1
    content[6] |= 1
    assert refusal(bytes(content)) == COULD_NOT_UNZIP


def test_a_member_must_have_a_name():
    content = bytearray(archive(("a", b"x")))
    for signature, offset in ((b"PK\x03\x04", 26), (b"PK\x01\x02", 28)):
        at = content.index(signature) + offset
        # The byte of the name becomes one of the extra field, which follows it.
        content[at : at + 4] = struct.pack("<HH", 0, 1)
    assert refusal(bytes(content)) == COULD_NOT_UNZIP


def test_damage_anywhere_is_refused_in_words_of_aws():
    chance = random.Random(8)
    whole = archive(("index.py", b"x" * 300), ("d/a.txt", b"y"), links={"d/link": "a.txt"})
    for _ in range(1500):
        content = bytearray(whole)
        for _ in range(chance.randint(1, 5)):
            at = chance.randrange(len(content))
            content[at : at + chance.choice((1, 1, 1, 2, 4))] = chance.choice((b"\0", b"\xff", chance.randbytes(2)))
        with contextlib.suppress(InvalidParameterValueException), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            check(bytes(content), unzipped_limit=LIMIT)


MANY = archive(*((f"d{number}/f", b"") for number in range(500)))


@pytest.mark.parametrize(
    "content", [MANY, archive(("d/" * 999 + "f", b"")), archive(*((f"{n}/", b"") for n in range(1000)))]
)
def test_files_and_directories_are_bounded(content):
    check(content, unzipped_limit=LIMIT, file_limit=1000)
    with pytest.raises(InvalidParameterValueException) as raised:
        check(content, unzipped_limit=LIMIT, file_limit=999)
    assert raised.value.message == (
        "Unzipped archive must have at most 999 files and directories (LAMBDA_LIMITS_CODE_FILES)"
    )


def test_directories_that_are_named_twice_count_once():
    check(archive(("a/", b""), ("a/b/", b""), ("a/b/c", b""), ("a//b/d", b"")), unzipped_limit=LIMIT, file_limit=4)


def test_thousands_of_long_names_are_looked_at_in_no_time():
    members = [(f"{number}/" + "a/" * 1500 + "a", b"") for number in range(200)]
    started = time.thread_time()  # Of the processor: the machine may be busy.
    check(archive(*members, links={"link": "0"}), unzipped_limit=LIMIT, file_limit=1_000_000)
    assert time.thread_time() - started < 3


def test_the_unzipped_size_has_a_limit():
    assert refusal(archive(("a", b"x" * LIMIT), ("b", b"x"))) == f"Unzipped size must be smaller than {LIMIT} bytes"


def test_sizes_in_headers_are_not_believed():
    content = bytearray(archive(("bomb", b"\0" * 1_000_000)))
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = content.index(signature) + offset
        content[at : at + 4] = struct.pack("<I", 10)
    assert refusal(bytes(content)) == COULD_NOT_UNZIP
