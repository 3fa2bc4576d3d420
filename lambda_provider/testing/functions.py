"""A function that a test deployed."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lambda_provider.testing.emulator import Emulator


class FunctionFailed(Exception):
    """A function answered with an error. `log` is the end of the log of that invocation, 4 KiB at most."""

    def __init__(self, name: str, error: Any, log: str) -> None:
        details = error if isinstance(error, dict) else {}
        self.function_name = name
        self.error_type: str = details.get("errorType", "")
        self.error_message: str = details.get("errorMessage", "")
        self.stack_trace: list[str] = details.get("stackTrace") or []
        self.log = log
        super().__init__(f"{name} failed: {self.error_type}: {self.error_message}\n{log}".rstrip())


@dataclass(frozen=True, slots=True)
class DeployedFunction:
    """Calls a function, and reads what it logged. Everything else is there with `emulator.client("lambda")`."""

    name: str
    arn: str
    emulator: Emulator = field(repr=False)

    def __str__(self) -> str:
        return self.name

    def invoke(self, payload: Any = None, **parameters: Any) -> Any:
        """Run it with a JSON value, and return what it returned; `parameters` are Invoke's. Raises FunctionFailed."""
        answer = self.emulator.client("lambda").invoke(
            FunctionName=self.name, Payload=json.dumps(payload), LogType="Tail", **parameters
        )
        value = json.loads(answer["Payload"].read() or b"null")
        if "FunctionError" in answer:
            log = base64.b64decode(answer.get("LogResult", "")).decode("utf-8", "replace")
            raise FunctionFailed(self.name, value, log)
        return value

    def invoke_async(self, payload: Any = None, **parameters: Any) -> None:
        """Hand it an event. `emulator.wait_for_events()` returns when it has left the queue."""
        self.emulator.client("lambda").invoke(
            FunctionName=self.name, Payload=json.dumps(payload), InvocationType="Event", **parameters
        )

    def logs(self) -> list[str]:
        """The lines of its log until now; START, END and REPORT among them."""
        return self.emulator.logs(self.name)
