"""What the pollers of a mapping tell its user in CloudWatch Logs (LoggingConfig).

https://docs.aws.amazon.com/lambda/latest/dg/esm-logging.html: nothing is written unless the mapping has a level; then it has a
stream of its own, `2026/01/31/UUID`, in the log group of its function, and its level leaves out what is more detailed.

That page shows no line, and none other does. Ours have the form of the system logs of functions (`time`, `type` and `record`:
monitoring-cloudwatchlogs-logformat.html), whatever format the function logs in, with their level, and with the mapping's ARN,
since other logs are in the group, too. A stream has the day of its lines, which have the machine's time, as those of functions.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from lambda_provider.host import LogEvent
from lambda_provider.model.event_source_mapping import EventSourceMapping
from lambda_runtime.clock import Clock
from lambda_runtime.platform_events import timestamp

DEBUG, INFO, WARN = "DEBUG", "INFO", "WARN"

COLLECT_S = 0.05
"""How long lines are collected before the host gets them, as those of functions are."""

_DETAIL = {None: 0, WARN: 1, INFO: 2, DEBUG: 3}
_PREFIX = "eventSourceMapping."

Write = Callable[[str, str, dict[str, Any]], None]
"""Takes level, type and record of a line."""


class SystemLog:
    """The log of one mapping, at its level; None is silence. Touched only on the loop."""

    def __init__(self, level: str | None = None, write: Write = lambda level, type_, record: None) -> None:
        self._write = write
        self.set_level(level)

    def set_level(self, level: str | None) -> None:
        """Write from now on what this level wants."""
        self._detail = _DETAIL[level]
        self.debugging = level == DEBUG
        """Whether anybody reads the details: who would have to gather them looks here first."""

    def debug(self, type_: str, **record: Any) -> None:
        """Tell a detail of the progress."""
        self._tell(DEBUG, type_, record)

    def info(self, type_: str, **record: Any) -> None:
        """Tell of normal operation."""
        self._tell(INFO, type_, record)

    def warn(self, type_: str, **record: Any) -> None:
        """Tell of what went wrong, or may."""
        self._tell(WARN, type_, record)

    def _tell(self, level: str, type_: str, record: dict[str, Any]) -> None:
        if _DETAIL[level] <= self._detail:
            self._write(level, type_, record)


class SystemLogs:
    """The lines of all mappings, on their way to the host: handed over after `COLLECT_S`, and by `flush` at once.

    `group_of` gives the log group of a mapping's function, None if that is gone; its lines are dropped then. Touched only on the
    loop.
    """

    def __init__(
        self, put_log_events: Callable[..., None], clock: Clock, group_of: Callable[[EventSourceMapping], str | None]
    ) -> None:
        self._put = put_log_events
        self._clock = clock
        self._group_of = group_of
        self._lines: dict[tuple[str, str], tuple[EventSourceMapping, list[LogEvent]]] = {}
        """UUID and stream -> what is to be written there."""
        self._timer: asyncio.TimerHandle | None = None

    def log_of(self, mapping: EventSourceMapping) -> SystemLog:
        """The log of a mapping, at the level that it has now."""

        def write(level: str, type_: str, record: dict[str, Any]) -> None:
            moment = self._clock.machine_time()
            time = timestamp(moment)
            line = {
                "time": time,
                "level": level,
                "type": _PREFIX + type_,
                "eventSourceMappingArn": mapping.arn,
                "record": record,
            }
            event = LogEvent(int(moment * 1000), json.dumps(line, separators=(",", ":")) + "\n")
            self._add(mapping, f"{time[:10].replace('-', '/')}/{mapping.name}", event)

        return SystemLog(mapping.settings.log_level, write)

    def flush(self) -> None:
        """Hand over what was told so far."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        lines, self._lines = self._lines, {}
        for (_, stream), (mapping, events) in lines.items():
            if (group := self._group_of(mapping)) is not None:
                self._put(
                    account_id=mapping.account_id,
                    region=mapping.region,
                    log_group=group,
                    log_stream=stream,
                    events=events,
                )

    def _add(self, mapping: EventSourceMapping, stream: str, event: LogEvent) -> None:
        self._lines.setdefault((mapping.name, stream), (mapping, []))[1].append(event)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(COLLECT_S, self.flush)
