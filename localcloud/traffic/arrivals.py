"""When requests arrive: curves of requests a second over simulated time, and the moments that they lead to.

Pure and seeded, so that a rehearsal or a benchmark is the same again.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["steady", "step", "spike", "daily"]
DAY_SECONDS = 86_400.0
# How far even arrivals look ahead on a slow curve at a time, in seconds of the wall.
_STEP_SECONDS = 0.05


@dataclass(frozen=True)
class Phase:
    """`duration` seconds of the clock, at `rate` requests a second; `to` is what a step, spike or day rises to.

    steady: `rate`. step: `to` from `at` on. spike: `to` for `width` seconds from `at` on. daily: a cosine of 24 h
    between both, highest at `at`.
    """

    kind: Kind
    duration: float
    rate: float
    to: float = 0.0
    at: float = 0.0
    width: float = 0.0

    def at_moment(self, moment: float) -> float:
        """Requests a second, `moment` seconds after the phase began."""
        match self.kind:
            case "steady":
                return self.rate
            case "step":
                return self.to if moment >= self.at else self.rate
            case "spike":
                return self.to if self.at <= moment < self.at + self.width else self.rate
            case "daily":
                share = (1 + math.cos(2 * math.pi * (moment - self.at) / DAY_SECONDS)) / 2
                return self.rate + (self.to - self.rate) * share

    @property
    def peak(self) -> float:
        return self.rate if self.kind == "steady" else max(self.rate, self.to)


@dataclass(frozen=True)
class Curve:
    """Phases one after the other; after the last one its end goes on."""

    phases: Sequence[Phase]

    @property
    def duration(self) -> float:
        return sum(phase.duration for phase in self.phases)

    @property
    def peak(self) -> float:
        return max(phase.peak for phase in self.phases)

    def rate(self, moment: float) -> float:
        """Requests a second at `moment` seconds of the clock after the beginning."""
        for phase in self.phases:
            if moment < phase.duration:
                return phase.at_moment(moment)
            moment -= phase.duration
        return self.phases[-1].at_moment(self.phases[-1].duration)


def arrivals(curve: Curve, speed: float, seed: int, even: bool = False) -> Iterator[float]:
    """Moments of requests without end, in seconds of the wall, while the clock runs `speed` times as fast.

    The curve's rates hold for a second of the wall: that is the load that replicas really are under. Poisson arrivals,
    by thinning those of the highest rate; or as even as the curve allows.
    """
    return _evenly(curve, speed) if even else _poisson(curve, speed, random.Random(seed))  # noqa: S311 — no secret


def _poisson(curve: Curve, speed: float, generator: random.Random) -> Iterator[float]:
    moment, peak = 0.0, curve.peak
    while not _over(curve, moment * speed):
        moment += generator.expovariate(peak)
        if generator.random() * peak < curve.rate(moment * speed):
            yield moment


def _evenly(curve: Curve, speed: float) -> Iterator[float]:
    moment, owed = 0.0, 0.0
    while not _over(curve, moment * speed):
        rate = curve.rate(moment * speed)
        step = min(_STEP_SECONDS, 1 / rate) if rate > 0 else _STEP_SECONDS
        moment += step
        owed += rate * step
        if owed >= 1 - 1e-9:
            owed -= 1
            yield moment


def _over(curve: Curve, moment: float) -> bool:
    """Whether no request comes any more."""
    return curve.peak <= 0 or (moment > curve.duration and curve.rate(moment) <= 0)
