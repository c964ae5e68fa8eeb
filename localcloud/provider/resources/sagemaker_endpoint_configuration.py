"""aws:sagemaker/endpointConfiguration:EndpointConfiguration. Everything but its tags is replaced, never changed."""

from __future__ import annotations

import secrets
from typing import Any

from botocore.exceptions import ClientError

from localcloud.provider.apishape import from_api, tag_list, to_api
from localcloud.provider.cloud import Cloud
from localcloud.provider.declarations import REGION, TAGS, Autoname, Resource, integer, number, objects, text
from localcloud.provider.hosting import NAME_LIMIT, is_missing, tags_of, update_tags
from localcloud.provider.values import Values

VARIANTS = objects(
    {
        "containerStartupHealthCheckTimeoutInSeconds": integer(),
        "initialInstanceCount": integer(),
        "initialVariantWeight": number(default=1),
        "instanceType": text(),
        "modelDataDownloadTimeoutInSeconds": integer(),
        "modelName": text(required=True),
        "variantName": text(computed=True),
    },
    required=True,
    force_new=True,
    rejected=(
        "acceleratorType",
        "capacityReservationConfig",
        "coreDumpConfig",
        "enableSsmAccess",
        "inferenceAmiVersion",
        "managedInstanceScaling",
        "routingConfigs",
        "serverlessConfig",
        "volumeSizeInGb",
    ),
)
REQUEST = {"productionVariants": VARIANTS}


def create(cloud: Cloud, inputs: Values) -> str:
    name = str(inputs.get("name") or inputs["namePrefix"] + secrets.token_hex(8))
    arguments: dict[str, Any] = to_api(REQUEST, inputs)
    for variant in arguments["ProductionVariants"]:
        variant.setdefault("VariantName", f"variant-{secrets.token_hex(8)}")
    cloud.sagemaker.create_endpoint_config(EndpointConfigName=name, Tags=tag_list(cloud.tags(inputs)), **arguments)
    return name


def read(cloud: Cloud, identifier: str, _known: Values) -> Values | None:
    try:
        answer: Any = cloud.sagemaker.describe_endpoint_config(EndpointConfigName=identifier)
    except ClientError as error:
        if is_missing(error):
            return None
        raise
    arn = answer["EndpointConfigArn"]
    return {"name": identifier, "arn": arn, "tags": tags_of(cloud, arn), **from_api(REQUEST, answer)}


def delete(cloud: Cloud, identifier: str, _old: Values) -> None:
    try:
        cloud.sagemaker.delete_endpoint_config(EndpointConfigName=identifier)
    except ClientError as error:
        if not is_missing(error):
            raise


RESOURCE = Resource(
    label="SageMaker EndpointConfiguration",
    inputs={
        "name": text(force_new=True, computed=True),
        "namePrefix": text(force_new=True, computed=True),
        "region": REGION,
        "tags": TAGS,
        **REQUEST,
    },
    rejected=(
        "asyncInferenceConfig",
        "dataCaptureConfig",
        "executionRoleArn",
        "kmsKeyArn",
        "shadowProductionVariants",
    ),
    outputs=("arn",),
    autoname=Autoname(prefix_property="namePrefix", longest=NAME_LIMIT),
    import_id="the configuration's name",
    create=create,
    read=read,
    update=update_tags,
    delete=delete,
)
