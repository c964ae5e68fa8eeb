"""aws:s3/bucketObjectv2:BucketObjectv2: one object, from a file of any size, a text or base64."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from botocore.exceptions import ClientError

from localcloud.provider.apishape import from_api, tag_list, tag_map, to_api
from localcloud.provider.cloud import Cloud
from localcloud.provider.declarations import REGION, TAGS, Autoname, Property, Resource, flag, text
from localcloud.provider.diffing import diff
from localcloud.provider.errors import code_of
from localcloud.provider.values import UNKNOWN, Values, asset_file

GONE = ("404", "NoSuchKey", "NoSuchBucket")
CONTENTS = ("source", "content", "contentBase64")
# What travels with the bytes: a change of any of them uploads the object again, as upstream does.
HEADERS = {
    "cacheControl": text(),
    "contentDisposition": text(),
    "contentEncoding": text(),
    "contentLanguage": text(),
    "bucketKeyEnabled": flag(computed=True),
    "contentType": text(computed=True),
    "kmsKeyId": text(computed=True, aws="SSEKMSKeyId"),
    "metadata": Property(kind="map"),
    "serverSideEncryption": text(computed=True, choices=("AES256", "aws:kms", "aws:kms:dsse")),
    "storageClass": text(computed=True),
}


def create(cloud: Cloud, inputs: Values) -> str:
    _upload(cloud, inputs)
    return f"{inputs['bucket']}/{inputs['key']}"


def read(cloud: Cloud, identifier: str, known: Values) -> Values | None:
    bucket, key = _address(identifier, known)
    try:
        answer: Any = cloud.s3.head_object(Bucket=bucket, Key=key)
        tags: Any = cloud.s3.get_object_tagging(Bucket=bucket, Key=key)["TagSet"]
    except ClientError as error:
        if code_of(error) in GONE:
            return None
        raise
    return {
        "bucket": bucket,
        "key": key,
        "tags": tag_map(tags),
        **from_api(HEADERS, answer),
        "storageClass": answer.get("StorageClass", "STANDARD"),
        "arn": f"arn:{cloud.partition}:s3:::{bucket}/{key}",
        "etag": answer["ETag"].strip('"'),
        "versionId": answer.get("VersionId", "null"),
    }


def update(cloud: Cloud, identifier: str, old: Values, new: Values) -> None:
    changes = diff(RESOURCE, old, old, new, cloud.default_tags).changes
    if any(not change.path.startswith("tags") for change in changes):
        _upload(cloud, new)
        return
    bucket, key = _address(identifier, new)
    tags = tag_list(cloud.tags(new))
    cloud.s3.put_object_tagging(Bucket=bucket, Key=key, Tagging={"TagSet": tags})


def delete(cloud: Cloud, identifier: str, old: Values) -> None:
    bucket, key = _address(identifier, old)
    force: Any = {"BypassGovernanceRetention": True} if old.get("forceDestroy") else {}
    try:
        for page in cloud.s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=key):
            for version in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]:
                if version["Key"] == key:
                    cloud.s3.delete_object(Bucket=bucket, Key=key, VersionId=version["VersionId"], **force)
    except ClientError as error:
        if code_of(error) not in GONE:
            raise


def _address(identifier: str, known: Values) -> tuple[str, str]:
    if known.get("bucket") and known.get("key"):
        return str(known["bucket"]), str(known["key"])
    bucket, _, key = identifier.removeprefix("s3://").partition("/")
    return bucket, key


def _upload(cloud: Cloud, inputs: Values) -> None:
    arguments: dict[str, Any] = {
        "Bucket": inputs["bucket"],
        "Key": inputs["key"],
        "ChecksumAlgorithm": "CRC32",  # a locked bucket takes nothing without one
        "Tagging": urlencode([(tag["Key"], tag["Value"]) for tag in tag_list(cloud.tags(inputs))]),
        **to_api(HEADERS, inputs),
    }
    if "kmsKeyId" in inputs:
        arguments.setdefault("ServerSideEncryption", "aws:kms")  # as upstream
    content = _content(inputs)
    if isinstance(content, Path):
        with content.open("rb") as stream:
            cloud.s3.put_object(Body=stream, **arguments)
    else:
        cloud.s3.put_object(Body=content, **arguments)


def _content(inputs: Values) -> Path | bytes:
    if "source" in inputs:
        return asset_file(inputs["source"])
    if "contentBase64" in inputs:
        return base64.b64decode(inputs["contentBase64"])
    return str(inputs.get("content", "")).encode()


def validate(inputs: Values) -> list[tuple[str, str]]:
    given = [key for key in CONTENTS if key in inputs]
    if len(given) > 1:
        return [(given[1], f"{given[1]}: conflicts with {given[0]}; give one of {', '.join(CONTENTS)}")]
    encoded = inputs.get("contentBase64", "")
    try:
        base64.b64decode("" if encoded == UNKNOWN else encoded, validate=True)
    except binascii.Error as error:
        return [("contentBase64", f"contentBase64: is not base64: {error}")]
    return []


RESOURCE = Resource(
    label="S3 BucketObjectv2",
    service="s3",
    inputs={
        "bucket": text(required=True, force_new=True),
        "key": text(force_new=True),
        "source": Property(kind="asset", write_only=True),
        "content": text(write_only=True),
        "contentBase64": text(write_only=True),
        "sourceHash": text(write_only=True),
        "forceDestroy": flag(default=False, write_only=True),
        "region": REGION,
        "tags": TAGS,
        **HEADERS,
    },
    rejected=(
        "acl",
        "checksumAlgorithm",
        "etag",
        "objectLockLegalHoldStatus",
        "objectLockMode",
        "objectLockRetainUntilDate",
        "overrideProvider",
        "websiteRedirect",
    ),
    outputs=("arn", "etag", "versionId"),
    volatile=("etag", "versionId"),
    autoname=Autoname(property="key", longest=1024, random=False),
    import_id="BUCKET/KEY or s3://BUCKET/KEY",
    create=create,
    read=read,
    update=update,
    delete=delete,
    identify=lambda _given, live: f"{live['bucket']}/{live['key']}",
    validate=validate,
)
