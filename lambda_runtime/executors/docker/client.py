"""Which engine there is, and who it says it is."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import docker
import docker.errors
import requests.exceptions
import urllib3.exceptions

from lambda_runtime.executors.containers.errors import EngineError, EngineUnavailable
from lambda_runtime.executors.containers.image import architecture_of

T = TypeVar("T")

CALLS_AT_ONCE = 24
"""An engine works on a few at a time, whatever it is asked; more would only wait there instead of here."""
_CALL_TIMEOUT_S = 60
_CONNECT_TIMEOUT_S = 5


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What an engine says of itself."""

    address: str
    version: str
    architecture: str
    """Of its machine, as in images: `amd64`, `arm64`."""
    kernel: str
    cpus: int
    rootless: bool
    podman: bool
    desktop: bool
    """It runs in a virtual machine that forwards to this one."""
    limits_swap: bool
    limits_memory: bool = True
    limits_processes: bool = True
    shares_processors: bool = True
    """These three need control groups, which a rootless engine has only of version 2, and as far as they are delegated to it."""

    @property
    def name(self) -> str:
        """`Docker 28.2` and the like, for people."""
        kind = "Podman" if self.podman else "Docker"
        return f"{kind} {self.version}{' (rootless)' if self.rootless else ''}"


def translated(function: Callable[[], T]) -> T:
    """The function's result; the SDK's errors as ours."""
    try:
        return function()
    except docker.errors.APIError as error:
        raise EngineError(_explanation(error), error.status_code or 0) from error
    except (requests.exceptions.ConnectionError, requests.exceptions.Timeout, urllib3.exceptions.HTTPError) as error:
        raise EngineUnavailable(f"the Docker engine does not answer: {_root_cause(error)}") from error
    except docker.errors.DockerException as error:
        raise EngineUnavailable(str(error)) from error


def _explanation(error: docker.errors.APIError) -> str:
    text = error.explanation or str(error)
    return text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)


def _root_cause(error: BaseException) -> str:
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return str(error)


def addresses(settings: Mapping[str, str]) -> list[str]:
    """Where an engine may be: DOCKER_HOST alone, else the usual sockets that exist, of Docker first."""
    if named := settings.get("DOCKER_HOST") or os.environ.get("DOCKER_HOST"):
        return [named]
    found = []
    with contextlib.suppress(docker.errors.DockerException):
        context = docker.ContextAPI.get_current_context()
        if context is not None and context.Host:
            found.append(str(context.Host))
    own = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    sockets = ("/var/run/docker.sock", f"{own}/docker.sock", str(Path.home() / ".docker/run/docker.sock"))
    podman = ("/run/podman/podman.sock", f"{own}/podman/podman.sock")
    found += [f"unix://{path}" for path in (*sockets, *podman) if Path(path).exists()]
    return list(dict.fromkeys(found)) or ["unix:///var/run/docker.sock"]


def open_client(settings: Mapping[str, str]) -> tuple[docker.APIClient, EngineInfo]:
    """A client of the first engine that answers. Blocking. Raises EngineUnavailable."""
    problems = []
    for address in addresses(settings):
        try:
            return _open_at(address)
        except EngineError as error:
            problems.append(f"{address} ({error})")
    raise EngineUnavailable(f"no Docker engine answers at {', '.join(problems)}")


def _open_at(address: str) -> tuple[docker.APIClient, EngineInfo]:
    options = docker.utils.kwargs_from_env()
    options["base_url"] = address
    if address.startswith("unix://"):
        options.pop("tls", None)
        if not os.access(address.removeprefix("unix://"), os.W_OK) and Path(address.removeprefix("unix://")).exists():
            raise EngineUnavailable("this user may not use the socket")

    def make() -> tuple[docker.APIClient, Mapping[str, Any], Mapping[str, Any]]:
        client = docker.APIClient(
            version="auto", timeout=_CONNECT_TIMEOUT_S, max_pool_size=CALLS_AT_ONCE + 8, **options
        )
        client.timeout = _CALL_TIMEOUT_S
        return client, client.version(), client.info()

    client, version, info = translated(make)
    components = {str(each.get("Name")) for each in version.get("Components") or ()}
    security = [str(option) for option in info.get("SecurityOptions") or ()]
    engine = EngineInfo(
        address=address,
        version=str(version.get("Version")),
        architecture=architecture_of(str(info.get("Architecture"))),
        kernel=str(info.get("KernelVersion")),
        cpus=int(info.get("NCPU") or 1),
        rootless=any("rootless" in option for option in security),
        podman="Podman Engine" in components,
        desktop="Docker Desktop" in str(info.get("OperatingSystem")),
        limits_swap=bool(info.get("SwapLimit")),
        limits_memory=bool(info.get("MemoryLimit", True)),
        limits_processes=bool(info.get("PidsLimit", True)),
        shares_processors=bool(info.get("CPUShares", True)),
    )
    return client, engine
