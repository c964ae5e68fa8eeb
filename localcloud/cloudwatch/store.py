"""Every metric of one region, in memory: one distribution a minute (a second, or ten, for high-resolution ones).

Apart from moto's, which keeps a list of all data ever put and walks it for every question.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from localcloud.cloudwatch.statistics import Distribution

STANDARD = 60
HIGH_RESOLUTION = 1
# AWS keeps points of less than a minute for three hours, points of a minute for fifteen days.
FINE_SECONDS = 3 * 3600
KEPT_SECONDS = 15 * 86400

Points = list[tuple[int, Distribution]]


@dataclass(frozen=True)
class Metric:
    """What identifies a metric. `dimensions` are sorted pairs of name and value."""

    namespace: str
    name: str
    dimensions: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, namespace: str, name: str, dimensions: Mapping[str, str]) -> Metric:
        return cls(namespace, name, tuple(sorted(dimensions.items())))

    def has(self, dimensions: Iterable[tuple[str, str | None]]) -> bool:
        """Whether it carries all of these dimensions; a value of None matches any."""
        own = dict(self.dimensions)
        return all(name in own and value in (None, own[name]) for name, value in dimensions)


@dataclass(slots=True)
class Series:
    """Points of one metric by their time in seconds since the epoch, each the start of `step` seconds or more."""

    step: int = STANDARD
    unit: str | None = None
    points: dict[int, Distribution] = field(default_factory=dict)
    newest: float = 0.0

    def at(self, moment: float) -> Distribution:
        start = int(moment // self.step) * self.step
        found = self.points.get(start)
        if found is None:
            found = self.points[start] = Distribution()
        self.newest = max(self.newest, moment)
        return found

    def within(self, start: float, end: float) -> Iterator[tuple[int, Distribution]]:
        """Points that begin in [start, end), in no order."""
        first = -int(-start // self.step) * self.step
        steps = range(first, int(-(-end // 1)), self.step)
        if len(steps) <= len(self.points):
            return ((moment, self.points[moment]) for moment in steps if moment in self.points)
        return ((moment, point) for moment, point in self.points.items() if start <= moment < end)

    def forget_before(self, now: float) -> None:
        """Merges fine points that are old into minutes, and drops what is too old."""
        if self.step < STANDARD:
            for moment in [moment for moment in self.points if moment < now - FINE_SECONDS and moment % STANDARD]:
                minute = moment // STANDARD * STANDARD
                self.points.setdefault(minute, Distribution()).merge(self.points.pop(moment))
        for moment in [moment for moment in self.points if moment < now - KEPT_SECONDS]:
            del self.points[moment]


class MetricStore:
    """Safe for use from several threads: hosting writes from the event loop, requests come from moto's workers."""

    def __init__(self) -> None:
        self._series: dict[Metric, Series] = {}
        self._lock = threading.Lock()
        self._pruned = 0.0

    def put(
        self,
        metric: Metric,
        moment: float,
        value: float,
        count: float = 1.0,
        unit: str | None = None,
        step: int = STANDARD,
    ) -> None:
        with self._lock:
            self._find(metric, unit, step).at(moment).add(value, count)

    def put_set(
        self,
        metric: Metric,
        moment: float,
        statistics: Mapping[str, float],
        unit: str | None = None,
        step: int = STANDARD,
    ) -> None:
        """`statistics` is a statistic set of the API."""
        with self._lock:
            self._find(metric, unit, step).at(moment).add_set(
                statistics["SampleCount"], statistics["Sum"], statistics["Minimum"], statistics["Maximum"]
            )

    def _find(self, metric: Metric, unit: str | None, step: int) -> Series:
        found = self._series.get(metric)
        if found is None:
            found = self._series[metric] = Series(step, unit)
        elif step < found.step:
            # A metric that turns high-resolution: its minutes so far are multiples of the new step.
            found.step = step
        return found

    def read(self, metric: Metric, start: float, end: float, period: int, unit: str | None = None) -> Points:
        """One distribution for each period of [start, end) that has data, with the period's start, in order.

        Periods begin at `start`, which the caller aligns. A period below the metric's resolution gives nothing.
        """
        with self._lock:
            series = self._series.get(metric)
            if series is None or (unit is not None and series.unit is not None and unit != series.unit):
                return []
            if period < series.step:
                return []
            gathered: dict[int, Distribution] = {}
            for moment, point in series.within(start, end):
                period_start = int(start + (moment - start) // period * period)
                gathered.setdefault(period_start, Distribution()).merge(point)
        return sorted(gathered.items())

    def unit(self, metric: Metric) -> str | None:
        with self._lock:
            series = self._series.get(metric)
            return series.unit if series else None

    def metrics(self) -> list[Metric]:
        with self._lock:
            return list(self._series)

    def prune(self, now: float) -> None:
        """Call it as often as you like: it works once in five minutes."""
        if now - self._pruned < 300:
            return
        self._pruned = now
        with self._lock:
            for metric, series in list(self._series.items()):
                series.forget_before(now)
                if not series.points:
                    del self._series[metric]
