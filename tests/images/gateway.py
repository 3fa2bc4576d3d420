"""Build the image of the Dockerfile on a stand-in for its base, for where no registry can be reached.

    python tests/images/gateway.py

The stand-in has what `python:3.12-slim` has for it, the interpreter that runs this script and pip, and what pip would fetch: the
packages that are installed here, so that pip needs no index.
"""

from __future__ import annotations

import importlib.metadata
import re
import sys
import tempfile
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any

import build
from packaging.requirements import Requirement

NAME = "lambda-provider/gateway"
BASE = "lambda-provider/stand-in-slim"
TAG = "stand-in"
WANTED = (
    "botocore",
    "awslambdaric",
    "httptools",
    "uvloop",
    "uvicorn",
    "docker",
    "moto[all,server]",
    "pip",
    "setuptools",
)
LEFT_OUT = ("cfn-lint", "sympy")
"""Large, and only for stacks."""
# The package is built from what is here.
OFFLINE = {"PIP_NO_INDEX": "1", "PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
_UNUSED = re.compile(r"(^|/)(__pycache__|tests)(/|$)|\.py[co]$")


def base() -> build.Tree:
    """An interpreter with pip and our dependencies."""
    tree = build.provided_with_python()
    inside = f"/var/lang/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    for distribution in distributions():
        for file in distribution.files or ():
            path = Path(str(distribution.locate_file(file)))
            # Commands of packages (../../bin) are for this machine's interpreter.
            if file.parts[0] == ".." or _UNUSED.search(str(file)) or not path.is_file():
                continue
            place = f"{inside}/{file}"
            if path.suffix == ".so":
                tree.program(path, place)
            else:
                tree.files[place] = path
    return tree


def distributions() -> list[Distribution]:
    """Those that are wanted, and what they need, as far as it is installed here."""
    found: dict[str, Distribution] = {}
    waiting = [Requirement(each) for each in WANTED]
    seen = set()
    while waiting:
        requirement = waiting.pop()
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        if (name, frozenset(requirement.extras)) in seen or name in LEFT_OUT:
            continue
        seen.add((name, frozenset(requirement.extras)))
        try:
            found[name] = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        for each in map(Requirement, found[name].requires or ()):
            if each.marker is None or any(
                each.marker.evaluate({"extra": extra}) for extra in ("", *requirement.extras)
            ):
                waiting.append(each)
    return [found[name] for name in sorted(found)]


def build_gateway(client: Any) -> str:
    """The image's name. `client` is a `docker.DockerClient`; the engine's own cache tells what is there already."""
    tree = base()
    own = (BASE, tree.digest())
    if not client.images.list(name=":".join(own)):
        with tempfile.TemporaryDirectory() as directory:
            tar = Path(directory, "root.tar")
            tree.write(tar)
            variables = " ".join(f"{name}={value}" for name, value in {**build.ENVIRONMENT, **OFFLINE}.items())
            client.api.import_image_from_file(str(tar), *own, changes=[f"ENV {variables}", f"LABEL {build.LABEL}="])
    before = {image.id for image in client.images.list(name=NAME)}
    image, _ = client.images.build(
        path=str(build.ROOT), buildargs={"BASE": ":".join(own)}, tag=f"{NAME}:{TAG}", rm=True, forcerm=True
    )
    for each in before - {image.id}:
        client.images.remove(each, force=True)
    return f"{NAME}:{TAG}"


def main() -> None:
    import docker

    print(build_gateway(docker.from_env(timeout=120)))


if __name__ == "__main__":
    main()
