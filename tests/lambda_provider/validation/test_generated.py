"""What holds for every operation: a valid request passes, and one broken in one place is refused naming that place."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lambda_provider.api.errors import ValidationException
from lambda_provider.validation import validate

from .generated import MODEL, breakages, requests

PATIENT = settings(
    max_examples=3,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)

OPERATIONS = sorted(MODEL.operations)


@pytest.mark.parametrize("operation", OPERATIONS)
@PATIENT
@given(data=st.data())
def test_a_valid_request_passes(operation, data):
    validate(operation, data.draw(requests(operation, complete=False)))


@pytest.mark.parametrize("operation", OPERATIONS)
@PATIENT
@given(data=st.data())
def test_a_request_broken_in_one_place_is_refused_naming_that_place(operation, data):
    request = data.draw(requests(operation, complete=True))
    for broken in breakages(MODEL.input_of(operation), request):
        with pytest.raises(ValidationException) as refused:
            validate(operation, broken.value)
        where, _, what = refused.value.message.partition(" failed to satisfy constraint: ")
        assert where.startswith("1 validation error detected: Value"), where[:300]
        assert where.endswith(f" at '{broken.path}'")
        assert what.startswith(broken.container or broken.phrase)
        assert broken.phrase in what
