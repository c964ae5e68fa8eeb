"""aws:s3/bucketOwnershipControls:BucketOwnershipControls."""

from __future__ import annotations

from typing import Any

from localcloud.provider.apishape import from_api, to_api
from localcloud.provider.bucketpart import bucket_part
from localcloud.provider.cloud import Cloud
from localcloud.provider.declarations import obj, text
from localcloud.provider.values import Values

RULE = obj({"objectOwnership": text(required=True)}, required=True)


def _put(cloud: Cloud, inputs: Values) -> None:
    rule: Any = to_api(RULE.fields, inputs["rule"])
    cloud.s3.put_bucket_ownership_controls(Bucket=inputs["bucket"], OwnershipControls={"Rules": [rule]})


def _get(cloud: Cloud, bucket: str) -> Values:
    rules = cloud.s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]["Rules"]
    return {"rule": from_api(RULE.fields, rules[0])}


RESOURCE = bucket_part(
    "S3 BucketOwnershipControls",
    {"rule": RULE},
    _put,
    _get,
    lambda cloud, bucket: cloud.s3.delete_bucket_ownership_controls(Bucket=bucket),
    ("OwnershipControlsNotFoundError",),
)
