"""How an update moves traffic from the old fleets (blue) to the new ones (green), and back where an alarm rings.

Apart from the endpoint so that all-at-once, canary, linear and rolling are one function each.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from localcloud.clock import Clock
from localcloud.sagemaker.deployment import Plan
from localcloud.sagemaker.fleet import DeploymentError, Fleet
from localcloud.sagemaker.traffic import Fleets

POLL_SECONDS = 0.05  # of the wall: how late a ringing alarm is noticed at most


@dataclass
class Rollout:
    """One update under way: what a strategy works with.

    `route` is told the green share of each variant; `tell` each stage, in words; `rang` gives why an alarm rings, or
    rang since a moment of the clock.
    """

    plan: Plan
    blue: Fleets
    green: Fleets
    clock: Clock
    route: Callable[[Mapping[str, float]], None]
    tell: Callable[[str, str], None]
    rang: Callable[[str, float], str | None]
    shares: dict[str, float] = field(default_factory=dict)
    blue_counts: dict[str, int] = field(default_factory=dict)
    since: float = 0.0
    _spent: float = 0.0

    async def run(self) -> None:
        """Raises DeploymentError where green cannot run, an alarm rings, or it takes too long."""
        self.since = self.clock.now()
        self.blue_counts = {name: fleet.desired for name, fleet in self.blue.items()}
        self.shares = dict.fromkeys(self.green, 0.0)
        await _STRATEGIES[self.plan.kind](self)
        if self.plan.termination_wait:
            await self.bake(self.plan.termination_wait, "the old fleet waits for its end")

    async def start(self, work: Awaitable[None], what: str) -> None:
        """Starting replicas takes the machine's time, not the clock's: only so much of it counts."""
        self.tell("Creating", what)
        began = time.monotonic()
        await work
        self._spent += time.monotonic() - began
        self._check_time()

    def shift(self, shares: Mapping[str, float]) -> None:
        self.shares = dict(shares)
        shown = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
        self.tell("ActivatingTraffic", f"traffic on the new fleet: {shown}")
        self.route(shares)

    async def bake(self, seconds: float, what: str) -> None:
        """Waits, and watches the alarms. Raises DeploymentError naming the alarm that rings."""
        end = self.clock.now() + seconds
        if seconds:
            self.tell("Baking", f"{what} ({seconds:g} s)")
        while True:
            self.check_alarms()
            left = end - self.clock.now()
            if left <= 0:
                break
            await asyncio.sleep(min(POLL_SECONDS, left / self.clock.speed))
        self._spent += seconds
        self._check_time()

    def check_alarms(self) -> None:
        for name in self.plan.alarms:
            reason = self.rang(name, self.since)
            if reason is not None:
                raise DeploymentError(
                    f"The deployment was rolled back because the CloudWatch alarm {name} is in ALARM state: {reason}"
                )

    def _check_time(self) -> None:
        if self._spent > self.plan.timeout:
            raise DeploymentError(
                f"The deployment did not complete within MaximumExecutionTimeoutInSeconds ({self.plan.timeout:g})."
            )

    async def back(self) -> None:
        """Gives all traffic back to blue, in batches where blue was thinned. Raises DeploymentError where it cannot."""
        while missing := {
            name: count - len(self.blue[name].replicas)
            for name, count in self.blue_counts.items()
            if len(self.blue[name].replicas) < count
        }:
            for name, lacking in missing.items():
                fleet, total = self.blue[name], self.blue_counts[name]
                step = self.plan.rollback_step.instances(total) if self.plan.rollback_step else lacking
                self.tell("Updating", f"old replicas of {name} come back: {min(step, lacking)}")
                await fleet.scale(len(fleet.replicas) + min(step, lacking))
                share = 1.0 - len(fleet.healthy) / total
                self.shares[name] = min(self.shares.get(name, 0.0), max(0.0, share))
            self.route(self.shares)
        self.shares = dict.fromkeys(self.green, 0.0)
        self.route(self.shares)


async def _all_at_once(rollout: Rollout) -> None:
    await rollout.start(start_all(rollout.green), "the new fleet starts")
    rollout.check_alarms()
    rollout.shift(dict.fromkeys(rollout.green, 1.0))
    await rollout.bake(rollout.plan.bake, "all traffic bakes")


async def _canary(rollout: Rollout) -> None:
    await rollout.start(start_all(rollout.green), "the new fleet starts")
    rollout.check_alarms()
    rollout.shift(_step_shares(rollout, 1))
    await rollout.bake(rollout.plan.bake, "the canary bakes")
    rollout.shift(dict.fromkeys(rollout.green, 1.0))
    await rollout.bake(rollout.plan.bake, "all traffic bakes")


async def _linear(rollout: Rollout) -> None:
    await rollout.start(start_all(rollout.green), "the new fleet starts")
    rollout.check_alarms()
    step = 1
    while min(rollout.shares.values()) < 1.0:
        rollout.shift(_step_shares(rollout, step))
        await rollout.bake(rollout.plan.bake, f"step {step} bakes")
        step += 1


async def _rolling(rollout: Rollout) -> None:
    await rollout.start(_prepare_all(rollout.green), "the new model is fetched")
    rollout.check_alarms()
    step = 1
    while min(rollout.shares.values()) < 1.0:
        shares = _step_shares(rollout, step)
        counts = {name: round(fleet.variant.count * shares[name]) for name, fleet in rollout.green.items()}
        await rollout.start(_scale_all(rollout.green, counts), f"batch {step} starts")
        rollout.shift(shares)
        await rollout.bake(rollout.plan.bake, f"batch {step} bakes")
        # The old instances that this batch replaces go only now, so that the traffic always has its capacity.
        rest = {name: round(rollout.blue_counts[name] * (1.0 - shares.get(name, 1.0))) for name in rollout.blue}
        await _scale_all(rollout.blue, {name: count for name, count in rest.items() if count > 0})
        step += 1


def _step_shares(rollout: Rollout, steps: int) -> dict[str, float]:
    """The share of each variant after so many steps, in whole instances."""
    step = rollout.plan.step
    if step is None:
        return dict.fromkeys(rollout.green, 1.0)
    totals = {name: fleet.variant.count for name, fleet in rollout.green.items()}
    return {name: min(1.0, step.instances(total) * steps / total) for name, total in totals.items()}


_STRATEGIES: dict[str, Callable[[Rollout], Awaitable[None]]] = {
    "ALL_AT_ONCE": _all_at_once,
    "CANARY": _canary,
    "LINEAR": _linear,
    "ROLLING": _rolling,
}


async def start_all(fleets: Fleets) -> None:
    """Starts fleets side by side; the first failure cancels the others and is raised."""
    await _side_by_side([fleet.start() for fleet in fleets.values()])


async def _prepare_all(fleets: Fleets) -> None:
    await _side_by_side([fleet.prepare() for fleet in fleets.values()])


async def _scale_all(fleets: Fleets, counts: Mapping[str, int]) -> None:
    await _side_by_side([fleets[name].scale(count) for name, count in counts.items()])


async def _side_by_side(work: list[Awaitable[None]]) -> None:
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


async def drain_all(fleets: list[Fleet]) -> None:
    """Lets every request finish, then stops the fleets."""
    await asyncio.gather(*(fleet.drain_and_close() for fleet in fleets))
