"""How many instances an endpoint runs and what changes that: arithmetic and plain arguments, apart from resources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from infra import names
from infra.alarms import NAMESPACE as METRICS
from infra.live import LiveEndpoint
from model_build.deployment import MAIN_VARIANT, CustomMetric, Deploy

METRIC = "SageMakerVariantInvocationsPerInstance"
HIGH_RESOLUTION = "SageMakerVariantConcurrentRequestsPerModelHighResolution"
DIMENSION = "sagemaker:variant:DesiredInstanceCount"
NAMESPACE = "sagemaker"

DEFAULT_TARGETS: Mapping[str, float] = {"invocations": 600, "backlog": 5}
WAKE_COOLDOWN_SECONDS = 300


def scales(deploy: Deploy) -> bool:
    """Whether there is a range of instances, or a timetable of ranges."""
    if deploy.endpoint == "serverless":
        return False
    return deploy.instances.max > deploy.instances.min or bool(deploy.autoscaling.schedule)


def initial_count(deploy: Deploy, live: LiveEndpoint | None, settings: str, digest: str) -> int:
    """Instances that a new endpoint configuration starts with.

    An update resets a scaled-out endpoint to this count (terraform-provider-aws#48990), so it is the live one, within
    the range. Where the configuration that runs is the wanted one but for its count (`settings` and `digest` say so),
    its own count stays: else every change of scale would be an update.
    """
    least = max(1, deploy.instances.min)  # SageMaker begins with one, also where it may scale to none
    if live is None or not scales(deploy):
        return least
    variant = live.variants.get(MAIN_VARIANT)
    if variant is None or variant.desired is None:
        return least
    same = live.settings == settings if live.settings else live.digest == digest
    if same and variant.configured:
        return variant.configured
    return max(least, min(variant.desired, deploy.instances.max))


@dataclass(frozen=True)
class StepPolicy:
    """A step scaling policy, and the alarm that sets it off; the policy's ARN becomes the alarm's action."""

    suffix: str
    policy: Mapping[str, Any]
    alarm: Mapping[str, Any]


def target(deploy: Deploy, resolved: float | None) -> float:
    """The value that target tracking holds. `resolved` is what `auto` came to."""
    given = deploy.autoscaling.target
    if given == "auto":
        assert resolved is not None  # noqa: S101  manifests resolves it, or stops the program
        return resolved
    return given if given is not None else DEFAULT_TARGETS[str(deploy.metric)]


def tracking(deploy: Deploy, endpoint: str, value: float) -> dict[str, Any]:
    """Arguments of the target-tracking policy."""
    metric = deploy.metric
    if metric == "invocations":
        specification: dict[str, Any] = {"predefined_metric_specification": {"predefined_metric_type": METRIC}}
    elif metric == "concurrency":
        specification = {"predefined_metric_specification": {"predefined_metric_type": HIGH_RESOLUTION}}
    else:
        watched = _watched(deploy, endpoint)
        specification = {
            "customized_metric_specification": {
                "namespace": watched["namespace"],
                "metric_name": watched["metric_name"],
                "statistic": watched["statistic"],
                "dimensions": [{"name": name, "value": text} for name, text in sorted(watched["dimensions"].items())],
            }
        }
    return {
        "target_value": value,
        **specification,
        "scale_in_cooldown": deploy.autoscaling.scale_in_cooldown,
        "scale_out_cooldown": deploy.autoscaling.scale_out_cooldown,
    }


def step_policies(deploy: Deploy, endpoint: str, value: float) -> list[StepPolicy]:
    """Those beside target tracking: for sudden load, and for the first instance of an endpoint that scaled to none."""
    found = []
    steps = deploy.autoscaling.steps
    if steps:
        # The alarm rings where the first step begins; a step's bounds count from there.
        bounds = [step.above - steps[0].above for step in steps]
        adjustments = [
            {"metric_interval_lower_bound": f"{lower:g}", "scaling_adjustment": step.add}
            | ({"metric_interval_upper_bound": f"{upper:g}"} if upper is not None else {})
            for step, lower, upper in zip(steps, bounds, [*bounds[1:], None], strict=True)
        ]
        found.append(
            StepPolicy(
                "steps",
                _step_policy(adjustments, deploy.autoscaling.scale_out_cooldown),
                _watched(deploy, endpoint)
                | {
                    "name": f"{endpoint}-steps",
                    "alarm_description": f"{endpoint}: sudden load, instances are added",
                    "comparison_operator": "GreaterThanOrEqualToThreshold",
                    "threshold": value + steps[0].above,
                    "evaluation_periods": 1,
                    "treat_missing_data": "notBreaching",
                },
            )
        )
    if deploy.endpoint == "async" and 0 in {deploy.instances.min, *(one.min for one in deploy.autoscaling.schedule)}:
        # Target tracking of the backlog of each instance cannot begin where there is none.
        found.append(
            StepPolicy(
                "wake",
                _step_policy([{"metric_interval_lower_bound": "0", "scaling_adjustment": 1}], WAKE_COOLDOWN_SECONDS),
                {
                    "name": f"{endpoint}-wake",
                    "alarm_description": f"{endpoint}: requests wait and no instance runs, one is started",
                    "namespace": METRICS,
                    "metric_name": "HasBacklogWithoutCapacity",
                    "statistic": "Average",
                    "period": 60,
                    "dimensions": {"EndpointName": endpoint},
                    "comparison_operator": "GreaterThanOrEqualToThreshold",
                    "threshold": 1,
                    "evaluation_periods": 2,
                    "datapoints_to_alarm": 2,
                    "treat_missing_data": "missing",
                },
            )
        )
    return found


def _step_policy(adjustments: list[dict[str, Any]], cooldown: int) -> dict[str, Any]:
    return {
        "adjustment_type": "ChangeInCapacity",
        "metric_aggregation_type": "Average",
        "cooldown": cooldown,
        "step_adjustments": adjustments,
    }


def _watched(deploy: Deploy, endpoint: str) -> dict[str, Any]:
    """The metric that scaling holds, as an alarm names it."""
    metric = deploy.metric
    of_variant = {"EndpointName": endpoint, "VariantName": MAIN_VARIANT}
    if isinstance(metric, CustomMetric):
        dimensions = of_variant if metric.dimensions is None else dict(metric.dimensions)
        return _metric(metric.namespace, metric.name, metric.statistic, dimensions)
    if metric == "backlog":
        return _metric(METRICS, "ApproximateBacklogSizePerInstance", "Average", {"EndpointName": endpoint})
    if metric == "concurrency":
        return _metric(METRICS, "ConcurrentRequestsPerModel", "Average", of_variant, period=10)
    return _metric(METRICS, "InvocationsPerInstance", "Sum", of_variant)


def _metric(
    namespace: str, name: str, statistic: str, dimensions: Mapping[str, str], period: int = 60
) -> dict[str, Any]:
    return {
        "namespace": namespace,
        "metric_name": name,
        "statistic": statistic,
        "period": period,
        "dimensions": dict(dimensions),
    }


def scheduled_actions(deploy: Deploy, endpoint: str) -> dict[str, dict[str, Any]]:
    """Arguments of each scheduled action by its name."""
    return {
        names.scheduled(endpoint, index): {
            "schedule": entry.expression,
            "timezone": entry.timezone,
            "scalable_target_action": {
                key: value
                for key, value in (("min_capacity", entry.min), ("max_capacity", entry.max))
                if value is not None
            },
        }
        for index, entry in enumerate(deploy.autoscaling.schedule)
    }
