"""aws:s3/bucket:Bucket. What upstream deprecated on it (policy, versioning, …) has a resource of its own."""

from __future__ import annotations

import secrets
from typing import Any

from botocore.exceptions import ClientError

from localcloud.provider.apishape import tag_list, tag_map
from localcloud.provider.cloud import Cloud
from localcloud.provider.declarations import REGION, TAGS, Autoname, Resource, flag, text
from localcloud.provider.errors import code_of
from localcloud.provider.values import Values

GONE = ("404", "NoSuchBucket")


def create(cloud: Cloud, inputs: Values) -> str:
    name = str(inputs.get("bucket") or inputs["bucketPrefix"] + secrets.token_hex(8))
    arguments: dict[str, Any] = {"Bucket": name}
    if inputs.get("objectLockEnabled"):
        arguments["ObjectLockEnabledForBucket"] = True
    if cloud.region != "us-east-1":
        arguments["CreateBucketConfiguration"] = {"LocationConstraint": cloud.region}
    try:
        cloud.s3.create_bucket(**arguments)
    except ClientError as error:
        # A run that was killed between AWS and the state file leaves an untagged bucket of this very name.
        if code_of(error) != "BucketAlreadyOwnedByYou" or _tags(cloud, name):
            raise
    _set_tags(cloud, name, cloud.tags(inputs))
    return name


def read(cloud: Cloud, identifier: str, _known: Values) -> Values | None:
    try:
        cloud.s3.head_bucket(Bucket=identifier)
    except ClientError as error:
        if code_of(error) in GONE:
            return None
        raise
    return {
        "bucket": identifier,
        "objectLockEnabled": _is_locked(cloud, identifier),
        "tags": _tags(cloud, identifier),
        "arn": f"arn:{cloud.partition}:s3:::{identifier}",
        "bucketDomainName": f"{identifier}.s3.{cloud.dns_suffix}",
        "bucketRegionalDomainName": f"{identifier}.s3.{cloud.region}.{cloud.dns_suffix}",
        "bucketRegion": cloud.region,
    }


def update(cloud: Cloud, identifier: str, _old: Values, new: Values) -> None:
    _set_tags(cloud, identifier, cloud.tags(new))


def delete(cloud: Cloud, identifier: str, old: Values) -> None:
    try:
        if old.get("forceDestroy"):
            _empty(cloud, identifier)
        cloud.s3.delete_bucket(Bucket=identifier)
    except ClientError as error:
        if code_of(error) not in GONE:
            raise


def _empty(cloud: Cloud, bucket: str) -> None:
    for page in cloud.s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        for version in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]:
            cloud.s3.delete_object(
                Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"], BypassGovernanceRetention=True
            )


def _is_locked(cloud: Cloud, bucket: str) -> bool:
    try:
        answer = cloud.s3.get_object_lock_configuration(Bucket=bucket)["ObjectLockConfiguration"]
    except ClientError as error:
        if code_of(error) == "ObjectLockConfigurationNotFoundError":
            return False
        raise
    return bool(answer.get("ObjectLockEnabled") == "Enabled")


def _tags(cloud: Cloud, bucket: str) -> dict[str, str]:
    try:
        answer: Any = cloud.s3.get_bucket_tagging(Bucket=bucket)
    except ClientError as error:
        if code_of(error) == "NoSuchTagSet":
            return {}
        raise
    return tag_map(answer["TagSet"])


def _set_tags(cloud: Cloud, bucket: str, tags: dict[str, str]) -> None:
    tag_set = tag_list(tags)
    if tags:
        cloud.s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": tag_set})
    else:
        cloud.s3.delete_bucket_tagging(Bucket=bucket)


RESOURCE = Resource(
    label="S3 Bucket",
    service="s3",
    inputs={
        "bucket": text(force_new=True, computed=True),
        "bucketPrefix": text(force_new=True, computed=True),
        "forceDestroy": flag(default=False, write_only=True),
        "objectLockEnabled": flag(computed=True, force_new=True),
        "region": REGION,
        "tags": TAGS,
    },
    rejected=(
        "accelerationStatus",
        "acl",
        "bucketNamespace",
        "corsRules",
        "grants",
        "lifecycleRules",
        "logging",
        "objectLockConfiguration",
        "policy",
        "replicationConfiguration",
        "requestPayer",
        "serverSideEncryptionConfiguration",
        "versioning",
        "website",
    ),
    outputs=("arn", "bucketDomainName", "bucketRegionalDomainName", "bucketRegion"),
    autoname=Autoname(property="bucket", prefix_property="bucketPrefix", longest=63, lower_case=True),
    import_id="the bucket's name",
    create=create,
    read=read,
    update=update,
    delete=delete,
)
