"""When a scheduled action runs next: at(…), rate(…) and cron(…), in a time zone. Pure."""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_UNITS = {"minute": 60, "hour": 3600, "day": 86400}
_MONTHS = {name: number for number, name in enumerate(calendar.month_abbr) if name for name in [name.upper()]}
_DAYS = {name: number for number, name in enumerate(("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"), start=1)}
_YEARS = (1970, 2199)


class ScheduleError(Exception):
    """A schedule that cannot be read; the message says why."""


@dataclass(frozen=True)
class At:
    moment: float

    def after(self, moment: float, _start: float) -> float | None:
        return self.moment if self.moment > moment else None


@dataclass(frozen=True)
class Rate:
    seconds: float

    def after(self, moment: float, start: float) -> float | None:
        """Counted from the start of the action."""
        if moment < start:
            return start
        return start + ((moment - start) // self.seconds + 1) * self.seconds


@dataclass(frozen=True)
class Cron:
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: str
    months: frozenset[int]
    weekdays: str
    years: frozenset[int]
    zone: ZoneInfo

    def after(self, moment: float, _start: float) -> float | None:
        first = datetime.fromtimestamp(moment, self.zone)
        for day in self._days_from(first.date()):
            for hour in self.hours:
                for minute in self.minutes:
                    local = datetime(day.year, day.month, day.day, hour, minute, tzinfo=self.zone)
                    found = local.timestamp()
                    # An hour that the change to summer time skips does not exist.
                    exists = datetime.fromtimestamp(found, self.zone).hour == hour
                    if found > moment and exists:
                        return found
        return None

    def _days_from(self, first: date) -> Iterator[date]:
        day = first
        while day.year <= max(self.years):
            if day.year in self.years and day.month in self.months and self._on(day):
                yield day
            day += timedelta(days=1)

    def _on(self, day: date) -> bool:
        if self.days not in ("*", "?"):
            last = calendar.monthrange(day.year, day.month)[1]
            return day.day == last if self.days == "L" else day.day in _field(self.days, 1, 31, {})
        if self.weekdays in ("*", "?"):
            return True
        weekday = day.isoweekday() % 7 + 1
        nth = re.fullmatch(r"(\w+)#([1-5])", self.weekdays)
        if nth:
            return weekday == _number(nth[1], _DAYS) and (day.day - 1) // 7 + 1 == int(nth[2])
        last_of = re.fullmatch(r"(\w+)L", self.weekdays)
        if last_of:
            return weekday == _number(last_of[1], _DAYS) and day.day + 7 > calendar.monthrange(day.year, day.month)[1]
        return weekday in _field(self.weekdays, 1, 7, _DAYS)


Schedule = At | Rate | Cron


def parse(text: str, timezone: str | None = None) -> Schedule:
    """Raises ScheduleError."""
    zone = _zone(timezone)
    found = re.fullmatch(r"(at|rate|cron)\((.+)\)", text.strip())
    if found is None:
        raise ScheduleError(f"'{text}' is not at(yyyy-mm-ddThh:mm:ss), rate(value unit) or cron(fields).")
    kind, inner = found[1], found[2].strip()
    if kind == "at":
        return _at(inner, zone)
    return _rate(inner) if kind == "rate" else _cron(inner, zone)


def _zone(name: str | None) -> ZoneInfo:
    try:
        return ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        raise ScheduleError(f"There is no time zone '{name}'; use a canonical name such as Europe/Berlin.") from None


def _at(inner: str, zone: ZoneInfo) -> At:
    try:
        moment = datetime.strptime(inner, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=zone)
    except ValueError:
        raise ScheduleError(f"'at({inner})' is not of the form at(yyyy-mm-ddThh:mm:ss).") from None
    return At(moment.astimezone(UTC).timestamp())


def _rate(inner: str) -> Rate:
    found = re.fullmatch(r"(\d+)\s+(minute|hour|day)(s?)", inner)
    if found is None or int(found[1]) < 1:
        raise ScheduleError(f"'rate({inner})' is not of the form rate(value unit); units: minute(s), hour(s), day(s).")
    if (int(found[1]) == 1) == bool(found[3]):
        raise ScheduleError(f"'rate({inner})': a value of 1 takes a singular unit, a larger one a plural.")
    return Rate(float(int(found[1]) * _UNITS[found[2]]))


def _cron(inner: str, zone: ZoneInfo) -> Cron:
    fields = inner.split()
    if len(fields) != 6:
        raise ScheduleError(
            f"'cron({inner})' has {len(fields)} fields; it takes minutes hours day-of-month month day-of-week year."
        )
    minutes, hours, days, months, weekdays, years = (field.upper() for field in fields)
    if (days == "?") == (weekdays == "?"):
        raise ScheduleError(f"'cron({inner})': one of day-of-month and day-of-week must be '?', and only one.")
    cron = Cron(
        tuple(sorted(_field(minutes, 0, 59, {}))),
        tuple(sorted(_field(hours, 0, 23, {}))),
        days,
        frozenset(_field(months, 1, 12, _MONTHS)),
        weekdays,
        frozenset(_field(years, *_YEARS, {})),
        zone,
    )
    cron._on(date(2024, 1, 1))  # reads the day fields, which depend on the month, once
    return cron


def _number(text: str, names: dict[str, int]) -> int:
    if text in names:
        return names[text]
    if not text.isdecimal():
        raise ScheduleError(f"'{text}' is not a value of this cron field.")
    return int(text)


def _field(text: str, least: int, most: int, names: dict[str, int]) -> set[int]:
    """The values of one cron field: `*`, `a`, `a-b`, `a,b`, `*/n`, `a/n`, `a-b/n`."""
    values: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        if span in ("*", "?"):
            first, last = least, most
        elif "-" in span:
            first, last = (_number(one, names) for one in span.split("-", 1))
        else:
            first = _number(span, names)
            last = most if step else first
        if step and (not step.isdecimal() or int(step) < 1):
            raise ScheduleError(f"'{part}' has a step that is no whole number above 0.")
        if not least <= first <= last <= most:
            raise ScheduleError(f"'{part}' is not within {least} to {most}.")
        values |= set(range(first, last + 1, int(step) if step else 1))
    return values
