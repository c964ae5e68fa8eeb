"""aws:cloudwatch/dashboard:Dashboard. Its body is checked as CloudWatch does: widgets, their places and their types."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from localcloud.provider.cloud import Cloud
from localcloud.provider.declarations import REGION, Resource, document, text
from localcloud.provider.errors import ProviderError, code_of
from localcloud.provider.values import UNKNOWN, Values

TYPES = ("alarm", "custom", "explorer", "log", "metric", "text")
COLUMNS = 24


def create(cloud: Cloud, inputs: Values) -> str:
    name = str(inputs["dashboardName"])
    answer = cloud.cloudwatch.put_dashboard(DashboardName=name, DashboardBody=inputs["dashboardBody"])
    told = [message.get("Message", "") for message in answer.get("DashboardValidationMessages", [])]
    if told:
        raise ProviderError(f"dashboard {name}: CloudWatch says: {'; '.join(told)}")
    return name


def read(cloud: Cloud, identifier: str, _known: Values) -> Values | None:
    try:
        answer = cloud.cloudwatch.get_dashboard(DashboardName=identifier)
    except cloud.cloudwatch.exceptions.ClientError as error:
        if code_of(error) in ("ResourceNotFound", "DashboardNotFoundError"):
            return None
        raise
    return {
        "dashboardName": identifier,
        "dashboardBody": answer["DashboardBody"],
        "dashboardArn": answer["DashboardArn"],
    }


def update(cloud: Cloud, _identifier: str, _old: Values, new: Values) -> None:
    create(cloud, new)


def delete(cloud: Cloud, identifier: str, _old: Values) -> None:
    try:
        cloud.cloudwatch.delete_dashboards(DashboardNames=[identifier])
    except cloud.cloudwatch.exceptions.ClientError as error:
        if code_of(error) not in ("ResourceNotFound", "DashboardNotFoundError"):
            raise


def validate(inputs: Values) -> list[tuple[str, str]]:
    body = inputs["dashboardBody"]
    if body == UNKNOWN:
        return []
    return [("dashboardBody", f"dashboardBody: {problem}") for problem in _problems(json.loads(body))]


def _problems(body: Any) -> Iterator[str]:
    widgets = body.get("widgets") if isinstance(body, dict) else None
    if not isinstance(widgets, list):
        yield "needs `widgets`, a list"
        return
    for number, widget in enumerate(widgets):
        if not isinstance(widget, dict) or widget.get("type") not in TYPES:
            yield f"widgets[{number}] needs a `type`: {', '.join(TYPES)}"
            continue
        if not isinstance(widget.get("properties"), dict):
            yield f"widgets[{number}] needs `properties`"
        left, width = widget.get("x", 0), widget.get("width", 6)
        if not all(isinstance(one, int) for one in (left, width)) or left < 0 or width < 1 or left + width > COLUMNS:
            yield f"widgets[{number}] must lie within {COLUMNS} columns"


RESOURCE = Resource(
    label="CloudWatch Dashboard",
    service="cloudwatch",
    inputs={
        "dashboardBody": document(required=True),
        "dashboardName": text(required=True, force_new=True),
        "region": REGION,
    },
    outputs=("dashboardArn",),
    import_id="the dashboard's name",
    create=create,
    read=read,
    update=update,
    delete=delete,
    validate=validate,
)
