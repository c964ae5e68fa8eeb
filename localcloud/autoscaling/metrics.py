"""The metric of a target tracking policy and the two alarms that AWS makes of it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from localcloud import emulation
from localcloud.autoscaling.decisions import SCALE_IN_MARGIN, SCALE_IN_SECONDS, SCALE_OUT_PERIODS
from localcloud.autoscaling.registry import Target
from localcloud.errors import UnsupportedError, ValidationException


@dataclass(frozen=True)
class Predefined:
    """A predefined metric: its name in CloudWatch, statistic, period, and how many periods ring the high alarm."""

    name: str
    statistic: str
    period: int
    periods: int


# Ten-second points: one of them decides, so that a step in the load is answered within the next ten seconds.
PREDEFINED = {
    "SageMakerVariantInvocationsPerInstance": Predefined("InvocationsPerInstance", "Sum", 60, SCALE_OUT_PERIODS),
    "SageMakerVariantConcurrentRequestsPerModelHighResolution": Predefined(
        "ConcurrentRequestsPerModel", "Average", 10, 1
    ),
}


def check_tracking(config: dict[str, Any]) -> None:
    """Raises AwsError for what AWS refuses of a TargetTrackingScalingPolicyConfiguration, or what is not emulated."""
    given = [name for name in ("PredefinedMetricSpecification", "CustomizedMetricSpecification") if name in config]
    if len(given) != 1:
        raise ValidationException(
            "A target tracking policy needs either PredefinedMetricSpecification or CustomizedMetricSpecification."
        )
    if config["TargetValue"] <= 0:
        raise ValidationException("TargetValue must be greater than 0.")
    for name in ("ScaleInCooldown", "ScaleOutCooldown"):
        if config.get(name, 0) < 0:
            raise ValidationException(f"{name} must not be negative.")
    if "PredefinedMetricSpecification" in config:
        kind = config["PredefinedMetricSpecification"]["PredefinedMetricType"]
        if kind not in PREDEFINED:
            raise UnsupportedError(f"The local AWS does not emulate {kind}; it has {', '.join(PREDEFINED)}.")
        return
    custom = config["CustomizedMetricSpecification"]
    if "Metrics" in custom:
        if any(name in custom for name in ("MetricName", "Namespace", "Statistic")):
            raise ValidationException("CustomizedMetricSpecification has either Metrics or a single metric.")
        return
    missing = [name for name in ("MetricName", "Namespace", "Statistic") if name not in custom]
    if missing:
        raise ValidationException(f"CustomizedMetricSpecification needs {', '.join(missing)}.")


def alarms(target: Target, policy_arn: str, config: dict[str, Any]) -> list[dict[str, Any]]:
    """PutMetricAlarm's arguments, as moto names them, for the high alarm and, unless scale-in is off, the low one."""
    source, period, periods = _source(target, config)
    value = config["TargetValue"]
    common = {
        **source,
        "description": f"DO NOT EDIT OR DELETE. For TargetTrackingScaling policy {policy_arn}.",
        "alarm_actions": [policy_arn],
    }
    high = {
        **common,
        "name": _name(target, "AlarmHigh"),
        "comparison_operator": "GreaterThanThreshold",
        "threshold": value,
        "evaluation_periods": periods,
    }
    if config.get("DisableScaleIn", False):
        return [high]
    low = {
        **common,
        "name": _name(target, "AlarmLow"),
        "comparison_operator": "LessThanThreshold",
        "threshold": value * SCALE_IN_MARGIN,
        "evaluation_periods": SCALE_IN_SECONDS // period,
    }
    return [high, low]


def _name(target: Target, which: str) -> str:
    return f"TargetTracking-{target.resource}-{which}-{uuid.uuid4()}"


def _source(target: Target, config: dict[str, Any]) -> tuple[dict[str, Any], int, int]:
    if "PredefinedMetricSpecification" in config:
        found = PREDEFINED[config["PredefinedMetricSpecification"]["PredefinedMetricType"]]
        dimensions = {"EndpointName": target.endpoint, "VariantName": target.variant}
        source = _single("AWS/SageMaker", found.name, found.statistic, dimensions, found.period, None)
        return source, found.period, found.periods
    custom = config["CustomizedMetricSpecification"]
    if "Metrics" in custom:
        return {**_EMPTY, "metric_data_queries": [_query(query) for query in custom["Metrics"]]}, 60, SCALE_OUT_PERIODS
    dimensions = {one["Name"]: one["Value"] for one in custom.get("Dimensions", [])}
    source = _single(custom["Namespace"], custom["MetricName"], custom["Statistic"], dimensions, 60, custom.get("Unit"))
    return source, 60, SCALE_OUT_PERIODS


_EMPTY: dict[str, Any] = {
    "namespace": None,
    "metric_name": None,
    "statistic": None,
    "dimensions": [],
    "period": None,
    "unit": None,
}


def _single(
    namespace: str, name: str, statistic: str, dimensions: dict[str, str], period: int, unit: str | None
) -> dict[str, Any]:
    return {
        "namespace": namespace,
        "metric_name": name,
        "statistic": statistic,
        "dimensions": [{"Name": key, "Value": value} for key, value in dimensions.items()],
        "period": period,
        "unit": unit,
    }


def _query(query: dict[str, Any]) -> Any:
    """A `TargetTrackingMetricDataQuery` as moto keeps a `MetricDataQuery`; AWS fixes its period to a minute."""
    return emulation.metric_data_query(
        {**query, "MetricStat": {"Period": 60, **query["MetricStat"]}} if "MetricStat" in query else query
    )
