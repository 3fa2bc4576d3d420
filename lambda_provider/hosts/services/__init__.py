"""In moto's process: moto's other services run functions of ours, wherever AWS's services run functions.

Moto's own Lambda is never imported: `awslambda` stands in its place. `link` is the way to the gateway, `patches` how moto is
changed; `install` applies what a service needs.

| service | modules |
| --- | --- |
| SNS, SQS, S3, Step Functions | `sns`, `sqs`, `s3` with `s3_event_bridge`, `stepfunctions` |
| Logs | `logs`, `embedded_metrics` |
| ECR | `ecr`, `ecr_catalog`; its registry is a room of its own |
| EventBridge, Scheduler | `events`, `schedules`, `cron` |
| Cognito, Secrets Manager | `cognito`, `secretsmanager` |
| API Gateway | `api_requests` (which API is meant), `rest_apis`, `http_apis`, `quick_create`, `authorizers` |
| CloudFormation: templates | `templates`, `stack_templates`, `graph` (the order of resources) |
| CloudFormation: operations | `cloudformation` (what of moto's is replaced), `stacks`, `steps` |
| CloudFormation: resources | `resources`, `lambda_resources`, `lambda_settings`, `rest_resources`, `http_resources`, … |
| custom resources | `custom_resources`, `answers`, `cfnresponse` |
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from importlib import import_module

_INSTALLERS: dict[str, str] = {
    "sns": "sns:install",
    "sqs": "sqs:install",
    "ecr": "ecr:install",
    "s3": "s3:install",
    "logs": "logs:install",
    "events": "events:install",
    "scheduler": "schedules:install_scheduler",
    "stepfunctions": "stepfunctions:install",
    "apigateway": "api_requests:install",
    "cognitoidp": "cognito:install",
    "secretsmanager": "secretsmanager:install",
    "cloudformation": "cloudformation:install",
}
_lock = threading.RLock()
_installed: set[str] = set()


def install(service: str) -> None:
    """Change what moto has for a service, by its name in moto, once. Raises MotoChanged for a moto that we do not know."""
    with _lock:
        if service not in _INSTALLERS or service in _installed:
            return
        module, _, name = _INSTALLERS[service].partition(":")
        installer: Callable[[], None] = getattr(import_module(f"{__name__}.{module}"), name)
        installer()
        _installed.add(service)
