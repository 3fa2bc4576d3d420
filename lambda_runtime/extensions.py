"""The extensions of one execution environment: who is registered, who is at work, who has failed.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html. External extensions are processes of their own, started
by the executor; internal ones are part of the runtime's process. The endpoints are in `runtime_api/extensions.py`.
"""

from __future__ import annotations

import enum
import json
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from lambda_runtime.executors.base import ExitStatus
from lambda_runtime.failures import signal_name
from lambda_runtime.runtime_api.routes import Refused

MAX_EXTENSIONS = 10
INVOKE, SHUTDOWN = "INVOKE", "SHUTDOWN"


class ExtensionState(enum.Enum):
    """Where an extension stands, in the words of AWS's log lines; the transitions are in `ExtensionGroup`."""

    STARTED = "Started"
    REGISTERED = "Registered"
    READY = "Ready"
    RUNNING = "Running"
    LAUNCH_ERROR = "LaunchError"
    INIT_ERROR = "InitError"
    EXIT_ERROR = "ExitError"
    EXITED = "Exited"


_LIVE = (ExtensionState.STARTED, ExtensionState.REGISTERED, ExtensionState.READY, ExtensionState.RUNNING)
_FAILED = (ExtensionState.LAUNCH_ERROR, ExtensionState.INIT_ERROR, ExtensionState.EXIT_ERROR)


class Waiting(Protocol):
    """A request for the next event that is not answered yet: a connection."""

    def reply(self, status: int, headers: bytes, body: bytes) -> None: ...


class ExtensionsOwner(Protocol):
    """What a group tells its environment; called on the loop."""

    def extensions_registered(self) -> None:
        """Every external extension has registered: the runtime may start."""
        ...

    def extensions_ready(self) -> None:
        """Nobody has anything to do any more; told once for each time that somebody had."""
        ...

    def extension_failed(self, extension: Extension, error_type: str, message: str) -> None:
        """An extension could not be started, reported an error or ended: the environment cannot go on."""
        ...


@dataclass(slots=True, eq=False)
class Extension:
    """One extension. `identifier` is empty until it registered; `waiting` is its open request for the next event."""

    name: str
    external: bool
    state: ExtensionState
    events: tuple[str, ...] = ()
    identifier: str = ""
    error_type: str | None = None
    waiting: Waiting | None = None
    undelivered: bytes | None = None
    """An event that came while it was not waiting."""
    ended: bool = field(default=False)
    """Its process is gone."""


