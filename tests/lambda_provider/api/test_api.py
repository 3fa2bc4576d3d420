from __future__ import annotations

import inspect

import pytest

import lambda_provider.api as api
from lambda_provider.api import LambdaApi, OperationNotImplemented
from lambda_provider.api.coverage import implemented_operations, operation_names
from lambda_provider.api.spec import load, method_name


def test_every_operation_of_the_model_is_a_method() -> None:
    methods = {name for name, _ in inspect.getmembers(LambdaApi, inspect.isfunction)}
    assert methods == {operation.method_name for operation in load().operations.values()}
    assert len(methods) == 91


def test_method_names() -> None:
    assert method_name("GetLayerVersionByArn") == "get_layer_version_by_arn"
    assert method_name("Invoke") == "invoke"


def test_the_generated_method_says_what_is_missing() -> None:
    with pytest.raises(OperationNotImplemented, match="ListFunctions is not implemented"):
        LambdaApi().list_functions(None, {})


def test_only_overridden_operations_count_as_implemented() -> None:
    class Mixin:
        def get_alias(self, context, request):
            return {}

    class Provider(Mixin, LambdaApi):
        async def invoke(self, context, request):
            return {}

    assert implemented_operations(Provider) == implemented_operations(Provider()) == {"GetAlias", "Invoke"}
    assert implemented_operations(LambdaApi) == frozenset()
    assert len(operation_names()) == 91


def test_typed_dictionaries_are_found_on_the_package() -> None:
    assert api.CreateFunctionRequest.__required_keys__ | api.CreateFunctionRequest.__optional_keys__
    with pytest.raises(AttributeError, match="no attribute 'Invented'"):
        _ = api.Invented


class TestErrorMembers:
    def test_type_follows_the_status(self) -> None:
        assert api.ResourceConflictException("m").fields() == {"Type": "User", "message": "m"}
        assert api.KMSAccessDeniedException("m").fields() == {"Type": "Service", "Message": "m"}

    def test_type_can_be_given_and_left_out(self) -> None:
        assert api.ResourceNotFoundException("m", Type="Service").fields() == {"Type": "Service", "Message": "m"}
        assert api.ResourceNotFoundException("m", Type=None).fields() == {"Message": "m"}

    def test_unknown_member_is_a_mistake_of_ours(self) -> None:
        with pytest.raises(TypeError, match="no member Reason"):
            api.ResourceNotFoundException("m", Reason="r")

    def test_unmodelled_errors_have_no_type(self) -> None:
        assert api.RequestEntityTooLargeException("m").fields() == {"message": "m"}
