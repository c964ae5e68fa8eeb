"""aws:cloudwatch/logGroup:LogGroup."""

from __future__ import annotations

import secrets
from typing import Any

from localcloud.provider.apishape import tag_changes
from localcloud.provider.cloud import Cloud
from localcloud.provider.declarations import REGION, TAGS, Autoname, Resource, flag, integer, text
from localcloud.provider.values import UNKNOWN, Values

# What CloudWatch Logs takes, in days; 0 is for ever.
RETENTIONS = (
    *(0, 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731),
    *(1096, 1827, 2192, 2557, 2922, 3288, 3653),
)


def create(cloud: Cloud, inputs: Values) -> str:
    name = str(inputs.get("name") or inputs["namePrefix"] + secrets.token_hex(8))
    given: dict[str, Any] = {"kmsKeyId": inputs["kmsKeyId"]} if inputs.get("kmsKeyId") else {}
    tags = cloud.tags(inputs)
    if tags:
        given["tags"] = tags
    cloud.logs.create_log_group(logGroupName=name, **given)
    if inputs["retentionInDays"]:
        cloud.logs.put_retention_policy(logGroupName=name, retentionInDays=inputs["retentionInDays"])
    return name


def read(cloud: Cloud, identifier: str, _known: Values) -> Values | None:
    for page in cloud.logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=identifier):
        for group in page["logGroups"]:
            if group["logGroupName"] == identifier:
                arn = str(group["arn"]).removesuffix(":*")
                return {
                    "name": identifier,
                    "kmsKeyId": group.get("kmsKeyId"),
                    "retentionInDays": group.get("retentionInDays", 0),
                    "tags": cloud.logs.list_tags_for_resource(resourceArn=arn)["tags"],
                    "arn": arn,
                }
    return None


def update(cloud: Cloud, identifier: str, old: Values, new: Values) -> None:
    if new["retentionInDays"]:
        cloud.logs.put_retention_policy(logGroupName=identifier, retentionInDays=new["retentionInDays"])
    elif old.get("retentionInDays"):
        cloud.logs.delete_retention_policy(logGroupName=identifier)
    if new.get("kmsKeyId") and new["kmsKeyId"] != old.get("kmsKeyId"):
        cloud.logs.associate_kms_key(logGroupName=identifier, kmsKeyId=new["kmsKeyId"])
    elif old.get("kmsKeyId") and not new.get("kmsKeyId"):
        cloud.logs.disassociate_kms_key(logGroupName=identifier)
    arn = old["arn"]
    stale, changed = tag_changes(cloud.logs.list_tags_for_resource(resourceArn=arn)["tags"], cloud.tags(new))
    if stale:
        cloud.logs.untag_resource(resourceArn=arn, tagKeys=stale)
    if changed:
        cloud.logs.tag_resource(resourceArn=arn, tags=changed)


def delete(cloud: Cloud, identifier: str, old: Values) -> None:
    if old.get("skipDestroy"):
        return
    try:
        cloud.logs.delete_log_group(logGroupName=identifier)
    except cloud.logs.exceptions.ResourceNotFoundException:
        return


def validate(inputs: Values) -> list[tuple[str, str]]:
    days = inputs["retentionInDays"]
    if days != UNKNOWN and days not in RETENTIONS:
        taken = ", ".join(map(str, RETENTIONS))
        return [("retentionInDays", f"retentionInDays: is {days}; CloudWatch Logs takes {taken}")]
    return []


RESOURCE = Resource(
    label="CloudWatch LogGroup",
    service="logs",
    inputs={
        "kmsKeyId": text(),
        "logGroupClass": text(default="STANDARD", force_new=True, write_only=True, choices=("STANDARD",)),
        "name": text(force_new=True, computed=True),
        "namePrefix": text(force_new=True, computed=True),
        "region": REGION,
        "retentionInDays": integer(default=0),
        "skipDestroy": flag(default=False, write_only=True),
        "tags": TAGS,
    },
    rejected=("deletionProtectionEnabled",),
    outputs=("arn",),
    autoname=Autoname(prefix_property="namePrefix", longest=512),
    import_id="the log group's name",
    create=create,
    read=read,
    update=update,
    delete=delete,
    validate=validate,
)
