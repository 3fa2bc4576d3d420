"""Calls to the host's other services, with the errors that Lambda answers when they fail."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError

from lambda_provider.api import InvalidParameterValueException, ServiceException
from lambda_provider.host import ServiceUnavailable


@contextmanager
def dependency(service: str, operation: str) -> Iterator[None]:
    """Turn the error of a call within the block into Lambda's.

    AWS answers with the other service's code and words (recorded: test_invalid_vpc_config_security_group for EC2).
    """
    try:
        yield
    except ClientError as error:
        answer = error.response.get("Error", {})
        raise InvalidParameterValueException(
            f"Error occurred while {operation}. {service} Error Code: {answer.get('Code', '')}. "
            f"{service} Error Message: {answer.get('Message', '')}"
        ) from error
    except ServiceUnavailable as error:
        raise InvalidParameterValueException(
            f"Error occurred while {operation}. {service} Error Code: ServiceUnavailable. {service} Error Message: {error}"
        ) from error
    except BotoCoreError as error:
        raise ServiceException(f"Error occurred while {operation}. {service} cannot be reached: {error}") from error
