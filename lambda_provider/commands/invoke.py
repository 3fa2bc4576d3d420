"""`lambda-provider invoke NAME`: run a function and print what it answers."""

from __future__ import annotations

import argparse
import base64
import sys
from pathlib import Path
from urllib.parse import quote, urlencode

from lambda_provider.commands import CommandError
from lambda_provider.commands.endpoint import AwsError, Endpoint


def run(options: argparse.Namespace) -> int:
    """Prints the payload on standard output; 0 if the function returned, 1 if it failed or could not be invoked."""
    endpoint = Endpoint(options.endpoint_url, account=options.account, region=options.region)
    path = f"/2015-03-31/functions/{quote(options.name, safe='')}/invocations"
    if options.qualifier:
        path += "?" + urlencode({"Qualifier": options.qualifier})
    headers = {"X-Amz-Invocation-Type": "Event" if options.event else "RequestResponse"}
    if options.tail:
        headers["X-Amz-Log-Type"] = "Tail"
    response, body = endpoint.request("lambda", "POST", path, _payload(options.payload), headers)
    if response.status >= 300:
        raise AwsError.of(response, body)
    if tail := response.headers.get("X-Amz-Log-Result"):
        sys.stderr.write(base64.b64decode(tail).decode("utf-8", "replace"))
    if body:
        print(body.decode("utf-8", "replace"))
    return 1 if response.headers.get("X-Amz-Function-Error") else 0


def _payload(text: str) -> bytes:
    if text == "-":
        return sys.stdin.buffer.read()
    if text.startswith("@"):
        try:
            return Path(text[1:]).read_bytes()
        except OSError as error:
            raise CommandError(f"payload file {text[1:]}: {error.strerror}") from error
    return text.encode()
