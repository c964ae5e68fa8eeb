"""The rules of Application Auto Scaling as pure functions: numbers in, a capacity out.

Apart so that a simulation can hold them against the rules that AWS documents, without a server or a clock.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

# Scaling in starts where a tenth of the target is to spare for the whole of a quarter of an hour.
SCALE_IN_MARGIN = 0.9
SCALE_OUT_PERIODS = 3
SCALE_IN_SECONDS = 900
DEFAULT_COOLDOWN = 300.0
# A guard against 3.0000000001 instances.
_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Limits:
    """Minimum and maximum capacity of a scalable target."""

    least: int
    most: int

    def clamp(self, capacity: int) -> int:
        return max(self.least, min(self.most, capacity))


@dataclass(frozen=True)
class Step:
    """A `StepAdjustment`: bounds relative to the alarm's threshold, None for infinity."""

    lower: float | None
    upper: float | None
    adjustment: int

    def holds(self, distance: float) -> bool:
        """Whether a metric this far above (below: negative) the threshold falls into the step."""
        lower = -math.inf if self.lower is None else self.lower
        upper = math.inf if self.upper is None else self.upper
        # Above the threshold the lower bound belongs to a step, below it the upper one.
        return lower <= distance < upper if distance >= 0 else lower < distance <= upper


@dataclass(frozen=True)
class Last:
    """The last activity of a policy that changed the capacity. `ended` is None while it is under way."""

    before: int
    after: int
    ended: float | None


def track(capacity: int, metric: float, target: float) -> int:
    """The capacity that brings a metric per instance to its target, with the load as it is; never below 0."""
    return max(0, math.ceil(capacity * metric / target - _TOLERANCE))


def track_out(capacity: int, metric: float, target: float) -> int:
    """Target tracking while its high alarm rings: proportional, and one more at least. From zero it adds one."""
    return max(capacity + 1, track(capacity, metric, target))


def track_in(capacity: int, metrics: Sequence[float], target: float) -> int:
    """Target tracking while its low alarm rings.

    It is the largest of the alarm's points that counts: capacity which the load needed within the quarter of an hour
    stays, so that one quiet minute at its end takes nothing away.
    """
    return min(capacity, track(capacity, max(metrics, default=0.0), target))


def adjust(capacity: int, distance: float, steps: Sequence[Step], kind: str, least_change: int = 0) -> int:
    """The capacity that a step policy asks for. `kind` is its AdjustmentType; the same one where no step holds."""
    step = next((step for step in steps if step.holds(distance)), None)
    if step is None:
        return capacity
    if kind == "ExactCapacity":
        return max(0, step.adjustment)
    change = step.adjustment
    if kind == "PercentChangeInCapacity":
        change = _whole(capacity * step.adjustment / 100)
        if change and abs(change) < least_change:
            change = int(math.copysign(least_change, change))
    return max(0, capacity + change)


def _whole(change: float) -> int:
    """Percentages become whole instances towards zero, but at least one."""
    if 0 < abs(change) < 1:
        return int(math.copysign(1, change))
    return math.trunc(change + math.copysign(_TOLERANCE, change)) if change else 0


def cool_out(capacity: int, wanted: int, last: Last | None, cooldown: float, now: float) -> int:
    """What scaling out comes to within the cooldown of the policy's last scaling out.

    What that one added counts as part of what is wanted now: only a larger change adds the difference.
    """
    if wanted <= capacity or last is None or last.after <= last.before or not _cooling(last, cooldown, now):
        return wanted
    added = last.after - last.before
    return max(capacity, capacity + (wanted - capacity) - added)


def cool_in(capacity: int, wanted: int, last: Last | None, cooldown: float, now: float) -> int:
    """What scaling in comes to within the cooldown of the policy's last scaling in: nothing.

    A scaling out since then ended that cooldown.
    """
    if wanted >= capacity or last is None or last.after >= last.before or not _cooling(last, cooldown, now):
        return wanted
    return capacity


def _cooling(last: Last, cooldown: float, now: float) -> bool:
    return last.ended is None or now < last.ended + cooldown


def largest(capacity: int, out: Sequence[int], inwards: Sequence[int], held: bool) -> int:
    """The capacity that several policies agree on.

    `out` is what those that scale out want, `inwards` what those that scale in do; `held` where a target tracking
    policy that may scale in does not want to. The largest wins; all must agree to scale in.
    """
    if out:
        return max([capacity, *out])
    if inwards and not held:
        return max(inwards)
    return capacity
