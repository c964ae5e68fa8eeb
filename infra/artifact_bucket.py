"""The bucket that artifacts lie in, closed to everyone whom a role does not name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pulumi
import pulumi_aws as aws

from infra import names, policies

ABANDONED_UPLOAD_DAYS = 7


@dataclass(frozen=True)
class ArtifactBucketArgs:
    """`disposable` lets a destroy take the artifacts with it; `protected` makes Pulumi refuse the destroy.

    `key` encrypts instead of S3's own; `kept_days` says of prefixes after how long S3 empties them; `access_logs` is a
    bucket that is told of every access; `object_lock_days` is how long nobody can remove or replace an artifact.
    """

    stack: str
    noncurrent_days: int
    disposable: bool
    protected: bool
    key: pulumi.Input[str] | None = None
    kept_days: Mapping[str, int] = field(default_factory=dict)
    access_logs: str | None = None
    object_lock_days: int | None = None


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
            object_lock_enabled=True if args.object_lock_days else None,
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
                    "apply_server_side_encryption_by_default": {"sse_algorithm": "AES256"}
                    if args.key is None
                    else {"sse_algorithm": "aws:kms", "kms_master_key_id": args.key},
                    "bucket_key_enabled": True,
                }
            ],
            opts=child,
        )
        versioning = aws.s3.BucketVersioning(
            stem, bucket=bucket.bucket, versioning_configuration={"status": "Enabled"}, opts=child
        )
        emptied: list[Any] = [
            {
                "id": prefix.strip("/").replace("/", "-"),
                "status": "Enabled",
                "filter": {"prefix": prefix},
                "expiration": {"days": days},
            }
            for prefix, days in args.kept_days.items()
        ]
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
                *emptied,
            ],
            opts=pulumi.ResourceOptions(parent=self, depends_on=[versioning]),
        )
        if args.object_lock_days:
            aws.s3.BucketObjectLockConfiguration(
                stem,
                bucket=bucket.bucket,
                rule={"default_retention": {"mode": "GOVERNANCE", "days": args.object_lock_days}},
                opts=pulumi.ResourceOptions(parent=self, depends_on=[versioning]),
            )
        if args.access_logs:
            aws.s3.BucketLogging(
                stem, bucket=bucket.bucket, target_bucket=args.access_logs, target_prefix=f"{stem}/", opts=child
            )
        self.register_outputs({"name": self.name, "arn": self.arn})
