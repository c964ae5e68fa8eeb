"""aws:appautoscaling/target:Target: what may be scaled, and between which bounds."""

from __future__ import annotations

from typing import Any

from localcloud.provider.apishape import from_api, to_api
from localcloud.provider.cloud import Cloud
from localcloud.provider.declarations import REGION, TAGS, Resource, flag, integer, obj, text
from localcloud.provider.errors import ProviderError
from localcloud.provider.values import Values

REQUEST = {
    "maxCapacity": integer(required=True),
    "minCapacity": integer(required=True),
    "resourceId": text(required=True, force_new=True),
    "roleArn": text(computed=True, aws="RoleARN"),
    "scalableDimension": text(required=True, force_new=True),
    "serviceNamespace": text(required=True, force_new=True),
    "suspendedState": obj(
        {
            "dynamicScalingInSuspended": flag(default=False),
            "dynamicScalingOutSuspended": flag(default=False),
            "scheduledScalingSuspended": flag(default=False),
        },
        computed=True,
    ),
}


def create(cloud: Cloud, inputs: Values) -> str:
    _register(cloud, inputs)
    return str(inputs["resourceId"])


def read(cloud: Cloud, identifier: str, known: Values) -> Values | None:
    namespace, resource, dimension = _key(identifier, known)
    arguments: Any = {"ServiceNamespace": namespace, "ScalableDimension": dimension}
    answer = cloud.autoscaling.describe_scalable_targets(ResourceIds=[resource], **arguments)
    if not answer["ScalableTargets"]:
        return None
    target = answer["ScalableTargets"][0]
    arn = target["ScalableTargetARN"]
    return {
        **from_api(REQUEST, target),
        "arn": arn,
        "tags": cloud.autoscaling.list_tags_for_resource(ResourceARN=arn)["Tags"],
    }


def update(cloud: Cloud, _identifier: str, _old: Values, new: Values) -> None:
    _register(cloud, new)


def _register(cloud: Cloud, inputs: Values) -> None:
    """Tags go by a call of their own: registering an existing target anew leaves its tags as they were."""
    arguments: dict[str, Any] = to_api(REQUEST, inputs)
    arn = cloud.autoscaling.register_scalable_target(**arguments)["ScalableTargetARN"]
    live = cloud.autoscaling.list_tags_for_resource(ResourceARN=arn)["Tags"]
    wanted = cloud.tags(inputs)
    stale = sorted(live.keys() - wanted.keys())
    if stale:
        cloud.autoscaling.untag_resource(ResourceARN=arn, TagKeys=stale)
    if wanted != live and wanted:
        cloud.autoscaling.tag_resource(ResourceARN=arn, Tags=wanted)


def delete(cloud: Cloud, identifier: str, old: Values) -> None:
    namespace, resource, dimension = _key(identifier, old)
    arguments: Any = {"ServiceNamespace": namespace, "ResourceId": resource, "ScalableDimension": dimension}
    try:
        cloud.autoscaling.deregister_scalable_target(**arguments)
    except cloud.autoscaling.exceptions.ObjectNotFoundException:
        return


def _key(identifier: str, known: Values) -> tuple[str, str, str]:
    """(namespace, resource, dimension), from the state or from the id that an import gives."""
    if known.get("serviceNamespace"):
        return known["serviceNamespace"], known["resourceId"], known["scalableDimension"]
    parts = identifier.split("/")
    if len(parts) < 3:
        raise ProviderError(f"'{identifier}': import a scalable target as {RESOURCE.import_id}")
    return parts[0], "/".join(parts[1:-1]), parts[-1]


RESOURCE = Resource(
    label="Application Auto Scaling Target",
    service="application-autoscaling",
    inputs={"region": REGION, "tags": TAGS, **REQUEST},
    outputs=("arn",),
    import_id="NAMESPACE/RESOURCE/DIMENSION",
    create=create,
    read=read,
    update=update,
    delete=delete,
    identify=lambda _given, live: str(live["resourceId"]),
)
