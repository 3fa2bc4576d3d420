"""What functions logged, where a test reads it: in memory, beside CloudWatch Logs."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from lambda_provider.host import LogEvent
from lambda_provider.hosts.bare import BareHost
from lambda_provider.hosts.standalone import StandaloneHost

_MAX_EVENTS_A_GROUP = 100_000


class LogGroup(NamedTuple):
    """Where logs are: `/aws/lambda/NAME` unless the function has a group of its own."""

    account_id: str
    region: str
    name: str


class LogBook:
    """Log events by group, in the order in which they came; of each group the last 100,000. Usable from every thread."""

    def __init__(self) -> None:
        self._events: dict[LogGroup, deque[LogEvent]] = {}
        self._changed = threading.Condition()

    def add(self, group: LogGroup, events: Sequence[LogEvent]) -> None:
        """Append, and wake who waits."""
        with self._changed:
            self._events.setdefault(group, deque(maxlen=_MAX_EVENTS_A_GROUP)).extend(events)
            self._changed.notify_all()

    def messages(self, group: LogGroup) -> list[str]:
        """The lines of a group, without their line ends."""
        with self._changed:
            return [event.message.rstrip("\n") for event in self._events.get(group, ())]

    def wait_for(self, group: LogGroup, matches: Callable[[str], bool], timeout_s: float) -> str:
        """The first line that matches, as soon as there is one. Raises TimeoutError."""
        until = time.monotonic() + timeout_s
        with self._changed:
            seen = 0
            while True:
                events = self._events.get(group, deque())
                for event in list(events)[seen:] if len(events) < _MAX_EVENTS_A_GROUP else events:
                    if matches(event.message):
                        return event.message.rstrip("\n")
                seen = len(events)
                if not self._changed.wait(max(0.0, until - time.monotonic())):
                    raise TimeoutError(f"nothing like that in {seen} lines of {group.name} within {timeout_s} s")

    def clear(self) -> None:
        """Forget everything."""
        with self._changed:
            self._events.clear()


class _Recording:
    """A host whose logs are in `log_book`, too."""

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        super().__init__(settings)  # type: ignore[call-arg]  # The host beside us in the bases.
        self.log_book = LogBook()

    def put_log_events(self, *, account_id: str, region: str, log_group: str, events: Any, **more: Any) -> None:
        self.log_book.add(LogGroup(account_id, region, log_group), events)
        super().put_log_events(  # type: ignore[misc]
            account_id=account_id, region=region, log_group=log_group, events=events, **more
        )


class RecordingStandaloneHost(_Recording, StandaloneHost):
    """Lambda, and all other services by moto."""


class RecordingBareHost(_Recording, BareHost):
    """Lambda alone."""
