"""Curves of traffic, and the moments that they lead to."""

from __future__ import annotations

import itertools

import pytest

from localcloud.traffic.arrivals import Curve, Phase, arrivals
from localcloud.traffic.open_loop import percentile


def test_each_kind_of_phase_has_its_shape() -> None:
    step = Phase("step", 60, 1, to=4, at=20)
    spike = Phase("spike", 60, 1, to=9, at=20, width=10)
    daily = Phase("daily", 86400, 2, to=10, at=14 * 3600)
    assert [Phase("steady", 60, 3).at_moment(moment) for moment in (0, 59)] == [3, 3]
    assert [step.at_moment(moment) for moment in (0, 19, 20, 59)] == [1, 1, 4, 4]
    assert [spike.at_moment(moment) for moment in (19, 20, 29, 30)] == [1, 9, 9, 1]
    assert [round(daily.at_moment(hour * 3600), 9) for hour in (2, 8, 14, 20)] == [2, 6, 10, 6]


def test_phases_follow_each_other_and_the_last_one_goes_on() -> None:
    curve = Curve([Phase("steady", 10, 1), Phase("step", 10, 2, to=3, at=5)])
    assert [curve.rate(moment) for moment in (0, 9.9, 10, 15, 20, 1e6)] == [1, 1, 2, 3, 3, 3]
    assert (curve.duration, curve.peak) == (20, 3)


@pytest.mark.parametrize("even", [False, True])
def test_as_many_requests_arrive_as_the_curve_says_in_seconds_of_the_wall(even: bool) -> None:
    # Ten times as fast: 100 s of the clock are 10 s of the wall, 5 at 40 a second and 5 at 80.
    curve = Curve([Phase("step", 100, 40, to=80, at=50)])
    moments = list(itertools.takewhile(lambda moment: moment < 10, arrivals(curve, 10, 7, even)))
    early = sum(moment < 5 for moment in moments)
    tolerance = 0.02 if even else 0.2
    assert early == pytest.approx(200, rel=tolerance)
    assert len(moments) - early == pytest.approx(400, rel=tolerance)
    assert moments == sorted(moments)


def test_a_seed_gives_the_same_arrivals_again_and_another_gives_others() -> None:
    curve = Curve([Phase("steady", 10, 50)])
    first, again, other = (list(itertools.islice(arrivals(curve, 1, seed), 50)) for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize("even", [False, True])
def test_slow_traffic_still_arrives_and_none_ends_by_itself(even: bool) -> None:
    slow = Curve([Phase("steady", 10, 0.2)])
    assert next(itertools.islice(arrivals(slow, 1, 1, even), 9, None)) == pytest.approx(50, rel=1.0)
    assert list(arrivals(Curve([Phase("steady", 10, 0)]), 1, 1, even)) == []
    ends = Curve([Phase("step", 20, 10, to=0, at=10)])
    assert 50 < len(list(arrivals(ends, 1, 1, even))) < 150


def test_percentiles_are_of_what_there_is() -> None:
    assert percentile([], 0.5) is None
    assert percentile([3, 1, 2], 0.5) == 2
    assert percentile(range(100), 0.99) == 99
