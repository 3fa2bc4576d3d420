"""`lambda-provider logs NAME`: a function's log, read from CloudWatch Logs of the endpoint."""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any
from urllib.parse import quote

from lambda_provider.commands import CommandError, colours
from lambda_provider.commands.endpoint import AwsError, Endpoint

_POLL_S = 1.0


def run(options: argparse.Namespace) -> int:
    """Prints the events of all streams in the order of time, in colour on a terminal; with `--follow`, goes on until Ctrl-C."""
    endpoint = Endpoint(options.endpoint_url, account=options.account, region=options.region)
    group, streams = _place(endpoint, options.name)
    seen: set[str] = set()
    since_ms = 0
    waiting = False
    in_colour = colours.wanted(sys.stdout)
    while True:
        events = _events(endpoint, group, since_ms)
        if events is None:
            if not options.follow:
                raise CommandError(f"{_nothing_in(group, options)}; was the function invoked there?")
            if not waiting:
                print(f"{_nothing_in(group, options)} yet; waiting", file=sys.stderr)
            waiting, events = True, []
        for event in events:
            if event["eventId"] not in seen and streams in event["logStreamName"]:
                print(_line(event, in_colour), flush=True)
        if not options.follow:
            return 0
        if events:
            # Events of one millisecond may come in two answers: ask for the last one again, and know what was printed.
            since_ms = max(event["timestamp"] for event in events)
            seen = {event["eventId"] for event in events if event["timestamp"] == since_ms}
        time.sleep(_POLL_S)


def _place(endpoint: Endpoint, name: str) -> tuple[str, str]:
    """The log group of a function, and what its streams have in their names; a name that begins with `/` is a log group.

    A function that is not there (any more) had the group of its name.
    """
    if name.startswith("/"):
        return name, ""
    path = f"/2015-03-31/functions/{quote(name, safe='')}/configuration"
    response, body = endpoint.request("lambda", "GET", path)
    if response.status != 200:
        return f"/aws/lambda/{name.rpartition(':function:')[2].partition(':')[0]}", ""
    configuration = json.loads(body)
    function, group = configuration["FunctionName"], configuration["LoggingConfig"]["LogGroup"]
    return group, "" if group == f"/aws/lambda/{function}" else f"/{function}["


def _nothing_in(group: str, options: argparse.Namespace) -> str:
    return f"no log group {group} in {options.region} of account {options.account}"


def _events(endpoint: Endpoint, group: str, since_ms: int) -> list[dict[str, Any]] | None:
    """The events from a time on; None if there is no such log group."""
    request: dict[str, Any] = {"logGroupName": group, "startTime": since_ms, "interleaved": True}
    events: list[dict[str, Any]] = []
    while True:
        try:
            page = endpoint.call_json("logs", "Logs_20140328.FilterLogEvents", request)
        except AwsError as error:
            if error.code == "ResourceNotFoundException":
                return None
            raise
        events += page["events"]
        if not page.get("nextToken"):
            return sorted(events, key=lambda event: int(event["timestamp"]))
        request["nextToken"] = page["nextToken"]


def _line(event: dict[str, Any], in_colour: bool) -> str:
    seconds, milliseconds = divmod(event["timestamp"], 1000)
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    moment, message = f"{moment}.{milliseconds:03d}Z", event["message"].rstrip()
    return colours.coloured(moment, message) if in_colour else f"{moment}  {message}"
