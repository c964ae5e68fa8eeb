"""aws:s3/bucketLogging:BucketLogging: where a bucket's access logs go."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from localcloud.provider.apishape import from_api, to_api
from localcloud.provider.bucketpart import NO_BUCKET, bucket_part
from localcloud.provider.cloud import Cloud
from localcloud.provider.declarations import text
from localcloud.provider.values import Values

TARGET = {"targetBucket": text(required=True), "targetPrefix": text(required=True)}


def _put(cloud: Cloud, inputs: Values) -> None:
    enabled: Any = {"TargetPrefix": "", **to_api(TARGET, inputs)}
    cloud.s3.put_bucket_logging(Bucket=inputs["bucket"], BucketLoggingStatus={"LoggingEnabled": enabled})


def _get(cloud: Cloud, bucket: str) -> Values:
    enabled = cloud.s3.get_bucket_logging(Bucket=bucket).get("LoggingEnabled")
    if enabled is None:
        raise ClientError({"Error": {"Code": NO_BUCKET, "Message": "logging is off"}}, "GetBucketLogging")
    return from_api(TARGET, enabled)


RESOURCE = bucket_part(
    "S3 BucketLogging",
    TARGET,
    _put,
    _get,
    lambda cloud, bucket: cloud.s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus={}),
    rejected=("expectedBucketOwner", "targetGrants", "targetObjectKeyFormat"),
)
