"""Python: where its interpreters are."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version

from lambda_runtime.executors.process.languages.base import (
    Interpreter,
    Language,
    interpreter_that_says,
    search_path,
)

_PROBE = (
    "import sys,os,json;v='%d.%d'%sys.version_info[:2];e=os.path.realpath(sys.executable);b=os.path.realpath(sys.base_prefix);"
    "e=e if e.startswith(b+os.sep) else os.path.realpath(os.path.join(b,'bin','python'+v));"
    "print(json.dumps([list(sys.version_info[:3]),e,b]))"
)
_OLDEST = (3, 8)


class Python(Language):
    """`python3.8` and newer."""

    name = "python"
    runtimes = tuple(f"python3.{minor}" for minor in range(8, 16))
    _pattern = re.compile(r"python(\d+)\.(\d+)")

    def places(self, wanted: tuple[int, ...] | None) -> Iterator[str]:
        """Named by their version; our own interpreter first."""
        number = ".".join(map(str, wanted)) if wanted else "3.*[0-9]"
        # It is the one that the installed awslambdaric is compiled for.
        if wanted is None or sys.version_info[:2] == wanted:
            yield sys.executable
        for directory in (
            f"~/.pyenv/versions/{number}*/bin",
            f"~/.local/share/uv/python/cpython-{number}*/bin",
            f"~/.asdf/installs/python/{number}*/bin",
            f"~/.local/share/mise/installs/python/{number}*/bin",
            "/opt/*/bin",
            "/opt/python/*/bin",
            "/opt/hostedtoolcache/Python/*/*/bin",
            *search_path(),
            "/usr/local/bin",
            "/usr/bin",
        ):
            yield f"{directory}/python{number}"

    def ask(self, path: str) -> Interpreter | None:
        """Asked for what a virtual environment was made from, too."""
        return interpreter_that_says("python", [path, "-I", "-S", "-c", _PROBE])

    def version_in_name(self, path: str) -> tuple[int, ...] | None:
        """Of those that awslambdaric runs on; (0, 0) for others."""
        if path == sys.executable:
            return sys.version_info[:2]
        match = re.search(r"(\d+)\.(\d+)$", path)
        found = (int(match[1]), int(match[2])) if match else (0, 0)
        return found if found >= _OLDEST else (0, 0)

    def client(self, interpreter: Interpreter, settings: Mapping[str, str]) -> str:
        """AWS's client, with a transport of ours unless the setting LAMBDA_PYTHON_CLIENT says otherwise."""
        try:
            own = version("awslambdaric")
        except PackageNotFoundError:
            return "no awslambdaric is installed"
        return f"awslambdaric {own}"
