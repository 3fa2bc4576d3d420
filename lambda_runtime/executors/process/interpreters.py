"""Find the interpreter of a runtime on this machine.

A runtime names a version (`python3.12`, `nodejs20.x`); the machine has what it has. Places are looked at lazily, by name
first: only an interpreter that may be used is started, once, to learn its exact version and where its library is.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from lambda_runtime.errors import VersionFailed
from lambda_runtime.executors.process.languages import LANGUAGES, OS_ONLY, language_of
from lambda_runtime.executors.process.languages.base import Interpreter, Language

__all__ = ["Interpreter", "Interpreters"]


class Interpreters:
    """What this machine has. Blocking; call from a thread. The answers are kept, so a later call costs nothing."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        self.settings = settings
        self._probed: dict[tuple[str, str], Interpreter | None] = {}
        self._found: dict[str, tuple[Interpreter, str]] = {}

    def find(self, runtime: str) -> tuple[Interpreter, str]:
        """The interpreter for a runtime, and a warning if it is not the version that was asked for (else "").

        A setting `LAMBDA_PYTHON3_12=/path` names one by hand. Raises VersionFailed(InvalidRuntime).
        """
        if runtime not in self._found:
            self._found[runtime] = self._find(runtime)
        return self._found[runtime]

    def _find(self, runtime: str) -> tuple[Interpreter, str]:
        language = language_of(runtime)
        wanted = language.wanted(runtime) if language else None
        if language is None or wanted is None:
            languages = "*, ".join(LANGUAGES)
            raise VersionFailed(
                "InvalidRuntime",
                f"Runtime {runtime} cannot run here: the process executor runs {languages}* and {OS_ONLY[0]}* functions. "
                "A program for another language runs as `provided.al2023`, with its runtime client in the archive.",
            )
        name = "LAMBDA_" + runtime.upper().replace(".", "_")
        for setting in (name, name.removesuffix("_X")):
            if path := self.settings.get(setting):
                return self._named(language, wanted, setting, path, runtime)
        for path in self._candidates(language, wanted):
            found = self._probe(language, path)
            if found is not None and found.serves(wanted):
                return found, ""
        nearest = self._nearest(language, wanted)
        if nearest is None:
            raise VersionFailed(
                "InvalidRuntime",
                f"Runtime {runtime} cannot run here: no {language.name} {language.needs} was found. Install it, or set "
                f"{name}=/path/to/it.",
            )
        return nearest, self._mismatch(runtime, nearest, name)

    def _named(
        self, language: Language, wanted: tuple[int, ...], setting: str, path: str, runtime: str
    ) -> tuple[Interpreter, str]:
        found = self._probe(language, path)
        if found is None:
            raise VersionFailed(
                "InvalidRuntime", f"{setting}={path} is not a {language.name} {language.needs} that can be started."
            )
        return found, "" if found.serves(wanted) else self._mismatch(runtime, found, setting)

    @staticmethod
    def _mismatch(runtime: str, used: Interpreter, setting: str) -> str:
        return f"Runtime {runtime} is not installed on this machine; running with {used}. Install it, or set {setting}=/path."

    def _nearest(self, language: Language, wanted: tuple[int, ...]) -> Interpreter | None:
        paths = list(self._candidates(language, None))
        named = {path: version for path in paths if (version := language.version_in_name(path)) is not None}
        if named:
            # Their names tell the version, so that the nearest is asked first and the others not at all.
            for path in sorted(
                (path for path, version in named.items() if version > (0, 0)),
                key=lambda path: language.distance(wanted, named[path]),
            ):
                if (found := self._probe(language, path)) is not None:
                    return found
            return None
        answers = [found for path in paths if (found := self._probe(language, path)) is not None]
        return min(answers, key=lambda found: language.distance(wanted, found.version), default=None)

    def _candidates(self, language: Language, wanted: tuple[int, ...] | None) -> Iterator[str]:
        """Paths that may be the interpreter, in the order of preference; all of the language when `wanted` is None."""
        seen: set[str] = set()
        for pattern in language.places(wanted):
            paths = glob.glob(str(Path(pattern).expanduser()))  # noqa: PTH207 - Path.glob takes no absolute pattern
            for path in sorted(paths, key=_by_version, reverse=True):
                real = os.path.realpath(path)
                if real not in seen and os.access(path, os.X_OK):
                    seen.add(real)
                    yield path

    def _probe(self, language: Language, path: str) -> Interpreter | None:
        key = (language.name, path)
        if key not in self._probed:
            self._probed[key] = language.ask(path)
        return self._probed[key]


def _by_version(path: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", path)]
