"""aws:kms/alias:Alias: a name that begins with `alias/` and stands for a key."""

from __future__ import annotations

import secrets

from localcloud.provider.cloud import Cloud
from localcloud.provider.declarations import REGION, Autoname, Resource, text
from localcloud.provider.values import UNKNOWN, Values


def create(cloud: Cloud, inputs: Values) -> str:
    name = str(inputs.get("name") or inputs["namePrefix"] + secrets.token_hex(8))
    cloud.kms.create_alias(AliasName=name, TargetKeyId=inputs["targetKeyId"])
    return name


def read(cloud: Cloud, identifier: str, _known: Values) -> Values | None:
    for page in cloud.kms.get_paginator("list_aliases").paginate():
        for alias in page["Aliases"]:
            if alias["AliasName"] == identifier and "TargetKeyId" in alias:
                arn, key = alias["AliasArn"], alias["TargetKeyId"]
                return {
                    "name": identifier,
                    "targetKeyId": key,
                    "arn": arn,
                    "targetKeyArn": arn.removesuffix(identifier) + f"key/{key}",
                }
    return None


def update(cloud: Cloud, identifier: str, _old: Values, new: Values) -> None:
    cloud.kms.update_alias(AliasName=identifier, TargetKeyId=new["targetKeyId"])


def delete(cloud: Cloud, identifier: str, _old: Values) -> None:
    try:
        cloud.kms.delete_alias(AliasName=identifier)
    except cloud.kms.exceptions.NotFoundException:
        return


def validate(inputs: Values) -> list[tuple[str, str]]:
    problems = []
    for key in ("name", "namePrefix"):
        name = inputs.get(key, UNKNOWN)
        if name != UNKNOWN and (not name.startswith("alias/") or name.startswith("alias/aws/")):
            problems.append(
                (key, f"{key}: must begin with alias/, and not with alias/aws/, which is AWS's; is '{name}'")
            )
    return problems


RESOURCE = Resource(
    label="KMS Alias",
    service="kms",
    inputs={
        "name": text(force_new=True, computed=True),
        "namePrefix": text(force_new=True, computed=True),
        "region": REGION,
        # An id and an ARN of one key are the same.
        "targetKeyId": text(required=True, normal=lambda key: str(key).rpartition("/")[2]),
    },
    outputs=("arn", "targetKeyArn"),
    volatile=("targetKeyArn",),
    autoname=Autoname(prefix_property="namePrefix", before="alias/", longest=256),
    import_id="the alias's name",
    create=create,
    read=read,
    update=update,
    delete=delete,
    validate=validate,
)
