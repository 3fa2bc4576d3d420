"""Settings of every executor of containers, under the names that users know from LocalStack's documentation."""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from lambda_runtime.settings import Settings, at_least_one, one_of, values_of

REGISTRY = "public.ecr.aws/lambda"
_FAMILIES = ("python", "nodejs", "java", "ruby", "dotnet", "go", "provided")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


@dataclass(frozen=True, slots=True)
class Flags:
    """What LAMBDA_DOCKER_FLAGS says, in the engine's words."""

    environment: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    binds: tuple[str, ...] = ()
    extra_hosts: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    ulimits: tuple[Mapping[str, Any], ...] = ()
    cap_add: tuple[str, ...] = ()
    network: str = ""
    user: str = ""
    platform: str = ""
    privileged: bool = False


@dataclass(frozen=True, slots=True)
class ContainerSettings:
    """`images` maps runtimes to images, or is one pattern with `<runtime>` under the key ``."""

    images: Mapping[str, str] = field(default_factory=dict)
    network: str = ""
    dns: tuple[str, ...] = ()
    host_address: str = ""
    """The address of the gateway as containers reach it; empty to find it out."""
    processors: str = "share"
    concurrent_starts: int = field(default_factory=lambda: max(4, 2 * (os.cpu_count() or 2)))
    pull: str = "missing"
    flags: Flags = Flags()

    @classmethod
    def read(cls, settings: Mapping[str, str]) -> ContainerSettings:
        """From LAMBDA_RUNTIME_IMAGE_MAPPING and LAMBDA_DOCKER_*. Raises ValueError that names the setting."""
        values = values_of(settings, _SETTINGS)
        flags: Flags = values.get("flags", Flags())
        return cls(**{"network": flags.network, "dns": flags.dns, **values})

    def image_of(self, runtime: str, architecture: str, native: bool) -> str:
        """The image of a runtime; AWS's own when nothing else is configured.

        AWS's images of the engine's own architecture have the plain tag, others the tag with the architecture, so that neither
        takes the other's place on the machine.
        """
        if found := self.images.get(runtime):
            return found
        if pattern := self.images.get(""):
            return pattern.replace("<runtime>", runtime)
        family = next((name for name in _FAMILIES if runtime.startswith(name)), runtime)
        version = runtime.removeprefix(family).lstrip(".").removesuffix(".x")
        if runtime == "provided":
            version = "alami"
        return f"{REGISTRY}/{family}:{version}{'' if native else f'-{architecture}'}"


def parse_mapping(text: str) -> dict[str, str]:
    """A JSON object of runtime -> image, the path of a file with one, or a pattern with `<runtime>`."""
    if "<runtime>" in text and not text.lstrip().startswith("{"):
        return {"": text.strip()}
    if not text.lstrip().startswith("{"):
        path = Path(text.strip())
        if not path.is_file():
            raise ValueError("is no JSON object, no file, and no pattern with <runtime>")
        text = path.read_text("utf-8")
    found = json.loads(text)
    if not isinstance(found, dict) or not all(isinstance(image, str) for image in found.values()):
        raise ValueError("must be a JSON object of runtimes and images")
    return found


def parse_flags(text: str) -> Flags:
    """The flags of `docker run` that mean something for an environment. Raises ValueError for any other one."""
    parser = _Parser(add_help=False, allow_abbrev=False)
    several: dict[str, Any] = {"action": "append", "default": []}
    parser.add_argument("-e", "--env", **several)
    parser.add_argument("--env-file", **several)
    parser.add_argument("-v", "--volume", **several)
    parser.add_argument("-l", "--label", **several)
    parser.add_argument("-p", "--publish", **several)
    parser.add_argument("--add-host", **several)
    parser.add_argument("--dns", **several)
    parser.add_argument("--ulimit", **several)
    parser.add_argument("--cap-add", **several)
    parser.add_argument("--network", "--net", default="")
    parser.add_argument("-u", "--user", default="")
    parser.add_argument("--platform", default="")
    parser.add_argument("--privileged", action="store_true")
    found = parser.parse_args(shlex.split(text))
    lines = [line for path in found.env_file for line in _env_file(path)]
    return Flags(
        environment=dict(_variable(each) for each in [*lines, *found.env]),
        labels=dict(_pair(each) for each in found.label),
        binds=tuple(found.volume),
        extra_hosts=tuple(_host(each) for each in found.add_host),
        dns=tuple(found.dns),
        ports=tuple(each for each in found.publish if published(each)),
        ulimits=tuple(_ulimit(each) for each in found.ulimit),
        cap_add=tuple(found.cap_add),
        network=found.network,
        user=found.user,
        platform=found.platform,
        privileged=found.privileged,
    )


def published(text: str) -> tuple[str, str, str]:
    """`[address:][port:]container[/protocol]` -> address, port, container's port with its protocol. Raises ValueError."""
    match = re.fullmatch(r"(?:(?:(?P<address>[^:]+):)?(?P<port>\d*):)?(?P<inside>\d+)(?:/(?P<protocol>\w+))?", text)
    if match is None:
        raise ValueError(f"--publish {text}: must be [address:][port:]port[/protocol]")
    return match["address"] or "", match["port"] or "", f"{match['inside']}/{match['protocol'] or 'tcp'}"


def _env_file(path: str) -> list[str]:
    try:
        lines = Path(path).read_text("utf-8").splitlines()
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from error
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def _variable(text: str) -> tuple[str, str]:
    """`NAME=value`; a name alone takes the gateway's value, as docker does."""
    name, found, value = text.partition("=")
    return name, value if found else os.environ.get(name, "")


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value


def _host(text: str) -> str:
    if ":" not in text and "=" not in text:
        raise ValueError(f"--add-host {text}: must be name:address")
    return text if ":" in text else text.replace("=", ":", 1)


def _ulimit(text: str) -> dict[str, Any]:
    name, _, limits = text.partition("=")
    soft, _, hard = limits.partition(":")
    if not re.fullmatch(r"-?\d+", soft) or not re.fullmatch(r"-?\d+", hard or soft):
        raise ValueError(f"--ulimit {text}: must be name=soft[:hard]")
    return {"Name": name, "Soft": int(soft), "Hard": int(hard or soft)}


def _addresses(text: str) -> tuple[str, ...]:
    return tuple(text.replace(",", " ").split())


_SETTINGS: Settings = {
    "LAMBDA_DOCKER_FLAGS": ("flags", parse_flags),
    "LAMBDA_RUNTIME_IMAGE_MAPPING": ("images", parse_mapping),
    "LAMBDA_DOCKER_NETWORK": ("network", str),
    "LAMBDA_DOCKER_DNS": ("dns", _addresses),
    "LAMBDA_DOCKER_HOST_ADDRESS": ("host_address", str),
    "LAMBDA_DOCKER_CPU": ("processors", one_of("share", "limit")),
    "LAMBDA_DOCKER_CONCURRENT_STARTS": ("concurrent_starts", at_least_one),
    "LAMBDA_DOCKER_PULL": ("pull", one_of("missing", "never")),
}
