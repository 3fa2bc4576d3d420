"""The command `lambda-provider`. Each command is a module of `commands`, imported only when it is called."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from lambda_provider import __version__
from lambda_provider.commands import CommandError

DEFAULT_PORT = 4566


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit status is 0, 1 when it failed with a message, 2 for wrong usage, 130 after Ctrl-C."""
    options = build_parser().parse_args(arguments)
    command = import_module(f"lambda_provider.commands.{options.command}")
    try:
        return int(command.run(options))
    except CommandError as error:
        print(f"lambda-provider: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output has seen enough (`… | head`). Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def build_parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    parser = argparse.ArgumentParser(prog="lambda-provider", description="AWS Lambda on this machine.")
    parser.add_argument("--version", action="version", version=f"lambda-provider {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    start = commands.add_parser("start", help="start the gateway", description="Start the gateway in the foreground.")
    start.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    start.add_argument("--port", type=_port, default=DEFAULT_PORT, help="0 takes a free one (default: %(default)s)")
    start.add_argument("--executor", default="process", help="where functions run (default: %(default)s)")
    start.add_argument(
        "--host-adapter", default="standalone", metavar="NAME", help="plugin of the group lambda_provider.hosts"
    )
    start.add_argument("--state-dir", metavar="DIR", help="keep functions here; without it they end with the gateway")
    start.add_argument(
        "--log-level", default="info", choices=("debug", "info", "warning", "error"), help="(default: %(default)s)"
    )

    invoke = _client_command(commands, "invoke", "invoke a function and print its answer")
    invoke.add_argument("name", help="function name or ARN, with or without a qualifier")
    invoke.add_argument("--payload", default="{}", help="JSON, @FILE, or - for standard input (default: %(default)s)")
    invoke.add_argument("--qualifier", help="version or alias")
    invoke.add_argument("--event", action="store_true", help="asynchronously (InvocationType Event)")
    invoke.add_argument("--tail", action="store_true", help="also print the end of the log, on standard error")

    logs = _client_command(commands, "logs", "print the log of a function")
    logs.add_argument("name", help="function name")
    logs.add_argument("-f", "--follow", action="store_true", help="go on until Ctrl-C")

    status = _client_command(commands, "status", "what a running gateway is doing")
    status.add_argument("--operations", action="store_true", help="which operations of the API are implemented")

    state = _client_command(commands, "state", "all state of a gateway or a state directory as one file")
    state.add_argument("action", choices=("export", "import"))
    state.add_argument("file", metavar="FILE")
    state.add_argument("--state-dir", metavar="DIR", help="work on this directory, which no gateway may be using")
    state.add_argument("--replace", action="store_true", help="import even if this replaces what is there")

    runtimes = commands.add_parser("runtimes", help="get what functions of a language need here")
    runtimes.add_argument("action", choices=("install",))
    runtimes.add_argument(
        "language",
        choices=("java", "nodejs"),
        help="java: AWS's runtime client, fetched once by Maven; nodejs: the AWS SDK for JavaScript, fetched once by npm",
    )
    runtimes.add_argument(
        "packages", nargs="*", metavar="PACKAGE", help="nodejs: what npm is to fetch instead of the usual clients"
    )

    doctor = commands.add_parser("doctor", help="what this machine has and what follows from it")
    doctor.add_argument("--executor", default="process", help="(default: %(default)s)")
    doctor.add_argument("--json", action="store_true", help="for programs")
    return parser


def _client_command(commands: argparse._SubParsersAction, name: str, text: str) -> argparse.ArgumentParser:  # type: ignore[type-arg]
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    url = os.environ.get("AWS_ENDPOINT_URL_LAMBDA") or os.environ.get("AWS_ENDPOINT_URL")
    parser.add_argument(
        "--endpoint-url", default=url or f"http://127.0.0.1:{DEFAULT_PORT}", help="(default: %(default)s)"
    )
    parser.add_argument(
        "--region", default=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    )
    key = os.environ.get("AWS_ACCESS_KEY_ID", "")
    default_account = key if _is_account(key) else "000000000000"
    parser.add_argument("--account", type=_account, default=default_account, help="12 digits (default: %(default)s)")
    return parser


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 65535")
    return number


def _account(text: str) -> str:
    if not _is_account(text):
        raise argparse.ArgumentTypeError(f"{text} is not an account id of 12 digits")
    return text


def _is_account(text: str) -> bool:
    return len(text) == 12 and text.isascii() and text.isdigit()


if __name__ == "__main__":
    sys.exit(main())
