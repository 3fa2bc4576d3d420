"""Code that is used from where it is written: a folder of the developer's machine, looked at before every invoke.

A folder is compared by what its files are (size, times, inode), so no change is missed: nothing has to be told, as with inotify,
whose events get lost when there are many, and never come from some file systems.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from lambda_runtime.errors import VersionFailed

_IGNORED = frozenset({".git", "__pycache__"})
"""Written by tools while somebody works; not code that a function runs."""

Content = Mapping[str, tuple[int, ...]]
"""What a folder holds: relative path -> mode, size, times of change, inode. Equal when nothing changed."""


def look_at(folder: Path) -> Content:
    """What is in a folder now. Blocking: some 3 µs a file. Raises VersionFailed when it cannot be read."""
    found: dict[str, tuple[int, ...]] = {}
    waiting = [""]
    try:
        while waiting:
            prefix = waiting.pop()
            try:
                entries = os.scandir(folder / prefix)
            except (FileNotFoundError, NotADirectoryError):
                if not prefix:
                    raise
                del found[prefix]  # Gone since it was listed: a tool changes branches, or cleans up.
                continue
            with entries:
                for entry in entries:
                    if entry.name in _IGNORED:
                        continue
                    path = f"{prefix}{entry.name}"
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(f"{path}/")
                        found[f"{path}/"] = ()
                        continue
                    try:
                        stat = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue  # An editor replaces a file: the next look finds the new one.
                    found[path] = (stat.st_mode, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)
    except OSError as error:
        raise VersionFailed(
            "InvalidCode", f"The folder {folder} of the function's code cannot be read: {error}"
        ) from error
    return found


def copy(folder: Path, content: Content, target: Path, before: tuple[Path, Content] | None) -> None:
    """Make `target` what `folder` is, by what `look_at` found in it: files 0644 or 0755, links as they are.

    What has not changed since `before`, an earlier copy and what was copied, is linked to that. Blocking. A file that has gone
    in the meantime is left out. Raises VersionFailed for one that cannot be read.
    """
    for path in sorted(content):
        source, copied = folder / path, target / path
        if path.endswith("/"):
            copied.mkdir(mode=0o755, exist_ok=True)
            continue
        if before is not None and before[1].get(path) == content[path] and _linked(before[0] / path, copied):
            continue
        try:
            if source.is_symlink():
                copied.symlink_to(source.readlink())
            elif source.is_file():
                shutil.copyfile(source, copied)
                copied.chmod(0o755 if content[path][0] & 0o100 else 0o644)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise VersionFailed("InvalidCode", f"{source} of the function's code cannot be read: {error}") from error


def _linked(existing: Path, link: Path) -> bool:
    try:
        os.link(existing, link, follow_symlinks=False)
    except OSError:  # Not there any more, or too many links.
        return False
    return True
