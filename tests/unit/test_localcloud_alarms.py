"""When an alarm rings: CloudWatch's own table of missing data, M of N, and its words."""

from __future__ import annotations

from typing import Any

import pytest

from localcloud.cloudwatch.alarms import Rule, judge

OLD: Any = "OLD"


def rule(periods: int, datapoints: int, missing: Any = "missing") -> Rule:
    return Rule("GreaterThanThreshold", 1.0, periods, datapoints, missing)


def points(shown: str) -> list[tuple[int, float] | None]:
    values = {"0": 0.0, "X": 5.0}
    return [None if one == "-" else (60 * index, values[one]) for index, one in enumerate(shown.split())]


def state(alarm: Rule, shown: str) -> str:
    verdict = judge(alarm, points(shown), OLD)
    return verdict.state if verdict else "keep"


# Oldest first. The columns: missing, ignore, breaching, notBreaching.
THREE_OF_THREE = [
    ("0 - X - X", "OK", "OK", "OK", "OK"),
    ("- - - - 0", "OK", "OK", "OK", "OK"),
    ("- - - - -", "INSUFFICIENT_DATA", "keep", "ALARM", "OK"),
    ("0 X X - X", "ALARM", "ALARM", "ALARM", "ALARM"),
    ("- - X - -", "ALARM", "keep", "ALARM", "OK"),
    ("- - - - X", "keep", "keep", "ALARM", "OK"),
]
TWO_OF_THREE = [
    ("0 - X - X", "ALARM", "ALARM", "ALARM", "ALARM"),
    ("0 0 X 0 X", "ALARM", "ALARM", "ALARM", "ALARM"),
    ("0 - X - -", "OK", "OK", "ALARM", "OK"),
    ("- - - - 0", "OK", "OK", "ALARM", "OK"),
    ("0 X 0 0 0", "OK", "OK", "OK", "OK"),
]


@pytest.mark.parametrize(("shown", "missing", "ignore", "breaching", "not_breaching"), THREE_OF_THREE)
def test_three_of_three_treats_missing_data_as_told(
    shown: str, missing: str, ignore: str, breaching: str, not_breaching: str
) -> None:
    for treatment, expected in zip(
        ("missing", "ignore", "breaching", "notBreaching"), (missing, ignore, breaching, not_breaching), strict=True
    ):
        assert state(rule(3, 3, treatment), shown) == expected, treatment


@pytest.mark.parametrize(("shown", "missing", "ignore", "breaching", "not_breaching"), TWO_OF_THREE)
def test_two_of_three_treats_missing_data_as_told(
    shown: str, missing: str, ignore: str, breaching: str, not_breaching: str
) -> None:
    for treatment, expected in zip(
        ("missing", "ignore", "breaching", "notBreaching"), (missing, ignore, breaching, not_breaching), strict=True
    ):
        assert state(rule(3, 2, treatment), shown) == expected, treatment


def test_the_reason_names_the_points_that_decided_newest_first() -> None:
    verdict = judge(rule(3, 2), points("0 0 X 0 X"), "OK")
    assert verdict is not None
    assert verdict.reason == (
        "Threshold Crossed: 2 out of the last 3 datapoints [5 (01/01/70 00:04:00), 5 (01/01/70 00:02:00)] were greater "
        "than the threshold (1) (minimum 2 datapoints for OK -> ALARM transition)."
    )
    calm = judge(rule(1, 1), points("0 0 0"), "ALARM")
    assert calm is not None
    assert "1 out of the last 1 datapoint [0 (01/01/70 00:02:00)] was not greater than" in calm.reason


@pytest.mark.parametrize(
    ("comparison", "value", "breaches"),
    [
        ("GreaterThanThreshold", 1.0, False),
        ("GreaterThanOrEqualToThreshold", 1.0, True),
        ("LessThanThreshold", 1.0, False),
        ("LessThanOrEqualToThreshold", 1.0, True),
    ],
)
def test_the_threshold_itself_breaches_only_where_the_comparison_includes_it(
    comparison: str, value: float, breaches: bool
) -> None:
    verdict = judge(Rule(comparison, 1.0, 1, 1), [(0, value)], "OK")
    assert verdict is not None
    assert (verdict.state == "ALARM") is breaches


def test_an_alarm_without_data_that_already_says_so_stays() -> None:
    assert judge(rule(2, 2), points("- - - -"), "INSUFFICIENT_DATA") is None
