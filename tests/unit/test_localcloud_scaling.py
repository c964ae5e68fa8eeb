"""The rules of Application Auto Scaling, and when scheduled actions run."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from localcloud.autoscaling import decisions
from localcloud.autoscaling.decisions import Last, Limits, Step
from localcloud.autoscaling.registry import check_steps
from localcloud.autoscaling.schedules import ScheduleError, parse
from localcloud.errors import ValidationException


@pytest.mark.parametrize(
    ("capacity", "metric", "target", "wanted"),
    [(1, 250.0, 100.0, 3), (2, 101.0, 100.0, 3), (4, 200.0, 100.0, 8), (3, 100.0000001, 100.0, 4), (0, 5.0, 1.0, 1)],
)
def test_target_tracking_scales_out_in_proportion_and_by_one_at_least(
    capacity: int, metric: float, target: float, wanted: int
) -> None:
    assert decisions.track_out(capacity, metric, target) == wanted


@pytest.mark.parametrize(
    ("capacity", "metrics", "wanted"),
    [(4, [50.0] * 15, 2), (4, [80.0] * 15, 4), (4, [0.0] * 15, 0), (4, [70.0, *[0.0] * 14], 3), (2, [99.0], 2)],
)
def test_target_tracking_scales_in_to_what_the_busiest_of_its_minutes_needs(
    capacity: int, metrics: list[float], wanted: int
) -> None:
    assert decisions.track_in(capacity, metrics, 100.0) == wanted


STEPS = [Step(0, 50, 1), Step(50, 100, 2), Step(100, None, 4)]
DOWN = [Step(None, -50, -2), Step(-50, 0, -1)]


@pytest.mark.parametrize(
    ("steps", "distance", "kind", "least", "wanted"),
    [
        (STEPS, 0, "ChangeInCapacity", 0, 11),
        (STEPS, 50, "ChangeInCapacity", 0, 12),
        (STEPS, 99.9, "ChangeInCapacity", 0, 12),
        (STEPS, 1000, "ChangeInCapacity", 0, 14),
        (STEPS, -1, "ChangeInCapacity", 0, 10),
        (DOWN, -10, "ChangeInCapacity", 0, 9),
        (DOWN, -50, "ChangeInCapacity", 0, 8),
        ([Step(0, None, 5)], 1, "ExactCapacity", 0, 5),
        ([Step(0, None, 25)], 1, "PercentChangeInCapacity", 0, 12),
        ([Step(0, None, 1)], 1, "PercentChangeInCapacity", 0, 11),
        ([Step(0, None, 25)], 1, "PercentChangeInCapacity", 3, 13),
        ([Step(None, 0, -67)], -1, "PercentChangeInCapacity", 0, 4),
        ([Step(None, 0, -1)], -1, "PercentChangeInCapacity", 0, 9),
        ([Step(None, 0, -30)], -1, "ChangeInCapacity", 0, 0),
    ],
)
def test_step_scaling_takes_the_step_that_holds(
    steps: list[Step], distance: float, kind: str, least: int, wanted: int
) -> None:
    assert decisions.adjust(10, distance, steps, kind, least) == wanted


def test_within_a_cooldown_only_a_larger_scale_out_adds_the_difference() -> None:
    last = Last(before=2, after=4, ended=100.0)
    assert decisions.cool_out(4, 6, last, 300, now=200) == 4
    assert decisions.cool_out(4, 7, last, 300, now=200) == 5
    assert decisions.cool_out(4, 6, last, 300, now=400) == 6
    assert decisions.cool_out(4, 6, Last(4, 2, 100.0), 300, now=200) == 6, "a scale-in does not hold a scale-out"
    assert decisions.cool_out(4, 6, Last(2, 4, None), 0, now=200) == 4, "one that is under way counts"


def test_within_a_cooldown_nothing_scales_in_until_it_ends_or_something_scaled_out() -> None:
    assert decisions.cool_in(4, 2, Last(6, 4, 100.0), 300, now=399) == 4
    assert decisions.cool_in(4, 2, Last(6, 4, 100.0), 300, now=400) == 2
    assert decisions.cool_in(4, 2, Last(2, 4, 100.0), 300, now=200) == 2


@pytest.mark.parametrize(
    ("out", "inwards", "held", "wanted"),
    [
        ([6, 8], [2], True, 8),
        ([], [2, 3], False, 3),
        ([], [2], True, 5),
        ([], [], False, 5),
        ([6], [], False, 6),
    ],
)
def test_the_largest_of_several_policies_wins_and_all_must_agree_to_scale_in(
    out: list[int], inwards: list[int], held: bool, wanted: int
) -> None:
    assert decisions.largest(5, out, inwards, held) == wanted


def test_limits_hold() -> None:
    assert [Limits(2, 4).clamp(capacity) for capacity in (0, 2, 3, 9)] == [2, 2, 3, 4]


@pytest.mark.parametrize(
    ("steps", "problem"),
    [
        ([(0, 10), (20, None)], "gap"),
        ([(0, 30), (20, None)], "overlap"),
        ([(10, 10)], "must be greater"),
        ([(None, None), (0, 1)], "no room"),
        ([], "At least one"),
    ],
)
def test_steps_that_aws_refuses_are_refused(steps: list[tuple[float | None, float | None]], problem: str) -> None:
    members = ("MetricIntervalLowerBound", "MetricIntervalUpperBound")
    adjustments = [
        {
            "ScalingAdjustment": 1,
            **{name: bound for name, bound in zip(members, step, strict=True) if bound is not None},
        }
        for step in steps
    ]
    with pytest.raises(ValidationException, match=problem):
        check_steps({"AdjustmentType": "ChangeInCapacity", "StepAdjustments": adjustments})


def moment(text: str, zone: str = "UTC") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


@pytest.mark.parametrize(
    ("schedule", "zone", "now", "runs"),
    [
        ("at(2026-11-24T09:00:00)", "Europe/Berlin", "2026-11-24T07:00", "2026-11-24T08:00"),
        ("at(2026-11-24T09:00:00)", None, "2026-11-24T09:00", None),
        ("cron(0 9 ? * MON-FRI *)", "Europe/Berlin", "2026-11-27T09:00", "2026-11-30T08:00"),
        ("cron(*/15 * * * ? *)", None, "2026-11-24T10:15", "2026-11-24T10:30"),
        ("cron(30 18 L * ? *)", None, "2026-02-01T00:00", "2026-02-28T18:30"),
        ("cron(0 12 ? * 2#1 *)", None, "2026-11-03T00:00", "2026-12-07T12:00"),
        ("cron(0 12 ? * FRIL *)", None, "2026-11-03T00:00", "2026-11-27T12:00"),
        ("cron(0 0 1 JAN,JUL ? 2027)", None, "2026-11-24T00:00", "2027-01-01T00:00"),
        ("cron(0 0 1 1 ? 2020)", None, "2026-11-24T00:00", None),
        # 02:30 does not exist on the day that summer time begins.
        ("cron(30 2 * * ? *)", "Europe/Berlin", "2026-03-28T12:00", "2026-03-30T00:30"),
    ],
)
def test_a_schedule_runs_next_in_its_time_zone(schedule: str, zone: str | None, now: str, runs: str | None) -> None:
    found = parse(schedule, zone).after(moment(now), moment(now))
    assert (None if found is None else datetime.fromtimestamp(found, UTC)) == (
        None if runs is None else datetime.fromisoformat(runs).replace(tzinfo=UTC)
    )


def test_a_rate_counts_from_its_start() -> None:
    rate = parse("rate(10 minutes)")
    assert [rate.after(now, 100.0) for now in (0.0, 100.0, 699.0, 700.0)] == [100.0, 700.0, 700.0, 1300.0]


@pytest.mark.parametrize(
    ("schedule", "zone", "problem"),
    [
        ("every day", None, "is not at"),
        ("rate(1 minutes)", None, "singular"),
        ("rate(0 days)", None, "rate"),
        ("cron(0 9 * * *)", None, "has 5 fields"),
        ("cron(0 9 1 * MON *)", None, "must be .\\?."),
        ("cron(61 * * * ? *)", None, "not within 0 to 59"),
        ("cron(0 9 ? * NOD *)", None, "not a value"),
        ("at(tomorrow)", None, "yyyy-mm-dd"),
        ("rate(1 day)", "Mars/Olympus", "no time zone"),
    ],
)
def test_a_schedule_that_cannot_be_read_is_told(schedule: str, zone: str | None, problem: str) -> None:
    with pytest.raises(ScheduleError, match=problem):
        parse(schedule, zone)
