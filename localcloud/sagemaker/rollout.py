"""How an update moves traffic from the old fleets (blue) to the new ones (green).

Apart from the endpoint so that canary, linear and rolling are one function each beside `all_at_once`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from localcloud.errors import UnsupportedError
from localcloud.sagemaker.fleet import Fleet

Fleets = Mapping[str, Fleet]


class Strategy(Protocol):
    """Starts green, moves the traffic by calling `route`, and returns when blue may be drained.

    Raises DeploymentError where green cannot run; the caller then closes green, and blue has served all along.
    """

    async def __call__(self, blue: Fleets, green: Fleets, route: Callable[[Fleets], None]) -> None: ...


@dataclass(frozen=True)
class AllAtOnce:
    """Traffic moves when every green replica is healthy; blue stays for `termination_wait` seconds more."""

    termination_wait: float = 0.0

    async def __call__(self, blue: Fleets, green: Fleets, route: Callable[[Fleets], None]) -> None:
        await start_all(green)
        route(green)
        await asyncio.sleep(self.termination_wait)


async def start_all(fleets: Fleets) -> None:
    """Starts fleets side by side; the first failure cancels the others and is raised."""
    starts = [asyncio.ensure_future(fleet.start()) for fleet in fleets.values()]
    try:
        await asyncio.gather(*starts)
    except BaseException:
        for start in starts:
            start.cancel()
        await asyncio.gather(*starts, return_exceptions=True)
        raise


def strategy(deployment: Mapping[str, Any] | None) -> Strategy:
    """The strategy that a `DeploymentConfig` of the API asks for. Raises UnsupportedError."""
    if not deployment:
        return AllAtOnce()
    if deployment.get("AutoRollbackConfiguration", {}).get("Alarms"):
        raise UnsupportedError("The local AWS does not emulate rollback on alarms (AutoRollbackConfiguration) yet.")
    if "RollingUpdatePolicy" in deployment:
        raise UnsupportedError("The local AWS does not emulate rolling updates yet; ALL_AT_ONCE is emulated.")
    policy = deployment.get("BlueGreenUpdatePolicy", {})
    kind = policy.get("TrafficRoutingConfiguration", {}).get("Type", "ALL_AT_ONCE")
    if kind != "ALL_AT_ONCE":
        raise UnsupportedError(f"The local AWS does not emulate {kind} traffic routing yet; ALL_AT_ONCE is emulated.")
    return AllAtOnce(float(policy.get("TerminationWaitInSeconds", 0)))
