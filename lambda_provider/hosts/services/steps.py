"""The steps of an operation on a stack: each is an event, and says what went wrong."""

from __future__ import annotations

import logging
import uuid
from typing import Any

from botocore.exceptions import ClientError

from lambda_provider.hosts.services.resources import current

logger = logging.getLogger(__name__)


class ResourceFailed(Exception):
    """A resource could not be made, changed or deleted; the message is the reason."""


class Operation:
    """This thread works on a stack; what was replaced is kept until the end."""

    def __init__(self, stack: Any) -> None:
        self._stack = stack

    def __enter__(self) -> list[Any]:
        self._outer = (current.stack, current.replaced, current.place)
        current.stack, current.replaced, current.place = self._stack, [], None
        return current.replaced

    def __exit__(self, *_: object) -> None:
        current.stack, current.replaced, current.place = self._outer


class Step:
    """One resource is made, changed or deleted. What goes wrong becomes an event and ResourceFailed."""

    def __init__(self, stack: Any, name: str, kind: str, action: str | None, resource: Any) -> None:
        self._stack, self._name, self._kind, self._action = stack, name, kind, action
        self.resource = resource

    def __enter__(self) -> Step:
        self._outer = current.place
        current.place = self._stack.place(self._name, self._kind)
        if self._action is not None:
            self._stack.event(self._name, self.resource, f"{self._action}_IN_PROGRESS", kind=self._kind)
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        current.place = self._outer
        if error is None:
            if self._action is not None:
                note = getattr(self.resource, "cf_note", None)
                self._stack.event(self._name, self.resource, f"{self._action}_COMPLETE", note, self._kind)
            return
        if isinstance(error, ResourceFailed) or not isinstance(error, Exception):
            return
        reason = reason_of(error)
        logger.debug("%s of %s failed", self._action, self._name, exc_info=error)
        self._stack.event(self._name, self.resource, f"{self._action or 'CREATE'}_FAILED", reason, self._kind)
        verb = {"UPDATE": "update", "DELETE": "delete"}.get(self._action or "", "create")
        raise ResourceFailed(f"The following resource(s) failed to {verb}: [{self._name}]") from error


def reason_of(error: Exception) -> str:
    """What a stack event says of an error."""
    token = f"RequestToken: {uuid.uuid4()}"
    if isinstance(error, ClientError):
        told, meta = error.response["Error"], error.response["ResponseMetadata"]
        message = (
            f"{told.get('Message')} (Status Code: {meta.get('HTTPStatusCode')}, Request ID: {meta.get('RequestId')})"
        )
        code = {"ResourceNotFoundException": "NotFound", "ResourceConflictException": "AlreadyExists"}.get(
            told.get("Code", ""), "InvalidRequest"
        )
        return f'Resource handler returned message: "{message}" ({token}, HandlerErrorCode: {code})'
    return str(error) or type(error).__name__
