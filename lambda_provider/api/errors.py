"""Errors that AWS Lambda answers, and the one that is ours.

`LambdaError` is the base of every error that becomes an error response. The errors that the service model names are
generated into `exceptions.py`; here are those that AWS sends without naming them in the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class LambdaError(Exception):
    """An error response of the Lambda API.

    `code` goes into `x-amzn-ErrorType`, `status_code` is the HTTP status. `members` are the members of the error structure
    in the order of the model; the one that holds the text is `Message` or `message`, as the model has it, and `headers` says
    which members travel as a header. `Type` is "User" for a 4xx and "Service" for a 5xx if the error has that member.
    A member given as None is left out of the answer: some operations send no `Type` (recorded for
    PutFunctionConcurrency and the code signing configurations).
    """

    code: ClassVar[str]
    status_code: ClassVar[int]
    members: ClassVar[tuple[str, ...]] = ("message",)
    headers: ClassVar[Mapping[str, str]] = {}

    def __init__(self, message: str = "", **members: Any) -> None:
        unknown = members.keys() - set(self.members)
        if unknown:
            raise TypeError(f"{type(self).__name__} has no member {', '.join(sorted(unknown))}")
        super().__init__(message)
        self.message = message
        self._given = members

    def fields(self) -> dict[str, Any]:
        """The members of the error structure as they are sent, in order; those that are absent are left out."""
        defaults = {
            "Type": "User" if self.status_code < 500 else "Service",
            "Message": self.message,
            "message": self.message,
        }
        values = {name: self._given.get(name, defaults.get(name)) for name in self.members} | self._given
        return {name: value for name, value in values.items() if value is not None}


class OperationNotImplemented(LambdaError):
    """This project has no behaviour for an operation yet. Not an error of AWS, and never retried by its SDKs (501)."""

    code = "OperationNotImplemented"
    status_code = 501

    def __init__(self, operation: str) -> None:
        super().__init__(
            f"The operation {operation} is not implemented here yet; "
            "`lambda-provider status --operations` lists the operations that are."
        )
        self.operation = operation


class ValidationException(LambdaError):
    """The request breaks a constraint of the model (recorded: only a message, no Type)."""

    code = "ValidationException"
    status_code = 400


class SerializationException(LambdaError):
    """The body is not JSON, or a value in it has the wrong JSON type."""

    code = "SerializationException"
    status_code = 400
    members = ("Message",)


class AccessDeniedException(LambdaError):
    """The caller may not do this."""

    code = "AccessDeniedException"
    status_code = 403
    members = ("Message",)


class UnknownOperationException(LambdaError):
    """No operation of Lambda has this method and path."""

    code = "UnknownOperationException"
    status_code = 404
    members = ("Message",)


class RequestEntityTooLargeException(LambdaError):
    """The request, or the archive in it, is larger than Lambda takes (recorded: only a message, no Type)."""

    code = "RequestEntityTooLargeException"
    status_code = 413


class MissingAuthenticationTokenException(LambdaError):
    """The request is not signed where a signature is needed."""

    code = "MissingAuthenticationTokenException"
    status_code = 403


class IncompleteSignatureException(LambdaError):
    """The Authorization header lacks a part of Signature Version 4."""

    code = "IncompleteSignatureException"
    status_code = 403


class InvalidSignatureException(LambdaError):
    """The signature's credential scope is not for this service, region or day."""

    code = "InvalidSignatureException"
    status_code = 403
