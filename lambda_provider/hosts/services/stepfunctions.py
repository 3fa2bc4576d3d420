"""Step Functions: state machines are executed, and what their tasks call is the gateway.

Moto executes them with its interpreter of the Amazon States Language when it is told to; by default an execution only pretends.
Its interpreter names an execution that nobody has named `None`, so that there would be one of a state machine only.
"""

from __future__ import annotations

import uuid
from typing import Any

from lambda_provider.context import DEFAULT_ACCOUNT_ID
from lambda_provider.hosts.services.link import link
from lambda_provider.hosts.services.patches import MotoChanged, replace


def install() -> None:
    """Have moto's Step Functions execute state machines. Before its interpreter is imported."""
    from moto.core.config import default_user_config
    from moto.stepfunctions import models
    from moto.stepfunctions.parser.asl.utils import boto_client

    replace(boto_client, "boto_client_for", "region service state_credentials", lambda _: client_for)
    default_user_config["stepfunctions"] = {"execute_state_machine": True}

    from moto.stepfunctions.parser.models import StepFunctionsParserBackend, stepfunctions_parser_backends

    replace(StepFunctionsParserBackend, "start_execution", "self state_machine_arn name", _with_name)

    # CloudFormation makes state machines by this name, for the backends that do not execute.
    if not hasattr(models, "stepfunctions_backends"):
        raise MotoChanged("has no moto.stepfunctions.models.stepfunctions_backends")
    vars(models)["stepfunctions_backends"] = stepfunctions_parser_backends


def _with_name(start_execution: Any) -> Any:
    def start(self: Any, state_machine_arn: str, name: str | None = None, *arguments: Any, **options: Any) -> Any:
        return start_execution(self, state_machine_arn, name or str(uuid.uuid4()), *arguments, **options)

    return start


def client_for(region: str, service: str, state_credentials: Any = None) -> Any:
    """A client for a task, in the account of the role that it runs with."""
    role = getattr(state_credentials, "role_arn", None) or ""
    parts = role.split(":")
    account = parts[4] if len(parts) > 4 and parts[4].isdigit() else DEFAULT_ACCOUNT_ID
    # Parameters are checked by the service; the interpreter passes them on as the state machine has them.
    return link().client(service, account, region, parameter_validation=False)
