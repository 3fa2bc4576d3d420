from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from lambda_runtime.executors.containers.remote import archive
from lambda_runtime.executors.containers.remote.gate import Gate


def write(form: Callable[[Path, BinaryIO], None], source: Path, to: Path) -> None:
    with to.open("wb") as file:
        form(source, file)


def test_a_list_holds_what_a_directory_holds(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "a b").mkdir(parents=True)
    (source / "a b" / "text").write_bytes(b"two\nlines")
    (source / "run").write_text("#!/bin/sh\n")
    (source / "run").chmod(0o755)
    (source / "link").symlink_to("a b/text")
    write(archive.write_list, source, tmp_path / "list")
    assert (tmp_path / "list").read_bytes() == (
        b"d a b\nf 9 a b/text\ntwo\nlinesl link\na b/text\nx 10 run\n#!/bin/sh\ne\n"
    )


def test_a_name_that_no_shell_reads_is_refused(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a\nb").touch()
    with pytest.raises(ValueError, match="line feed"):
        write(archive.write_list, tmp_path / "source", tmp_path / "list")


@pytest.mark.parametrize("tools", ["curl tar", "curl"])
async def test_a_shell_fetches_and_unpacks_what_is_not_there_yet(tmp_path: Path, tools: str) -> None:
    source, place = tmp_path / "source", tmp_path / "place"
    (source / "a b").mkdir(parents=True)
    (source / "a b" / "text").write_bytes(b"two\nlines")
    (source / "run").write_text("#!/bin/sh\n")
    (source / "run").chmod(0o755)
    (source / "link").symlink_to("a b/text")
    write(archive.write_tar, source, tmp_path / "tar")
    write(archive.write_list, source, tmp_path / "list")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in (*tools.split(), "mkdir", "rm", "mv", "ln", "head", "chmod", "cat"):
        found = shutil.which(name)
        if found is None:
            pytest.skip(f"{name} is not on this machine")
        (programs / name).symlink_to(found)
    gate = Gate()
    try:
        port = await gate.open("127.0.0.1", 0)
        mine = gate.issue()
        mine.files |= {"/new.tar": tmp_path / "tar", "/new.list": tmp_path / "list"}
        (place / "old").mkdir(parents=True)
        # The name of the gate is in nobody's /etc/hosts here.
        wrapper = f'#!/bin/sh\nexec {shutil.which("curl")} --resolve {mine.host}:{port}:127.0.0.1 "$@"\n'
        (programs / "curl").unlink()
        (programs / "curl").write_text(wrapper)
        (programs / "curl").chmod(0o755)
        variables = {"PATH": str(programs), "GATE": f"{mine.host}:{port}", "PLACE": str(place), "NAMES": "old new"}
        filling = await asyncio.create_subprocess_exec("/bin/sh", "-c", archive.FILL, env=variables)
        assert await asyncio.wait_for(filling.wait(), 60) == 0
    finally:
        gate.close()
    new = place / "new"
    assert (new / "a b" / "text").read_bytes() == b"two\nlines"
    assert (new / "run").stat().st_mode & 0o777 == 0o755
    assert (new / "link").readlink() == Path("a b/text")
    assert sorted(each.name for each in place.iterdir()) == ["new", "old"]
