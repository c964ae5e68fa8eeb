"""aws:s3/bucketPolicy:BucketPolicy."""

from __future__ import annotations

from localcloud.provider.bucketpart import lifecycle
from localcloud.provider.declarations import REGION, Resource, document, text

create, read, update, delete = lifecycle(
    lambda cloud, inputs: cloud.s3.put_bucket_policy(Bucket=inputs["bucket"], Policy=inputs["policy"]),
    lambda cloud, bucket: {"policy": cloud.s3.get_bucket_policy(Bucket=bucket)["Policy"]},
    lambda cloud, bucket: cloud.s3.delete_bucket_policy(Bucket=bucket),
    ("NoSuchBucketPolicy",),
)

RESOURCE = Resource(
    label="S3 BucketPolicy",
    inputs={
        "bucket": text(required=True, force_new=True),
        "policy": document(required=True),
        "region": REGION,
    },
    outputs=(),
    import_id="the bucket's name",
    create=create,
    read=read,
    update=update,
    delete=delete,
)
