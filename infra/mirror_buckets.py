"""The buckets of Alibaba Cloud's OSS that models are mirrored to: private, encrypted, versioned, TLS only.

Apart from the artifacts' own bucket, since it is another cloud's: `pulumi_alicloud` is imported where a stack has such
a mirror, and nowhere else. A bucket outlives the stack that made it, since it is there for when that one is gone.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pulumi

from infra.manifests import BuiltModel
from infra.settings import Settings
from stores.address import parse

ABANDONED_UPLOAD_DAYS = 7
TLS_VERSIONS = ["TLSv1.2", "TLSv1.3"]
PACKAGE = "pulumi_alicloud"


@dataclass(frozen=True)
class MirrorBucketArgs:
    """The name is the one that specs know. `protected` makes Pulumi refuse to give the bucket up."""

    name: str
    noncurrent_days: int
    protected: bool
    tags: Mapping[str, str] = field(default_factory=dict)


class MirrorBucket(pulumi.ComponentResource):
    name: pulumi.Output[str]

    def __init__(self, name: str, args: MirrorBucketArgs, opts: pulumi.ResourceOptions | None = None):
        import pulumi_alicloud.oss as oss

        super().__init__("slipway:infra:MirrorBucket", name, None, opts)
        bucket = oss.Bucket(
            name,
            bucket=args.name,
            tags=dict(args.tags),
            lifecycle_rules=[
                {
                    "id": "tidy",
                    "enabled": True,
                    "prefix": "",
                    "abort_multipart_uploads": [{"days": ABANDONED_UPLOAD_DAYS}],
                    "noncurrent_version_expirations": [{"days": args.noncurrent_days}],
                }
            ],
            opts=pulumi.ResourceOptions(parent=self, protect=args.protected, retain_on_delete=True),
        )
        self.name = bucket.bucket
        # What guards the bucket stays with it.
        child = pulumi.ResourceOptions(parent=self, retain_on_delete=True)
        oss.BucketAcl(name, bucket=bucket.bucket, acl="private", opts=child)
        public_access = oss.BucketPublicAccessBlock(name, bucket=bucket.bucket, block_public_access=True, opts=child)
        oss.BucketServerSideEncryption(name, bucket=bucket.bucket, sse_algorithm="AES256", opts=child)
        oss.BucketVersioning(name, bucket=bucket.bucket, status="Enabled", opts=child)
        oss.BucketHttpsConfig(name, bucket=bucket.bucket, enable=True, tls_versions=TLS_VERSIONS, opts=child)
        oss.BucketPolicy(
            name,
            bucket=bucket.bucket,
            policy=bucket.bucket.apply(lambda made: json.dumps(tls_only(made))),
            opts=pulumi.ResourceOptions(parent=self, retain_on_delete=True, depends_on=[public_access]),
        )
        self.register_outputs({"name": self.name})


def tls_only(bucket: str) -> dict[str, Any]:
    """Refuses every request that is not by TLS, the owner's included: with a condition, `*` means him too."""
    return {
        "Version": "1",
        "Statement": [
            {
                "Effect": "Deny",
                "Principal": ["*"],
                "Action": ["oss:*"],
                "Resource": [f"acs:oss:*:*:{bucket}", f"acs:oss:*:*:{bucket}/*"],
                "Condition": {"Bool": {"acs:SecureTransport": ["false"]}},
            }
        ],
    }


def regions(models: Iterable[BuiltModel], settings: Settings) -> dict[str, set[str]]:
    """The buckets that the stack makes, and where models say that they are. Previews and the local cloud make none."""
    found: dict[str, set[str]] = {}
    if settings.disposable or settings.oss_buckets != "made":
        return found
    for model in models:
        for address in map(parse, model.deploy.mirrors):
            if address.scheme == "oss" and address.region:
                found.setdefault(address.place, set()).add(address.region)
    return found


def refusals(models: Iterable[BuiltModel], settings: Settings) -> list[str]:
    """Why the buckets cannot be made, a line each."""
    wanted = regions(models, settings)
    problems = [
        f"deploy.mirrors: specs look for the bucket '{bucket}' in {' and '.join(sorted(places))}; "
        "name one region, then run: slipway build"
        for bucket, places in sorted(wanted.items())
        if len(places) > 1
    ]
    if wanted and importlib.util.find_spec(PACKAGE) is None:
        problems.append(
            f"deploy.mirrors: OSS buckets are made with {PACKAGE}, which is not installed; run: make alicloud, or, "
            "where they exist already: pulumi config set slipway:oss_buckets existing"
        )
    return problems


def make(models: Iterable[BuiltModel], settings: Settings) -> None:
    """Declares the buckets, each by a provider of its region, with the account of the environment."""
    providers: dict[str, Any] = {}
    for bucket, (region,) in sorted(regions(models, settings).items()):
        import pulumi_alicloud as alicloud

        if region not in providers:
            providers[region] = alicloud.Provider(f"alicloud-{region}", region=region)
        MirrorBucket(
            bucket,
            MirrorBucketArgs(
                bucket,
                settings.noncurrent_days,
                protected=settings.production,
                tags={**settings.tags, "slipway:stack": settings.stack},
            ),
            pulumi.ResourceOptions(providers=[providers[region]]),
        )
