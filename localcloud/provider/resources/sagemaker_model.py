"""aws:sagemaker/model:Model. Everything but its tags is replaced, never changed."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from localcloud.provider.apishape import from_api, tag_list, to_api
from localcloud.provider.cloud import Cloud
from localcloud.provider.declarations import REGION, TAGS, Autoname, Property, Resource, flag, obj, objects, text
from localcloud.provider.hosting import NAME_LIMIT, is_missing, tags_of, update_tags
from localcloud.provider.values import Values

S3_SOURCE = {
    "compressionType": text(required=True),
    "s3DataType": text(required=True),
    "s3Uri": text(required=True),
}
CONTAINER = {
    "containerHostname": text(),
    "environment": Property(kind="map"),
    "image": text(),
    "imageConfig": obj(
        {
            "repositoryAccessMode": text(required=True),
            "repositoryAuthConfig": obj({"repositoryCredentialsProviderArn": text(required=True)}),
        }
    ),
    "mode": text(default="SingleModel", choices=("SingleModel",)),
    "modelDataSource": obj(
        {
            "s3DataSources": objects(
                S3_SOURCE, required=True, single=True, aws="S3DataSource", rejected=("modelAccessConfig",)
            )
        }
    ),
    "modelDataUrl": text(),
}
CONTAINERS: dict[str, Any] = {
    "force_new": True,
    "rejected": (
        "additionalModelDataSources",
        "inferenceSpecificationName",
        "modelPackageName",
        "multiModelConfig",
    ),
}
NAMES = Property(kind="list", required=True, unordered=True)
REQUEST = {
    "containers": objects(CONTAINER, **CONTAINERS),
    "enableNetworkIsolation": flag(force_new=True),
    "executionRoleArn": text(required=True, force_new=True),
    "primaryContainer": obj(CONTAINER, **CONTAINERS),
    "vpcConfig": obj({"securityGroupIds": NAMES, "subnets": NAMES}, force_new=True),
}


def create(cloud: Cloud, inputs: Values) -> str:
    arguments: dict[str, Any] = to_api(REQUEST, inputs)
    cloud.sagemaker.create_model(ModelName=inputs["name"], Tags=tag_list(cloud.tags(inputs)), **arguments)
    return str(inputs["name"])


def read(cloud: Cloud, identifier: str, known: Values) -> Values | None:
    try:
        answer: Any = cloud.sagemaker.describe_model(ModelName=identifier)
    except ClientError as error:
        if is_missing(error):
            return None
        raise
    arn = answer["ModelArn"]
    live = from_api(REQUEST, answer)
    if "containers" in known and "primaryContainer" in live:
        live["containers"] = [live.pop("primaryContainer")]  # the same to the local AWS
    return {"name": identifier, "arn": arn, "tags": tags_of(cloud, arn), **live}


def validate(inputs: Values) -> list[tuple[str, str]]:
    containers = inputs.get("containers", [])
    if ("primaryContainer" in inputs) == bool(containers):
        return [("primaryContainer", "primaryContainer: give either it or containers")]
    if isinstance(containers, list) and len(containers) > 1:
        return [("containers", f"containers: the local AWS hosts models of one container; here are {len(containers)}")]
    return []


def delete(cloud: Cloud, identifier: str, _old: Values) -> None:
    try:
        cloud.sagemaker.delete_model(ModelName=identifier)
    except ClientError as error:
        if not is_missing(error):
            raise


RESOURCE = Resource(
    label="SageMaker Model",
    service="sagemaker",
    inputs={"name": text(force_new=True, computed=True), "region": REGION, "tags": TAGS, **REQUEST},
    rejected=("inferenceExecutionConfig",),
    outputs=("arn",),
    autoname=Autoname(longest=NAME_LIMIT),
    import_id="the model's name",
    create=create,
    read=read,
    update=update_tags,
    delete=delete,
    validate=validate,
)
