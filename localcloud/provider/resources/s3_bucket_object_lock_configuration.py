"""aws:s3/bucketObjectLockConfiguration:BucketObjectLockConfiguration: how long new objects cannot be deleted.

The bucket must have been made with `objectLockEnabled`. Without this resource its lock stays on, with no retention.
"""

from __future__ import annotations

from typing import Any

from localcloud.provider.apishape import from_api, to_api
from localcloud.provider.bucketpart import bucket_part
from localcloud.provider.cloud import Cloud
from localcloud.provider.declarations import integer, obj, text
from localcloud.provider.errors import ProviderError
from localcloud.provider.values import Values

REQUEST = {
    "objectLockEnabled": text(default="Enabled", force_new=True, choices=("Enabled",)),
    "rule": obj(
        {
            "defaultRetention": obj(
                {"days": integer(), "mode": text(choices=("COMPLIANCE", "GOVERNANCE")), "years": integer()},
                required=True,
            )
        }
    ),
}


def _put(cloud: Cloud, inputs: Values) -> None:
    retention = (inputs.get("rule") or {}).get("defaultRetention", {})
    if retention and ("days" in retention) == ("years" in retention):
        raise ProviderError("rule.defaultRetention: give either days or years")
    configuration: Any = to_api(REQUEST, inputs)
    cloud.s3.put_object_lock_configuration(Bucket=inputs["bucket"], ObjectLockConfiguration=configuration)


def _get(cloud: Cloud, bucket: str) -> Values:
    answer = cloud.s3.get_object_lock_configuration(Bucket=bucket)["ObjectLockConfiguration"]
    live = from_api(REQUEST, answer)
    retention = live.get("rule", {}).get("defaultRetention", {})
    # A period that was not given comes back as nought.
    for key in [key for key in ("days", "years") if not retention.get(key)]:
        retention.pop(key, None)
    return live


def _remove(cloud: Cloud, bucket: str) -> None:
    cloud.s3.put_object_lock_configuration(Bucket=bucket, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled"})


RESOURCE = bucket_part(
    "S3 BucketObjectLockConfiguration",
    REQUEST,
    _put,
    _get,
    _remove,
    ("ObjectLockConfigurationNotFoundError",),
    rejected=("expectedBucketOwner", "token"),
)
