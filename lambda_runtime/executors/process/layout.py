"""What a sandbox looks like inside: which directory of this machine lies where, and which files are made up.

The plan that results is data; `zygote/template.py` carries it out. Paths, file modes and users are those that were recorded on
AWS (TestLambdaBehavior::test_runtime_introspection_x86).
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lambda_runtime.executors.code import LAYERS, TASK
from lambda_runtime.executors.process.languages import LANGUAGES
from lambda_runtime.executors.process.languages.base import Interpreter, RuntimeFiles

HERE = Path(__file__).parent
_ZYGOTE_FILES = sorted((HERE / "zygote").glob("*.py"))
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_ETC_SHARED = ("ssl", "ca-certificates", "pki", "alternatives", "ld.so.cache", "protocols", "services")
_ETC_COPIED = ("resolv.conf", "nsswitch.conf")
_INTERPRETER_PARTS = {
    "java": ("bin", "lib", "conf", "jre"),
    "dotnet": ("dotnet", "host", "shared", "sdk"),
}
_COMMON_PARTS = ("bin", "lib", "lib64", "share")
_CONFIGURATION = {"java": "java*"}
"""Directories below /etc that an interpreter of the system reads."""
_PASSWD = """root:x:0:0:root:/root:/bin/bash
nobody:x:65534:65534:nobody:/:/sbin/nologin
sbx_user1051:x:993:990::/home/sbx_user1051:/sbin/nologin
"""
_GROUP = "root:x:0:\nnobody:x:65534:\nsbx_user1051:x:990:\n"
_RELEASES = {
    "2": """NAME="Amazon Linux"
VERSION="2"
ID="amzn"
ID_LIKE="centos rhel fedora"
VERSION_ID="2"
PRETTY_NAME="Amazon Linux 2"
ANSI_COLOR="0;33"
CPE_NAME="cpe:2.3:o:amazon:amazon_linux:2"
HOME_URL="https://amazonlinux.com/"
""",
    "2023": """NAME="Amazon Linux"
VERSION="2023"
ID="amzn"
ID_LIKE="fedora"
VERSION_ID="2023"
PLATFORM_ID="platform:al2023"
PRETTY_NAME="Amazon Linux 2023"
ANSI_COLOR="0;33"
CPE_NAME="cpe:2.3:o:amazon:amazon_linux:2023"
HOME_URL="https://aws.amazon.com/linux/amazon-linux-2023/"
""",
}
"""`/etc/os-release`: libraries choose by it which of the compiled files that a function brings along they load."""
_OLDEST_ON_2023 = {"python": (3, 12), "nodejs": (20,), "java": (21,), "ruby": (3, 3), "dotnet": (8,)}
"""https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html, "Operating system"."""
_ENTRY_POINT = """#!/bin/sh
# The entry point of AWS's images; here the runtime is started without it.
exec "$@"
"""
_SDK = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3", "six")
_SDK_OLDEST_PYTHON = (3, 10)
_CLIENT = ("awslambdaric", "simplejson", "snapshot_restore_py")
_COMPILED_CLIENT = "runtime_client"

# What awslambdaric and the AWS SDK import of the library: every function needs some of it and many need most.
# fmt: off
_PRELOADED = [
    "json", "logging", "decimal", "datetime", "traceback", "importlib.util", "http.client", "socket", "ssl", "hashlib", "hmac",
    "base64", "uuid", "random", "secrets", "tempfile", "shutil", "re", "collections", "functools", "concurrent.futures.thread",
    "threading", "queue", "urllib.parse", "email.parser", "copy", "enum", "inspect", "math", "time", "typing", "dataclasses",
    "contextlib", "zoneinfo", "_strptime", "encodings.idna", "select", "selectors", "pathlib", "platform", "subprocess", "zlib",
    "gzip",
]
# fmt: on

LIBRARY_PATH = "/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib"
SEARCH_PATH = "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin"


def runtime_files(
    interpreter: Interpreter | None, *, prefer_compiled: bool = False, settings: Mapping[str, str] | None = None
) -> RuntimeFiles:
    """The runtime client for an interpreter; nothing for an OS-only runtime, which brings its own. Blocking.

    Raises VersionFailed(InvalidRuntime) when it is not on this machine.

    awslambdaric's compiled part is replaced by ours, which is faster and the same for every version of Python
    (docs/decisions/0003-python-transport.md). With `prefer_compiled` the Python that we run on, which can load it, gets the
    original.
    """
    if interpreter is None:
        return RuntimeFiles({})
    if interpreter.family != "python":
        return LANGUAGES[interpreter.family].files(interpreter, settings or {})
    entries = {"bootstrap.py": HERE / "zygote" / "python_runtime.py"}
    names = _CLIENT if interpreter.version[:2] < _SDK_OLDEST_PYTHON else (*_CLIENT, *_SDK)
    compiled = prefer_compiled and is_own(interpreter)
    for name in (*names, _COMPILED_CLIENT) if compiled else names:
        if path := _installed(name):
            entries[path.name] = path
    compiled = any(name.startswith(_COMPILED_CLIENT) for name in entries)
    if not compiled:
        entries[f"{_COMPILED_CLIENT}.py"] = HERE / "runtimes" / "python" / f"{_COMPILED_CLIENT}.py"
    return RuntimeFiles(entries, compiled)


def is_own(interpreter: Interpreter) -> bool:
    """Whether this is the version of Python that runs this code, so that our compiled packages load in it."""
    return interpreter.family == "python" and interpreter.version[:2] == sys.version_info[:2]


def _installed(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin)
    return path.parent if path.name == "__init__.py" else path


def preload_plan(files: RuntimeFiles, runtime_directory: str) -> dict[str, Any]:
    """What a Python zygote imports before it forks."""
    # The extension's C++ library costs a millisecond to load; the extension itself must be loaded after the fork.
    libraries = ["libstdc++.so.6"] if files.compiled_client else []
    return {
        "path": [runtime_directory],
        "modules": _PRELOADED,
        "libraries": libraries,
        "compiled_client": files.compiled_client,
    }


def inside(interpreter: Interpreter) -> str:
    """The path of an interpreter in the sandbox: `/var/lang/bin/…`, as on AWS, if it is not one of the system's."""
    if _is_system(interpreter.prefix):
        return str(interpreter.executable)
    return "/var/lang/" + str(interpreter.executable.relative_to(interpreter.prefix))