class ExtensionGroup:
    """The extensions of one environment, each in one of these states:

        STARTED -> REGISTERED            it registered; an internal one begins here
        REGISTERED | RUNNING -> READY    it asked for the next event
        READY -> RUNNING                 an INVOKE event went to it
        STARTED -> LAUNCH_ERROR          its file could not be executed
        live -> INIT_ERROR, EXIT_ERROR   it reported an error (InitError only before it was READY for the first time)
        live -> EXITED                   its process ended

    The group is `ready` when all that registered are READY, and `registered` when no external one is STARTED. A failure is told
    once, the first one, and never after `shut_down`.

    Owned by its environment, touched only on the runtime loop; hence no locks.
    """

    def __init__(self, owner: ExtensionsOwner, external: Sequence[str] = ()) -> None:
        self._owner = owner
        self._extensions = {name: Extension(name, True, ExtensionState.STARTED) for name in external}
        self._by_identifier: dict[str, Extension] = {}
        self._open = True
        self._told_registered = not external
        self._failed = False
        self._shutting_down = False
        self._on_change: Callable[[], None] = lambda: None

    def __iter__(self) -> Any:
        return iter(self._extensions.values())

    @property
    def registered(self) -> bool:
        """Whether no external extension is still to register."""
        return all(each.state is not ExtensionState.STARTED for each in self._extensions.values())

    @property
    def ready(self) -> bool:
        """Whether all have asked for their next event."""
        return all(each.state is ExtensionState.READY for each in self._extensions.values())

    @property
    def any_external(self) -> bool:
        """Whether one of them is a process of its own."""
        return any(each.external for each in self._extensions.values())

    @property
    def any_internal(self) -> bool:
        """Whether one of them is a part of the runtime."""
        return not all(each.external for each in self._extensions.values())

    @property
    def shut_down_in_peace(self) -> bool:
        """Whether the process of everybody who gets SHUTDOWN has ended."""
        return all(each.ended for each in self._extensions.values() if SHUTDOWN in each.events)

    # --- what the environment tells

    def close_registration(self) -> None:
        """The runtime is initialised: nobody new can register."""
        self._open = False

    def invoke(self, deadline_ms: int, request_id: str, invoked_arn: str, trace_header: str | None) -> None:
        """READY -> RUNNING for those that want to know of invocations."""
        listening = [each for each in self._extensions.values() if INVOKE in each.events]
        if not listening:
            return
        event: dict[str, Any] = {
            "eventType": INVOKE,
            "deadlineMs": deadline_ms,
            "requestId": request_id,
            "invokedFunctionArn": invoked_arn,
        }
        if trace_header:
            event["tracing"] = {"type": "X-Amzn-Trace-Id", "value": trace_header}
        for extension in listening:
            extension.state = ExtensionState.RUNNING
            _deliver(extension, event)

    def shut_down(self, reason: str, deadline_ms: int, on_change: Callable[[], None]) -> None:
        """Send SHUTDOWN to those that want it; the ends of processes are told to `on_change` from now on."""
        self._on_change = on_change
        event = {"eventType": SHUTDOWN, "shutdownReason": reason, "deadlineMs": deadline_ms}
        for extension in self._extensions.values():
            if SHUTDOWN in extension.events and not extension.ended:
                _deliver(extension, event)

    def stop_judging(self) -> None:
        """The environment ends: from now on no failure matters."""
        self._shutting_down = True

    def process_ended(self, name: str, status: ExitStatus) -> None:
        """The process of an external extension ended, or its file could not be executed."""
        extension = self._extensions[name]
        extension.ended = True
        extension.waiting = None
        if status.entry_point_error is not None:
            extension.state = ExtensionState.LAUNCH_ERROR
            denied = status.entry_point_error.endswith("permission denied")
            extension.error_type = "PermissionDenied" if denied else "UnknownError"
            self._fail(extension, "Extension.LaunchError", status.entry_point_error)
        elif extension.state in _FAILED:
            self._fail(extension, f"Extension.{extension.state.value}", _exit_message(status))
        else:
            extension.state = ExtensionState.EXITED
            self._fail(extension, "Extension.Crash", _exit_message(status))
        self._on_change()

    # --- what the Extensions API calls; methods raise Refused when they come at the wrong time

    def register(self, name: str, events: Sequence[str]) -> Extension:
        """STARTED -> REGISTERED for an external extension; anybody else is a new internal one."""
        extension = self._extensions.get(name)
        if extension is None:
            if not self._open:
                raise Refused(403, "Extension.RegistrationClosed", "Extension registration closed already")
            if len(self._extensions) >= MAX_EXTENSIONS:
                raise Refused(403, "Extension.TooManyExtensions", f"Extension limit ({MAX_EXTENSIONS}) reached")
            extension = Extension(name, False, ExtensionState.STARTED)
        elif extension.state is not ExtensionState.STARTED:
            raise _wrong_transition(extension, ExtensionState.REGISTERED)
        elif sum(each.identifier != "" for each in self._extensions.values()) >= MAX_EXTENSIONS:
            raise Refused(403, "Extension.TooManyExtensions", f"Extension limit ({MAX_EXTENSIONS}) reached")
        for event in events:
            if event == SHUTDOWN and not extension.external:
                text = "ShutdownEventNotSupportedForInternalExtension"
                raise Refused(403, "Extension.InvalidEventType", f"{event}: {text}")
            if event not in (INVOKE, SHUTDOWN):
                raise Refused(403, "Extension.InvalidEventType", f"{event}: Unknown event type")
        self._extensions[name] = extension
        extension.events = tuple(dict.fromkeys(events))
        extension.identifier = str(uuid.uuid4())
        extension.state = ExtensionState.REGISTERED
        self._by_identifier[extension.identifier] = extension
        if not self._told_registered and self.registered:
            self._told_registered = True
            self._owner.extensions_registered()
        return extension

    def find(self, identifier: str | None) -> Extension:
        """The extension that the `Lambda-Extension-Identifier` header names."""
        if not identifier:
            raise Refused(403, "Extension.MissingHeader", "Missing Lambda-Extension-Identifier header")
        extension = self._by_identifier.get(identifier)
        if extension is not None:
            return extension
        try:
            uuid.UUID(identifier)
        except ValueError:
            text = "Invalid Lambda-Extension-Identifier"
            raise Refused(403, "Extension.InvalidExtensionIdentifier", text) from None
        raise Refused(403, "Extension.UnknownExtensionIdentifier", f"Unknown extension {identifier}")

    def waits(self, extension: Extension, waiting: Waiting) -> None:
        """REGISTERED | RUNNING -> READY, when it asks for its next event; a READY one may ask again."""
        if extension.state not in _LIVE:
            raise _wrong_transition(extension, ExtensionState.READY)
        if extension.undelivered is not None:
            body, extension.undelivered = extension.undelivered, None
            _reply(extension, waiting, body)
            return
        extension.waiting = waiting
        if extension.state is not ExtensionState.READY:
            extension.state = ExtensionState.READY
            if self.ready:
                self._owner.extensions_ready()

    def gone(self, extension: Extension, waiting: Waiting) -> None:
        """The connection on which it waited was closed; its next request, or the end of its process, follows."""
        if extension.waiting is waiting:
            extension.waiting = None

    def reported(self, extension: Extension, state: ExtensionState, error_type: str) -> None:
        """It reported an error (`INIT_ERROR` or `EXIT_ERROR`). An external one fails when its process ends, as it should."""
        if extension.state not in _LIVE or (
            state is ExtensionState.INIT_ERROR and extension.state is not ExtensionState.REGISTERED
        ):
            raise _wrong_transition(extension, state)
        extension.state = state
        extension.error_type = error_type
        if not extension.external:
            self._fail(extension, f"Extension.{state.value}", error_type)

    def _fail(self, extension: Extension, error_type: str, message: str) -> None:
        if not self._failed and not self._shutting_down:
            self._failed = True
            self._owner.extension_failed(extension, error_type, message)


def _deliver(extension: Extension, event: dict[str, Any]) -> None:
    body = json.dumps(event, separators=(",", ":")).encode()
    waiting, extension.waiting = extension.waiting, None
    if waiting is None:
        extension.undelivered = body
    else:
        _reply(extension, waiting, body)


def _reply(extension: Extension, waiting: Waiting, body: bytes) -> None:
    headers = (
        f"Lambda-Extension-Identifier: {extension.identifier}\r\nLambda-Extension-Event-Identifier: {uuid.uuid4()}\r\n"
    )
    waiting.reply(200, headers.encode(), body)


def _exit_message(status: ExitStatus) -> str:
    """AWS's words, those of Go's os/exec."""
    if status.signal is not None:
        return f"signal: {signal_name(status.signal)}"
    return f"exit status {status.code}" if status.code else "exit code 0"


def _wrong_transition(extension: Extension, wanted: ExtensionState) -> Refused:
    text = f"State transition from {extension.state.value} to {wanted.value} failed for extension {extension.name}."
    return Refused(403, "Extension.InvalidExtensionState", f"{text} Error: State transition is not allowed")
