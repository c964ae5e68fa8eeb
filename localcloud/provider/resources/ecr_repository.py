"""aws:ecr/repository:Repository. Images cannot be pushed to the local one: it is an API without a registry."""

from __future__ import annotations

from typing import Any

from localcloud.provider.apishape import from_api, tag_changes, tag_list, tag_map, to_api
from localcloud.provider.cloud import Cloud
from localcloud.provider.declarations import REGION, TAGS, Autoname, Resource, flag, obj, objects, text
from localcloud.provider.values import Values

SCANNING = obj({"scanOnPush": flag(required=True, aws="scanOnPush")})
ENCRYPTION = objects(
    {
        "encryptionType": text(default="AES256", aws="encryptionType", choices=("AES256", "KMS", "KMS_DSSE")),
        "kmsKey": text(computed=True, aws="kmsKey"),
    },
    force_new=True,
    single=True,
    aws="encryptionConfiguration",
)
REQUEST = {
    "encryptionConfigurations": ENCRYPTION,
    "imageScanningConfiguration": obj(SCANNING.fields, aws="imageScanningConfiguration"),
    "imageTagMutability": text(default="MUTABLE", aws="imageTagMutability", choices=("MUTABLE", "IMMUTABLE")),
}


def create(cloud: Cloud, inputs: Values) -> str:
    arguments: dict[str, Any] = to_api(REQUEST, inputs)
    cloud.ecr.create_repository(repositoryName=inputs["name"], tags=tag_list(cloud.tags(inputs)), **arguments)
    return str(inputs["name"])


def read(cloud: Cloud, identifier: str, _known: Values) -> Values | None:
    try:
        (repository,) = cloud.ecr.describe_repositories(repositoryNames=[identifier])["repositories"]
    except cloud.ecr.exceptions.RepositoryNotFoundException:
        return None
    live = from_api(REQUEST, repository)
    if live.get("encryptionConfigurations") == [{"encryptionType": "AES256"}]:
        del live["encryptionConfigurations"]  # what there is where nothing was asked for
    if live.get("imageScanningConfiguration") == {"scanOnPush": False}:
        del live["imageScanningConfiguration"]
    arn = repository["repositoryArn"]
    return {
        "name": identifier,
        **live,
        "tags": tag_map(cloud.ecr.list_tags_for_resource(resourceArn=arn)["tags"]),
        "arn": arn,
        "registryId": repository["registryId"],
        "repositoryUrl": repository["repositoryUri"],
    }


def update(cloud: Cloud, identifier: str, old: Values, new: Values) -> None:
    arguments: dict[str, Any] = to_api(REQUEST, new)
    if old.get("imageTagMutability") != new["imageTagMutability"]:
        cloud.ecr.put_image_tag_mutability(repositoryName=identifier, imageTagMutability=new["imageTagMutability"])
    if old.get("imageScanningConfiguration") != new.get("imageScanningConfiguration"):
        scanning = arguments.get("imageScanningConfiguration", {"scanOnPush": False})
        cloud.ecr.put_image_scanning_configuration(repositoryName=identifier, imageScanningConfiguration=scanning)
    arn = old["arn"]
    live = tag_map(cloud.ecr.list_tags_for_resource(resourceArn=arn)["tags"])
    stale, changed = tag_changes(live, cloud.tags(new))
    if stale:
        cloud.ecr.untag_resource(resourceArn=arn, tagKeys=stale)
    if changed:
        cloud.ecr.tag_resource(resourceArn=arn, tags=tag_list(changed))


def delete(cloud: Cloud, identifier: str, old: Values) -> None:
    try:
        cloud.ecr.delete_repository(repositoryName=identifier, force=bool(old.get("forceDelete")))
    except cloud.ecr.exceptions.RepositoryNotFoundException:
        return


RESOURCE = Resource(
    label="ECR Repository",
    service="ecr",
    inputs={
        "forceDelete": flag(default=False, write_only=True),
        "name": text(force_new=True, computed=True),
        "region": REGION,
        "tags": TAGS,
        **REQUEST,
    },
    rejected=("imageTagMutabilityExclusionFilters",),
    outputs=("arn", "registryId", "repositoryUrl"),
    autoname=Autoname(longest=256, lower_case=True),
    import_id="the repository's name",
    create=create,
    read=read,
    update=update,
    delete=delete,
)
