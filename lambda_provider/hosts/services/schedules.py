"""What runs at its time: rules of EventBridge with a schedule, and schedules of EventBridge Scheduler.

Moto keeps them and runs none. The time is the machine's, or as much faster as `LAMBDA_CLOCK_RATE` says.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lambda_provider.hosts.services import cron
from lambda_provider.hosts.services.link import Origin, link
from lambda_provider.hosts.services.patches import replace
from lambda_runtime.clock import ScaledClock

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """Something to run by a schedule."""

    expression: str
    run: Callable[[], None]
    timezone: str = "UTC"
    not_before: float = 0.0
    not_after: float = float("inf")


@dataclass(slots=True)
class _Entry:
    expression: str
    next: cron.Next
    due: float | None


class Timetable:
    """Runs jobs when they are due, on one thread of its own.

    `jobs` names those there are, by a name that stays. It is asked when somebody says `look_again`, and before each run, so
    that what was disabled or deleted in the meantime does not run.
    """

    def __init__(self, jobs: Callable[[], Mapping[str, Job]], rate: float | None = None) -> None:
        self._jobs = jobs
        self._rate = rate or float(os.environ.get("LAMBDA_CLOCK_RATE") or 1)
        self._clock = ScaledClock(self._rate)
        self._changed = threading.Condition()
        self._look = False
        self._entries: dict[str, _Entry] = {}

    def start(self) -> None:
        """Begin; ends with the process."""
        threading.Thread(target=self._run, name="schedules", daemon=True).start()

    def look_again(self) -> None:
        """Jobs came, went, or changed."""
        with self._changed:
            self._look = True
            self._changed.notify()

    def _run(self) -> None:
        while True:
            due = min((entry.due for entry in self._entries.values() if entry.due is not None), default=None)
            with self._changed:
                if not self._look:
                    left = None if due is None else max(0.0, due - self._clock.now()) / self._rate
                    self._changed.wait(left)
                self._look = False
            self._turn()

    def _turn(self) -> None:
        """Learn what there is now, and run what is due."""
        now = self._clock.now()
        jobs = self._jobs()
        for name in [name for name in self._entries if name not in jobs]:
            del self._entries[name]
        for name, job in jobs.items():
            entry = self._entries.get(name)
            if entry is None or entry.expression != job.expression:
                try:
                    following = cron.parse(job.expression, began=now, timezone=job.timezone)
                except (ValueError, KeyError) as error:
                    logger.warning("%s has a schedule that cannot be read: %s", name, error)
                    following = _never
                self._entries[name] = _Entry(job.expression, following, following(max(now, job.not_before - 1)))
            elif entry.due is not None and entry.due <= now:
                entry.due = entry.next(now)
                if now <= job.not_after:
                    self._start(name, job)

    def _start(self, name: str, job: Job) -> None:
        try:
            job.run()
        except Exception:  # One job that fails must not end the others'.
            logger.exception("%s could not be run", name)


def _never(after: float) -> None:
    return None


def install_scheduler() -> None:
    """Have moto's EventBridge Scheduler run functions."""
    from moto.scheduler import models

    backends = models.scheduler_backends

    def jobs() -> dict[str, Job]:
        found = {}
        for account_id, account in list(backends.items()):
            for backend in list(account.values()):
                for group in list(backend.schedule_groups.values()):
                    for schedule in list(group.schedules.values()):
                        if schedule.state == "ENABLED" and schedule.target["Arn"].split(":")[2] == "lambda":
                            found[schedule.arn] = _job(group, schedule, account_id)
        return found

    def noticed(change: Any) -> Any:
        def changed(self: Any, *arguments: Any, **more: Any) -> Any:
            answer = change(self, *arguments, **more)
            timetable.look_again()
            return answer

        return changed

    timetable = Timetable(jobs)
    replace(models.EventBridgeSchedulerBackend, "create_schedule", "self", noticed)
    replace(models.EventBridgeSchedulerBackend, "update_schedule", "self", noticed)
    timetable.start()


def _job(group: Any, schedule: Any, account_id: str) -> Job:
    def run() -> None:
        payload = payload_of(schedule.arn, schedule.target.get("Input"))
        # As the schedule's role, so that the function needs no permission for the service.
        link().send(schedule.target["Arn"], payload.encode(), Origin(account_id=account_id))
        if schedule.action_after_completion == "DELETE" and schedule.schedule_expression.startswith("at("):
            group.schedules.pop(schedule.name, None)

    return Job(
        schedule.schedule_expression,
        run,
        schedule.schedule_expression_timezone,
        float(schedule.start_date or 0),
        float(schedule.end_date or "inf"),
    )


def payload_of(schedule_arn: str, given: str | None) -> str:
    """What a target is told: its input with the context attributes filled in, or else an event much like that of a rule.

    https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-schedule-context-attributes.html. The `detail` of the event
    is a string, on AWS, too.
    """
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    if not given:
        _, _, _, region, account_id, _ = schedule_arn.split(":", 5)
        event = {
            "version": "0",
            "id": str(uuid.uuid4()),
            "detail-type": "Scheduled Event",
            "source": "aws.scheduler",
            "account": account_id,
            "time": moment,
            "region": region,
            "resources": [schedule_arn],
            "detail": "{}",
        }
        return json.dumps(event)
    payload = given
    for name, value in (
        ("schedule-arn", schedule_arn),
        ("scheduled-time", moment),
        ("execution-id", uuid.uuid4().hex[:16]),
        ("attempt-number", "1"),
    ):
        payload = payload.replace(f"<aws.scheduler.{name}>", json.dumps(value)[1:-1])
    return payload
