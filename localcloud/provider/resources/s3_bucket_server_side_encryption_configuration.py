"""aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration."""

from __future__ import annotations

from typing import Any

from localcloud.provider.apishape import from_api, to_api
from localcloud.provider.bucketpart import bucket_part
from localcloud.provider.cloud import Cloud
from localcloud.provider.declarations import flag, obj, objects, text
from localcloud.provider.values import Values

RULES = objects(
    {
        "applyServerSideEncryptionByDefault": obj(
            {
                "sseAlgorithm": text(required=True, aws="SSEAlgorithm"),
                "kmsMasterKeyId": text(aws="KMSMasterKeyID"),
            }
        ),
        "bucketKeyEnabled": flag(),
    },
    required=True,
    rejected=("blockedEncryptionTypes",),
)


def _put(cloud: Cloud, inputs: Values) -> None:
    rules: Any = [to_api(RULES.fields, rule) for rule in inputs["rules"]]
    cloud.s3.put_bucket_encryption(Bucket=inputs["bucket"], ServerSideEncryptionConfiguration={"Rules": rules})


def _get(cloud: Cloud, bucket: str) -> Values:
    rules = cloud.s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    return {"rules": [from_api(RULES.fields, rule) for rule in rules]}


RESOURCE = bucket_part(
    "S3 BucketServerSideEncryptionConfiguration",
    {"rules": RULES},
    _put,
    _get,
    lambda cloud, bucket: cloud.s3.delete_bucket_encryption(Bucket=bucket),
    ("ServerSideEncryptionConfigurationNotFoundError",),
    rejected=("expectedBucketOwner",),
)
