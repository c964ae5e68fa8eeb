"""aws:cloudwatch/metricAlarm:MetricAlarm: one metric, or metric math over several."""

from __future__ import annotations

from typing import Any

from localcloud.provider.apishape import from_api, name_list, name_map, tag_changes, tag_list, tag_map, to_api
from localcloud.provider.cloud import Cloud
from localcloud.provider.declarations import (
    REGION,
    TAGS,
    Autoname,
    Property,
    Resource,
    flag,
    integer,
    number,
    obj,
    objects,
    text,
)
from localcloud.provider.errors import code_of
from localcloud.provider.values import Values

DIMENSIONS = Property(kind="map", encode=name_list, decode=name_map)
ARNS = Property(kind="list", unordered=True)
METRIC = obj(
    {
        "dimensions": DIMENSIONS,
        "metricName": text(required=True),
        "namespace": text(),
        "period": integer(required=True),
        "stat": text(required=True),
        "unit": text(),
    }
)
QUERIES = objects(
    {
        "expression": text(),
        "id": text(required=True),
        "label": text(),
        "metric": METRIC,
        "period": integer(),
        "returnData": flag(default=False),
    },
    unordered=True,
    rejected=("accountId",),
)
REQUEST = {
    "actionsEnabled": flag(default=True),
    "alarmActions": ARNS,
    "alarmDescription": text(),
    "comparisonOperator": text(required=True),
    "datapointsToAlarm": integer(),
    "dimensions": DIMENSIONS,
    "evaluationPeriods": integer(required=True),
    "extendedStatistic": text(),
    "insufficientDataActions": ARNS,
    "metricName": text(),
    "namespace": text(),
    "okActions": Property(kind="list", unordered=True, aws="OKActions"),
    "period": integer(),
    "statistic": text(),
    "threshold": number(required=True),
    "treatMissingData": text(default="missing"),
    "unit": text(),
}


def create(cloud: Cloud, inputs: Values) -> str:
    name = str(inputs["name"])
    cloud.cloudwatch.put_metric_alarm(AlarmName=name, Tags=tag_list(cloud.tags(inputs)), **_arguments(inputs))
    return name


def read(cloud: Cloud, identifier: str, _known: Values) -> Values | None:
    answer: Any = cloud.cloudwatch.describe_alarms(AlarmNames=[identifier], AlarmTypes=["MetricAlarm"])
    if not answer["MetricAlarms"]:
        return None
    alarm = answer["MetricAlarms"][0]
    arn = alarm["AlarmArn"]
    return {
        "name": identifier,
        **from_api(REQUEST, alarm),
        "treatMissingData": alarm.get("TreatMissingData", "missing"),
        "metricQueries": [_query_from(query) for query in alarm.get("Metrics", [])],
        "arn": arn,
        "tags": tag_map(cloud.cloudwatch.list_tags_for_resource(ResourceARN=arn)["Tags"]),
    }


def update(cloud: Cloud, identifier: str, old: Values, new: Values) -> None:
    cloud.cloudwatch.put_metric_alarm(AlarmName=identifier, **_arguments(new))
    arn = old["arn"]
    live = tag_map(cloud.cloudwatch.list_tags_for_resource(ResourceARN=arn)["Tags"])
    stale, changed = tag_changes(live, cloud.tags(new))
    if stale:
        cloud.cloudwatch.untag_resource(ResourceARN=arn, TagKeys=stale)
    if changed:
        cloud.cloudwatch.tag_resource(ResourceARN=arn, Tags=tag_list(changed))


def delete(cloud: Cloud, identifier: str, _old: Values) -> None:
    try:
        cloud.cloudwatch.delete_alarms(AlarmNames=[identifier])
    except cloud.cloudwatch.exceptions.ClientError as error:
        if code_of(error) not in ("ResourceNotFound", "ResourceNotFoundException"):
            raise


def _arguments(inputs: Values) -> dict[str, Any]:
    arguments = to_api(REQUEST, inputs)
    if inputs.get("metricQueries"):
        arguments["Metrics"] = [_query_to(query) for query in inputs["metricQueries"]]
    return arguments


def _query_to(query: Values) -> dict[str, Any]:
    """Upstream's `metric` holds both the API's `Metric` and the statistic around it."""
    plain = {key: value for key, value in query.items() if key != "metric"}
    result = to_api(QUERIES.fields, plain)
    if "metric" in query:
        around = to_api(METRIC.fields, query["metric"])
        inner = {name: around.pop(name) for name in ("Namespace", "MetricName", "Dimensions") if name in around}
        result["MetricStat"] = {"Metric": inner, **around}
    return result


def _query_from(query: dict[str, Any]) -> Values:
    result = from_api(QUERIES.fields, query)
    if "MetricStat" in query:
        around = {name: value for name, value in query["MetricStat"].items() if name != "Metric"}
        result["metric"] = from_api(METRIC.fields, {**around, **query["MetricStat"]["Metric"]})
    return result


def validate(inputs: Values) -> list[tuple[str, str]]:
    single = [key for key in ("metricName", "namespace", "period", "statistic", "extendedStatistic") if key in inputs]
    if "metricQueries" in inputs:
        return [(key, f"{key}: conflicts with metricQueries") for key in single]
    problems = [
        (key, f"{key}: is needed where there are no metricQueries")
        for key in ("metricName", "namespace", "period")
        if key not in inputs
    ]
    if ("statistic" in inputs) == ("extendedStatistic" in inputs):
        problems.append(("statistic", "statistic: give either it or extendedStatistic"))
    return problems


RESOURCE = Resource(
    label="CloudWatch MetricAlarm",
    service="cloudwatch",
    inputs={
        "metricQueries": QUERIES,
        "name": text(force_new=True, computed=True),
        "region": REGION,
        "tags": TAGS,
        **REQUEST,
    },
    rejected=(
        "evaluateLowSampleCountPercentiles",
        "evaluationCriteria",
        "evaluationInterval",
        "evaluationWindow",
        "thresholdMetricId",
        "warmUpConfiguration",
    ),
    outputs=("arn",),
    autoname=Autoname(longest=255),
    import_id="the alarm's name",
    create=create,
    read=read,
    update=update,
    delete=delete,
    validate=validate,
)
