"""What a period of a metric came to: count, sum, extremes and the values themselves, for percentiles."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

SIMPLE = ("SampleCount", "Average", "Sum", "Minimum", "Maximum")
# Past this many different values of one point, they are kept to three digits: percentiles stay within 0.5 %.
DISTINCT_VALUES = 500

_PERCENTILE = re.compile(r"^p(\d{1,2}(\.\d{1,10})?|100)$")


def percentile_of(statistic: str) -> float | None:
    """0 … 100 of `p99` or `p99.9`; None for what is no percentile."""
    found = _PERCENTILE.match(statistic)
    return float(found[1]) if found else None


def is_statistic(name: str) -> bool:
    return name in SIMPLE or percentile_of(name) is not None


@dataclass(slots=True)
class Distribution:
    """Values with how often each came. `opaque` where a statistic set was merged: its values are not known."""

    count: float = 0.0
    total: float = 0.0
    least: float = float("inf")
    most: float = float("-inf")
    opaque: bool = False
    coarse: bool = False
    values: dict[float, float] = field(default_factory=dict)

    def add(self, value: float, count: float = 1.0) -> None:
        self.count += count
        self.total += value * count
        self.least = min(self.least, value)
        self.most = max(self.most, value)
        self._keep(value, count)

    def _keep(self, value: float, count: float) -> None:
        if self.coarse:
            value = float(f"{value:.3g}")
        self.values[value] = self.values.get(value, 0.0) + count
        if not self.coarse and len(self.values) > DISTINCT_VALUES:
            self.coarse = True
            exact, self.values = self.values, {}
            for one, often in exact.items():
                self._keep(one, often)

    def add_set(self, count: float, total: float, least: float, most: float) -> None:
        """A statistic set. CloudWatch knows its values only where there is one, or all are the same."""
        if least == most or count == 1:
            self.add(total / count, count)
            return
        self.count += count
        self.total += total
        self.least = min(self.least, least)
        self.most = max(self.most, most)
        self.opaque = True

    def merge(self, other: Distribution) -> None:
        self.count += other.count
        self.total += other.total
        self.least = min(self.least, other.least)
        self.most = max(self.most, other.most)
        self.opaque = self.opaque or other.opaque
        for value, count in other.values.items():
            self._keep(value, count)

    def statistic(self, name: str) -> float | None:
        """The value of a statistic; None for a percentile of values that are not known. Raises ValueError."""
        if self.count <= 0:
            return None
        match name:
            case "SampleCount":
                return self.count
            case "Sum":
                return self.total
            case "Average":
                return self.total / self.count
            case "Minimum":
                return self.least
            case "Maximum":
                return self.most
        share = percentile_of(name)
        if share is None:
            raise ValueError(f"no statistic '{name}'; known: {', '.join(SIMPLE)}, p0 … p100")
        return None if self.opaque else self._percentile(share)

    def _percentile(self, share: float) -> float:
        """The nearest rank: the least value that `share` percent of all do not exceed."""
        rank = self.count * share / 100
        seen = 0.0
        for value in sorted(self.values):
            seen += self.values[value]
            if seen >= rank - 1e-9:
                return min(max(value, self.least), self.most)
        return self.most
