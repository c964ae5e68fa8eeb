"""Whether an alarm is in ALARM: threshold, M of N, and what missing data mean. Pure; the watch feeds and applies it."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

State = Literal["OK", "ALARM", "INSUFFICIENT_DATA"]
Missing = Literal["missing", "ignore", "breaching", "notBreaching"]

# CloudWatch looks further back than the alarm's periods, so that late points still count.
EXTRA_PERIODS = 2

_COMPARISONS: dict[str, tuple[Callable[[float, float], bool], str]] = {
    "GreaterThanOrEqualToThreshold": (operator.ge, "greater than or equal to"),
    "GreaterThanThreshold": (operator.gt, "greater than"),
    "LessThanThreshold": (operator.lt, "less than"),
    "LessThanOrEqualToThreshold": (operator.le, "less than or equal to"),
}
COMPARISONS = tuple(_COMPARISONS)


@dataclass(frozen=True)
class Rule:
    """The part of an alarm that decides."""

    comparison: str
    threshold: float
    periods: int
    datapoints: int
    missing: Missing = "missing"

    @property
    def range(self) -> int:
        """How many periods are looked at."""
        return self.periods + EXTRA_PERIODS

    def breaches(self, value: float) -> bool:
        return _COMPARISONS[self.comparison][0](value, self.threshold)


@dataclass(frozen=True)
class Verdict:
    """A new state with its reason; `values` are the points (moment, value) that decided, newest first."""

    state: State
    reason: str
    values: tuple[tuple[int, float], ...] = ()


def judge(rule: Rule, points: Sequence[tuple[int, float] | None], state: State) -> Verdict | None:
    """The state that the last `rule.range` periods (oldest first, None where there is no data) ask for.

    None where the alarm keeps its state, whatever it is: data are missing and `ignore` says so, or too few are there
    to tell. The rules are those of CloudWatch's table of missing data.
    """
    window = list(points)[-rule.range :]
    existing = [point for point in window if point is not None]
    recent = existing[-rule.periods :]
    filled = rule.periods - len(recent)
    breaching = [point for point in recent if rule.breaches(point[1])]
    healthy = len(recent) - len(breaching)
    if filled and rule.missing == "breaching":
        alarmed = len(breaching) + filled >= rule.datapoints
        return _verdict(rule, "ALARM" if alarmed else "OK", recent, breaching, filled)
    if filled and rule.missing == "notBreaching":
        alarmed = len(breaching) >= rule.datapoints
        return _verdict(rule, "ALARM" if alarmed else "OK", recent, breaching, filled)
    if len(breaching) >= rule.datapoints:
        return _verdict(rule, "ALARM", recent, breaching, filled)
    if not recent:
        if rule.missing == "ignore" or state == "INSUFFICIENT_DATA":
            return None
        many = "datapoints were" if rule.periods > 1 else "datapoint was"
        return Verdict("INSUFFICIENT_DATA", f"Insufficient Data: {rule.periods} {many} unknown.")
    if healthy:
        return _verdict(rule, "OK", recent, breaching, filled)
    # All that is there breaches, but too little is there: no alarm before the points are as old as M periods.
    age = len(window) - next(index for index, point in enumerate(window) if point is not None)
    if rule.missing == "missing" and age >= rule.datapoints:
        return _verdict(rule, "ALARM", recent, breaching, filled)
    return None


def _verdict(
    rule: Rule,
    state: State,
    recent: Sequence[tuple[int, float]],
    breaching: Sequence[tuple[int, float]],
    filled: int,
) -> Verdict:
    words = _COMPARISONS[rule.comparison][1]
    newest = tuple(reversed(recent))
    if not newest:
        many = "periods" if rule.periods > 1 else "period"
        treated = "Breaching" if state == "ALARM" else "NonBreaching"
        return Verdict(
            state,
            f"Threshold Crossed: no datapoints were received for {rule.periods} {many} and {filled} missing "
            f"datapoint{'s were' if filled > 1 else ' was'} treated as [{treated}].",
        )
    decisive = breaching if state == "ALARM" else [point for point in recent if not rule.breaches(point[1])]
    shown = ", ".join(f"{value:.12g} ({_time(moment)})" for moment, value in reversed(decisive or recent))
    one = len(decisive) == 1
    verb = ("was" if one else "were") + ("" if state == "ALARM" else " not")
    needed = rule.datapoints if state == "ALARM" else max(1, rule.periods - rule.datapoints + 1)
    change = "OK -> ALARM" if state == "ALARM" else "ALARM -> OK"
    return Verdict(
        state,
        f"Threshold Crossed: {len(decisive)} out of the last {rule.periods} datapoint{'s' if rule.periods > 1 else ''} "
        f"[{shown}] {verb} {words} the threshold ({rule.threshold:.12g}) (minimum {needed} "
        f"datapoint{'s' if needed > 1 else ''} for {change} transition).",
        newest,
    )


def _time(moment: int) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%d/%m/%y %H:%M:%S")
