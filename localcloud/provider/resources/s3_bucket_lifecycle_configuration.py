"""aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration."""

from __future__ import annotations

from typing import Any

from localcloud.provider.apishape import from_api, tag_list, tag_map, to_api
from localcloud.provider.bucketpart import bucket_part
from localcloud.provider.cloud import Cloud
from localcloud.provider.declarations import Property, flag, integer, obj, objects, text
from localcloud.provider.values import Values

SIZES = {"objectSizeGreaterThan": integer(), "objectSizeLessThan": integer()}
RULES = objects(
    {
        "id": text(required=True, aws="ID"),
        "status": text(required=True, choices=("Enabled", "Disabled")),
        "filter": obj(
            {
                "and": obj({**SIZES, "prefix": text(), "tags": Property(kind="map")}),
                **SIZES,
                "prefix": text(),
                "tag": obj({"key": text(required=True), "value": text(required=True)}),
            }
        ),
        "abortIncompleteMultipartUpload": obj({"daysAfterInitiation": integer()}),
        "expiration": obj({"days": integer(), "expiredObjectDeleteMarker": flag()}, rejected=("date",)),
        "noncurrentVersionExpiration": obj(
            {"noncurrentDays": integer(required=True), "newerNoncurrentVersions": integer()}
        ),
        "noncurrentVersionTransitions": objects(
            {
                "noncurrentDays": integer(required=True),
                "storageClass": text(required=True),
                "newerNoncurrentVersions": integer(),
            },
            unordered=True,
        ),
        "transitions": objects(
            {"days": integer(), "storageClass": text(required=True)}, unordered=True, rejected=("date",)
        ),
    },
    required=True,
    rejected=("prefix",),
)


def _put(cloud: Cloud, inputs: Values) -> None:
    rules: Any = [_to_api(rule) for rule in inputs["rules"]]
    cloud.s3.put_bucket_lifecycle_configuration(Bucket=inputs["bucket"], LifecycleConfiguration={"Rules": rules})


def _get(cloud: Cloud, bucket: str) -> Values:
    rules = cloud.s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    return {"rules": [_from_api(rule) for rule in rules]}


def _to_api(rule: Values) -> dict[str, Any]:
    result = to_api(RULES.fields, rule)
    # S3 wants a filter in each rule; an empty prefix is every object.
    chosen = result.get("Filter") or {"Prefix": ""}
    if "And" in chosen and "Tags" in chosen["And"]:
        chosen["And"]["Tags"] = tag_list(chosen["And"]["Tags"])
    return {**result, "Filter": chosen}


def _from_api(rule: Any) -> Values:
    result = from_api(RULES.fields, rule)
    both = result.get("filter", {}).get("and", {})
    if "tags" in both:
        both["tags"] = tag_map(both["tags"])
    return result


RESOURCE = bucket_part(
    "S3 BucketLifecycleConfiguration",
    {"rules": RULES},
    _put,
    _get,
    lambda cloud, bucket: cloud.s3.delete_bucket_lifecycle(Bucket=bucket),
    ("NoSuchLifecycleConfiguration",),
    rejected=("expectedBucketOwner", "timeouts", "transitionDefaultMinimumObjectSize"),
)
