"""Zip files that want more than to be unpacked: refused with AWS's errors, or unpacked without harm."""

from __future__ import annotations

import io
import os
import stat
import struct
import time
import warnings
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.scenario

ECHO = b"def handler(event, context):\n    return event\n"
LOOK = b"""
import os, stat
def handler(event, context):
    found = {}
    for directory, names, files in os.walk("/var/task"):
        for name in names + files:
            path = os.path.join(directory, name)
            found[os.path.relpath(path, "/var/task")] = stat.filemode(os.lstat(path).st_mode)
    return found
"""
INDEX = ("index.py", ECHO, 0o100644)
LINK = stat.S_IFLNK | 0o777


def zipped(*members, method=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, content, mode in members:
            info = zipfile.ZipInfo(name, (2024, 1, 1, 0, 0, 0))
            info.create_system, info.external_attr, info.compress_type = 3, mode << 16, method
            archive.writestr(info, content)
    return buffer.getvalue()


def patched(content, at_local, at_central, value, which=-1):
    """The archive with `value` at these offsets of the headers of its last (or first) member."""
    data = bytearray(content)
    for signature, offset in ((b"PK\x03\x04", at_local), (b"PK\x01\x02", at_central)):
        start = (data.rfind if which else data.find)(signature) + offset
        data[start : start + len(value)] = value
    return bytes(data)


def renamed(old, new):
    """An archive with a member whose name zipfile would not write."""
    assert len(old) == len(new)
    return zipped(INDEX, (old.decode(), b"x", 0o100644)).replace(old, new)


REFUSED = {
    "slip": zipped(INDEX, ("../../../../tmp/slipped", b"x", 0o100644)),
    "slip within": zipped(INDEX, ("a/../../slipped", b"x", 0o100644)),
    "absolute": zipped(INDEX, ("/tmp/slipped", b"x", 0o100644)),
    "link to the root": zipped(INDEX, ("out", b"/", LINK)),
    "link out": zipped(INDEX, ("a/out", b"../../..", LINK)),
    "through a link": zipped(INDEX, ("d", b"e", LINK), ("d/slipped", b"x", 0o100644)),
    "through an absolute link": zipped(INDEX, ("d", b"/tmp", LINK), ("d/slipped", b"x", 0o100644)),
    "link without target": zipped(INDEX, ("d", b"", LINK)),
    "link that is large": zipped(INDEX, ("d", b"a/" * 50_000, LINK)),
    "duplicate": zipped(INDEX, ("index.py", b"import os; os.abort()", 0o100644)),
    "NUL in the name": renamed(b"harmless.py", b"harm\0ess.py"),
    "name that is no UTF-8 and says so": renamed("nämé".encode(), b"n\xff\xfem\xff\xfe"),
    "bomb": zipped(INDEX, ("zeros", bytes(300 << 20), 0o100644)),
    "bomb that claims to be small": patched(
        zipped(INDEX, ("zeros", bytes(20 << 20), 0o100644)), 22, 24, struct.pack("<I", 10)
    ),
    "size of four gigabytes": patched(zipped(INDEX, ("x", b"x", 0o100644)), 22, 24, struct.pack("<I", 0xFFFFFFFE)),
    "encrypted": patched(zipped(INDEX, ("x", b"secret" * 9, 0o100644)), 6, 8, b"\1\0"),
    "unknown compression": patched(zipped(INDEX, ("x", b"x", 0o100644)), 8, 10, struct.pack("<H", 97)),
    "LZMA": zipped(INDEX, method=zipfile.ZIP_LZMA),
    "wrong checksum": patched(zipped(INDEX, ("x", b"x", 0o100644)), 14, 16, b"oops"),
    "cut off": zipped(INDEX)[:-5],
    "cut in the middle": zipped(INDEX, ("b", os.urandom(9999), 0o100644))[:5000],
    "no central directory": zipped(INDEX)[: zipped(INDEX).find(b"PK\x01\x02")],
    "directory at a wrong place": zipped(INDEX)[:-6] + b"\xff\xff\xff\x7f\0\0",
    "zip64 that lies": zipped(INDEX)[:-22]
    + b"PK\x06\x07"
    + b"\xff" * 16
    + zipped(INDEX)[-22:-12]
    + b"\xff" * 10
    + b"\0\0",
    "not a zip": b"\x7fELF" + bytes(1000),
    "tar": b"index.py".ljust(512, b"\0") + bytes(1024),
    "only the end": b"PK\x05\x06" + bytes(18),
    "empty": b"",
    "name of 300 bytes": zipped(INDEX, ("x" * 300, b"x", 0o100644)),
    "a hundred thousand directories": zipped(
        INDEX, *((f"{number}/" + "d/" * 1900, b"", 0o100644) for number in range(60))
    ),
    "path of 60,000 bytes": zipped(INDEX, ("d/" * 30_000 + "x", b"x", 0o100644)),
}
HARMLESS = {
    "newlines and control characters in names": (
        zipped(("index.py", LOOK, 0o100644), ("a\nb\x1b[31m", b"x", 0o100644)),
        {"a\nb\x1b[31m": "-rw-r--r--"},
    ),
    "a name of old code pages": (
        zipped(("index.py", LOOK, 0o100644), ("harmless", b"x", 0o100644)).replace(b"harmless", b"h\x84rmle\xe1s"),
        {"härmleßs": "-rw-r--r--"},
    ),
    "setuid, setgid and sticky bits": (
        zipped(("index.py", LOOK, 0o100644), ("root", b"x", 0o106755), ("open", b"x", 0o101777)),
        {"root": "-rwxr-xr-x", "open": "-rwxr-xr-x"},
    ),
    "devices, pipes and sockets": (
        zipped(
            ("index.py", LOOK, 0o100644),
            ("device", b"x", stat.S_IFBLK | 0o644),
            ("zero", b"x", stat.S_IFCHR | 0o644),
            ("pipe", b"x", stat.S_IFIFO | 0o644),
            ("socket", b"x", stat.S_IFSOCK | 0o644),
        ),
        dict.fromkeys(("device", "zero", "pipe", "socket"), "-rw-r--r--"),
    ),
    "without any permission": (zipped(("index.py", LOOK, 0o100000), ("d/x", b"x", 0)), {"d/x": "-rw-r--r--"}),
    "a file that is a directory as well": (
        zipped(("index.py", LOOK, 0o100644), ("d", b"x", 0o100644), ("d/x", b"x", 0o100644)),
        {"d/x": "-rw-r--r--"},
    ),
    "a directory that is a file as well": (
        zipped(("index.py", LOOK, 0o100644), ("d/x", b"x", 0o100644), ("d", b"x", 0o100644)),
        {"d": "-rw-r--r--"},
    ),
    "links in a circle": (
        zipped(("index.py", LOOK, 0o100644), ("a", b"b", LINK), ("b", b"a", LINK)),
        {"a": "lrwxrwxrwx", "b": "lrwxrwxrwx"},
    ),
    "backslashes and drives": (
        zipped(("index.py", LOOK, 0o100644), ("C:\\..\\..\\x", b"x", 0o100644)),
        {"C:\\..\\..\\x": "-rw-r--r--"},
    ),
    "something before the archive": (b"#!/bin/sh\nexit\n" + zipped(("index.py", LOOK, 0o100644)), {}),
    "two thousand files": (
        zipped(("index.py", LOOK, 0o100644), *((f"d/{number}", b"", 0o100644) for number in range(2000))),
        {"d/1999": "-rw-r--r--"},
    ),
}


@pytest.fixture
def create(aws_client):
    """`create(archive)` calls CreateFunction with it; the function goes after the test."""
    client, name = aws_client("lambda"), f"hostile-{os.urandom(4).hex()}"

    def call(archive, **parameters):
        fine = {"Runtime": "python3.12", "Handler": "index.handler", "Role": "arn:aws:iam::000000000000:role/r"}
        client.create_function(FunctionName=name, Code={"ZipFile": archive}, **(fine | parameters))
        return name

    yield call
    try:
        client.delete_function(FunctionName=name)
    except client.exceptions.ResourceNotFoundException:
        return


@pytest.fixture
def zip64():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive, archive.open("index.py", "w", force_zip64=True) as member:
        member.write(ECHO)
    return buffer.getvalue()


@pytest.fixture(autouse=True)
def works_on(gateway, lasting, result):
    name = lasting(ECHO.decode())
    outside = {path for path in (Path("/tmp/slipped"), Path("/slipped")) if path.exists()}
    yield
    assert result(name, "still here") == "still here"
    assert gateway.process.poll() is None
    assert {path for path in (Path("/tmp/slipped"), Path("/slipped")) if path.exists()} == outside


@pytest.mark.parametrize("archive", REFUSED.values(), ids=REFUSED)
def test_an_archive_that_cannot_be_unpacked_safely_is_refused(create, refused, archive):
    began = time.monotonic()
    response = refused(create, archive=archive)
    assert response["Error"]["Code"] in ("InvalidParameterValueException", "RequestEntityTooLargeException")
    assert "Traceback" not in response["Error"]["Message"]
    assert ".py" not in response["Error"]["Message"]
    assert time.monotonic() - began < 20


@pytest.mark.parametrize(("archive", "found"), HARMLESS.values(), ids=HARMLESS)
def test_an_odd_archive_is_unpacked_without_harm(isolated, create, result, archive, found):
    look = result(create(archive))
    assert found.items() <= look.items()
    assert look["index.py"] == "-rw-r--r--"


def test_an_update_with_a_hostile_archive_leaves_the_function_as_it_is(create, aws_client, refused, result):
    name = create(zipped(INDEX))
    before = aws_client("lambda").get_function_configuration(FunctionName=name)["CodeSha256"]
    for archive in (REFUSED["slip"], REFUSED["cut off"], REFUSED["encrypted"]):
        refused(aws_client("lambda").update_function_code, FunctionName=name, ZipFile=archive)
    assert result(name, 5) == 5
    assert aws_client("lambda").get_function_configuration(FunctionName=name)["CodeSha256"] == before


def test_a_zip64_archive_is_an_archive(create, result, zip64):
    assert result(create(zip64), 7) == 7


def test_layers_are_looked_at_as_well(aws_client, refused):
    for archive in (REFUSED["slip"], REFUSED["through an absolute link"], REFUSED["not a zip"]):
        refused(aws_client("lambda").publish_layer_version, LayerName="hostile", Content={"ZipFile": archive})


@pytest.mark.parametrize(
    "handler", ["../../etc/passwd.x", "/etc/passwd.x", "os.system", "index.__class__", "..", "a" * 128, "index"]
)
def test_a_hostile_handler_is_an_error_of_the_function(create, invoke, handler):
    name = create(zipped(INDEX), Handler=handler)
    outcome = invoke(name, "true")
    assert outcome.error == "Unhandled"
    assert outcome.payload["errorType"]
