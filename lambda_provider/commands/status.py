"""`lambda-provider status`: what a running gateway is doing, and what it can do."""

from __future__ import annotations

import argparse
import json

from lambda_provider.commands.endpoint import Endpoint


def run(options: argparse.Namespace) -> int:
    """Prints the health page, or with `--operations` which operations of the Lambda API have behaviour."""
    endpoint = Endpoint(options.endpoint_url)
    if not options.operations:
        print(json.dumps(endpoint.get_json("/_lambda/health"), indent=2))
        return 0
    operations = endpoint.get_json("/_lambda/operations")
    missing = [name for name, implemented in operations.items() if not implemented]
    print(f"{len(operations) - len(missing)} of {len(operations)} operations are implemented.")
    for title, names in (
        ("Implemented", [name for name in operations if name not in missing]),
        ("Answer 501, not implemented", missing),
    ):
        if names:
            print(f"\n{title}:")
            print("\n".join(f"  {name}" for name in names))
    return 0
