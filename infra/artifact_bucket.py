"""The bucket that artifacts lie in, closed to everyone whom a role does not name."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra import names, policies

ABANDONED_UPLOAD_DAYS = 7


@dataclass(frozen=True)
class ArtifactBucketArgs:
    """`disposable` lets a destroy take the artifacts with it; `protected` makes Pulumi refuse the destroy."""

    stack: str
    noncurrent_days: int
    disposable: bool
    protected: bool


class ArtifactBucket(pulumi.ComponentResource):
    name: pulumi.Output[str]
    arn: pulumi.Output[str]

    def __init__(self, name: str, args: ArtifactBucketArgs, opts: pulumi.ResourceOptions | None = None):
        super().__init__("slipway:infra:ArtifactBucket", name, None, opts)
        stem = names.stem(name, args.stack, names.BUCKET_LIMIT)
        child = pulumi.ResourceOptions(parent=self)
        bucket = aws.s3.Bucket(
            stem,
            force_destroy=args.disposable,
            opts=pulumi.ResourceOptions(parent=self, protect=args.protected),
        )
        self.name, self.arn = bucket.bucket, bucket.arn
        public_access = aws.s3.BucketPublicAccessBlock(
            stem,
            bucket=bucket.bucket,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=child,
        )
        aws.s3.BucketOwnershipControls(
            stem, bucket=bucket.bucket, rule={"object_ownership": "BucketOwnerEnforced"}, opts=child
        )
        aws.s3.BucketPolicy(
            stem,
            bucket=bucket.bucket,
            policy=bucket.arn.apply(lambda arn: json.dumps(policies.tls_only(arn))),
            # S3 refuses two changes of one bucket's access at the same moment.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[public_access]),
        )
        aws.s3.BucketServerSideEncryptionConfiguration(
            stem,
            bucket=bucket.bucket,
            rules=[
                {
                    "apply_server_side_encryption_by_default": {"sse_algorithm": "AES256"},
                    "bucket_key_enabled": True,
                }
            ],
            opts=child,
        )
        versioning = aws.s3.BucketVersioning(
            stem, bucket=bucket.bucket, versioning_configuration={"status": "Enabled"}, opts=child
        )
        aws.s3.BucketLifecycleConfiguration(
            stem,
            bucket=bucket.bucket,
            rules=[
                {
                    "id": "abandoned-uploads",
                    "status": "Enabled",
                    "filter": {"prefix": ""},
                    "abort_incomplete_multipart_upload": {"days_after_initiation": ABANDONED_UPLOAD_DAYS},
                },
                {
                    "id": "old-versions",
                    "status": "Enabled",
                    "filter": {"prefix": ""},
                    "noncurrent_version_expiration": {"noncurrent_days": args.noncurrent_days},
                },
            ],
            opts=pulumi.ResourceOptions(parent=self, depends_on=[versioning]),
        )
        self.register_outputs({"name": self.name, "arn": self.arn})
