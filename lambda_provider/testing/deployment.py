"""From a handler, a file, a folder or a few strings to the parameters of CreateFunction."""

from __future__ import annotations

import ast
import builtins
import dis
import inspect
import io
import re
import sys
import textwrap
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any

from lambda_provider.validation.runtimes import SUPPORTED

Code = Callable[..., Any] | str | Path | Mapping[str, str | bytes]
"""A Python function; the path of a file, a folder or a zip archive; or files with their content."""

_LEFT_OUT = frozenset(("__pycache__", ".git", ".venv", ".mypy_cache", ".pytest_cache", ".ruff_cache"))
_TEST_MODULE = re.compile(r"test_.*|.*_test|conftest")
_NODE_RUNTIME = "nodejs22.x"
_CUSTOM_RUNTIME = "provided.al2023"
_MOMENT = (2024, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Deployment:
    """What CreateFunction has to be told of some code."""

    archive: bytes
    name: str
    handler: str
    runtime: str


def deployment_of(code: Code, *, handler: str | None = None, runtime: str | None = None) -> Deployment:
    """Read code and find out what is not said. Raises ValueError or OSError for code that cannot be deployed."""
    if callable(code):
        return _of_function(code, runtime or python_runtime())
    if isinstance(code, Mapping):
        files = {name: content.encode() if isinstance(content, str) else content for name, content in code.items()}
        return _of_files("function", files, handler, runtime)
    path = Path(code)
    if path.is_dir():
        files = {name: file.read_bytes() for name, file in _files_in(path)}
        executable = frozenset(name for name, file in _files_in(path) if file.stat().st_mode & 0o100)
        return _of_files(path.resolve().name, files, handler, runtime, executable)
    if path.suffix == ".zip":
        archive = path.read_bytes()
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            names = opened.namelist()
        return Deployment(archive, _name(path.stem), handler or _handler(names), runtime or _runtime(names))
    return _of_files(path.stem, {path.name: path.read_bytes()}, handler, runtime)


def python_runtime() -> str:
    """The runtime of the Python that runs this, or the nearest that Lambda has: that one's interpreter is surely here."""
    versions = sorted(int(name.removeprefix("python3.")) for name in SUPPORTED if name.startswith("python3."))
    minor = sys.version_info.minor
    return f"python3.{max((known for known in versions if known <= minor), default=versions[0])}"


def _of_function(function: Callable[..., Any], runtime: str) -> Deployment:
    """A handler of a module comes with that module, or with its whole package; one of a test module (whose imports a function
    does not have), or inside of something else, comes alone."""
    name = getattr(function, "__name__", "")
    module = inspect.getmodule(function)
    if not inspect.isfunction(function) or not name.isidentifier():
        raise ValueError(f"{function!r} is not a function with a name: give a path, or files as a mapping")
    path = Path(inspect.getfile(function))
    if function.__qualname__ != name or _TEST_MODULE.fullmatch(path.stem):
        return Deployment(_zip({"index.py": _source_of(function)}), _name(name), f"index.{name}", runtime)
    if module is None or module.__name__ == "__main__" or "." not in module.__name__:
        return Deployment(_zip({path.name: path.read_bytes()}), _name(name), f"{path.stem}.{name}", runtime)
    root = path.parents[len(module.__name__.split(".")) - (1 if path.name == "__init__.py" else 2)]
    files = {f"{root.name}/{inner}": file.read_bytes() for inner, file in _files_in(root)}
    return Deployment(_zip(files), _name(name), f"{module.__name__}.{name}", runtime)


def _source_of(function: Any) -> bytes:
    code: CodeType = function.__code__
    used = sorted({*code.co_freevars, *_globals_of(code)} - {function.__name__} - set(vars(builtins)))
    if used:
        raise ValueError(
            f"{function.__qualname__} comes into Lambda alone, without {', '.join(used)} around it: import or define that inside "
            "of it, or put it into a module of its own"
        )
    definition = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    if not isinstance(definition, ast.FunctionDef | ast.AsyncFunctionDef):
        raise ValueError(f"{function.__qualname__} is not a function of its own in its source")
    definition.decorator_list.clear()
    return f"from __future__ import annotations\n\n{ast.unparse(definition)}\n".encode()


def _globals_of(code: CodeType) -> Iterator[str]:
    """Names that code takes from its module, or from the built-in ones."""
    for instruction in dis.get_instructions(code):
        if instruction.opname == "LOAD_GLOBAL":
            yield instruction.argval
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _globals_of(inner)


def _of_files(
    name: str,
    files: Mapping[str, bytes],
    handler: str | None,
    runtime: str | None,
    executable: frozenset[str] = frozenset(),
) -> Deployment:
    names = list(files)
    archive = _zip(files, executable | {"bootstrap"})
    return Deployment(archive, _name(name), handler or _handler(names), runtime or _runtime(names))


def _handler(names: list[str]) -> str:
    """`MODULE.handler` of the only module at the top, or of one with a usual name."""
    stems = [
        name.rpartition(".")[0] for name in names if "/" not in name and name.endswith((".py", ".js", ".mjs", ".cjs"))
    ]
    if not stems and "bootstrap" in names:
        return "bootstrap"
    for usual in ("index", "app", "main", "handler", "lambda_function"):
        if usual in stems:
            return "lambda_function.lambda_handler" if usual == "lambda_function" else f"{usual}.handler"
    if len(stems) != 1:
        raise ValueError(
            f"which handler? There are {', '.join(sorted(names)[:10]) or 'no files'}: say handler='module.function'"
        )
    return f"{stems[0]}.handler"


def _runtime(names: list[str]) -> str:
    if "bootstrap" in names:
        return _CUSTOM_RUNTIME
    if any(name.endswith((".js", ".mjs", ".cjs")) and "/" not in name for name in names):
        return _NODE_RUNTIME
    return python_runtime()


def _files_in(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if path.is_file() and not _LEFT_OUT.intersection(relative.parts):
            yield relative.as_posix(), path


def _zip(files: Mapping[str, bytes], executable: frozenset[str] = frozenset()) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, _MOMENT)
            entry.external_attr = (0o100755 if name in executable else 0o100644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return buffer.getvalue()


def _name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "-", text)[:56] or "function"
