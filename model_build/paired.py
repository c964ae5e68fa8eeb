"""What a few rounds of measurement tell of a median: its interval, without assumptions on how times are distributed.

Apart from `gates`, which compares such intervals with limits, and from `measure`, which makes the rounds.

The interval of a median lies between two of the ordered values (the sign test turned around): if the median were
outside of it, nearly all rounds would have had to fall on one side by chance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import comb
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from model_build.measure import Latency

CHANCE = 1 / 32
"""Of being wrong on one side: that five of five rounds fall there by chance."""
FEWEST = 5
"""Rounds below which there is no such interval."""


@dataclass(frozen=True)
class Estimate:
    """A median and the interval in which the true one lies; None where the rounds are too few to tell."""

    value: float
    interval: tuple[float, float] | None


def estimate(values: Sequence[float]) -> Estimate:
    """The median of independent values, and its interval."""
    ordered = sorted(values)
    rounds = len(ordered)
    chance, below = 0.0, 0
    while (chance := chance + comb(rounds, below) / 2**rounds) <= CHANCE:
        below += 1
    interval = (ordered[below - 1], ordered[rounds - below]) if below else None
    return Estimate(median(ordered), interval)


def ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Estimate:
    """Of two models' rounds that were run side by side; what follows the shorter one's end has no partner."""
    return estimate([one / other for one, other in zip(numerators, denominators, strict=False)])


def estimates(source: Latency, candidate: Latency) -> Mapping[str, Estimate]:
    """What gates on time are decided on, by their limits' names: `latency_p50.max_ratio` and the like."""
    found = {}
    for number, gate in enumerate(("latency_p50", "latency_p95")):
        before, after = ([one[number] for one in latency.rounds] for latency in (source, candidate))
        found[f"{gate}.max_ms"] = estimate(after)
        found[f"{gate}.max_ratio"] = ratio(after, before)
    if candidate.throughput:
        found["throughput.min_rps"] = estimate(candidate.throughput)
        found["throughput.min_ratio"] = ratio(candidate.throughput, source.throughput)
    return found
