"""aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration."""

from __future__ import annotations

from typing import Any

from localcloud.provider.apishape import from_api, to_api
from localcloud.provider.bucketpart import lifecycle
from localcloud.provider.cloud import Cloud
from localcloud.provider.declarations import REGION, Resource, flag, obj, objects, text
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


create, read, update, delete = lifecycle(
    _put,
    _get,
    lambda cloud, bucket: cloud.s3.delete_bucket_encryption(Bucket=bucket),
    ("ServerSideEncryptionConfigurationNotFoundError",),
)

RESOURCE = Resource(
    label="S3 BucketServerSideEncryptionConfiguration",
    inputs={"bucket": text(required=True, force_new=True), "region": REGION, "rules": RULES},
    rejected=("expectedBucketOwner",),
    outputs=(),
    import_id="the bucket's name",
    create=create,
    read=read,
    update=update,
    delete=delete,
)
