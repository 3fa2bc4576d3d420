"""The AWS SDK for JavaScript, which AWS's Node.js runtimes include: where it is found, and how npm fetches it once.

https://docs.aws.amazon.com/lambda/latest/dg/lambda-nodejs.html. AWS includes all clients; here it is the usual ones, and those
that somebody asks for. They lie in a directory of ours that environments see as `/var/runtime/node_modules`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

SETTING = "LAMBDA_NODEJS_SDK"
HOW = "`lambda-provider runtimes install nodejs` fetches it once."
_CLIENTS = (
    "apigatewaymanagementapi",
    "bedrock-runtime",
    "cloudformation",
    "cloudwatch",
    "cloudwatch-logs",
    "cognito-identity-provider",
    "dynamodb",
    "ecs",
    "eventbridge",
    "firehose",
    "iam",
    "kinesis",
    "kms",
    "lambda",
    "rds-data",
    "s3",
    "scheduler",
    "secrets-manager",
    "ses",
    "sesv2",
    "sfn",
    "sns",
    "sqs",
    "ssm",
    "sts",
)
_OTHERS = (
    "credential-providers",
    "lib-dynamodb",
    "lib-storage",
    "s3-presigned-post",
    "s3-request-presigner",
    "util-dynamodb",
)
PACKAGES = tuple(f"@aws-sdk/{name}@3" for name in (*(f"client-{client}" for client in _CLIENTS), *_OTHERS))
"""What is fetched unless packages are named."""
_PATIENCE_S = 900


class NotFetched(Exception):
    """Why the SDK could not be had."""


def find(settings: Mapping[str, str]) -> Path | None:
    """The `node_modules` that has the SDK, if this machine has one: the one that the setting names, or what npm fetched."""
    if place := settings.get(SETTING):
        return Path(place).expanduser().resolve()
    fetched = directory() / "node_modules"
    return fetched if fetched.is_dir() else None


def install(packages: Iterable[str]) -> Path:
    """Have npm fetch these packages, or the usual ones, beside what is there already. Raises NotFetched.

    From where npm fetches everything: registry, proxies and credentials are those of its configuration.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise NotFetched(
            f"The AWS SDK is fetched by npm, and there is no `npm`. Install it, or set {SETTING}=/…/node_modules."
        )
    place = directory()
    place.mkdir(parents=True, exist_ok=True)
    command = [
        npm,
        "install",
        "--prefix",
        str(place),
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--loglevel=error",
    ]
    command += list(packages) or PACKAGES
    try:
        # Environments have a user of their own, who has to be able to read it.
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_PATIENCE_S, check=False, umask=0o022
        )
    except subprocess.TimeoutExpired:
        raise NotFetched(f"npm was not done within {_PATIENCE_S} s.") from None
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip() or f"status {done.returncode}"
        raise NotFetched(f"npm could not fetch the AWS SDK: {said}")
    return place / "node_modules"


def directory() -> Path:
    """Where npm puts it: below XDG_CACHE_HOME."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "lambda-provider" / "nodejs"