def isolated_plan(
    interpreter: Interpreter | None, files: RuntimeFiles, cache: Path, root: Path, host_ids: tuple[int, int] | None
) -> dict[str, Any]:
    """The plan of a sandbox with namespaces. `root` is an empty directory, used as a mount point only."""
    # /var/task/lib and /opt/lib exist because the loader remembers for good which directories of LD_LIBRARY_PATH do not.
    directories = dict.fromkeys(
        ["/etc", "/opt/lib", "/run/lambda/empty", "/run/lambda/own", "/var/lang", "/var/runtime/lib", "/var/task/lib"],
        0o755,
    )
    directories |= {"/tmp": 0o1777, "/run/lambda/cache": 0o700}
    contents = {
        "/etc/os-release": _release(interpreter),
        "/etc/passwd": _PASSWD,
        "/etc/group": _GROUP,
        "/lambda-entrypoint.sh": _ENTRY_POINT,
    }
    contents |= {f"/run/lambda/zygote/{path.name}": path.read_text("utf-8") for path in _ZYGOTE_FILES}
    for name in _ETC_COPIED:
        if (path := Path("/etc") / name).is_file():
            contents[str(path)] = path.read_text("utf-8", "replace")
    contents["/etc/hosts"] = hosts()
    binds = {"/run/lambda/cache": str(cache)}
    links: dict[str, str] = {}
    for name in _SYSTEM:
        path = Path(name)
        if path.is_symlink():
            links[name] = str(path.readlink())
        elif path.is_dir():
            binds[name] = name
    binds |= {f"/etc/{name}": f"/etc/{name}" for name in _ETC_SHARED if (Path("/etc") / name).exists()}
    binds |= {f"/var/runtime/{name}": str(path) for name, path in files.entries.items()}
    links |= files.links
    if interpreter is not None:
        _place_interpreter(interpreter, binds, links)
    return {
        "isolated": True,
        "root": str(root),
        "host_ids": host_ids,
        "hostname": "169.254.100.6",
        "directories": directories,
        "files": {path: [0o755 if path.endswith(".sh") else 0o644, text] for path, text in contents.items()},
        "links": links,
        "binds": binds,
        **_python_part(interpreter, files),
    }


def _release(interpreter: Interpreter | None) -> str:
    oldest = _OLDEST_ON_2023.get(interpreter.family, ()) if interpreter is not None else ()
    return _RELEASES["2023" if interpreter is None or interpreter.version >= oldest else "2"]


