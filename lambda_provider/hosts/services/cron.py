"""When a schedule is due: `rate(…)`, `cron(…)` and `at(…)` as EventBridge writes them.

https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-scheduled-rule-pattern.html and
https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

_RATE = re.compile(r"rate\((\d+) (minute|hour|day)s?\)")
_CRON = re.compile(r"cron\((.+)\)")
_AT = re.compile(r"at\((.+)\)")
_SECONDS = {"minute": 60, "hour": 3600, "day": 86_400}
_MONTHS = {name.upper(): number for number, name in enumerate(calendar.month_abbr) if name}
_DAYS = {name: number for number, name in enumerate(("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"), 1)}
_LAST_YEAR = 2199

Next = Callable[[float], float | None]
"""The first moment after another one, both in seconds since the epoch; None when there is none."""


def parse(expression: str, *, began: float, timezone: str = "UTC") -> Next:
    """What an expression means. A rate counts from `began`. Raises ValueError."""
    if match := _RATE.fullmatch(expression):
        interval = int(match.group(1)) * _SECONDS[match.group(2)]
        if interval == 0:
            raise ValueError(f"{expression}: a rate is positive")
        return lambda after: began + (int(max(after - began, 0) // interval) + 1) * interval
    if match := _CRON.fullmatch(expression):
        return Cron(match.group(1), ZoneInfo(timezone)).next
    if match := _AT.fullmatch(expression):
        moment = datetime.fromisoformat(match.group(1)).replace(tzinfo=ZoneInfo(timezone)).timestamp()
        return lambda after: moment if moment > after else None
    raise ValueError(f"{expression} is neither rate(…), cron(…) nor at(…)")


class Cron:
    """Six fields: minutes, hours, day of month, month, day of week (1 is Sunday), year."""

    def __init__(self, fields: str, timezone: ZoneInfo) -> None:
        """Raises ValueError."""
        parts = fields.upper().split()
        if len(parts) != 6:
            raise ValueError(f"cron({fields}) has {len(parts)} fields, not 6")
        minutes, hours, self._day, months, self._weekday, years = parts
        self._minutes = _values(minutes, 0, 59)
        self._hours = _values(hours, 0, 23)
        self._months = frozenset(_values(months, 1, 12, _MONTHS))
        self._years = _values(years, 1970, _LAST_YEAR)
        self._timezone = timezone

    def next(self, after: float) -> float | None:
        """The first whole minute after `after` (seconds since the epoch) at which this is due."""
        start = datetime.fromtimestamp(after, UTC).astimezone(self._timezone)
        for year in self._years:
            if year < start.year:
                continue
            for month in sorted(self._months):
                for day in range(1, calendar.monthrange(year, month)[1] + 1):
                    here = date(year, month, day)
                    if here < start.date() or not self._is_due(here):
                        continue
                    for hour in self._hours:
                        for minute in self._minutes:
                            moment = datetime(year, month, day, hour, minute, tzinfo=self._timezone).timestamp()
                            if moment > after:
                                return moment
        return None

    def _is_due(self, day: date) -> bool:
        if self._weekday == "?" or (self._weekday == "*" and self._day != "?"):
            return self._day in ("*", "?") or _is_day_of_month(self._day, day)
        return _is_day_of_week(self._weekday, day)


def _is_day_of_month(field: str, day: date) -> bool:
    last = calendar.monthrange(day.year, day.month)[1]
    for part in field.split(","):
        if part == "L":
            wanted = {last}
        elif part.endswith("W"):
            wanted = {_nearest_weekday(day.year, day.month, last if part == "LW" else int(part[:-1]))}
        else:
            wanted = set(_values(part, 1, 31))
        if day.day in wanted:
            return True
    return False


def _nearest_weekday(year: int, month: int, day: int) -> int:
    """The weekday that is nearest to a day, in the same month."""
    last = calendar.monthrange(year, month)[1]
    wanted = date(year, month, min(day, last))
    if wanted.weekday() == 5:
        wanted += timedelta(days=-1 if wanted.day > 1 else 2)
    elif wanted.weekday() == 6:
        wanted += timedelta(days=1 if wanted.day < last else -2)
    return wanted.day


def _is_day_of_week(field: str, day: date) -> bool:
    number = day.isoweekday() % 7 + 1
    last = calendar.monthrange(day.year, day.month)[1]
    for part in field.split(","):
        if "#" in part:
            name, _, which = part.partition("#")
            if number == _number(name, _DAYS) and (day.day - 1) // 7 + 1 == int(which):
                return True
        elif part == "L":
            if number == 7:
                return True
        elif part.endswith("L"):
            if number == _number(part[:-1], _DAYS) and day.day > last - 7:
                return True
        elif number in _values(part, 1, 7, _DAYS):
            return True
    return False


def _values(field: str, low: int, high: int, names: dict[str, int] | None = None) -> list[int]:
    """The numbers that a field names: `*`, `1`, `1-5`, `*/15`, `3/2`, and lists of them."""
    found: set[int] = set()
    for part in field.split(","):
        spread, slash, step = part.partition("/")
        if spread in ("*", "?"):
            first, last = low, high
        elif "-" in spread:
            first, last = (_number(each, names) for each in spread.split("-", 1))
        else:
            first = _number(spread, names)
            last = high if slash else first
        if not low <= first <= high or not low <= last <= high:
            raise ValueError(f"{field} is not between {low} and {high}")
        # FRI-MON goes around the week.
        numbers = range(first, last + 1) if first <= last else [*range(first, high + 1), *range(low, last + 1)]
        found.update(list(numbers)[:: int(step) if slash else 1])
    return sorted(found)


def _number(text: str, names: dict[str, int] | None) -> int:
    return names[text] if names and text in names else int(text)
