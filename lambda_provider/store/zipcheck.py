"""Is this zip file something to unpack?

Every archive goes through here before it is kept. Headers are not believed: each member is decompressed once, and what
really comes out is counted. An archive that could write outside the directory it is unpacked into, or that cannot be read
to the end, is one that AWS "could not unzip".
"""

from __future__ import annotations

import io
import stat
import zipfile
import zlib
from pathlib import PurePosixPath

from lambda_provider.api import InvalidParameterValueException

_CHUNK = 1 << 20
_PATH_MAX = 4096
_NAME_MAX = 255
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""What zip tools write. Others let a few bytes ask for gigabytes of memory (LZMA's dictionary), or fail in ways of their own."""


def check(archive: bytes, *, unzipped_limit: int, file_limit: int = 100_000) -> int:
    """Raise InvalidParameterValueException, in AWS's words, unless `archive` is a zip file that may be unpacked.

    `unzipped_limit` is the largest sum of the members' sizes in bytes that is taken; the answer is that sum. `file_limit` bounds
    files and directories together, because empty ones count nothing and cost this machine as much; AWS tells of no such limit.
    """
    if not archive:
        raise InvalidParameterValueException("Uploaded file must be a non-empty zip")
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            members = opened.infolist()
            _check_number(members, file_limit)
            _check_names(opened, members)
            unzipped_size = _check_sizes(opened, members, unzipped_limit)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError):
        # RuntimeError is zipfile's word for an encrypted member, NotImplementedError for an unknown compression.
        raise _could_not_unzip() from None
    if not members:
        raise InvalidParameterValueException("Uploaded file must be a non-empty zip")
    return unzipped_size


def _check_number(members: list[zipfile.ZipInfo], limit: int) -> None:
    """Refuse what would make more files and directories than the limit: a few bytes of a name may stand for hundreds."""
    if len(members) > limit:
        raise _too_many(limit)
    made: _Tree = {}
    number = 0
    for member in members:
        tree = made
        for part in filter(None, member.filename.split("/")):
            if part not in tree:
                tree[part] = {}
                number += 1
            tree = tree[part]
        if number > limit:
            raise _too_many(limit)


def _check_names(opened: zipfile.ZipFile, members: list[zipfile.ZipInfo]) -> None:
    seen: set[PurePosixPath] = set()
    links: _Tree = {}
    for member in members:
        path = _inside(member.orig_filename)
        if member.compress_type not in _METHODS:
            raise _could_not_unzip()
        if member.is_dir():
            continue
        if path in seen:
            raise _could_not_unzip()
        seen.add(path)
        if stat.S_ISLNK(member.external_attr >> 16):
            if member.file_size > _PATH_MAX:
                raise _could_not_unzip()
            _check_link_target(path, opened.read(member).decode("utf-8"))
            _plant(links, path)
    for path in seen:
        # A member below a link would be written to where the link points.
        if _passes_an_end(links, path):
            raise _could_not_unzip()


def _inside(name: str) -> PurePosixPath:
    """The path of a member below the directory it is unpacked into."""
    if not name or "\0" in name or len(name) > _PATH_MAX:
        raise _could_not_unzip()
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or any(len(part.encode()) > _NAME_MAX for part in path.parts):
        raise _could_not_unzip()
    return path


_Tree = dict[str, "_Tree"]
"""Paths by their parts; an empty part is the end of one."""


def _plant(tree: _Tree, path: PurePosixPath) -> None:
    for part in path.parts:
        tree = tree.setdefault(part, {})
    tree[""] = {}


def _passes_an_end(tree: _Tree, path: PurePosixPath) -> bool:
    """Whether a path leads below the end of another one. Costs a step a part: archives may hold thousands of long names."""
    for part in path.parts[:-1]:
        if part not in tree:
            return False
        tree = tree[part]
        if "" in tree:
            return True
    return False


def _check_link_target(path: PurePosixPath, target: str) -> None:
    """Refuse a symbolic link to what is not below the directory that the archive is unpacked into."""
    if "\0" in target or target.startswith("/") or not target:
        raise _could_not_unzip()
    depth = len(path.parts) - 1
    for part in PurePosixPath(target).parts:
        depth += -1 if part == ".." else 1
        if depth < 0:
            raise _could_not_unzip()


def _check_sizes(opened: zipfile.ZipFile, members: list[zipfile.ZipInfo], limit: int) -> int:
    if sum(member.file_size for member in members) > limit:
        raise _too_large(limit)
    total = 0
    for member in members:
        with opened.open(member) as stream:
            while chunk := stream.read(_CHUNK):
                total += len(chunk)
                if total > limit:
                    raise _too_large(limit)
    return total


def _could_not_unzip() -> InvalidParameterValueException:
    """Recorded: test_create_lambda_exceptions."""
    return InvalidParameterValueException(
        "Could not unzip uploaded file. Please check your file, then try to upload again."
    )


def _too_many(limit: int) -> InvalidParameterValueException:
    text = f"Unzipped archive must have at most {limit} files and directories (LAMBDA_LIMITS_CODE_FILES)"
    return InvalidParameterValueException(text)


def _too_large(limit: int) -> InvalidParameterValueException:
    """Recorded: test_oversized_unzipped_lambda."""
    return InvalidParameterValueException(f"Unzipped size must be smaller than {limit} bytes")
