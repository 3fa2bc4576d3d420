"""What a number says of how a process in a container ended."""

from __future__ import annotations

import signal

import pytest

from lambda_runtime.executors.base import ExitStatus
from lambda_runtime.executors.containers.ends import status_of


@pytest.mark.parametrize("number", [signal.SIGABRT, signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_a_code_above_128_is_the_signal_of_that_number(number):
    assert status_of(128 + number) == ExitStatus(signal=number)


@pytest.mark.parametrize("code", [0, 1, 127, 128, 255])
def test_any_other_code_is_what_the_program_said(code):
    assert status_of(code) == ExitStatus(code=code)


def test_an_image_without_a_command_ends_with_what_awss_entry_point_says():
    assert status_of(142) == ExitStatus(code=142)
