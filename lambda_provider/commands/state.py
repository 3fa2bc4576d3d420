"""`lambda-provider state`: all state as one file, from and to a running gateway or a state directory."""

from __future__ import annotations

import argparse
import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from lambda_provider.api import ServiceException
from lambda_provider.commands import CommandError
from lambda_provider.commands.endpoint import Endpoint
from lambda_provider.store.errors import StateError
from lambda_provider.store.state import State
from lambda_provider.store.transfer import StateFile, Summary

PART_BYTES = 16 << 20
"""How much of a file goes into one request."""


def run(options: argparse.Namespace) -> int:
    """Export or import, and say how much it was."""
    try:
        summary = (_export if options.action == "export" else _import)(Path(options.file), options)
    except StateError as error:
        hint = "; or leave --state-dir out: the gateway itself does it while it runs" if "in use" in str(error) else ""
        raise CommandError(f"{error}{hint}") from error
    except ServiceException as error:
        raise CommandError(f"{options.state_dir}: {error}") from error
    except OSError as error:
        raise CommandError(f"{error.filename or options.file}: {error.strerror}") from error
    print(f"{options.action}ed {summary}")
    return 0


def _export(path: Path, options: argparse.Namespace) -> Summary:
    """Into a new file that takes its name when it is whole."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w+b") as file:
            if options.state_dir:
                with _opened(options.state_dir, must_exist=True) as state:
                    summary = state.export(file)
            else:
                Endpoint(options.endpoint_url).download("/_lambda/state", file)
                summary = StateFile(file).summary
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return summary


def _import(path: Path, options: argparse.Namespace) -> Summary:
    with path.open("rb") as file:
        found = StateFile(file)
        if options.state_dir:
            with _opened(options.state_dir) as state:
                state.require_room_for(found, replace=options.replace)
                state.replace(found)
        else:
            _upload(file, Endpoint(options.endpoint_url), replace=options.replace)
    return found.summary


@contextmanager
def _opened(directory: str, *, must_exist: bool = False) -> Iterator[State]:
    """The state of a directory that no gateway uses."""
    if must_exist and not (Path(directory) / "state.sqlite3").is_file():
        raise CommandError(f"there is no state in {directory}")
    state = State(Path(directory))
    state.open()
    try:
        yield state
    finally:
        state.close()


def _upload(file: IO[bytes], endpoint: Endpoint, *, replace: bool) -> None:
    """Send the file in parts; the last one begins the import."""
    path = f"/_lambda/state?upload={uuid.uuid4()}"
    file.seek(0)
    part = file.read(PART_BYTES)
    while following := file.read(PART_BYTES):
        endpoint.post_json(f"{path}&more=true", part)
        part = following
    endpoint.post_json(path + ("&replace=true" if replace else ""), part)
