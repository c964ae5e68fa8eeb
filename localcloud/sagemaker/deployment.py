"""What an UpdateEndpoint asks for: how much traffic moves when, how long each part bakes, what rolls it back.

Apart from `rollout.py`, which does it: here requests are read and held against AWS's limits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from localcloud.errors import ValidationException

# Of the variant's instances; AWS's limits.
CANARY_PERCENT = (1, 50)
LINEAR_PERCENT = (10, 50)
ROLLING_PERCENT = (5, 50)
ROLLBACK_PERCENT = (5, 100)
DEFAULT_TIMEOUT_SECONDS = 28_800

Kind = Literal["ALL_AT_ONCE", "CANARY", "LINEAR", "ROLLING"]


@dataclass(frozen=True)
class Size:
    """A `CapacitySize` of the API."""

    unit: str
    value: int

    @classmethod
    def of(cls, request: Mapping[str, Any]) -> Size:
        return cls(request["Type"], request["Value"])

    def instances(self, total: int) -> int:
        """How many of `total` instances; percentages are rounded up to whole instances."""
        count = self.value if self.unit == "INSTANCE_COUNT" else math.ceil(total * self.value / 100)
        return max(1, min(total, count))

    def check(self, what: str, limits: tuple[int, int], variant: str, total: int) -> None:
        """Raises ValidationException where it is out of `limits`, in percent of the variant's `total` instances."""
        least, most = limits
        if self.unit == "CAPACITY_PERCENT":
            within = least <= self.value <= most and (most == 100 or total > 1)
        else:
            within = total * least / 100 <= self.value <= total * most / 100
        if not within:
            raise ValidationException(
                f"{what} must be {least} to {most} percent of a variant's instances; variant '{variant}' has {total}, "
                f"and {self.value} ({self.unit}) was asked for."
                + (" A variant of one instance can only be updated ALL_AT_ONCE." if total == 1 else "")
            )


@dataclass(frozen=True)
class Plan:
    """A deployment, read and checked. All seconds are the clock's."""

    kind: Kind = "ALL_AT_ONCE"
    step: Size | None = None
    rollback_step: Size | None = None
    bake: float = 0.0
    termination_wait: float = 0.0
    timeout: float = DEFAULT_TIMEOUT_SECONDS
    alarms: tuple[str, ...] = ()

    def check(self, counts: Mapping[str, int]) -> None:
        """Raises ValidationException where AWS's limits do not allow it for variants of these instance counts."""
        for variant, total in counts.items():
            if self.step is None:
                continue
            if self.kind == "CANARY":
                self.step.check("CanarySize", CANARY_PERCENT, variant, total)
            elif self.kind == "LINEAR":
                self.step.check("LinearStepSize", LINEAR_PERCENT, variant, total)
            else:
                self.step.check("MaximumBatchSize", ROLLING_PERCENT, variant, total)
                if self.rollback_step is not None:
                    self.rollback_step.check("RollbackMaximumBatchSize", ROLLBACK_PERCENT, variant, total)
        waits = self.bake * max((self.stages(total) for total in counts.values()), default=1) + self.termination_wait
        if waits >= self.timeout:
            raise ValidationException(
                f"MaximumExecutionTimeoutInSeconds ({self.timeout:g}) must be larger than all waits of the deployment "
                f"together ({waits:g})."
            )

    def stages(self, total: int) -> int:
        """How many times it shifts traffic and bakes, for a variant of `total` instances."""
        if self.step is None:
            return 1
        if self.kind == "CANARY":
            return 2
        return math.ceil(total / self.step.instances(total))


def read(request: Mapping[str, Any] | None) -> Plan:
    """A `DeploymentConfig` of the API. Raises ValidationException for members that do not go together."""
    if not request:
        return Plan()
    alarms = tuple(alarm["AlarmName"] for alarm in request.get("AutoRollbackConfiguration", {}).get("Alarms", []))
    if "RollingUpdatePolicy" in request:
        if "BlueGreenUpdatePolicy" in request:
            raise ValidationException("BlueGreenUpdatePolicy and RollingUpdatePolicy exclude each other.")
        return _rolling(request["RollingUpdatePolicy"], alarms)
    if "BlueGreenUpdatePolicy" not in request:
        return Plan(alarms=alarms)
    return _blue_green(request["BlueGreenUpdatePolicy"], alarms)


def _rolling(policy: Mapping[str, Any], alarms: tuple[str, ...]) -> Plan:
    rollback = policy.get("RollbackMaximumBatchSize")
    return Plan(
        "ROLLING",
        step=Size.of(policy["MaximumBatchSize"]),
        rollback_step=Size.of(rollback) if rollback else None,
        bake=float(policy["WaitIntervalInSeconds"]),
        timeout=float(policy.get("MaximumExecutionTimeoutInSeconds", DEFAULT_TIMEOUT_SECONDS)),
        alarms=alarms,
    )


def _blue_green(policy: Mapping[str, Any], alarms: tuple[str, ...]) -> Plan:
    routing = policy["TrafficRoutingConfiguration"]
    kind: Kind = routing["Type"]
    needed = {"CANARY": "CanarySize", "LINEAR": "LinearStepSize"}
    for other, member in needed.items():
        if (member in routing) != (kind == other):
            raise ValidationException(
                f"{member} is needed where the traffic routing type is {other}, and only there; here it is {kind}."
            )
    return Plan(
        kind,
        step=Size.of(routing[needed[kind]]) if kind in needed else None,
        bake=float(routing["WaitIntervalInSeconds"]),
        termination_wait=float(policy.get("TerminationWaitInSeconds", 0)),
        timeout=float(policy.get("MaximumExecutionTimeoutInSeconds", DEFAULT_TIMEOUT_SECONDS)),
        alarms=alarms,
    )
