"""A host and a runtime that tests look into: no processes, no network."""

from __future__ import annotations

import asyncio
import concurrent.futures
import io
import threading
import zipfile
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from lambda_provider.context import RequestContext
from lambda_provider.host import ContainerImage, ServiceUnavailable
from lambda_runtime.clock import SystemClock
from lambda_runtime.errors import RuntimeServiceError, VersionFailed, VersionNotDeployed
from lambda_runtime.event_queue import EventJournal, Outcome, QueuedEvent
from lambda_runtime.managed_instances import Bounds
from lambda_runtime.provisioned import ProvisionedStatus
from lambda_runtime.tracing import Sampler
from lambda_runtime.types import FunctionVersion, Invocation, InvocationResult

T = TypeVar("T")

ACCOUNT = "111111111111"
REGION = "eu-west-1"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/r"


def context(operation: str = "Test", *, region: str = REGION, account_id: str = ACCOUNT) -> RequestContext:
    return RequestContext(
        account_id=account_id,
        region=region,
        request_id="6c2c1c65-7d4e-4f5d-9d2e-0b8ba9c1a001",
        operation=operation,
        endpoint_url="http://gateway:4566",
    )


def arn(name: str, qualifier: str | None = None) -> str:
    function = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}"
    return function if qualifier is None else f"{function}:{qualifier}"


def archive(content: str = "def handler(event, context): return event", name: str = "index.py") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        opened.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()


def creation(name: str = "f", **members: Any) -> Any:
    return {
        "FunctionName": name,
        "Runtime": "python3.12",
        "Handler": "index.handler",
        "Role": ROLE,
        "Code": {"ZipFile": archive()},
        **members,
    }


