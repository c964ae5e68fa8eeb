"""Our autoscaler against AWS's rules, on three seeded days: `python -m bench.autoscaling [--quick]`.

The real `Watch` (metrics, alarms) and `Scaler` run on a clock that is set, over simulated instances; the same plant
under `bench.autoscaling_rules` says what AWS documents. Then, in real time at speed 1: how long after a step of the
traffic to four times its height a policy on the high-resolution concurrency metric decides.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import random
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

from bench.autoscaling_rules import Decision, Plant, Rules, decide
from bench.outcome import Bar, table, tell
from localcloud.clock import Clock

MINUTES = 24 * 60
DELAY_SECONDS = 90.0
"""That a change of capacity takes in the simulation; not whole minutes, so that cooldowns end between them."""
REGION, ENDPOINT, VARIANT = "us-east-1", "e", "v"
CALM, STEEP = 10, 40
"""Requests a second before and after the step; each takes 200 ms, so 2 and 8 are under way at a time."""
CONCURRENCY_TARGET = 3.0


# --- traces -----------------------------------------------------------------------------------------------------------


def office_day(seed: int, minutes: int) -> list[float]:
    """Requests a minute of a day that rises and falls, with noise."""
    generator = random.Random(seed)
    shape = [1500 - 1300 * math.cos(2 * math.pi * minute / MINUTES) for minute in range(minutes)]
    return [float(round(height * generator.uniform(0.9, 1.1))) for height in shape]


def steps_and_spikes(seed: int, minutes: int) -> list[float]:
    """Plateaus of random height and length, with short spikes on them."""
    generator = random.Random(seed)
    trace: list[float] = []
    while len(trace) < minutes:
        height = generator.uniform(100, 3500)
        for _ in range(generator.randint(15, 90)):
            trace.append(round(height * (generator.uniform(2, 4) if generator.random() < 0.03 else 1)))
    return trace[:minutes]


def random_walk(seed: int, minutes: int) -> list[float]:
    """Requests a minute that drift, each from the one before."""
    generator = random.Random(seed)
    level = 800.0
    trace: list[float] = []
    for _ in range(minutes):
        level = min(4500.0, max(50.0, level * math.exp(generator.gauss(0, 0.2))))
        trace.append(round(level))
    return trace


TRACKING = Rules(target=300, least=1, most=20, out_cooldown=60, in_cooldown=300)
BOTH = Rules(300, 2, 15, 120, 600, step_threshold=450, steps=((0, 1), (150, 4)), step_cooldown=180)
PATIENT = Rules(target=300, least=1, most=20, out_cooldown=900, in_cooldown=600)
TRACES = (
    ("office day", office_day, 1, TRACKING),
    ("steps and spikes, with a step policy", steps_and_spikes, 2, BOTH),
    ("random walk, with long cooldowns", random_walk, 3, PATIENT),
)


# --- our autoscaler, on a clock that is set ---------------------------------------------------------------------------


class SetClock(Clock):
    """Shows what it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.moment = 0.0

    def now(self) -> float:
        return self.moment


class SimulatedEndpoint:
    """What the scaler needs of an endpoint: a desired count, a status, and a resize that takes its time."""

    def __init__(self, plant: Plant, clock: SetClock) -> None:
        self.name, self.region, self.failure_reason = ENDPOINT, REGION, None
        self.status = "InService"
        self.fleets = {VARIANT: SimpleNamespace(desired=plant.capacity)}
        self.decisions: list[Decision] = []
        self._plant, self._clock = plant, clock
        self._resizing: asyncio.Future[None] | None = None

    def resize(self, counts: dict[str, int], _weights: dict[str, float]) -> asyncio.Future[None]:
        after = counts[VARIANT]
        self.decisions.append(Decision(round(self._clock.moment / 60) - 1, self.fleets[VARIANT].desired, after))
        self.fleets[VARIANT].desired = after
        self.status = "Updating"
        self._plant.change(self._clock.moment, after)
        self._resizing = asyncio.get_running_loop().create_future()
        return self._resizing

    async def settle(self) -> None:
        if self._plant.settle(self._clock.moment) and self._resizing is not None:
            self.status = "InService"
            self._resizing.set_result(None)
            await asyncio.sleep(0)  # the scaler notes when it was done


