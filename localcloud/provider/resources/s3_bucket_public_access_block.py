"""aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock."""

from __future__ import annotations

from typing import Any

from localcloud.provider.apishape import from_api, to_api
from localcloud.provider.bucketpart import lifecycle
from localcloud.provider.cloud import Cloud
from localcloud.provider.declarations import REGION, Resource, flag, text
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


create, read, update, delete = lifecycle(
    _put,
    _get,
    lambda cloud, bucket: cloud.s3.delete_public_access_block(Bucket=bucket),
    ("NoSuchPublicAccessBlockConfiguration",),
)

RESOURCE = Resource(
    label="S3 BucketPublicAccessBlock",
    inputs={"bucket": text(required=True, force_new=True), "region": REGION, **FLAGS},
    rejected=("skipDestroy",),
    outputs=(),
    import_id="the bucket's name",
    create=create,
    read=read,
    update=update,
    delete=delete,
)
