"""In moto's process: moto's other services run functions of ours, wherever AWS's services run functions.

Moto's own Lambda is never imported: `awslambda` stands in its place. `link` is the way to the gateway, `patches` how moto is
changed. A module each for the services whose events AWS describes in detail: `sns`, `s3`, `events` with `schedules` and `cron`,
`logs`, `stepfunctions`. CloudFormation is `cloudformation` (what of moto's is replaced), `stacks` and `steps` (what is done with
a stack), `graph` (in which order), `templates` and `stack_templates`, `resources` with `lambda_resources`, `lambda_settings` and
`other_resources` (what is made), `custom_resources` with `answers` and `cfnresponse`. `install` applies what a service needs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from importlib import import_module

_INSTALLERS: dict[str, str] = {
    "sns": "sns:install",
    "sqs": "sqs:install",
    "s3": "s3:install",
    "logs": "logs:install",
    "events": "events:install",
    "scheduler": "schedules:install_scheduler",
    "stepfunctions": "stepfunctions:install",
    "cloudformation": "cloudformation:install",
}
_lock = threading.RLock()
_installed: set[str] = set()


def install(service: str) -> None:
    """Change what moto has for a service, by its name in moto, once. Raises MotoChanged for a moto that we do not know."""
    with _lock:
        if service == "cloudformation":
            # A stack makes resources of any service.
            for each in _INSTALLERS.keys() - {service}:
                install(each)
        if service not in _INSTALLERS or service in _installed:
            return
        module, _, name = _INSTALLERS[service].partition(":")
        installer: Callable[[], None] = getattr(import_module(f"{__name__}.{module}"), name)
        installer()
        _installed.add(service)
