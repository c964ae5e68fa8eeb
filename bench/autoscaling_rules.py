"""AWS's rules of scaling an endpoint, minute by minute, from its documentation and from nothing of `localcloud`.

What `bench.autoscaling` holds our autoscaler against. The sources, by the numbers that the code cites:

1. Application Auto Scaling User Guide, "How target tracking scaling works": the service makes the alarms and
   "calculates the scaling adjustment based on the metric and the target value"; it is "more aggressive in adding
   capacity when utilization increases" than in removing it.
2. SageMaker Developer Guide, "Automatic scaling of models", and the alarms that the service makes for
   SageMakerVariantInvocationsPerInstance: 3 of 3 one-minute datapoints above the target, 15 of 15 below 90 % of it.
3. API reference, TargetTrackingScalingPolicyConfiguration: the scale-out cooldown begins when a scale-out succeeded;
   meanwhile nothing is added "unless either a larger scale out is triggered or the cooldown period ends", and what the
   last one added is part of the desired capacity of the next; scale-in is blocked until its cooldown has expired; a
   scale-out during it happens at once, and ends it.
4. API reference, PutScalingPolicy: of several policies, the largest capacity has precedence, out and in.
5. API reference, StepScalingPolicyConfiguration: bounds are relative to the alarm's threshold, the lower one inclusive
   above it; "if the previous increase was 2 and now a step of 3 applies, only 1 is added" within the cooldown.
6. SageMaker API, UpdateEndpointWeightsAndCapacities: an endpoint is `Updating` meanwhile, and takes no other update.

AWS publishes no formula for (1). As anywhere else in this project: out in proportion to the newest datapoint, by one at
least; in to what the busiest of the fifteen minutes needed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Rules:
    """One endpoint variant's policies. Steps are (metric above the alarm's threshold, instances to add), ascending."""

    target: float
    least: int
    most: int
    out_cooldown: float
    in_cooldown: float
    step_threshold: float | None = None
    steps: tuple[tuple[float, int], ...] = ()
    step_cooldown: float = 0.0


@dataclass(frozen=True)
class Decision:
    """At the end of minute `minute` of the trace, the desired capacity was changed."""

    minute: int
    before: int
    after: int


@dataclass
class Plant:
    """Instances under a trace of requests a minute. A change takes `delay` seconds, and is in effect at their end."""

    requests: Sequence[float]
    capacity: int
    delay: float
    changing: tuple[float, int] | None = field(default=None)

    def settle(self, moment: float) -> bool:
        """Whether a change came into effect by now."""
        if self.changing is None or self.changing[0] > moment:
            return False
        self.capacity, self.changing = self.changing[1], None
        return True

    def change(self, moment: float, after: int) -> None:
        self.changing = (moment + self.delay, after)

    def per_instance(self, minute: int) -> float:
        """To be asked at the end of the minute: whoever runs then is taken to have run in all of it."""
        return self.requests[minute] / self.capacity


@dataclass
class _Last:
    """The last change that one policy made: by how much, and when it was done."""

    change: int = 0
    done: float = -math.inf


def decide(rules: Rules, plant: Plant) -> list[Decision]:
    """Every decision that AWS takes on the plant's trace."""
    decisions: list[Decision] = []
    points: list[float] = []
    tracking, stepping = _Last(), _Last()
    acting: _Last | None = None
    for minute in range(len(plant.requests)):
        now = 60.0 * (minute + 1)
        if plant.settle(now) and acting is not None:
            acting.done = decisions[-1].minute * 60.0 + 60.0 + plant.delay
        points.append(plant.per_instance(minute))
        if plant.changing is not None:
            continue  # (6)
        before = plant.capacity
        wishes: list[tuple[int, _Last]] = []
        if len(points) >= 3 and min(points[-3:]) > rules.target:  # (2)
            wanted = max(before + 1, _needed(before, points[-1], rules.target))
            wishes.append((_within_cooldown(before, wanted, tracking, rules.out_cooldown, now), tracking))
        if rules.step_threshold is not None and points[-1] > rules.step_threshold:
            above = points[-1] - rules.step_threshold
            add = max(instances for lower, instances in rules.steps if above >= lower)  # (5)
            wishes.append((_within_cooldown(before, before + add, stepping, rules.step_cooldown, now), stepping))
        wishes = [wish for wish in wishes if wish[0] > before]
        if wishes:
            after, policy = max(wishes, key=lambda wish: wish[0])  # (4)
            after = min(after, rules.most)
        else:
            after, policy = before, tracking
            if len(points) >= 15 and max(points[-15:]) < 0.9 * rules.target:  # (2)
                blocked = tracking.change < 0 and now < tracking.done + rules.in_cooldown  # (3)
                wanted = _needed(before, max(points[-15:]), rules.target)
                after = before if blocked else max(rules.least, min(before, wanted))
        if after != before:
            decisions.append(Decision(minute, before, after))
            policy.change, acting = after - before, policy
            plant.change(now, after)
    return decisions


def _needed(capacity: int, metric: float, target: float) -> int:
    """Instances that bring the metric to its target, the load being what it is."""
    return math.ceil(round(capacity * metric / target, 9))


def _within_cooldown(before: int, wanted: int, last: _Last, cooldown: float, now: float) -> int:
    """(3), (5): what was just added counts as a part of what is wanted now."""
    if last.change > 0 and now < last.done + cooldown:
        return wanted - last.change
    return wanted
