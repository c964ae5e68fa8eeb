"""aws:appautoscaling/policy:Policy: target tracking, the one kind that the local autoscaler follows."""

from __future__ import annotations

from typing import Any

from localcloud.provider.apishape import from_api, to_api
from localcloud.provider.cloud import Cloud
from localcloud.provider.declarations import REGION, Autoname, Resource, flag, integer, number, obj, objects, text
from localcloud.provider.errors import ProviderError
from localcloud.provider.values import Values

TARGET_TRACKING = obj(
    {
        "customizedMetricSpecification": obj(
            {
                "dimensions": objects({"name": text(required=True), "value": text(required=True)}, unordered=True),
                "metricName": text(),
                "namespace": text(),
                "statistic": text(),
                "unit": text(),
            },
            rejected=("metrics",),
        ),
        "disableScaleIn": flag(default=False),
        "predefinedMetricSpecification": obj({"predefinedMetricType": text(required=True), "resourceLabel": text()}),
        "scaleInCooldown": integer(),
        "scaleOutCooldown": integer(),
        "targetValue": number(required=True),
    },
    required=True,
)
REQUEST = {
    "policyType": text(default="StepScaling", choices=("TargetTrackingScaling",)),
    "resourceId": text(required=True, force_new=True),
    "scalableDimension": text(required=True, force_new=True),
    "serviceNamespace": text(required=True, force_new=True),
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
    inputs={"name": text(force_new=True, computed=True), "region": REGION, **REQUEST},
    rejected=("predictiveScalingPolicyConfiguration", "stepScalingPolicyConfiguration"),
    outputs=("arn", "alarmArns"),
    volatile=("alarmArns",),
    autoname=Autoname(),
    import_id="NAMESPACE/RESOURCE/DIMENSION/POLICY",
    create=create,
    read=read,
    update=update,
    delete=delete,
    identify=lambda _given, live: str(live["name"]),
)
