"""The autoscaler: every ten seconds of the clock, what alarms and schedules ask of each scalable target is done.

The rules are in `decisions.py`; here are their inputs (alarms, points, capacities) and their effect (replicas).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from localcloud import emulation
from localcloud.autoscaling import decisions
from localcloud.autoscaling.decisions import DEFAULT_COOLDOWN, Last, Limits
from localcloud.autoscaling.registry import Action, Activity, Policy, Registry, Target
from localcloud.cloudwatch.watch import Watch, Watched
from localcloud.sagemaker.endpoint import Endpoint

log = logging.getLogger(__name__)

FindEndpoint = Callable[[str, str], Endpoint | None]  # region, name


@dataclass
class Votes:
    """What the policies of one target want, and whose wish each is."""

    out: list[tuple[int, str, Policy]] = field(default_factory=list)
    inwards: list[tuple[int, str, Policy]] = field(default_factory=list)
    held: bool = False


class Scaler:
    """Acts on the registries of every region."""

    def __init__(self, watch: Watch, endpoint: FindEndpoint) -> None:
        self.registries: dict[str, Registry] = {}
        self._watch = watch
        self._endpoint = endpoint
        self._running: set[asyncio.Task[None]] = set()

    def registry(self, region: str) -> Registry:
        return self.registries.setdefault(region, Registry(region))

    def capacity(self, region: str, target: Target) -> int | None:
        """The desired count of the target's variant; None where there is no such variant."""
        endpoint = self._endpoint(region, target.endpoint)
        fleet = endpoint.fleets.get(target.variant) if endpoint else None
        return fleet.desired if fleet else None

    def tick(self, moment: float) -> None:
        """To be called with every multiple of ten seconds, after the alarms were judged."""
        for registry in list(self.registries.values()):
            if not registry.targets:
                continue
            alarms: dict[str, list[Watched]] = {}
            for _, alarm in emulation.alarms(registry.region):
                if moment % 60 == 0 or alarm.fine:
                    for action in alarm.actions(alarm.state):
                        alarms.setdefault(action, []).append(alarm)
            for target in list(registry.targets.values()):
                self._run_actions(registry, target, moment)
                self._scale(registry, target, alarms, moment)

    # --- scheduled actions ----------------------------------------------------------------------------------------

    def _run_actions(self, registry: Registry, target: Target, moment: float) -> None:
        due = [action for action in target.actions.values() if action.next is not None and action.next <= moment]
        for action in sorted(due, key=lambda action: action.next or 0.0):
            if not target.is_suspended("ScheduledScaling"):
                self._run_action(registry, target, action)
            action.plan(moment)

    def _run_action(self, registry: Registry, target: Target, action: Action) -> None:
        asked = action.request.get("ScalableTargetAction", {})
        limits = Limits(
            asked.get("MinCapacity", target.limits.least),
            asked.get("MaxCapacity", target.limits.most),
        )
        now = self._watch.clock.now()
        # A bound alone may pass the other one; AWS moves that one along.
        if limits.least > limits.most:
            limits = Limits(limits.least, limits.least) if "MinCapacity" in asked else Limits(limits.most, limits.most)
        target.limits = limits
        capacity = self.capacity(registry.region, target) or 0
        words = " and ".join(
            f"{name} capacity to {value}"
            for name, member, value in (("min", "MinCapacity", limits.least), ("max", "MaxCapacity", limits.most))
            if member in asked
        )
        activity = Activity(
            target.resource,
            f"Setting {words}",
            f"scheduled action name {action.name} was triggered",
            now,
            capacity,
            capacity,
            end=now,
            status="Successful",
            message=f"Successfully set {words}",
        )
        registry.activities.appendleft(activity)

    # --- policies -------------------------------------------------------------------------------------------------

    def _scale(self, registry: Registry, target: Target, alarms: dict[str, list[Watched]], moment: float) -> None:
        endpoint = self._endpoint(registry.region, target.endpoint)
        fleet = endpoint.fleets.get(target.variant) if endpoint else None
        if endpoint is None or fleet is None or endpoint.status != "InService":
            # As on AWS, nothing scales while an endpoint is being updated.
            return
        capacity = fleet.desired
        if capacity != target.limits.clamp(capacity):
            bound = "minimum" if capacity < target.limits.least else "maximum"
            wanted = target.limits.clamp(capacity)
            self._apply(registry, endpoint, target, capacity, wanted, f"{bound} capacity was set to {wanted}", None)
            return
        votes = Votes()
        for policy in target.policies.values():
            self._vote(registry.region, target, policy, alarms.get(policy.arn, []), capacity, moment, votes)
        if not votes.out and not votes.inwards:
            return
        wanted = decisions.largest(
            capacity, [vote[0] for vote in votes.out], [vote[0] for vote in votes.inwards], votes.held
        )
        bounded = target.limits.clamp(wanted)
        side = votes.out or votes.inwards
        _, cause, winner = max(side, key=lambda vote: vote[0])
        if bounded == capacity:
            if not votes.held or votes.out:
                self._note_unscaled(registry, target, capacity, wanted, cause)
            return
        self._apply(registry, endpoint, target, capacity, bounded, cause, winner)

    def _vote(
        self,
        region: str,
        target: Target,
        policy: Policy,
        ringing: list[Watched],
        capacity: int,
        moment: float,
        votes: Votes,
    ) -> None:
        tracking = policy.kind == "TargetTrackingScaling"
        wants_in = False
        for alarm in ringing:
            points = [point[1] for point in self._watch.points(region, alarm, moment) if point is not None]
            values = points[-alarm.rule.periods :]
            if not values and tracking:
                continue
            wanted = self._wanted(policy, alarm, values, capacity)
            cause = f"monitor alarm {alarm.name} in state {alarm.state} triggered policy {policy.name}"
            out_cooldown, in_cooldown = self._cooldowns(policy)
            if wanted > capacity and not target.is_suspended("DynamicScalingOut"):
                cooled = decisions.cool_out(capacity, wanted, policy.last, out_cooldown, moment)
                if cooled > capacity:
                    votes.out.append((cooled, cause, policy))
            elif wanted < capacity and not target.is_suspended("DynamicScalingIn"):
                cooled = decisions.cool_in(capacity, wanted, policy.last, in_cooldown, moment)
                if cooled < capacity:
                    wants_in = True
                    votes.inwards.append((cooled, cause, policy))
            elif wanted == capacity and tracking:
                # It is ready to scale in; there is only nothing to take away.
                wants_in = True
                votes.inwards.append((capacity, cause, policy))
        if tracking and not policy.config.get("DisableScaleIn", False) and not wants_in:
            votes.held = True

    def _wanted(self, policy: Policy, alarm: Watched, values: list[float], capacity: int) -> int:
        if policy.kind == "TargetTrackingScaling":
            target = float(policy.config["TargetValue"])
            if alarm.rule.comparison == "GreaterThanThreshold":
                return decisions.track_out(capacity, values[-1], target)
            return decisions.track_in(capacity, values, target)
        aggregates: dict[str, Any] = {"Minimum": min, "Maximum": max, "Average": lambda all_: sum(all_) / len(all_)}
        aggregate = aggregates[policy.config.get("MetricAggregationType", "Average")]
        # Without data (an alarm on missing data) the metric is taken to be at the threshold.
        distance = aggregate(values) - alarm.rule.threshold if values else 0.0
        least = policy.config.get("MinAdjustmentMagnitude", 0)
        return decisions.adjust(capacity, distance, policy.steps, policy.config["AdjustmentType"], least)

    def _cooldowns(self, policy: Policy) -> tuple[float, float]:
        """(out, in), in seconds of the clock."""
        if policy.kind == "StepScaling":
            cooldown = float(policy.config.get("Cooldown", DEFAULT_COOLDOWN))
            return cooldown, cooldown
        return (
            float(policy.config.get("ScaleOutCooldown", DEFAULT_COOLDOWN)),
            float(policy.config.get("ScaleInCooldown", DEFAULT_COOLDOWN)),
        )

    def _note_unscaled(self, registry: Registry, target: Target, capacity: int, wanted: int, cause: str) -> None:
        if wanted > capacity or (wanted == capacity == target.limits.most):
            reason: dict[str, Any] = {"Code": "AlreadyAtMaxCapacity", "MaxCapacity": target.limits.most}
        elif wanted < capacity or capacity == target.limits.least:
            reason = {"Code": "AlreadyAtMinCapacity", "MinCapacity": target.limits.least}
        else:
            reason = {"Code": "AlreadyAtDesiredCapacity"}
        reason["CurrentCapacity"] = capacity
        newest = next((one for one in registry.activities if one.resource == target.resource), None)
        if newest is not None and newest.reasons == [reason] and newest.cause == cause:
            return
        now = self._watch.clock.now()
        registry.activities.appendleft(
            Activity(
                target.resource,
                "Attempting to scale due to alarm triggered",
                cause,
                now,
                capacity,
                capacity,
                end=now,
                status="Unfulfilled",
                message="Unable to scale, as the capacity already is what the limits allow.",
                reasons=[reason],
            )
        )

    def _apply(
        self,
        registry: Registry,
        endpoint: Endpoint,
        target: Target,
        before: int,
        after: int,
        cause: str,
        policy: Policy | None,
    ) -> None:
        now = self._watch.clock.now()
        activity = Activity(target.resource, f"Setting desired instance count to {after}.", cause, now, before, after)
        activity.policy = policy.name if policy else None
        registry.activities.appendleft(activity)
        if policy is not None:
            policy.last = Last(before, after, None)
        log.info("%s: %d -> %d: %s", target.resource, before, after, cause)
        task = endpoint.resize({target.variant: after}, {})
        self._running.add(task)

        def done(finished: asyncio.Task[None]) -> None:
            self._running.discard(finished)
            activity.end = self._watch.clock.now()
            fleet = endpoint.fleets.get(target.variant)
            if not finished.cancelled() and fleet is not None and fleet.desired == after:
                activity.status = "Successful"
                activity.message = (
                    f"Successfully set desired instance count to {after}. Change successfully fulfilled by sagemaker."
                )
                if policy is not None and policy.last is not None:
                    policy.last = replace(policy.last, ended=activity.end)
                return
            activity.status = "Failed"
            activity.message = (
                f"Failed to set desired instance count to {after}. Reason: {endpoint.failure_reason or 'it was ended'}"
            )
            if policy is not None:
                policy.last = None

        task.add_done_callback(done)
