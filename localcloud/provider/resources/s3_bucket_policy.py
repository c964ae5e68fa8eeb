"""aws:s3/bucketPolicy:BucketPolicy."""

from __future__ import annotations

from localcloud.provider.bucketpart import bucket_part
from localcloud.provider.declarations import document

RESOURCE = bucket_part(
    "S3 BucketPolicy",
    {"policy": document(required=True)},
    lambda cloud, inputs: cloud.s3.put_bucket_policy(Bucket=inputs["bucket"], Policy=inputs["policy"]),
    lambda cloud, bucket: {"policy": cloud.s3.get_bucket_policy(Bucket=bucket)["Policy"]},
    lambda cloud, bucket: cloud.s3.delete_bucket_policy(Bucket=bucket),
    ("NoSuchBucketPolicy",),
)
