"""aws:s3/bucketVersioning:BucketVersioning. Removing it suspends versioning, as upstream does: S3 knows no way back."""

from __future__ import annotations

from localcloud.provider.bucketpart import bucket_part
from localcloud.provider.cloud import Cloud
from localcloud.provider.declarations import obj, text
from localcloud.provider.values import Values

DISABLED = "Disabled"  # upstream's word for a bucket that never had versions
SETTINGS = obj(
    {"status": text(required=True, choices=("Enabled", "Suspended", DISABLED))}, required=True, rejected=("mfaDelete",)
)


def _put(cloud: Cloud, inputs: Values) -> None:
    status = inputs["versioningConfiguration"]["status"]
    if status != DISABLED:
        cloud.s3.put_bucket_versioning(Bucket=inputs["bucket"], VersioningConfiguration={"Status": status})


def _get(cloud: Cloud, bucket: str) -> Values:
    status = cloud.s3.get_bucket_versioning(Bucket=bucket).get("Status", DISABLED)
    return {"versioningConfiguration": {"status": status}}


def _remove(cloud: Cloud, bucket: str) -> None:
    if cloud.s3.get_bucket_versioning(Bucket=bucket).get("Status") == "Enabled":
        cloud.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})


RESOURCE = bucket_part(
    "S3 BucketVersioning",
    {"versioningConfiguration": SETTINGS},
    _put,
    _get,
    _remove,
    (),
    rejected=("expectedBucketOwner", "mfa"),
)
