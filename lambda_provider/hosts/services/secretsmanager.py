"""Rotation of secrets: the function's four steps, as Secrets Manager asks for them.

https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotate-secrets_lambda-functions.html
"""

from __future__ import annotations

import json
import logging
import threading
from typing import Any

from lambda_provider.hosts.services.awslambda import LambdaBackend
from lambda_provider.hosts.services.link import Origin, link
from lambda_provider.hosts.services.patches import replace

logger = logging.getLogger(__name__)


class _Current(threading.local):
    """What is rotated in this thread."""

    secret: Any = None


_current = _Current()


class _StepFailed(Exception):
    """The function failed: the rotation ends, and its version stays pending."""


class _Rotation(LambdaBackend):
    """Lambda as moto's rotation uses it."""

    def __init__(self, account_id: str, region_name: str, secret: Any) -> None:
        super().__init__(account_id, region_name)
        self._secret = secret

    def invoke(
        self, function_name: str, qualifier: str | None, body: Any, headers: Any, response_headers: Any
    ) -> str | bytes:
        """Run one step. The function is told the secret's ARN."""
        event = {**json.loads(body), "SecretId": self._secret.arn}
        origin = Origin(account_id=self.account_id, service="secretsmanager.amazonaws.com", arn=self._secret.arn)
        answer = link().invoke(self.arn_of(function_name), event, origin)
        if answer.error is not None or answer.function_error is not None:
            told = answer.message or answer.payload.decode("utf-8", "replace")
            raise _StepFailed(f"{event['Step']} of {self._secret.arn}: {told}")
        return answer.payload


def install() -> None:
    """Have moto's Secrets Manager rotate as AWS's does."""
    import moto.awslambda.utils as lambda_utils
    from moto.secretsmanager import models

    find = lambda_utils.get_backend

    def rotating(rotate: Any) -> Any:
        def rotate_secret(self: Any, secret_id: str, *arguments: Any, **more: Any) -> Any:
            secret = self.secrets.get(secret_id)
            if secret is None:
                return rotate(self, secret_id, *arguments, **more)
            _current.secret = secret
            try:
                return rotate(self, secret_id, *arguments, **more)
            except _StepFailed as error:
                logger.warning("a rotation failed: %s", error)
                return secret.to_short_dict()
            finally:
                _current.secret = None

        return rotate_secret

    def get_backend(account_id: str, region_name: str) -> Any:
        secret = _current.secret
        return find(account_id, region_name) if secret is None else _Rotation(account_id, region_name, secret)

    vars(lambda_utils)["get_backend"] = get_backend
    replace(models.SecretsManagerBackend, "rotate_secret", "self secret_id", rotating)
