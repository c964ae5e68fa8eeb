"""Intervals of medians over rounds: how wide they are, and what is paired with what."""

from __future__ import annotations

import random

import pytest

from model_build import paired
from model_build.measure import Latency


@pytest.mark.parametrize(
    ("rounds", "low", "high"),
    [(5, 1, 5), (7, 1, 7), (9, 2, 8), (10, 2, 9), (20, 6, 15), (40, 14, 27)],
)
def test_the_interval_lies_between_two_of_the_ordered_values(rounds: int, low: int, high: int) -> None:
    values = [float(value) for value in range(1, rounds + 1)]
    random.Random(rounds).shuffle(values)
    assert paired.estimate(values).interval == (low, high)


@pytest.mark.parametrize("rounds", range(1, paired.FEWEST))
def test_fewer_rounds_than_five_have_a_median_and_no_interval(rounds: int) -> None:
    found = paired.estimate([1.0] * rounds)
    assert (found.value, found.interval) == (1.0, None)


@pytest.mark.parametrize("rounds", [5, 10, 20, 40])
def test_the_true_median_is_on_either_side_of_the_interval_as_rarely_as_promised(rounds: int) -> None:
    dice = random.Random(7)
    below = above = 0
    for _ in range(trials := 4000):
        interval = paired.estimate([dice.lognormvariate(0, 1) for _ in range(rounds)]).interval
        assert interval is not None
        below += interval[0] > 1  # the median of this distribution is 1
        above += interval[1] < 1
    assert max(below, above) / trials < paired.CHANCE * 1.3


def test_a_ratio_is_of_the_same_round_so_that_what_disturbs_both_disturbs_nothing() -> None:
    source = [10.0, 30.0, 10.0, 11.0, 90.0, 10.0]
    found = paired.ratio([value / 2 for value in source[:5]], source)
    assert (found.value, found.interval) == (0.5, (0.5, 0.5))


def test_every_limit_on_time_has_its_estimate_and_throughput_only_where_it_was_measured() -> None:
    source = Latency(((4.0, 8.0),) * 5, memory_mb=1, load_seconds=1, weight_bytes=1, throughput=(10.0,) * 5)
    candidate = Latency(((1.0, 4.0),) * 5, memory_mb=1, load_seconds=1, weight_bytes=1, throughput=(30.0,) * 5)
    assert {name: one.value for name, one in paired.estimates(source, candidate).items()} == {
        "latency_p50.max_ms": 1.0,
        "latency_p50.max_ratio": 0.25,
        "latency_p95.max_ms": 4.0,
        "latency_p95.max_ratio": 0.5,
        "throughput.min_rps": 30.0,
        "throughput.min_ratio": 3.0,
    }
    silent = Latency(((1.0, 4.0),) * 5, memory_mb=1, load_seconds=1, weight_bytes=1)
    assert "throughput.min_rps" not in paired.estimates(silent, silent)
