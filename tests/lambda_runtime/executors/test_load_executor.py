"""Executors are found by entry point."""

from __future__ import annotations

import pytest

from lambda_runtime.config import RuntimeConfig
from lambda_runtime.executors import executor_names, load_executor
from lambda_runtime.executors.process import ProcessExecutor


def test_process_is_registered_and_loaded() -> None:
    assert "process" in executor_names()
    assert isinstance(load_executor("process", RuntimeConfig()), ProcessExecutor)


def test_unknown_name_lists_those_there_are() -> None:
    with pytest.raises(LookupError, match=r"'nope'.*process"):
        load_executor("nope", RuntimeConfig())


def test_capabilities_name_what_is_and_what_is_not_enforced() -> None:
    found = {one.name: one for one in load_executor("process", RuntimeConfig(isolation="none")).capabilities()}
    assert not found["file isolation"].available
    assert "LAMBDA_ISOLATION" in found["file isolation"].detail
    assert not found["network isolation"].available
    assert {"python3.12", "nodejs20.x", "memory limit"} <= set(found)
