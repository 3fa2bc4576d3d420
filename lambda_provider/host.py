"""The Host protocol: what the provider needs from whoever loads it, and nothing else.

An adapter in `hosts/` speaks it for one emulator; a third party registers its own under the entry-point group
`lambda_provider.hosts`, see docs/hosts.md. `HostBase` is what each part does in a host that does not have it. Ground floor:
this module imports nothing of ours.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast, runtime_checkable

AsgiApplication = Callable[
    [
        MutableMapping[str, Any],
        Callable[[], Awaitable[MutableMapping[str, Any]]],
        Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ],
    Awaitable[None],
]
"""What an ASGI server calls: scope, receive, send."""


@dataclass(frozen=True, slots=True)
class LogEvent:
    """One line for CloudWatch Logs: `timestamp_ms` since the epoch, and the message without a size limit of its own."""

    timestamp_ms: int
    message: str


@dataclass(frozen=True, slots=True)
class FunctionCredentials:
    """What the code of a function signs its requests with: temporary credentials of the execution role."""

    access_key_id: str
    secret_access_key: str
    session_token: str


@dataclass(frozen=True, slots=True)
class ContainerImage:
    """An image that the ECR of the host has.

    `digest` is that of its manifest, with `sha256:`; `media_types` are those of the manifest, and for an image of one platform of
    its configuration and layers. `address` is by what an engine pulls exactly this image, None if it cannot be pulled. `policy`
    is the JSON of the repository's policy.
    """

    account_id: str
    region: str
    repository: str
    digest: str
    media_types: tuple[str, ...]
    address: str | None = None
    policy: str | None = None


class ImageNotFound(LookupError):
    """The ECR of the host has no such image, or no such repository."""


@runtime_checkable
class Host(Protocol):
    """The emulator around the provider.

    Every method may be called from any thread. `put_log_events` and `put_metric_data` are called on the runtime's event loop
    and must return at once; what they do with the data happens elsewhere.
    """

    name: str

    @property
    def settings(self) -> Mapping[str, str]:
        """Configuration as `NAME: value`, by default the process's environment variables."""
        ...

    def connect_to(self, service: str, *, account_id: str, region: str) -> Any:
        """A botocore client for another AWS service in that account and region.

        `service` is botocore's name (`s3`, `sqs`). Raises `ServiceUnavailable` when the host does not offer the service.
        """
        ...

    def find_image(self, uri: str) -> ContainerImage | None:
        """The image that the ImageUri of a function names in the host's own ECR; None for one that is somewhere else.

        Raises ImageNotFound when it should be there and is not, ValueError when the URI does not name one image.
        """
        ...

    def function_endpoint_url(self) -> str | None:
        """The URL at which function code reaches the host's AWS services, or None: no `AWS_ENDPOINT_URL` is set then."""
        ...

    def issue_credentials(
        self, *, role_arn: str, account_id: str, region: str, session_name: str
    ) -> FunctionCredentials:
        """Credentials for an execution environment; requests signed with them must be seen as `account_id`'s.

        On AWS they are those of the execution role, assumed under `session_name`, which follows from the function's name. A
        host that has no use for it may leave the parameter out.
        """
        ...

    def put_log_events(
        self, *, account_id: str, region: str, log_group: str, log_stream: str, events: Sequence[LogEvent]
    ) -> None:
        """Append to a stream of CloudWatch Logs, creating group and stream. A host without Logs drops the events."""
        ...

    def put_metric_data(
        self, *, account_id: str, region: str, namespace: str, metrics: Sequence[Mapping[str, Any]]
    ) -> None:
        """Record CloudWatch metrics, in the shape of PutMetricData. A host without CloudWatch drops them."""
        ...


class Activity(Protocol):
    """What a host may say of its services: that there is something for who polls them.

    A host that can has it as its attribute `activity`. Pollers of event sources then look when they are told, and hardly ever
    otherwise; without it they poll as often as AWS does.
    """

    def subscribe(self, arn: str, callback: Callable[[float], None]) -> Callable[[], None]:
        """Call `callback` on the runtime's loop whenever there may be something new at the queue or stream of that ARN.

        Its argument is in how many seconds: 0 for now, more for messages that are delayed or whose visibility timeout is to
        expire. Being called for nothing does no harm. Call this on the loop; what it returns ends the subscription.
        """
        ...


class ServiceUnavailable(Exception):
    """The host has no such AWS service; the message says which, and what to install or enable."""


@runtime_checkable
class UrlRouter(Protocol):
    """A host that has a router of its own, and leads requests for function URLs to us."""

    def route_function_urls(self, application: AsgiApplication) -> None:
        """Send to `application` what arrives for `ID.lambda-url.REGION.` and any domain, and paths under `/_lambda/`.

        Called once, on the event loop that `application` lives on and has to be called on, when requests are accepted.
        """
        ...


class HostBase:
    """A host that has nothing: each part with the behaviour that holds where it is missing.

    Derive from it, and override what your emulator has.
    """

    name = "bare"

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        """`settings` are the process's environment variables unless they are given."""
        self.settings: Mapping[str, str] = dict(os.environ if settings is None else settings)

    def connect_to(self, service: str, *, account_id: str, region: str) -> Any:
        """No other services: code has to come as a zip file, and what an operation checks elsewhere is refused or believed."""
        raise ServiceUnavailable(f"the host {self.name!r} has no {service}")

    def find_image(self, uri: str) -> ContainerImage | None:
        """No registry: an ImageUri is believed, and looked up by whoever runs the function."""
        return None

    def function_endpoint_url(self) -> str | None:
        """`LAMBDA_FUNCTION_ENDPOINT_URL` if that is set. Without it functions talk to AWS itself."""
        return self.settings.get("LAMBDA_FUNCTION_ENDPOINT_URL") or None

    def issue_credentials(
        self, *, role_arn: str, account_id: str, region: str, session_name: str
    ) -> FunctionCredentials:
        """The account is the key, as emulators take it, and the secret is `test`; nobody sees the role."""
        return FunctionCredentials(account_id, "test", "test")

    def put_log_events(
        self, *, account_id: str, region: str, log_group: str, log_stream: str, events: Sequence[LogEvent]
    ) -> None:
        """Logs are dropped; the tail that an invoke asks for (`LogType=Tail`) is there nevertheless."""

    def put_metric_data(
        self, *, account_id: str, region: str, namespace: str, metrics: Sequence[Mapping[str, Any]]
    ) -> None:
        """Metrics are dropped."""


def complete(host: Any) -> Host:
    """The host itself, or, if it lacks parts of the protocol, the host with those of `HostBase`.

    Raises TypeError for what cannot be a host because it has none of them.
    """
    has = [hasattr(host, part) for part in _PARTS]
    if not any(has):
        raise TypeError(f"{host!r} is not a host: derive it from lambda_provider.host.HostBase")
    return cast(Host, host if all(has) else _Completed(host))


class _Completed:
    """A host that lacks something: what it does not have is the default's."""

    def __init__(self, host: Any) -> None:
        self._host = host
        self._default = HostBase(getattr(host, "settings", None))
        self._default.name = getattr(host, "name", type(host).__name__)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._host if hasattr(self._host, name) else self._default, name)


_PARTS = tuple(name for name in ("settings", *vars(HostBase)) if not name.startswith("_"))
