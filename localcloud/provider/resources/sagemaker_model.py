"""aws:sagemaker/model:Model. Everything but its tags is replaced, never changed."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from localcloud.provider.apishape import from_api, tag_list, to_api
from localcloud.provider.cloud import Cloud
from localcloud.provider.declarations import REGION, TAGS, Autoname, Property, Resource, flag, obj, text
from localcloud.provider.hosting import NAME_LIMIT, is_missing, tags_of, update_tags
from localcloud.provider.values import Values

REQUEST = {
    "enableNetworkIsolation": flag(force_new=True),
    "executionRoleArn": text(required=True, force_new=True),
    "primaryContainer": obj(
        {
            "containerHostname": text(),
            "environment": Property(kind="map"),
            "image": text(),
            "mode": text(default="SingleModel", choices=("SingleModel",)),
            "modelDataUrl": text(),
        },
        required=True,
        force_new=True,
        rejected=(
            "additionalModelDataSources",
            "imageConfig",
            "inferenceSpecificationName",
            "modelDataSource",
            "modelPackageName",
            "multiModelConfig",
        ),
    ),
}


def create(cloud: Cloud, inputs: Values) -> str:
    arguments: dict[str, Any] = to_api(REQUEST, inputs)
    cloud.sagemaker.create_model(ModelName=inputs["name"], Tags=tag_list(cloud.tags(inputs)), **arguments)
    return str(inputs["name"])


def read(cloud: Cloud, identifier: str, _known: Values) -> Values | None:
    try:
        answer: Any = cloud.sagemaker.describe_model(ModelName=identifier)
    except ClientError as error:
        if is_missing(error):
            return None
        raise
    arn = answer["ModelArn"]
    return {"name": identifier, "arn": arn, "tags": tags_of(cloud, arn), **from_api(REQUEST, answer)}


def delete(cloud: Cloud, identifier: str, _old: Values) -> None:
    try:
        cloud.sagemaker.delete_model(ModelName=identifier)
    except ClientError as error:
        if not is_missing(error):
            raise


RESOURCE = Resource(
    label="SageMaker Model",
    inputs={"name": text(force_new=True, computed=True), "region": REGION, "tags": TAGS, **REQUEST},
    rejected=("containers", "inferenceExecutionConfig", "vpcConfig"),
    outputs=("arn",),
    autoname=Autoname(longest=NAME_LIMIT),
    import_id="the model's name",
    create=create,
    read=read,
    update=update_tags,
    delete=delete,
)