async def ours(rules: Rules, plant: Plant) -> list[Decision]:
    """Every decision that our autoscaler takes on the plant's trace."""
    from moto.cloudwatch.models import cloudwatch_backends

    from localcloud import emulation
    from localcloud.autoscaling.scaler import Scaler
    from localcloud.autoscaling.service import Operations
    from localcloud.cloudwatch import service
    from localcloud.cloudwatch.store import Metric
    from localcloud.cloudwatch.watch import Watch

    for backends in cloudwatch_backends.values():
        for backend in backends.values():
            backend.alarms.clear()
    clock = SetClock()
    watch = Watch(clock)
    service.install(watch)
    endpoint = SimulatedEndpoint(plant, clock)
    anything: Any = endpoint
    scaler = Scaler(watch, lambda _region, _name: anything)
    operations = Operations(scaler.registry(REGION), clock, lambda *_: False)
    target = {"ServiceNamespace": "sagemaker", "ResourceId": f"endpoint/{ENDPOINT}/variant/{VARIANT}"}
    operations.register_scalable_target({**target, "MinCapacity": rules.least, "MaxCapacity": rules.most})
    operations.put_scaling_policy(
        {
            **target,
            "PolicyName": "follow",
            "PolicyType": "TargetTrackingScaling",
            "TargetTrackingScalingPolicyConfiguration": {
                "TargetValue": rules.target,
                "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
                "ScaleOutCooldown": rules.out_cooldown,
                "ScaleInCooldown": rules.in_cooldown,
            },
        }
    )
    metric = Metric.of("AWS/SageMaker", "InvocationsPerInstance", {"EndpointName": ENDPOINT, "VariantName": VARIANT})
    if rules.step_threshold is not None:
        bounds = [lower for lower, _ in rules.steps[1:]]
        adjustments = [
            {"MetricIntervalLowerBound": float(lower), "ScalingAdjustment": add}
            | ({"MetricIntervalUpperBound": float(upper)} if upper is not None else {})
            for (lower, add), upper in zip(rules.steps, [*bounds, None], strict=True)
        ]
        stepping = {
            "AdjustmentType": "ChangeInCapacity",
            "Cooldown": rules.step_cooldown,
            "StepAdjustments": adjustments,
        }
        arn = operations.put_scaling_policy(
            {**target, "PolicyName": "leap", "PolicyType": "StepScaling", "StepScalingPolicyConfiguration": stepping}
        )["PolicyARN"]
        emulation.put_alarm(REGION, _own_alarm(arn, rules.step_threshold))
    for tick in range(1, 6 * len(plant.requests) + 1):
        clock.moment = 10.0 * tick
        minute, rest = divmod(tick, 6)
        await endpoint.settle()
        if rest == 0:
            # What the minute that ends now came to.
            watch.store(REGION).put(metric, clock.moment - 60, plant.per_instance(minute - 1))
        watch.tick(clock.moment)
        scaler.tick(clock.moment)
    return endpoint.decisions


def _own_alarm(policy: str, threshold: float) -> dict[str, Any]:
    return {
        "name": "own",
        "namespace": "AWS/SageMaker",
        "metric_name": "InvocationsPerInstance",
        "statistic": "Sum",
        "dimensions": [{"Name": "EndpointName", "Value": ENDPOINT}, {"Name": "VariantName", "Value": VARIANT}],
        "period": 60,
        "unit": None,
        "evaluation_periods": 1,
        "threshold": threshold,
        "comparison_operator": "GreaterThanThreshold",
        "alarm_actions": [policy],
        "description": "the step policy's",
    }


# --- the step in real time --------------------------------------------------------------------------------------------


def decision_seconds(trials: int, seed: int) -> list[float]:
    """Seconds of the wall from the step to the decision, at a random phase of the ten seconds, once a trial."""
    from bench.autoscaling_step import Stage

    generator = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as folder, Stage(Path(folder)) as stage:
        return [
            stage.step(f"step-{trial}", CALM, STEEP, CONCURRENCY_TARGET, generator.uniform(0, 10))
            for trial in range(trials)
        ]


@dataclass(frozen=True)
class Compared:
    name: str
    rules: Sequence[Decision]
    ours: Sequence[Decision]

    @property
    def same(self) -> int:
        return len(set(self.rules) & set(self.ours))

    @property
    def all(self) -> int:
        return len(set(self.rules) | set(self.ours))


def compare(minutes: int) -> list[Compared]:
    compared = []
    for name, make, seed, rules in TRACES:
        trace = make(seed, minutes)
        expected = decide(rules, Plant(trace, rules.least, DELAY_SECONDS))
        taken = asyncio.run(ours(rules, Plant(trace, rules.least, DELAY_SECONDS)))
        compared.append(Compared(name, expected, taken))
    return compared


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one step in real time in place of nine")
    options = parser.parse_args()
    compared = compare(MINUTES)
    seconds = decision_seconds(1 if options.quick else 9, 4)
    rows = [
        (one.name, str(len(one.rules)), str(len(one.ours)), str(one.same), f"{100 * one.same / one.all:.1f} %")
        for one in compared
    ]
    shown = table(("trace of a day", "decisions by the rules", "ours", "same, at the same minute", ""), rows)
    shown += (
        f"\nstep to 4 times the traffic, decided after: median {median(seconds):.1f} s, most {max(seconds):.1f} s\n"
    )
    same, every = sum(one.same for one in compared), sum(one.all for one in compared)
    figures = {
        "traces": [
            {
                "name": one.name,
                "rules": [[each.minute, each.before, each.after] for each in one.rules],
                "ours": [[each.minute, each.before, each.after] for each in one.ours],
            }
            for one in compared
        ],
        "step_seconds": seconds,
    }
    bars = [
        Bar("a step of 4 times the traffic, decided after s", max(seconds), 12),
        Bar("decisions that are the same at the same minute, %", 100 * same / every, 100, at_least=True),
    ]
    return tell("autoscaling", figures, shown, bars)


if __name__ == "__main__":
    sys.exit(main())
