"""Provider, runtime and wire put together for a host; the same for every host that runs them on its own event loop."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lambda_provider.host import Host, LogEvent
from lambda_provider.hosts.credentials import account_of
from lambda_provider.provider import LambdaProvider
from lambda_provider.validation import validate
from lambda_provider.wire import LambdaWire
from lambda_runtime.config import RuntimeConfig
from lambda_runtime.executors import load_executor
from lambda_runtime.logs import LogEntry, LogSink
from lambda_runtime.metrics import NAMESPACE, MetricSink
from lambda_runtime.service import RuntimeService
from lambda_runtime.types import FunctionVersion


@dataclass(frozen=True)
class Assembly:
    """A provider that works: start it on the loop that it shall live on, stop it there."""

    host: Host
    runtime: RuntimeService
    provider: LambdaProvider
    wire: LambdaWire

    async def start(self) -> None:
        """Take requests from now on."""
        await self.runtime.start()
        self.provider.start()

    async def stop(self) -> None:
        """End sandboxes and worker threads; what the state directory holds stays."""
        self.provider.stop()
        await self.provider.event_sources.ended()
        await self.runtime.stop()
        self.wire.close()


def assemble(
    host: Host,
    *,
    executor: str = "process",
    state_dir: Path | None = None,
    account_of: Callable[[str], str | None] = account_of,
) -> Assembly:
    """Load the executor by its entry point and connect the parts; nothing is started.

    `account_of` tells the account of an access key that is not an account itself.

    Raises LookupError for an unknown executor, ValueError for a setting and StateError for a state directory that cannot be
    used.
    """
    config = RuntimeConfig.from_settings(host.settings, endpoint_url=host.function_endpoint_url)
    runtime = RuntimeService(
        config,
        load_executor(executor, config),
        log_sink=_log_sink(host),
        metric_sink=_metric_sink(host),
        credentials=function_credentials(host),
        retry_policy=lambda invocation: provider.retry_policy(invocation),
        on_outcome=lambda event, outcome: provider.deliveries.event_left(event, outcome),
    )
    provider = LambdaProvider(host, runtime, state_dir=state_dir)
    wire = LambdaWire(provider, validate=validate, account_of=account_of, payload_limit=provider.config.payload_size)
    return Assembly(host, runtime, provider, wire)


def _log_sink(host: Host) -> LogSink:
    def sink(version: FunctionVersion, log_stream: str, entries: Sequence[LogEntry]) -> None:
        host.put_log_events(
            account_id=version.account_id,
            region=version.region,
            log_group=version.log_group or f"/aws/lambda/{version.function_name}",
            log_stream=log_stream,
            events=[LogEvent(timestamp_ms, message) for timestamp_ms, message in entries],
        )

    return sink


def _metric_sink(host: Host) -> MetricSink:
    def sink(account_id: str, region: str, data: Sequence[Mapping[str, Any]]) -> None:
        host.put_metric_data(account_id=account_id, region=region, namespace=NAMESPACE, metrics=data)

    return sink


def function_credentials(host: Host) -> Callable[[FunctionVersion], dict[str, str]]:
    """The variables in which the code of a version finds its credentials, new ones at each call."""
    parameters = inspect.signature(host.issue_credentials).parameters.values()
    # Hosts written before sessions had names go on as they were.
    takes_name = any(item.name == "session_name" or item.kind is item.VAR_KEYWORD for item in parameters)

    def issue(version: FunctionVersion) -> dict[str, str]:
        name = {"session_name": session_name(version.function_name)} if takes_name else {}
        issued = host.issue_credentials(
            role_arn=version.role_arn, account_id=version.account_id, region=version.region, **name
        )
        return {
            "AWS_ACCESS_KEY_ID": issued.access_key_id,
            "AWS_SECRET_ACCESS_KEY": issued.secret_access_key,
            "AWS_SESSION_TOKEN": issued.session_token,
        }

    return issue


def session_name(function_name: str) -> str:
    """The name under which Lambda assumes the execution role: the function's. STS wants two characters at least, hence the
    addition to a shorter one (recorded: test_assume_role)."""
    return function_name if len(function_name) > 1 else f"{function_name}@lambda_function"
