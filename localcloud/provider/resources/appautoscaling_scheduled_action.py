"""aws:appautoscaling/scheduledAction:ScheduledAction: other bounds from a moment on, once or again and again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from localcloud.provider.apishape import from_api, to_api
from localcloud.provider.cloud import Cloud
from localcloud.provider.declarations import REGION, Autoname, Resource, integer, obj, text
from localcloud.provider.errors import ProviderError
from localcloud.provider.values import UNKNOWN, Values


def _moment(value: Any) -> datetime:
    """A moment, from RFC 3339 text or as botocore answers it. Raises ValueError."""
    return datetime.fromisoformat(value) if isinstance(value, str) else value.astimezone(UTC)


def _same_moment(value: Any) -> Any:
    try:
        return _moment(value).timestamp()
    except ValueError:
        return value


def _text(answered: Any) -> str:
    return _moment(answered).strftime("%Y-%m-%dT%H:%M:%SZ")


MOMENT: dict[str, Any] = {"encode": _moment, "decode": _text, "normal": _same_moment}
REQUEST = {
    "endTime": text(**MOMENT),
    "resourceId": text(required=True, force_new=True),
    "scalableDimension": text(required=True, force_new=True),
    "scalableTargetAction": obj({"maxCapacity": integer(), "minCapacity": integer()}, required=True),
    "schedule": text(required=True),
    "serviceNamespace": text(required=True, force_new=True),
    "startTime": text(**MOMENT),
    "timezone": text(default="UTC"),
}
# What PutScheduledAction leaves as it was where it is not given again.
OPTIONAL = ("endTime", "startTime")


def create(cloud: Cloud, inputs: Values) -> str:
    arguments: dict[str, Any] = to_api(REQUEST, inputs)
    cloud.autoscaling.put_scheduled_action(ScheduledActionName=inputs["name"], **arguments)
    return f"{inputs['name']}-{inputs['serviceNamespace']}-{inputs['resourceId']}"


def read(cloud: Cloud, identifier: str, known: Values) -> Values | None:
    if "serviceNamespace" not in known:
        raise ProviderError(f"'{identifier}': a scheduled action cannot be imported, as upstream")
    arguments: Any = {"ResourceId": known["resourceId"], "ScalableDimension": known["scalableDimension"]}
    answer = cloud.autoscaling.describe_scheduled_actions(
        ServiceNamespace=known["serviceNamespace"], ScheduledActionNames=[known["name"]], **arguments
    )
    if not answer["ScheduledActions"]:
        return None
    action: Any = answer["ScheduledActions"][0]
    return {
        "name": known["name"],
        **from_api(REQUEST, action),
        "timezone": action.get("Timezone", "UTC"),
        "arn": action["ScheduledActionARN"],
    }


def update(cloud: Cloud, identifier: str, old: Values, new: Values) -> None:
    if any(key in old and key not in new for key in OPTIONAL):
        delete(cloud, identifier, old)
    create(cloud, new)


def delete(cloud: Cloud, _identifier: str, old: Values) -> None:
    arguments: Any = {"ResourceId": old["resourceId"], "ScalableDimension": old["scalableDimension"]}
    try:
        cloud.autoscaling.delete_scheduled_action(
            ServiceNamespace=old["serviceNamespace"], ScheduledActionName=old["name"], **arguments
        )
    except cloud.autoscaling.exceptions.ObjectNotFoundException:
        return


def validate(inputs: Values) -> list[tuple[str, str]]:
    problems = []
    for key in OPTIONAL:
        value = inputs.get(key, UNKNOWN)
        if value != UNKNOWN:
            try:
                if _moment(value).tzinfo is None:
                    raise ValueError("has no offset")
            except ValueError:
                problems.append((key, f"{key}: must be a moment like 2027-01-31T09:00:00Z, is '{value}'"))
    if inputs["scalableTargetAction"] == {}:
        problems.append(("scalableTargetAction", "scalableTargetAction: needs minCapacity, maxCapacity or both"))
    return problems


RESOURCE = Resource(
    label="Application Auto Scaling ScheduledAction",
    service="application-autoscaling",
    inputs={"name": text(force_new=True, computed=True), "region": REGION, **REQUEST},
    outputs=("arn",),
    volatile=("arn",),
    autoname=Autoname(longest=256),
    import_id="none: it cannot be imported, as upstream",
    create=create,
    read=read,
    update=update,
    delete=delete,
    validate=validate,
)
