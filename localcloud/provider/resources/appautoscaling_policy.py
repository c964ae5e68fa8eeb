"""aws:appautoscaling/policy:Policy: target tracking and step scaling, which the local autoscaler follows."""

from __future__ import annotations

from typing import Any

from localcloud.provider.apishape import from_api, to_api
from localcloud.provider.cloud import Cloud
from localcloud.provider.declarations import REGION, Autoname, Resource, flag, integer, number, obj, objects, text
from localcloud.provider.errors import ProviderError
from localcloud.provider.values import UNKNOWN, Values


def _number(value: Any) -> Any:
    try:
        return float(value)
    except ValueError:
        return value


DIMENSIONS = objects({"name": text(required=True), "value": text(required=True)}, unordered=True)
METRICS = objects(
    {
        "expression": text(),
        "id": text(required=True),
        "label": text(),
        "metricStat": obj(
            {
                "metric": obj(
                    {
                        "dimensions": DIMENSIONS,
                        "metricName": text(required=True),
                        "namespace": text(required=True),
                    },
                    required=True,
                ),
                "stat": text(required=True),
                "unit": text(),
            }
        ),
        "returnData": flag(default=True),
    },
    unordered=True,
)
TARGET_TRACKING = obj(
    {
        "customizedMetricSpecification": obj(
            {
                "dimensions": DIMENSIONS,
                "metricName": text(),
                "namespace": text(),
                "statistic": text(),
                "metrics": METRICS,
                "unit": text(),
            },
        ),
        "disableScaleIn": flag(default=False),
        "predefinedMetricSpecification": obj({"predefinedMetricType": text(required=True), "resourceLabel": text()}),
        "scaleInCooldown": integer(),
        "scaleOutCooldown": integer(),
        "targetValue": number(required=True),
    },
)

# The bounds are texts upstream, so that nought and absent can be told apart.
BOUND: dict[str, Any] = {"encode": float, "decode": lambda answered: f"{answered:g}", "normal": _number}
STEP_SCALING = obj(
    {
        "adjustmentType": text(),
        "cooldown": integer(),
        "metricAggregationType": text(),
        "minAdjustmentMagnitude": integer(),
        "stepAdjustments": objects(
            {
                "metricIntervalLowerBound": text(**BOUND),
                "metricIntervalUpperBound": text(**BOUND),
                "scalingAdjustment": integer(required=True),
            },
            unordered=True,
        ),
    }
)
CONFIGURATIONS = {
    "StepScaling": "stepScalingPolicyConfiguration",
    "TargetTrackingScaling": "targetTrackingScalingPolicyConfiguration",
}
REQUEST = {
    "policyType": text(default="StepScaling", choices=("StepScaling", "TargetTrackingScaling")),
    "resourceId": text(required=True, force_new=True),
    "scalableDimension": text(required=True, force_new=True),
    "serviceNamespace": text(required=True, force_new=True),
    "stepScalingPolicyConfiguration": STEP_SCALING,
    "targetTrackingScalingPolicyConfiguration": TARGET_TRACKING,
}


def create(cloud: Cloud, inputs: Values) -> str:
    arguments: dict[str, Any] = to_api(REQUEST, inputs)
    cloud.autoscaling.put_scaling_policy(PolicyName=inputs["name"], **arguments)
    return str(inputs["name"])


def read(cloud: Cloud, identifier: str, known: Values) -> Values | None:
    namespace, resource, dimension, name = _key(identifier, known)
    arguments: Any = {"ServiceNamespace": namespace, "ScalableDimension": dimension}
    answer = cloud.autoscaling.describe_scaling_policies(PolicyNames=[name], ResourceId=resource, **arguments)
    if not answer["ScalingPolicies"]:
        return None
    policy = answer["ScalingPolicies"][0]
    return {
        "name": name,
        **from_api(REQUEST, policy),
        "arn": policy["PolicyARN"],
        "alarmArns": [alarm["AlarmARN"] for alarm in policy.get("Alarms", [])],
    }


def update(cloud: Cloud, _identifier: str, _old: Values, new: Values) -> None:
    create(cloud, new)


def delete(cloud: Cloud, identifier: str, old: Values) -> None:
    namespace, resource, dimension, name = _key(identifier, old)
    arguments: Any = {"ServiceNamespace": namespace, "ScalableDimension": dimension}
    try:
        cloud.autoscaling.delete_scaling_policy(PolicyName=name, ResourceId=resource, **arguments)
    except cloud.autoscaling.exceptions.ObjectNotFoundException:
        return


def validate(inputs: Values) -> list[tuple[str, str]]:
    kind = inputs["policyType"]
    if kind == UNKNOWN:
        return []
    problems = []
    for other, key in CONFIGURATIONS.items():
        if (key in inputs) != (other == kind):
            problems.append((key, f"{key}: is needed where policyType is {other}, and only there; it is {kind}"))
    steps: Any = inputs.get("stepScalingPolicyConfiguration", UNKNOWN)
    steps = steps.get("stepAdjustments", UNKNOWN) if steps != UNKNOWN else UNKNOWN
    for step in steps if steps != UNKNOWN else []:
        for key in ("metricIntervalLowerBound", "metricIntervalUpperBound"):
            if key in step and step[key] != UNKNOWN and not isinstance(_number(step[key]), float):
                where = f"stepScalingPolicyConfiguration.stepAdjustments.{key}"
                problems.append((where, f"{where}: must be a number as text, is '{step[key]}'"))
    return problems


def _key(identifier: str, known: Values) -> tuple[str, str, str, str]:
    """(namespace, resource, dimension, name), from the state or from the id that an import gives."""
    if known.get("serviceNamespace"):
        return known["serviceNamespace"], known["resourceId"], known["scalableDimension"], known["name"]
    parts = identifier.split("/")
    if len(parts) < 4:
        raise ProviderError(f"'{identifier}': import a scaling policy as {RESOURCE.import_id}")
    return parts[0], "/".join(parts[1:-2]), parts[-2], parts[-1]


RESOURCE = Resource(
    label="Application Auto Scaling Policy",
    service="application-autoscaling",
    inputs={"name": text(force_new=True, computed=True), "region": REGION, **REQUEST},
    rejected=("predictiveScalingPolicyConfiguration",),
    outputs=("arn", "alarmArns"),
    volatile=("alarmArns",),
    autoname=Autoname(),
    import_id="NAMESPACE/RESOURCE/DIMENSION/POLICY",
    create=create,
    read=read,
    update=update,
    delete=delete,
    validate=validate,
    identify=lambda _given, live: str(live["name"]),
)
