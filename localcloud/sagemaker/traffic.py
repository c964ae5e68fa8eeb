"""Which fleet gets the next request: smooth weighted round robin over the fleets of an endpoint.

Apart from the endpoint so that two deployments sharing the traffic are one more weight, and testable alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from localcloud.sagemaker.fleet import Fleet

Fleets = Mapping[str, Fleet]


@dataclass
class Route:
    """Fleets with their parts of the traffic; parts need not sum to 1."""

    parts: list[tuple[Fleet, float]] = field(default_factory=list)
    _credit: dict[int, float] = field(default_factory=dict)

    @classmethod
    def to(cls, fleets: Fleets) -> Route:
        return cls(_normal(fleets, dict.fromkeys(fleets, 1.0)))

    @classmethod
    def between(cls, blue: Fleets, green: Fleets, shares: Mapping[str, float]) -> Route:
        """`shares` is what the green fleet of each variant gets, 0 … 1; the blue ones get the rest."""
        rest = {name: 1.0 - shares.get(name, 1.0) for name in blue}
        return cls(_normal(blue, rest) + _normal(green, shares))

    def __bool__(self) -> bool:
        return bool(self.parts)

    def part(self, fleet: Fleet) -> float:
        """0 … 1: what the fleet gets of the traffic to all variants."""
        total = sum(part for _, part in self.parts)
        return sum(part for one, part in self.parts if one is fleet) / total if total > 0 else 0.0

    def choose(self, variant: str | None = None) -> Fleet | None:
        """The fleet for the next request, of one variant where that is asked for. None: no such, or no weight."""
        parts = self.parts
        if variant is not None:
            parts = [(fleet, part) for fleet, part in parts if fleet.variant.name == variant]
            if len(parts) == 1 or all(part <= 0 for _, part in parts):
                # TargetVariant reaches a variant of weight 0 too.
                return parts[0][0] if parts else None
        total = sum(part for _, part in parts)
        if total <= 0:
            return None
        credit = self._credit
        best: Fleet | None = None
        for fleet, part in parts:
            earned = credit[id(fleet)] = credit.get(id(fleet), 0.0) + part
            if part > 0 and (best is None or earned > credit[id(best)]):
                best = fleet
        if best is not None:
            credit[id(best)] -= total
        return best


def _normal(fleets: Fleets, shares: Mapping[str, float]) -> list[tuple[Fleet, float]]:
    """Weights of one deployment count among themselves only: 1 : 1 before and 10 : 10 after is the same traffic."""
    total = sum(fleet.weight for fleet in fleets.values())
    if total <= 0:
        return [(fleet, 0.0) for fleet in fleets.values()]
    return [(fleet, fleet.weight / total * shares.get(name, 1.0)) for name, fleet in fleets.items()]


def healthy(fleets: Iterable[Fleet]) -> int:
    return sum(len(fleet.healthy) for fleet in fleets)
