"""The languages of AWS's runtimes: where an interpreter may be, and what makes it run a function.

`base` says what a language is; one module each. The runtime client of Python is placed by `layout`, because zygotes know it.
"""

from __future__ import annotations

from lambda_runtime.executors.process.languages.base import Language
from lambda_runtime.executors.process.languages.dotnet import DotNet
from lambda_runtime.executors.process.languages.java import Java
from lambda_runtime.executors.process.languages.nodejs import NodeJs
from lambda_runtime.executors.process.languages.python import Python
from lambda_runtime.executors.process.languages.ruby import Ruby

LANGUAGES: dict[str, Language] = {
    language.name: language for language in (Python(), NodeJs(), Java(), Ruby(), DotNet())
}

OS_ONLY = ("provided", "provided.al2", "provided.al2023", "go1.x")
"""Runtimes whose functions bring their runtime along. That of Go 1.x executes the file that the handler names."""


def language_of(runtime: str) -> Language | None:
    """The language of a runtime; None for an OS-only runtime, and for what is no runtime."""
    return next((each for each in LANGUAGES.values() if each.wanted(runtime) is not None), None)
