"""A directory as one file, in the two forms that a container can take apart with what its image has."""

from __future__ import annotations

import os
import shutil
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

FILL = r"""
set -eu
umask 022
fetch() {
    if command -v curl >/dev/null; then curl -sSf "http://$GATE$1"
    else bash -c 'exec 3<>"/dev/tcp/${1%:*}/${1#*:}"; printf "GET %s HTTP/1.0\r\nHost: %s\r\n\r\n" "$2" "$1" >&3
        while IFS= read -r line <&3 && [ "${#line}" -gt 1 ]; do :; done; cat <&3' bash "$GATE" "$1"
    fi
}
unpack() {
    while IFS= read -r line; do
        rest=${line#? }
        case "$line" in
            d*) mkdir -p "$rest" ;;
            l*) IFS= read -r target; ln -s "$target" "$rest" ;;
            [fx]*) path=${rest#* }; head -c "${rest%% *}" >"$path"
                case "$line" in x*) chmod 755 "$path" ;; esac ;;
            e) return 0 ;;
        esac
    done
    echo "the code did not arrive whole" >&2
    return 1
}
mkdir -p "$PLACE"
cd "$PLACE"
for name in $NAMES; do
    [ ! -e "$name" ] || continue
    rm -rf ".$name"
    mkdir ".$name"
    if command -v tar >/dev/null; then fetch "/$name.tar" | tar -x -f - -C ".$name"
    else fetch "/$name.list" | (cd ".$name"; unpack); fi
    mv ".$name" "$name"
done
"""
"""Fetches archives that are not there yet from the gate, and puts each in its place when it is whole.

For a shell with `GATE` (host and port), `PLACE` (a directory) and `NAMES` in its variables.
It needs `curl` or `bash`, and `tar` or `head`."""


def write_tar(source: Path, to: BinaryIO) -> None:
    """For engines, and images that have tar: all belongs to root. Blocking."""
    with tarfile.open(fileobj=to, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.add(source, arcname=".", filter=_as_root)


def write_list(source: Path, to: BinaryIO) -> None:
    """For images that have no more than a shell, `head` and `ln`, as AWS's: lines, each file's content behind its own.

    `d PATH`, `x SIZE PATH` and `f SIZE PATH` with the content of a file, executable or not, `l PATH` with the link's target in
    the next line, and `e` at the end, so that half of it is not taken for the whole. Blocking. Raises ValueError for a name with
    a line feed, which no shell could read.
    """
    for path, name in _walk(source, b""):
        if b"\n" in name:
            raise ValueError(f"{os.fsdecode(name)!r}: names with a line feed cannot be copied to a cluster's nodes")
        status = path.lstat()
        if stat.S_ISDIR(status.st_mode):
            to.write(b"d %b\n" % name)
        elif stat.S_ISLNK(status.st_mode):
            to.write(b"l %b\n%b\n" % (name, os.fsencode(path.readlink())))
        else:
            to.write(b"%b %d %b\n" % (b"x" if status.st_mode & 0o100 else b"f", status.st_size, name))
            with path.open("rb") as content:
                shutil.copyfileobj(content, to)
    to.write(b"e\n")


def _walk(directory: Path, prefix: bytes) -> Iterator[tuple[Path, bytes]]:
    for entry in sorted(os.scandir(directory), key=lambda found: found.name):
        name = prefix + os.fsencode(entry.name)
        yield Path(entry.path), name
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path), name + b"/")


def _as_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member