class FakeRuntime:
    """A runtime on a loop in a thread of its own. `failures` makes versions fail, `gate` holds preparations back."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.deployed: dict[str, FunctionVersion] = {}
        self.begun: list[str] = []
        self.deployments: list[str] = []
        self.retired: list[str] = []
        self.failures: dict[str, VersionFailed] = {}
        self.refusal: RuntimeServiceError | None = None
        self.invocations: list[Invocation] = []
        self.events: list[Invocation] = []
        self.counted: list[tuple[str, str, str]] = []
        self.outcomes: list[Outcome | None] = []
        self.resumed: list[QueuedEvent] = []
        self.event_journal: EventJournal | None = None
        self.clock = SystemClock()
        self.sampler = Sampler()
        self.answer: Callable[[Invocation], InvocationResult] = lambda invocation: InvocationResult(
            payload=invocation.payload, executed_version=invocation.version_arn.rpartition(":")[2]
        )
        self.gate: asyncio.Event | None = None
        self.concurrency = self
        self.reserved: dict[str, int] = {}
        self.provisioned_requests: dict[str, Mapping[str, int]] = {}
        self.provisioned_status = ProvisionedStatus()
        self.bounds: dict[str, Bounds] = {}

    def set_reserved(self, account_id: str, region: str, function_arn: str, reserved: int | None) -> None:
        self.reserved.pop(function_arn, None)
        if reserved is not None:
            self.reserved[function_arn] = reserved

    def set_provisioned(self, name: str, versions: Mapping[str, int]) -> None:
        self.provisioned_requests.pop(name, None)
        if versions:
            self.provisioned_requests[name] = versions

    def set_bounds(self, arn: str, bounds: Bounds | None) -> None:
        self.bounds.pop(arn, None)
        if bounds is not None:
            self.bounds[arn] = bounds

    def provisioned(self, name: str) -> ProvisionedStatus | None:
        return self.provisioned_status if name in self.provisioned_requests else None

    def hold_preparations(self) -> None:
        self.gate = asyncio.Event()

    def release_preparations(self) -> None:
        gate, self.gate = self.gate, None
        assert gate is not None
        self.loop.call_soon_threadsafe(gate.set)

    def submit(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.submit(work).result(30)

    def until(self, true: Callable[[], bool]) -> None:
        """Return when something is true that the loop makes true; fails after half a minute."""

        async def look() -> None:
            while not true():  # noqa: ASYNC110  (nothing tells)
                await asyncio.sleep(0.001)

        self.run(look())

    async def deploy(self, version: FunctionVersion) -> None:
        self.begun.append(version.arn)
        if self.gate is not None:
            await self.gate.wait()
        self.deployments.append(version.arn)
        if failure := self.failures.get(version.arn):
            raise failure
        self.deployed[version.arn] = version

    def has_snapshot(self, arn: str) -> bool:
        return arn in self.deployed and self.deployed[arn].snap_start

    async def retire(self, arn: str) -> None:
        self.retired.append(arn)
        self.deployed.pop(arn, None)

    async def reset(self) -> None:
        self.deployed.clear()
        self.resumed.clear()

    async def invoke(self, invocation: Invocation) -> InvocationResult:
        self._accept(invocation)
        self.invocations.append(invocation)
        return self.answer(invocation)

    async def enqueue(self, invocation: Invocation, outcome: Outcome | None = None) -> None:
        self._accept(invocation)
        self.events.append(invocation)
        self.outcomes.append(outcome)

    def keep_events_in(self, journal: EventJournal | None) -> None:
        self.event_journal = journal

    def resume_events(self, events: Iterable[QueuedEvent]) -> None:
        self.resumed.extend(events)

    def count(self, metric: str, version_arn: str, invoked_arn: str, value: float = 1.0) -> None:
        self.counted.append((metric, version_arn, invoked_arn))

    def forget_events(self) -> None:
        self.resumed.clear()

    async def _cancel_all(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _accept(self, invocation: Invocation) -> None:
        if self.refusal is not None:
            raise self.refusal
        if invocation.version_arn not in self.deployed:
            raise VersionNotDeployed(invocation.version_arn)

    def close(self) -> None:
        self.run(self._cancel_all())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(30)
        self.loop.close()


class FakeHost:
    """A host with the clients that a test gives it, by service name."""

    name = "fake"

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        # Long enough that only readers finish transitions: what a test sees does not depend on how fast it is.
        self.settings: dict[str, str] = {"LAMBDA_SETTLE_MS": "600000", **(settings or {})}
        self.clients: dict[str, Any] = {}
        self.images: dict[str, ContainerImage | Exception] = {}

    def find_image(self, uri: str) -> ContainerImage | None:
        found = self.images.get(uri)
        if isinstance(found, Exception):
            raise found
        return found

    def connect_to(self, service: str, *, account_id: str, region: str) -> Any:
        if service not in self.clients:
            raise ServiceUnavailable(f"no {service} here")
        return self.clients[service]

    def function_endpoint_url(self) -> str | None:
        return None

    def put_log_events(self, **_: Any) -> None:
        """Dropped, as by a host without CloudWatch."""

    def put_metric_data(self, **_: Any) -> None:
        """Dropped, as by a host without CloudWatch."""


class FakeEc2:
    """An EC2 in which `sg-0` and `subnet-0` do not exist, and what ends in `x` is in another VPC than the rest."""

    def describe_security_groups(self, GroupIds: list[str]) -> Any:
        if "sg-0" in GroupIds:
            raise client_error("InvalidGroup.NotFound", "The security group 'sg-0' does not exist")
        return {"SecurityGroups": [{"GroupId": group, "VpcId": self._vpc(group)} for group in GroupIds]}

    def describe_subnets(self, SubnetIds: list[str]) -> Any:
        if "subnet-0" in SubnetIds:
            raise client_error("InvalidSubnetID.NotFound", "The subnet ID 'subnet-0' does not exist")
        return {"Subnets": [{"SubnetId": subnet, "VpcId": self._vpc(subnet)} for subnet in SubnetIds]}

    def _vpc(self, resource: str) -> str:
        return "vpc-2" if resource.endswith("x") else "vpc-1"


def client_error(code: str, message: str = "") -> ClientError:
    """What a botocore client raises for an answer that is an error."""
    return ClientError({"Error": {"Code": code, "Message": message}}, "Operation")
