"""How an update reaches the traffic: a spec's `rollout` → the endpoint's deployment configuration. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from model_build.deployment import Rollout, seconds

# AWS's limits of MaximumExecutionTimeoutInSeconds; instances that start need some of it.
SHORTEST_SECONDS, LONGEST_SECONDS = 600, 28_800
START_SECONDS = 3_600


def deployment_config(rollout: Rollout, alarms: Sequence[Any]) -> dict[str, Any]:
    """`alarms` are the names (or outputs of names) of those that roll an update back.

    The alarms are there from the first deployment on: adding them later replaces the endpoint, minutes without service.
    """
    policy = _rolling(rollout) if rollout.type == "rolling" else _blue_green(rollout)
    return {"auto_rollback_configuration": {"alarms": [{"alarm_name": name} for name in alarms]}, **policy}


def _blue_green(rollout: Rollout) -> dict[str, Any]:
    routing: dict[str, Any] = {
        "type": rollout.type.replace("-", "_").upper(),
        "wait_interval_in_seconds": seconds(rollout.interval),
    }
    part = {"canary": "canary_size", "linear": "linear_step_size"}.get(rollout.type)
    if part:
        routing[part] = _percent(rollout.percent)
    return {
        "blue_green_update_policy": {
            "traffic_routing_configuration": routing,
            "termination_wait_in_seconds": seconds(rollout.bake) if rollout.bake else 0,
            "maximum_execution_timeout_in_seconds": timeout(rollout),
        }
    }


def _rolling(rollout: Rollout) -> dict[str, Any]:
    return {
        "rolling_update_policy": {
            "maximum_batch_size": _percent(rollout.percent),
            "wait_interval_in_seconds": seconds(rollout.interval),
            "maximum_execution_timeout_in_seconds": timeout(rollout),
            # Back at once: the old version is the one that works.
            "rollback_maximum_batch_size": _percent(100),
        }
    }


def timeout(rollout: Rollout) -> int:
    """Seconds after which SageMaker gives the update up and rolls it back."""
    return max(SHORTEST_SECONDS, min(LONGEST_SECONDS, rollout.waiting_seconds + START_SECONDS))


def _percent(value: int) -> dict[str, Any]:
    return {"type": "CAPACITY_PERCENT", "value": value}
