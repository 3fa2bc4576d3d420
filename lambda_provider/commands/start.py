"""`lambda-provider start`: the gateway in the foreground."""

from __future__ import annotations

import argparse
import asyncio
import logging
from pathlib import Path

from lambda_provider.commands import CommandError
from lambda_provider.hosts.gateway import Gateway, GatewayOptions
from lambda_provider.hosts.server import new_event_loop
from lambda_provider.store.errors import StateError


def run(options: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM. Prints one line, with the URL, when requests are accepted."""
    logging.basicConfig(
        level=options.log_level.upper(), format="%(asctime)s %(levelname)-7s %(name)s: %(message)s", force=True
    )
    # uvicorn tells each step of its life at `info`; ours is the one line.
    logging.getLogger("uvicorn.error").setLevel(max(logging.WARNING, logging.getLogger().level))
    try:
        gateway = Gateway(
            GatewayOptions(
                host=options.host,
                port=options.port,
                executor=options.executor,
                state_dir=Path(options.state_dir) if options.state_dir else None,
                host_adapter=options.host_adapter,
            )
        )
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(gateway.serve(_announce, signals=True))
    except (OSError, LookupError, ImportError, StateError, ValueError) as error:
        raise CommandError(_explain(error)) from error
    return 0


def _explain(error: Exception) -> str:
    if not isinstance(error, OSError) or not error.strerror:
        return str(error)
    return f"{error.filename}: {error.strerror}" if error.filename else error.strerror


def _announce(url: str) -> None:
    print(f"lambda-provider is ready at {url}   use it with: export AWS_ENDPOINT_URL={url}", flush=True)
