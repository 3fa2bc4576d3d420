"""Node.js: where its interpreters are, and what lies beside them in an environment."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from lambda_runtime.executors.process.languages import nodejs_sdk
from lambda_runtime.executors.process.languages.base import (
    Interpreter,
    Language,
    RuntimeFiles,
    interpreter_that_says,
    search_path,
)

AWS_CLIENT = "lib/node_modules/aws-lambda-ric/bin/index.mjs"
"""AWS's own client below an interpreter's prefix, if it was installed with `npm install -g`."""
_CLIENT = Path(__file__).parents[1] / "runtimes" / "nodejs"
_PACKAGES = {"/var/node_modules": "/opt/nodejs/node_modules", "/node_modules": "/var/runtime/node_modules"}
"""`import` does not know NODE_PATH, but looks into the node_modules of every directory above /var/task."""
_PROBE = (
    "const v=process.versions.node.split('.').map(Number),e=require('fs').realpathSync(process.execPath),p=require('path');"
    "console.log(JSON.stringify([v,e,p.dirname(p.dirname(e))]))"
)


class NodeJs(Language):
    """`nodejs16.x` and newer. Those before, which AWS no longer takes, have other names (`nodejs`, `nodejs4.3-edge`)."""

    name = "nodejs"
    runtimes = tuple(f"nodejs{major}.x" for major in (16, 18, 20, 22, 24, 26))
    _pattern = re.compile(r"nodejs(\d*)(?:\.x|\.\d+)?(?:-edge)?")

    def places(self, wanted: tuple[int, ...] | None) -> Iterator[str]:
        """PATH first, then what the usual version managers install."""
        major = f"{wanted[0]}." if wanted else ""
        for directory in (
            *search_path(),
            f"~/.nvm/versions/node/v{major}*/bin",
            f"~/.local/share/fnm/node-versions/v{major}*/installation/bin",
            f"~/.volta/tools/image/node/{major}*/bin",
            f"~/.asdf/installs/nodejs/{major}*/bin",
            f"~/.local/share/mise/installs/node/{major}*/bin",
            f"/opt/hostedtoolcache/node/{major}*/*/bin",
            "/usr/local/bin",
            "/usr/bin",
            "/opt/*/bin",
        ):
            yield f"{directory}/node"

    def ask(self, path: str) -> Interpreter | None:
        """Its exact version and where it is installed."""
        return interpreter_that_says("nodejs", [path, "-e", _PROBE])

    def files(self, interpreter: Interpreter, settings: Mapping[str, str]) -> RuntimeFiles:
        """Our client, and the AWS SDK if this machine has it. ES modules find the packages of layers and of the SDK, too.

        https://docs.aws.amazon.com/lambda/latest/dg/nodejs-layers.html: since `nodejs18.x` ES modules load from layers.
        """
        entries = {path.name: path for path in _CLIENT.iterdir()}
        if sdk := nodejs_sdk.find(settings):
            entries["node_modules"] = sdk
        return RuntimeFiles(entries, links=_PACKAGES)

    def client(self, interpreter: Interpreter, settings: Mapping[str, str]) -> str:
        """AWS's if it is installed for this interpreter, else ours; and whether functions find the AWS SDK."""
        client = "aws-lambda-ric" if (interpreter.prefix / AWS_CLIENT).is_file() else "this package's own client"
        sdk = nodejs_sdk.find(settings)
        return f"{client}, AWS SDK in {sdk}" if sdk else f"{client}, without the AWS SDK: {nodejs_sdk.HOW}"