def hosts(address: str = "127.0.0.1") -> str:
    """/etc/hosts of a sandbox, in which the names under which extensions listen for telemetry stand for `address`."""
    path = Path("/etc/hosts")
    machine = path.read_text("utf-8", "replace") if path.is_file() else "127.0.0.1 localhost\n"
    return f"{machine.rstrip()}\n{address} sandbox.localdomain sandbox\n"


def _python_part(interpreter: Interpreter | None, files: RuntimeFiles) -> dict[str, Any]:
    if interpreter is None or interpreter.family != "python":
        return {"execute": None, "environment": {}, "python": None}
    return {
        # Started again inside, so that every path that the interpreter knows is one of the sandbox.
        "execute": [inside(interpreter), "-I", "-S", "/run/lambda/zygote/start.py"],
        "environment": {"LC_CTYPE": "C.UTF-8", "LD_LIBRARY_PATH": LIBRARY_PATH},
        "python": preload_plan(files, "/var/runtime"),
    }


def _place_interpreter(interpreter: Interpreter, binds: dict[str, str], links: dict[str, str]) -> None:
    prefix = interpreter.prefix
    if _is_system(prefix):
        names = {interpreter.executable.name}
        if interpreter.family == "python":
            names |= {"python", "python3"}
        links.update({f"/var/lang/bin/{name}": str(interpreter.executable) for name in names})
        if pattern := _CONFIGURATION.get(interpreter.family):
            binds.update({str(path): str(path) for path in Path("/etc").glob(pattern) if path.is_dir()})
        return
    # Only these parts: a prefix may be a whole home directory, or hold other environments.
    parts = _INTERPRETER_PARTS.get(interpreter.family, _COMMON_PARTS)
    binds.update({f"/var/lang/{part}": str(prefix / part) for part in parts if (prefix / part).exists()})
    if prefix.is_relative_to("/nix/store"):
        binds["/nix/store"] = "/nix/store"
    elif not any(prefix.is_relative_to(taken) for taken in ("/opt", "/tmp", "/var/task", "/proc", "/dev")):
        links[str(prefix)] = "/var/lang"  # Programs that were built with their own absolute path in them.


def _is_system(prefix: Path) -> bool:
    return any(prefix.is_relative_to(name) for name in _SYSTEM)


def plain_plan(interpreter: Interpreter | None, files: RuntimeFiles, runtime_directory: Path) -> dict[str, Any]:
    """The plan of a zygote without a sandbox; `runtime_directory` stands for /var/runtime."""
    python = interpreter is not None and interpreter.family == "python"
    return {
        "isolated": False,
        "host_ids": None,
        "python": preload_plan(files, str(runtime_directory)) if python else None,
    }


@dataclass(frozen=True, slots=True)
class Places:
    """Where the function, its layers and its runtime are, as the function sees them: AWS's paths, if there is a sandbox."""

    code: str = TASK
    layers: str = LAYERS
    runtime: str = "/var/runtime"


def variables(runtime: str, interpreter: Interpreter | None, places: Places) -> dict[str, str]:
    """The environment variables that say where things are, as recorded."""
    code, layers, own = places.code, places.layers, places.runtime
    found = {
        "LAMBDA_TASK_ROOT": code,
        "LAMBDA_RUNTIME_DIR": own,
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
        "PATH": SEARCH_PATH,
        "LD_LIBRARY_PATH": LIBRARY_PATH,
    }
    if interpreter is not None:
        found["AWS_EXECUTION_ENV"] = f"AWS_Lambda_{runtime}"
    if places != Places():
        own_bin = [str(interpreter.executable.parent)] if interpreter is not None else []
        found["PATH"] = ":".join([*own_bin, SEARCH_PATH, f"{layers}/bin"])
        found["LD_LIBRARY_PATH"] = f"{code}:{code}/lib:{layers}/lib"
        found["LAMBDA_LAYERS_ROOT"] = layers
    if runtime.startswith("python"):
        found |= {"PYTHONPATH": own, "PWD": code, "SHLVL": "0", "LC_CTYPE": "C.UTF-8"}
    elif runtime.startswith("nodejs"):
        version = runtime.removeprefix("nodejs").removesuffix(".x")
        found["NODE_PATH"] = (
            f"{layers}/nodejs/node{version}/node_modules:{layers}/nodejs/node_modules:{own}/node_modules"
        )
    elif interpreter is not None:
        found |= LANGUAGES[interpreter.family].variables(runtime, code, layers, own)
    return found
