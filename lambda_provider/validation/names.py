"""Which function is meant: a name, a partial ARN or a full ARN, each with or without qualifier, and the Qualifier parameter.

Whether the text is well formed is the model's business (`constraints`); here it is taken apart, and what its parts must not
be together is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from lambda_provider.api.errors import ValidationException
from lambda_provider.api.exceptions import InvalidParameterValueException, ResourceNotFoundException
from lambda_provider.context import RequestContext, partition_of
from lambda_provider.validation.arns import LATEST, LATEST_PUBLISHED, function_arn
from lambda_provider.validation.constraints import message, violation

MAX_NAME_LENGTH = 64

QualifierKind = Literal["latest", "latest-published", "version", "alias", "other"]


class Qualified(Enum):
    """Which qualifiers an operation takes, in the function's name as well as in the parameter."""

    ANY = "any"
    """A version or an alias: the Get*, Delete*, Invoke and AddPermission families."""

    LATEST_ONLY = "latest only"
    """`$LATEST` or none: what changes the unpublished version."""

    NONE = "none"
    """None: what is set for a function as a whole, as PutFunctionConcurrency."""


@dataclass(frozen=True, slots=True)
class FunctionId:
    """A function, or one of its versions or aliases, wherever it is. Nothing says that it exists.

    `account_id` is that of the ARN if one was given, else the caller's; `region` is always the caller's. `qualifier` is
    None if the request has none: AWS treats that differently from `$LATEST` (a GetFunction answers the unqualified ARN).
    """

    account_id: str
    region: str
    name: str
    qualifier: str | None = None

    @property
    def arn(self) -> str:
        """The ARN of the function, without qualifier."""
        return function_arn(self.account_id, self.region, self.name)

    @property
    def qualified_arn(self) -> str:
        """The ARN as it was asked for: with the qualifier if there is one."""
        return function_arn(self.account_id, self.region, self.name, self.qualifier)

    @property
    def qualifier_kind(self) -> QualifierKind:
        """What the qualifier can be the name of. No qualifier is the unpublished version."""
        return qualifier_kind(self.qualifier or LATEST)

    def or_latest(self) -> FunctionId:
        """The same with the qualifier `$LATEST` if it has none."""
        return self if self.qualifier is not None else FunctionId(self.account_id, self.region, self.name, LATEST)

    def unqualified(self) -> FunctionId:
        """The function itself."""
        return self if self.qualifier is None else FunctionId(self.account_id, self.region, self.name)

    def not_found(self) -> ResourceNotFoundException:
        """The error for a function or version that does not exist, with the ARN as it was asked for.

        Invoke and PutFunctionConcurrency name `$LATEST` where the request has no qualifier (recorded:
        test_invoke_exceptions, test_function_concurrency_exceptions): `or_latest().not_found()`.
        """
        return ResourceNotFoundException(f"Function not found: {self.qualified_arn}")

    def alias_not_found(self) -> ResourceNotFoundException:
        """The error of alias, permission and provisioned concurrency operations for an alias that does not exist.

        What looks like neither version nor alias is a function that is not found (recorded: test_permission_exceptions,
        add_permission_fn_qualifier_valid_doesnotexist).
        """
        if self.qualifier_kind != "alias":
            return self.not_found()
        return ResourceNotFoundException(f"Cannot find alias arn: {self.qualified_arn}")


def qualifier_kind(qualifier: str) -> QualifierKind:
    """What a qualifier can be the name of: digits are a version, `$` is for AWS's own, the rest are aliases."""
    if qualifier == LATEST:
        return "latest"
    if qualifier == LATEST_PUBLISHED:
        return "latest-published"
    if qualifier.isascii() and qualifier.isdigit():
        return "version"
    return "other" if "$" in qualifier else "alias"


def resolve(
    context: RequestContext, function_name: str, qualifier: str | None = None, *, allow: Qualified = Qualified.ANY
) -> FunctionId:
    """The function that a request's FunctionName and Qualifier mean.

    An ARN of another account is resolved to that account: whether the caller may is for whoever checks permissions.
    Raises ResourceNotFoundException for an ARN of another region (recorded for all operations:
    test_get_function_wrong_region) and InvalidParameterValueException for qualifiers that differ
    (test_ops_with_arn_qualifier_mismatch) or that the operation does not take.
    """
    # The way of most invokes: a bare name.
    if ":" not in function_name:
        function = FunctionId(context.account_id, context.region, function_name, qualifier)
    else:
        function = _resolve_parts(context, function_name, qualifier)
    if allow is not Qualified.ANY:
        _refuse_qualifier(function, allow)
    return function


def resolve_new(context: RequestContext, function_name: str) -> FunctionId:
    """The function that CreateFunction is to create: as `resolve`, without a qualifier, and the name not too long.

    The model bounds the whole ARN; the name itself takes 64 characters, and AWS answers a longer one with the validator's
    words ("Length Constraints" of FunctionName in the AWS API reference).
    """
    function = resolve(context, function_name, allow=Qualified.NONE)
    if len(function.name) > MAX_NAME_LENGTH:
        phrase = f"Member must have length less than or equal to {MAX_NAME_LENGTH}"
        raise ValidationException(message([violation(function_name, "functionName", phrase)]))
    return function


# By parts and not by the model's pattern, which takes the name `my-func-1:live` for a region and a name. A region must be
# followed by an account or `function:`, an account by `function:`.
_FUNCTION_NAME = re.compile(
    r"(?:arn:(?P<partition>aws[a-zA-Z-]*)?:lambda:)?"
    r"(?:(?P<region>(?:eusc-)?[a-z]{2}(?:-gov|-iso[a-z]?)?-[a-z]+-\d):(?=\d{12}:|function:))?"
    r"(?:(?P<account>\d{12}):(?=function:))?"
    r"(?:function:)?"
    r"(?P<name>[a-zA-Z0-9_.-]+)"
    r"(?::(?P<qualifier>[a-zA-Z0-9$_.-]+))?"
)


def _resolve_parts(context: RequestContext, function_name: str, qualifier: str | None) -> FunctionId:
    match = _FUNCTION_NAME.fullmatch(function_name)
    if match is None:
        raise ResourceNotFoundException(f"Function not found: {function_name}")
    partition, region, account, name, derived = match.groups()
    if region is not None and region != context.region:
        raise ResourceNotFoundException(
            f"Functions from '{region}' are not reachable in this region ('{context.region}')"
        )
    if partition is not None and partition != partition_of(context.region):
        raise ResourceNotFoundException(f"Function not found: {function_name}")
    if derived is not None and qualifier is not None and derived != qualifier:
        raise InvalidParameterValueException(
            "The derived qualifier from the function name does not match the specified qualifier."
        )
    return FunctionId(account or context.account_id, context.region, name, derived if qualifier is None else qualifier)


def _refuse_qualifier(function: FunctionId, allow: Qualified) -> None:
    if function.qualifier is None or (allow is Qualified.LATEST_ONLY and function.qualifier == LATEST):
        return
    # Recorded: test_function_concurrency_exceptions, put_function_concurrency_with_qualified_arn.
    raise InvalidParameterValueException(
        "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. "
        "Please specify either a function name or an unqualified function ARN."
    )
