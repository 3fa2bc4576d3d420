"""`lambda-provider doctor`: what this machine has, and what follows from it."""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import json
import os
import platform
import shutil
import socket
import sys
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

from lambda_provider import __version__
from lambda_provider.commands import CommandError
from lambda_runtime.config import RuntimeConfig
from lambda_runtime.executors import load_executor
from lambda_runtime.executors.base import Capability

_DOCKER_SOCKET = "/var/run/docker.sock"
_EXTRAS = (
    ("moto", "standalone", "S3, IAM, SQS, CloudWatch Logs and the other AWS services", "they answer 503"),
    ("docker", "docker", "the Docker SDK for Python", "no Docker SDK for Python"),
    ("boto3", "test", "functions of this interpreter can import boto3", "functions have to bring boto3 along"),
)


def run(options: argparse.Namespace) -> int:
    """Prints a report; always 0, because nothing that is missing keeps the gateway from starting."""
    report = {
        "Machine": _machine(),
        f"Executor {options.executor}": _executor(options.executor),
        "Docker": [docker_engine()],
        "Extras": [_extra(*extra) for extra in _EXTRAS],
    }
    if options.json:
        print(
            json.dumps(
                {title: [dataclasses.asdict(item) for item in items] for title, items in report.items()}, indent=2
            )
        )
        return 0
    width = max(len(item.name) for items in report.values() for item in items)
    for title, items in report.items():
        print(title)
        for item in items:
            print(f"  {'yes' if item.available else 'no ':3}  {item.name:{width}}  {item.detail}".rstrip())
        print()
    return 0


def _machine() -> list[Capability]:
    return [
        Capability("lambda-provider", True, f"{__version__}, Python {platform.python_version()} at {sys.executable}"),
        Capability(
            "system", True, f"{platform.system()} {platform.release()} {platform.machine()}, {os.cpu_count()} CPUs"
        ),
    ]


def _executor(name: str) -> list[Capability]:
    try:
        return list(load_executor(name, RuntimeConfig.from_settings(os.environ)).capabilities())
    except (LookupError, ImportError, ValueError) as error:
        raise CommandError(error) from error


def docker_engine() -> Capability:
    """Whether a Docker engine answers, asked over its socket; no Docker library is needed for that."""
    address = os.environ.get("DOCKER_HOST") or f"unix://{_DOCKER_SOCKET}"
    try:
        version = _docker_version(address)
    except (OSError, HTTPException, ValueError, KeyError) as error:
        client = "the docker command is there, but " if shutil.which("docker") else ""
        return Capability(
            "Docker engine",
            False,
            f"{client}no engine answers at {address} ({error}): functions run as processes, container images cannot run",
        )
    return Capability("Docker engine", True, f"{version} at {address}")


def _docker_version(address: str) -> str:
    parts = urlsplit(address)
    connection = HTTPConnection(parts.hostname or "localhost", parts.port or 2375, timeout=2)
    if parts.scheme == "unix":
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.sock.settimeout(2)
        connection.sock.connect(parts.path)
    elif parts.scheme not in ("tcp", "http"):
        raise ValueError(f"{parts.scheme}:// is not looked at")
    try:
        connection.request("GET", "/version")
        return str(json.loads(connection.getresponse().read())["Version"])
    finally:
        connection.close()


def _extra(module: str, extra: str, present: str, absent: str) -> Capability:
    if importlib.util.find_spec(module) is not None:
        return Capability(module, True, present)
    return Capability(module, False, f"{absent}; pip install 'lambda-provider[{extra}]'")
