"""Which function is meant, and which combinations are refused with AWS's errors."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambda_provider.api.errors import LambdaError, ValidationException
from lambda_provider.api.exceptions import InvalidParameterValueException, ResourceNotFoundException
from lambda_provider.api.spec import load
from lambda_provider.context import RequestContext
from lambda_provider.validation.names import FunctionId, Qualified, qualifier_kind, resolve, resolve_new

CONTEXT = RequestContext("111111111111", "us-east-1", "00000000-0000-0000-0000-000000000000", "GetFunction")
ARN = "arn:aws:lambda:us-east-1:111111111111:function:some-function"
UNQUALIFIED_ONLY = (
    "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. "
    "Please specify either a function name or an unqualified function ARN."
)


@pytest.mark.parametrize(
    ("function_name", "qualifier", "account", "name", "resolved"),
    [
        ("some-function", None, "111111111111", "some-function", None),
        ("some-function", "live", "111111111111", "some-function", "live"),
        ("some-function:live", None, "111111111111", "some-function", "live"),
        ("some-function:$LATEST", None, "111111111111", "some-function", "$LATEST"),
        ("some-function:$LATEST.PUBLISHED", None, "111111111111", "some-function", "$LATEST.PUBLISHED"),
        ("function:some-function", None, "111111111111", "some-function", None),
        ("222222222222:function:some-function", None, "222222222222", "some-function", None),
        ("222222222222:function:some-function:3", None, "222222222222", "some-function", "3"),
        ("us-east-1:111111111111:function:some-function", None, "111111111111", "some-function", None),
        (ARN, None, "111111111111", "some-function", None),
        (ARN, "3", "111111111111", "some-function", "3"),
        (f"{ARN}:live", None, "111111111111", "some-function", "live"),
        (f"{ARN}:live", "live", "111111111111", "some-function", "live"),
        # Names that look like a region or an account.
        ("my-func-1:live", None, "111111111111", "my-func-1", "live"),
        ("333333333333:live", None, "111111111111", "333333333333", "live"),
    ],
)
def test_every_form_of_a_function_name_is_resolved(function_name, qualifier, account, name, resolved):
    assert resolve(CONTEXT, function_name, qualifier) == FunctionId(account, "us-east-1", name, resolved)


def test_an_arn_of_another_region_is_not_reachable():
    """Recorded for all operations: TestLambdaFunction::test_get_function_wrong_region."""
    with pytest.raises(ResourceNotFoundException) as refused:
        resolve(CONTEXT, ARN.replace("us-east-1", "eu-west-1"))
    assert refused.value.message == "Functions from 'eu-west-1' are not reachable in this region ('us-east-1')"
    assert refused.value.fields()["Type"] == "User"


@pytest.mark.parametrize("function_name", [ARN.replace("arn:aws:", "arn:aws-cn:"), "us-east-1:some-function:live"])
def test_an_arn_of_another_partition_or_of_no_documented_form_is_not_found(function_name):
    with pytest.raises(ResourceNotFoundException, match=f"^Function not found: {function_name}$"):
        resolve(CONTEXT, function_name)


@given(st.from_regex(re.compile(load().shape("NamespacedFunctionName").pattern or "", re.ASCII), fullmatch=True))
def test_whatever_the_model_takes_as_a_name_is_resolved_or_refused_by_an_error_of_aws(function_name):
    try:
        function = resolve(CONTEXT, function_name)
    except LambdaError:
        return
    assert function.region == "us-east-1"
    assert function.name in function_name


def test_qualifiers_that_differ_are_refused():
    """Recorded: TestLambdaFunction::test_ops_with_arn_qualifier_mismatch, TestLambdaPermissions::test_permission_exceptions."""
    with pytest.raises(InvalidParameterValueException) as refused:
        resolve(CONTEXT, f"{ARN}:1", "$LATEST")
    assert refused.value.message == (
        "The derived qualifier from the function name does not match the specified qualifier."
    )


@pytest.mark.parametrize(
    ("allow", "function_name", "qualifier"),
    [
        (Qualified.NONE, f"{ARN}:live", None),
        (Qualified.NONE, "some-function:$LATEST", None),
        (Qualified.NONE, "some-function", "1"),
        (Qualified.LATEST_ONLY, f"{ARN}:1", None),
    ],
)
def test_an_operation_on_the_function_as_a_whole_takes_no_qualifier(allow, function_name, qualifier):
    """Recorded: TestLambdaReservedConcurrency::test_function_concurrency_exceptions."""
    with pytest.raises(InvalidParameterValueException) as refused:
        resolve(CONTEXT, function_name, qualifier, allow=allow)
    assert refused.value.message == UNQUALIFIED_ONLY


def test_an_operation_on_the_unpublished_version_takes_latest():
    assert resolve(CONTEXT, f"{ARN}:$LATEST", allow=Qualified.LATEST_ONLY).qualifier == "$LATEST"
    assert resolve(CONTEXT, ARN, allow=Qualified.LATEST_ONLY).qualifier is None


def test_a_new_functions_name_takes_64_characters_whatever_its_arn_takes():
    arn = f"arn:aws:lambda:us-east-1:111111111111:function:{'x' * 64}"
    assert resolve_new(CONTEXT, arn).name == "x" * 64
    with pytest.raises(ValidationException) as refused:
        resolve_new(CONTEXT, "x" * 65)
    assert refused.value.message == (
        f"1 validation error detected: Value '{'x' * 65}' at 'functionName' failed to satisfy constraint: "
        "Member must have length less than or equal to 64"
    )


@pytest.mark.parametrize(
    ("function", "message"),
    [
        # test_ops_on_nonexisting_fn; test_ops_with_arn_qualifier_mismatch; test_invoke_exceptions
        (resolve(CONTEXT, ARN), f"Function not found: {ARN}"),
        (resolve(CONTEXT, ARN, "$LATEST"), f"Function not found: {ARN}:$LATEST"),
        (resolve(CONTEXT, ARN).or_latest(), f"Function not found: {ARN}:$LATEST"),
        (resolve(CONTEXT, ARN, "7").or_latest(), f"Function not found: {ARN}:7"),
        (resolve(CONTEXT, ARN, "7").unqualified(), f"Function not found: {ARN}"),
    ],
)
def test_a_missing_function_is_named_as_it_was_asked_for(function, message):
    assert function.not_found().message == message


@pytest.mark.parametrize(
    ("qualifier", "message"),
    [
        ("alias-doesnotexist", f"Cannot find alias arn: {ARN}:alias-doesnotexist"),
        ("42", f"Function not found: {ARN}:42"),
        ("valid-with-$-but-doesnotexist", f"Function not found: {ARN}:valid-with-$-but-doesnotexist"),
    ],
)
def test_a_missing_alias_is_named_as_alias_only_if_it_could_be_one(qualifier, message):
    """Recorded: TestLambdaPermissions::test_permission_exceptions, test_provisioned_concurrency_exceptions."""
    assert resolve(CONTEXT, ARN, qualifier).alias_not_found().message == message


@pytest.mark.parametrize(
    ("qualifier", "kind"),
    [
        ("$LATEST", "latest"),
        ("$LATEST.PUBLISHED", "latest-published"),
        ("12", "version"),
        ("2024-01-02", "alias"),
        ("live", "alias"),
        ("a$b", "other"),
    ],
)
def test_what_a_qualifier_can_be_the_name_of(qualifier, kind):
    assert qualifier_kind(qualifier) == kind


def test_arns_have_the_partition_of_the_region():
    context = RequestContext("111111111111", "cn-north-1", CONTEXT.request_id, "GetFunction")
    function = resolve(context, "some-function", "live")
    assert function.arn == "arn:aws-cn:lambda:cn-north-1:111111111111:function:some-function"
    assert function.qualified_arn == f"{function.arn}:live"
