"""A whole emulator in this process, for tests."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Self

from lambda_provider.context import DEFAULT_ACCOUNT_ID, DEFAULT_REGION
from lambda_provider.hosts.gateway import GatewayOptions
from lambda_provider.hosts.gateway_thread import GatewayThread
from lambda_provider.hosts.loop_thread import at_exit
from lambda_provider.testing.deployment import Code, deployment_of
from lambda_provider.testing.functions import DeployedFunction
from lambda_provider.testing.logbook import LogGroup, RecordingBareHost, RecordingStandaloneHost

_POLL_S = 0.02
_to_stop: set[Emulator] = set()
"""Those that run."""
_ROLE = "arn:aws:iam::{}:role/lambda-role"


class Emulator:
    """Lambda, and by moto the other AWS services, at a free port of this machine; `with Emulator() as emulator: …`.

    `executor` and `state_dir` are those of `lambda-provider start`. Without `other_services` there is Lambda alone. `settings`
    are taken before those of the environment (docs/configuration.md). `account_id` and `region` are those of clients that are
    not told another one.

    The gateway runs in a thread, so it is there in a few milliseconds once its code is imported; functions run in processes of
    their own, as always, and so does moto, which the first request to another service starts. Usable from every thread.
    """

    __test__ = False

    def __init__(
        self,
        *,
        executor: str = "process",
        state_dir: str | Path | None = None,
        other_services: bool = True,
        settings: Mapping[str, str] | None = None,
        account_id: str = DEFAULT_ACCOUNT_ID,
        region: str = DEFAULT_REGION,
    ) -> None:
        self.account_id = account_id
        self.region = region
        self._options = GatewayOptions(
            port=0, executor=executor, state_dir=Path(state_dir) if state_dir is not None else None
        )
        self._host_type = RecordingStandaloneHost if other_services else RecordingBareHost
        self._settings = {**os.environ, **(settings or {})}
        self._running: GatewayThread | None = None
        self._host: RecordingStandaloneHost | RecordingBareHost
        self._session: Any = None
        self._clients: dict[Any, Any] = {}
        self._clients_lock = threading.Lock()

    # Life

    def start(self) -> Self:
        """Returns when requests are accepted. Raises what `Gateway.serve` raises."""
        if self._running is not None:
            return self
        self._host = self._host_type(self._settings)
        self._running = GatewayThread(self._options, self._host)
        _stop_with_the_process()
        _to_stop.add(self)
        return self

    def stop(self) -> None:
        """End everything: functions, moto, the port. May be called twice; `start` may follow."""
        running, self._running = self._running, None
        _to_stop.discard(self)
        if running is not None:
            self._clients.clear()
            running.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def reset(self) -> None:
        """Forget everything, in all accounts and regions and all services: as if just started, at the same URL.

        What functions still run is ended; logs are gone. Clients stay usable.
        """
        gateway = self.gateway
        gateway.run(gateway.hosted.reset())
        self._host.log_book.clear()

    # For clients

    @property
    def url(self) -> str:
        """Where clients reach it: `http://127.0.0.1:PORT`."""
        return self.gateway.url

    @property
    def session(self) -> Any:
        """A boto3 session for the account and region; its clients find the emulator by `environment`, or take `endpoint_url`."""
        if self._session is None:
            boto3 = _boto3()
            self._session = boto3.session.Session(
                aws_access_key_id=self.account_id, aws_secret_access_key="test", region_name=self.region
            )
        return self._session

    def client(self, service: str, *, region: str | None = None, account_id: str | None = None, **config: Any) -> Any:
        """A boto3 client for a service here. Kept for the next caller; `config` are members of botocore's Config."""
        from botocore.config import Config

        key = (service, region or self.region, account_id or self.account_id, repr(sorted(config.items())))
        with self._clients_lock:
            if key not in self._clients:
                settings: dict[str, Any] = {"s3": {"addressing_style": "path"}, "retries": {"total_max_attempts": 1}}
                self._clients[key] = self.session.client(
                    service,
                    endpoint_url=self.url,
                    region_name=key[1],
                    aws_access_key_id=key[2],
                    aws_secret_access_key="test",
                    config=Config(**{**settings, **config}),
                )
            return self._clients[key]

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables that lead AWS SDKs and tools here, away from your own account."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": self.account_id,
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    @contextmanager
    def in_environment(self) -> Iterator[None]:
        """Within the block `environment` holds in this process, and no other variable of AWS."""
        kept = dict(os.environ)
        session = _forget_default_session()
        for name in aws_variables():
            del os.environ[name]
        os.environ.update(self.environment)
        try:
            yield
        finally:
            for name in aws_variables():
                del os.environ[name]
            os.environ.update({name: value for name, value in kept.items() if name.startswith("AWS_")})
            _forget_default_session(session)

    @property
    def gateway(self) -> GatewayThread:
        """What runs. Raises RuntimeError when nothing does."""
        if self._running is None:
            raise RuntimeError("the emulator does not run: use it as `with Emulator() as emulator:`, or call start()")
        return self._running

    # Functions

    def deploy(
        self,
        code: Code,
        *,
        name: str | None = None,
        handler: str | None = None,
        runtime: str | None = None,
        **parameters: Any,
    ) -> DeployedFunction:
        """Create a function and return it when it is Active.

        `code` is a Python function, the path of a file, a folder or a zip archive, or files as `{name: content}`. What is not
        given follows from it: the `name`, the `handler` and the `runtime`. `parameters` are CreateFunction's (`Timeout=5`).
        Raises ValueError for code that does not say what to run, and botocore's ClientError.
        """
        deployment = deployment_of(code, handler=handler, runtime=runtime)
        client = self.client("lambda")
        answer = client.create_function(
            **{
                "FunctionName": name or self._free_name(deployment.name),
                "Runtime": deployment.runtime,
                "Handler": deployment.handler,
                "Role": _ROLE.format(self.account_id),
                "Code": {"ZipFile": deployment.archive},
                **parameters,
            }
        )
        client.get_waiter("function_active_v2").wait(FunctionName=answer["FunctionName"])
        return DeployedFunction(answer["FunctionName"], answer["FunctionArn"], self)

    def logs(self, function: str | DeployedFunction) -> list[str]:
        """The lines that a function has logged until now, with those of Lambda: START, END, REPORT."""
        self._deliver_logs()
        return self._host.log_book.messages(self._log_group(str(function)))

    def wait_for_log(self, function: str | DeployedFunction, text: str, timeout_s: float = 10.0) -> str:
        """The first line of a function's log that contains `text`, as soon as it is there. Raises TimeoutError."""
        self._deliver_logs()
        return self._host.log_book.wait_for(self._log_group(str(function)), lambda line: text in line, timeout_s)

    def wait_for_events(self, timeout_s: float = 30.0) -> None:
        """Return when no asynchronous event is queued, runs, waits for a retry or has a record under way.

        Raises TimeoutError. Retries come after minutes, unless the setting LAMBDA_CLOCK_RATE makes these shorter.
        """
        events = self.gateway.hosted.assembly.runtime.events
        try:
            self.gateway.run(events.empty(), timeout_s)
        except TimeoutError:
            raise TimeoutError(f"{len(events)} asynchronous events are left after {timeout_s} s") from None

    def wait_for(self, condition: Callable[[], Any], timeout_s: float = 10.0) -> Any:
        """The first true value of `condition`, which is asked again and again. Raises TimeoutError."""
        until = time.monotonic() + timeout_s
        while not (value := condition()):
            if time.monotonic() > until:
                raise TimeoutError(f"still {value!r} after {timeout_s} s")
            time.sleep(_POLL_S)
        return value

    # Inside

    def _free_name(self, name: str) -> str:
        store = self.gateway.hosted.assembly.provider.store
        number, free = 1, name
        while store.find(self.account_id, self.region, free) is not None:
            number += 1
            free = f"{name}-{number}"
        return free

    def _log_group(self, function: str) -> LogGroup:
        account_id, region, name = self.account_id, self.region, function
        if function.startswith("arn:"):
            _, _, _, region, account_id, _, name = function.split(":")[:7]
        name = name.partition(":")[0]
        found = self.gateway.hosted.assembly.provider.store.find(account_id, region, name)
        own = found.latest.configuration.logging.log_group if found is not None else None
        return LogGroup(account_id, region, own or f"/aws/lambda/{name}")

    def _deliver_logs(self) -> None:
        runtime = self.gateway.hosted.assembly.runtime

        async def deliver() -> None:
            runtime.deliver_telemetry()

        self.gateway.run(deliver())


@cache
def _stop_with_the_process() -> None:
    at_exit(_stop_all)


def _stop_all() -> None:
    """What was started by hand, and not stopped."""
    for emulator in list(_to_stop):
        emulator.stop()


def aws_variables() -> list[str]:
    """The names of AWS's variables in the environment of this process."""
    return [name for name in os.environ if name.startswith("AWS_")]


def _forget_default_session(instead: Any = None) -> Any:
    """Let boto3 read the environment anew: `boto3.client(…)` keeps what it found first."""
    boto3: Any = sys.modules.get("boto3")
    if boto3 is None:
        return None
    session, boto3.DEFAULT_SESSION = boto3.DEFAULT_SESSION, instead
    return session


def _boto3() -> Any:
    try:
        import boto3
    except ImportError as error:
        raise ImportError("the clients of tests need boto3: pip install 'lambda-provider[testing]'") from error
    return boto3
