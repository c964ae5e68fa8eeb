"""aws:kms/key:Key. Deleting one schedules its end; a key that waits for it counts as gone, as upstream has it."""

from __future__ import annotations

from typing import Any

from localcloud.provider.apishape import tag_changes
from localcloud.provider.cloud import Cloud
from localcloud.provider.declarations import REGION, TAGS, Resource, document, flag, integer, text
from localcloud.provider.errors import code_of
from localcloud.provider.values import Values

PENDING = "PendingDeletion"
POLICY = "default"


def create(cloud: Cloud, inputs: Values) -> str:
    optional = {"Description": inputs.get("description"), "Policy": inputs.get("policy")}
    given: dict[str, Any] = {name: value for name, value in optional.items() if value}
    key = cloud.kms.create_key(
        KeySpec=inputs["customerMasterKeySpec"],
        KeyUsage=inputs["keyUsage"],
        BypassPolicyLockoutSafetyCheck=inputs["bypassPolicyLockoutSafetyCheck"],
        Tags=_tag_list(cloud.tags(inputs)),
        **given,
    )
    identifier = str(key["KeyMetadata"]["KeyId"])
    if inputs["enableKeyRotation"]:
        _rotate(cloud, identifier, inputs)
    if not inputs["isEnabled"]:
        cloud.kms.disable_key(KeyId=identifier)
    return identifier


def read(cloud: Cloud, identifier: str, _known: Values) -> Values | None:
    try:
        key = cloud.kms.describe_key(KeyId=identifier)["KeyMetadata"]
    except cloud.kms.exceptions.NotFoundException:
        return None
    if key["KeyState"] == PENDING:
        return None
    rotation = cloud.kms.get_key_rotation_status(KeyId=identifier)
    tags = cloud.kms.list_resource_tags(KeyId=identifier)["Tags"]
    return {
        "customerMasterKeySpec": key["KeySpec"],
        "description": key.get("Description"),
        "enableKeyRotation": rotation["KeyRotationEnabled"],
        "isEnabled": key["Enabled"],
        "keyUsage": key["KeyUsage"],
        "policy": cloud.kms.get_key_policy(KeyId=identifier, PolicyName=POLICY)["Policy"],
        "rotationPeriodInDays": rotation.get("RotationPeriodInDays"),
        "tags": {tag["TagKey"]: tag["TagValue"] for tag in tags},
        "arn": key["Arn"],
        "keyId": key["KeyId"],
    }


def update(cloud: Cloud, identifier: str, old: Values, new: Values) -> None:
    if new["isEnabled"] and not old["isEnabled"]:
        cloud.kms.enable_key(KeyId=identifier)  # nothing else can be changed before
    if new.get("description", "") != old.get("description", ""):
        cloud.kms.update_key_description(KeyId=identifier, Description=new.get("description", ""))
    if new.get("policy") and new["policy"] != old.get("policy"):
        cloud.kms.put_key_policy(
            KeyId=identifier,
            PolicyName=POLICY,
            Policy=new["policy"],
            BypassPolicyLockoutSafetyCheck=new["bypassPolicyLockoutSafetyCheck"],
        )
    if new["enableKeyRotation"]:
        _rotate(cloud, identifier, new)
    elif old.get("enableKeyRotation"):
        cloud.kms.disable_key_rotation(KeyId=identifier)
    if old["isEnabled"] and not new["isEnabled"]:
        cloud.kms.disable_key(KeyId=identifier)
    tags = cloud.kms.list_resource_tags(KeyId=identifier)["Tags"]
    stale, changed = tag_changes({tag["TagKey"]: tag["TagValue"] for tag in tags}, cloud.tags(new))
    if stale:
        cloud.kms.untag_resource(KeyId=identifier, TagKeys=stale)
    if changed:
        cloud.kms.tag_resource(KeyId=identifier, Tags=_tag_list(changed))


def delete(cloud: Cloud, identifier: str, old: Values) -> None:
    window = old.get("deletionWindowInDays")
    waiting: dict[str, Any] = {"PendingWindowInDays": window} if window else {}
    try:
        cloud.kms.schedule_key_deletion(KeyId=identifier, **waiting)
    except cloud.kms.exceptions.ClientError as error:
        if code_of(error) not in ("NotFoundException", "KMSInvalidStateException"):
            raise


def _rotate(cloud: Cloud, identifier: str, inputs: Values) -> None:
    period = inputs.get("rotationPeriodInDays")
    every: dict[str, Any] = {"RotationPeriodInDays": period} if period else {}
    cloud.kms.enable_key_rotation(KeyId=identifier, **every)


def _tag_list(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"TagKey": key, "TagValue": value} for key, value in tags.items()]


def validate(inputs: Values) -> list[tuple[str, str]]:
    problems = []
    window = inputs.get("deletionWindowInDays")
    if isinstance(window, int) and not 7 <= window <= 30:
        problems.append(("deletionWindowInDays", f"deletionWindowInDays: must be 7 to 30 days, is {window}"))
    if "rotationPeriodInDays" in inputs and not inputs["enableKeyRotation"]:
        problems.append(("rotationPeriodInDays", "rotationPeriodInDays: needs enableKeyRotation"))
    return problems


RESOURCE = Resource(
    label="KMS Key",
    service="kms",
    inputs={
        "bypassPolicyLockoutSafetyCheck": flag(default=False, write_only=True),
        "customerMasterKeySpec": text(default="SYMMETRIC_DEFAULT", force_new=True),
        "deletionWindowInDays": integer(write_only=True),
        "description": text(computed=True),
        "enableKeyRotation": flag(default=False),
        "isEnabled": flag(default=True),
        "keyUsage": text(default="ENCRYPT_DECRYPT", force_new=True),
        "policy": document(computed=True),
        "region": REGION,
        "rotationPeriodInDays": integer(computed=True),
        "tags": TAGS,
    },
    rejected=("customKeyStoreId", "multiRegion", "xksKeyId"),
    outputs=("arn", "keyId"),
    import_id="the key's id",
    create=create,
    read=read,
    update=update,
    delete=delete,
    validate=validate,
)
