"""aws:s3/bucketNotification:BucketNotification: which topics hear of what happens in a bucket."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from localcloud.provider.bucketpart import NO_BUCKET, bucket_part
from localcloud.provider.cloud import Cloud
from localcloud.provider.declarations import Property, objects, text
from localcloud.provider.values import Values

TOPICS = objects(
    {
        "events": Property(kind="list", required=True, unordered=True),
        "filterPrefix": text(),
        "filterSuffix": text(),
        "id": text(computed=True),
        "topicArn": text(required=True),
    },
    required=True,
    unordered=True,
)
FILTERS = {"filterPrefix": "prefix", "filterSuffix": "suffix"}


def _put(cloud: Cloud, inputs: Values) -> None:
    topics: Any = [_to_api(topic) for topic in inputs["topics"]]
    cloud.s3.put_bucket_notification_configuration(
        Bucket=inputs["bucket"], NotificationConfiguration={"TopicConfigurations": topics}
    )


def _get(cloud: Cloud, bucket: str) -> Values:
    answer = cloud.s3.get_bucket_notification_configuration(Bucket=bucket)
    topics = [_from_api(topic) for topic in answer.get("TopicConfigurations", [])]
    if not topics:
        raise ClientError({"Error": {"Code": NO_BUCKET, "Message": "nobody is notified"}}, "GetBucketNotification")
    return {"topics": topics}


def _to_api(topic: Values) -> dict[str, Any]:
    result: dict[str, Any] = {"TopicArn": topic["topicArn"], "Events": topic["events"]}
    if "id" in topic:
        result["Id"] = topic["id"]
    rules = [{"Name": name, "Value": topic[key]} for key, name in FILTERS.items() if topic.get(key)]
    if rules:
        result["Filter"] = {"Key": {"FilterRules": rules}}
    return result


def _from_api(answered: dict[str, Any]) -> Values:
    rules = answered.get("Filter", {}).get("Key", {}).get("FilterRules", [])
    given = {str(rule["Name"]).lower(): rule["Value"] for rule in rules}
    filters = {key: given[name] for key, name in FILTERS.items() if name in given}
    return {"topicArn": answered["TopicArn"], "events": answered["Events"], "id": answered["Id"], **filters}


RESOURCE = bucket_part(
    "S3 BucketNotification",
    {"topics": TOPICS},
    _put,
    _get,
    lambda cloud, bucket: cloud.s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={}),
    rejected=("eventbridge", "lambdaFunctions", "queues"),
)
