"""aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock."""

from __future__ import annotations

from typing import Any

from localcloud.provider.apishape import from_api, to_api
from localcloud.provider.bucketpart import bucket_part
from localcloud.provider.cloud import Cloud
from localcloud.provider.declarations import flag
from localcloud.provider.values import Values

FLAGS = {
    "blockPublicAcls": flag(default=False),
    "blockPublicPolicy": flag(default=False),
    "ignorePublicAcls": flag(default=False),
    "restrictPublicBuckets": flag(default=False),
}


def _put(cloud: Cloud, inputs: Values) -> None:
    block: Any = to_api(FLAGS, inputs)
    cloud.s3.put_public_access_block(Bucket=inputs["bucket"], PublicAccessBlockConfiguration=block)


def _get(cloud: Cloud, bucket: str) -> Values:
    return from_api(FLAGS, cloud.s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"])


RESOURCE = bucket_part(
    "S3 BucketPublicAccessBlock",
    FLAGS,
    _put,
    _get,
    lambda cloud, bucket: cloud.s3.delete_public_access_block(Bucket=bucket),
    ("NoSuchPublicAccessBlockConfiguration",),
    rejected=("skipDestroy",),
)
