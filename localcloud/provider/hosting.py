"""What the SageMaker resources have in common: how a missing one is told, and tags, which go by ARN."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from localcloud.provider.apishape import tag_list, tag_map
from localcloud.provider.cloud import Cloud
from localcloud.provider.errors import code_of
from localcloud.provider.values import Values

NAME_LIMIT = 63


def is_missing(error: ClientError) -> bool:
    """SageMaker has no code of its own for it: a validation error whose message says so."""
    message = str(error.response.get("Error", {}).get("Message", "")).lower()
    code = code_of(error)
    return code == "ResourceNotFound" or (
        code in ("ValidationException", "ValidationError") and ("could not find" in message or "not exist" in message)
    )


def tags_of(cloud: Cloud, arn: str) -> dict[str, str]:
    tags: list[Any] = []
    for page in cloud.sagemaker.get_paginator("list_tags").paginate(ResourceArn=arn):
        tags += page["Tags"]
    return tag_map(tags)


def set_tags(cloud: Cloud, arn: str, new: Values) -> None:
    live, wanted = tags_of(cloud, arn), cloud.tags(new)
    stale = sorted(live.keys() - wanted.keys())
    changed: Any = tag_list({key: value for key, value in wanted.items() if live.get(key) != value})
    if stale:
        cloud.sagemaker.delete_tags(ResourceArn=arn, TagKeys=stale)
    if changed:
        cloud.sagemaker.add_tags(ResourceArn=arn, Tags=changed)


def update_tags(cloud: Cloud, _identifier: str, old: Values, new: Values) -> None:
    """The update of a resource whose every other property is replaced."""
    set_tags(cloud, old["arn"], new)
