"""Limits and switches of the control plane."""

from __future__ import annotations

from lambda_provider.config import ProviderConfig
from lambda_runtime.config import RuntimeConfig


def test_both_planes_read_the_same_settings_each_for_itself() -> None:
    given = {"LAMBDA_SETTLE_MS": "50", "LAMBDA_LIMITS_CONCURRENT_EXECUTIONS": "7"}
    data, control = RuntimeConfig.from_settings(given), ProviderConfig.from_settings(given)
    assert (data.provisioning_delay_s, control.settle_s) == (0.05, 0.05)
    assert (data.concurrency_limit, control.concurrent_executions) == (7, 7)
