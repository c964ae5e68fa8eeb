"""How long a schedule holds which range of instances, as shares of a year. Pure.

Costs need the share of the month that an endpoint spends in each range; a year is walked through once, since months
differ and time zones change their clocks.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

# Any year would do; one fixed year makes the same spec cost the same whenever it is asked.
YEAR = 2027
_MONTHS = {name.upper(): number for number, name in enumerate(calendar.month_abbr) if name}
_DAYS = {name: number for number, name in enumerate(("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"), start=1)}


@dataclass(frozen=True)
class Span:
    """A part of the time, between 0 and 1, in which at least `min` and at most `max` instances run."""

    share: float
    min: int
    max: int


@dataclass(frozen=True)
class Change:
    """A scheduled action: from each time that `cron` names on, the range is this one. None leaves a bound as it is."""

    cron: str
    timezone: str
    min: int | None
    max: int | None


def spans(minimum: int, maximum: int, changes: Iterable[Change]) -> tuple[Span, ...]:
    """The ranges that hold in turn, with their shares of the year, the longest first.

    A change holds until the next one. The year begins with what the last change of the year before left. Raises
    ValueError for an expression that is not `cron(…)` or does not parse; `at(…)` happens once and is left out.
    """
    events = sorted(
        (
            (moment, index, change)
            for index, change in enumerate(changes)
            if not change.cron.startswith("at(")
            for moment in _moments(change)
        ),
        key=lambda event: event[:2],
    )
    low, high = minimum, maximum
    for _, _, change in events:
        low, high = _after(low, high, change)
    start = datetime(YEAR, 1, 1, tzinfo=ZoneInfo("UTC")).timestamp()
    end = datetime(YEAR + 1, 1, 1, tzinfo=ZoneInfo("UTC")).timestamp()
    held: dict[tuple[int, int], float] = {}
    now = start
    for moment, _, change in events:
        moment = min(max(moment, start), end)
        held[low, high] = held.get((low, high), 0.0) + moment - now
        now = moment
        low, high = _after(low, high, change)
    held[low, high] = held.get((low, high), 0.0) + end - now
    total = end - start
    ordered = sorted(held.items(), key=lambda item: (-item[1], item[0]))
    return tuple(Span(seconds / total, *bounds) for bounds, seconds in ordered if seconds > 0)


def _after(low: int, high: int, change: Change) -> tuple[int, int]:
    """Application Auto Scaling keeps min at most max: the bound that was set wins."""
    new_low = low if change.min is None else change.min
    new_high = high if change.max is None else change.max
    if new_low > new_high:
        return (new_low, new_low) if change.min is not None else (new_high, new_high)
    return new_low, new_high


def _moments(change: Change) -> Iterator[float]:
    inner = re.fullmatch(r"cron\((.+)\)", change.cron.strip())
    fields = inner[1].upper().split() if inner else []
    if len(fields) != 6:
        raise ValueError(f"'{change.cron}' is no cron(minutes hours day-of-month month day-of-week year)")
    zone = ZoneInfo(change.timezone)
    minutes, hours = sorted(_field(fields[0], 0, 59, {})), sorted(_field(fields[1], 0, 23, {}))
    months, years = _field(fields[3], 1, 12, _MONTHS), _field(fields[5], 1970, 2199, {})
    if "*" not in fields[5] and YEAR not in years:
        return  # a schedule of other years: what holds without it is what the month costs
    day = date(YEAR, 1, 1)
    while day.year == YEAR:
        if day.month in months and _on(day, fields[2], fields[4]):
            for hour in hours:
                for minute in minutes:
                    yield datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone).timestamp()
        day += timedelta(days=1)


def _on(day: date, days: str, weekdays: str) -> bool:
    last = calendar.monthrange(day.year, day.month)[1]
    if days not in ("*", "?"):
        return day.day == last if days == "L" else day.day in _field(days, 1, 31, {})
    if weekdays in ("*", "?"):
        return True
    weekday = day.isoweekday() % 7 + 1
    if nth := re.fullmatch(r"(\w+)#([1-5])", weekdays):
        return weekday in _field(nth[1], 1, 7, _DAYS) and (day.day - 1) // 7 + 1 == int(nth[2])
    if final := re.fullmatch(r"(\w+)L", weekdays):
        return weekday in _field(final[1], 1, 7, _DAYS) and day.day + 7 > last
    return weekday in _field(weekdays, 1, 7, _DAYS)


def _field(text: str, least: int, most: int, names: dict[str, int]) -> set[int]:
    """The values of one field: `*`, `a`, `a-b`, `a,b`, `*/n`, `a/n`."""

    def number(word: str) -> int:
        if word in names:
            return names[word]
        if not word.isdecimal():
            raise ValueError(f"'{word}' is no value of a cron field")
        return int(word)

    values: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        if span in ("*", "?"):
            first, last = least, most
        elif "-" in span:
            first, last = (number(word) for word in span.split("-", 1))
        else:
            first = number(span)
            last = most if step else first
        if not least <= first <= last <= most or (step and (not step.isdecimal() or int(step) < 1)):
            raise ValueError(f"'{part}' is not within {least} to {most}")
        values |= set(range(first, last + 1, int(step) if step else 1))
    return values
