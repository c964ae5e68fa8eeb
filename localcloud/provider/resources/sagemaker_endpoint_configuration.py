"""aws:sagemaker/endpointConfiguration:EndpointConfiguration. Everything but its tags is replaced, never changed."""

from __future__ import annotations

import secrets
from typing import Any

from botocore.exceptions import ClientError

from localcloud.provider.apishape import from_api, tag_list, to_api
from localcloud.provider.cloud import Cloud
from localcloud.provider.declarations import (
    REGION,
    TAGS,
    Autoname,
    Property,
    Resource,
    flag,
    integer,
    number,
    obj,
    objects,
    text,
)
from localcloud.provider.hosting import NAME_LIMIT, is_missing, tags_of, update_tags
from localcloud.provider.values import UNKNOWN, Values

SERVERLESS = obj(
    {
        "maxConcurrency": integer(required=True),
        "memorySizeInMb": integer(required=True, aws="MemorySizeInMB"),
        "provisionedConcurrency": integer(),
    }
)
VARIANT = {
    "containerStartupHealthCheckTimeoutInSeconds": integer(),
    "enableSsmAccess": flag(aws="EnableSSMAccess"),
    "inferenceAmiVersion": text(),
    "initialInstanceCount": integer(),
    "initialVariantWeight": number(default=1),
    "instanceType": text(),
    "modelDataDownloadTimeoutInSeconds": integer(),
    "modelName": text(required=True),
    "routingConfigs": objects({"routingStrategy": text(required=True)}, single=True, aws="RoutingConfig"),
    "serverlessConfig": SERVERLESS,
    "variantName": text(computed=True),
    "volumeSizeInGb": integer(computed=True, aws="VolumeSizeInGB"),
}
VARIANTS: dict[str, Any] = {
    "force_new": True,
    "rejected": ("acceleratorType", "capacityReservationConfig", "coreDumpConfig", "managedInstanceScaling"),
}
ASYNC = obj(
    {
        "clientConfig": obj({"maxConcurrentInvocationsPerInstance": integer()}),
        "outputConfig": obj(
            {
                "kmsKeyId": text(),
                "notificationConfig": obj(
                    {
                        "errorTopic": text(),
                        "includeInferenceResponseIns": Property(
                            kind="list", unordered=True, aws="IncludeInferenceResponseIn"
                        ),
                        "successTopic": text(),
                    }
                ),
                "s3FailurePath": text(),
                "s3OutputPath": text(required=True),
            },
            required=True,
        ),
    },
    force_new=True,
    aws="AsyncInferenceConfig",
)
CAPTURE = obj(
    {
        "captureContentTypeHeader": obj(
            {
                "csvContentTypes": Property(kind="list", unordered=True),
                "jsonContentTypes": Property(kind="list", unordered=True),
            }
        ),
        "captureOptions": objects({"captureMode": text(required=True, choices=("Input", "Output"))}, required=True),
        "destinationS3Uri": text(required=True),
        "enableCapture": flag(),
        "initialSamplingPercentage": integer(required=True),
        "kmsKeyId": text(),
    },
    force_new=True,
)
REQUEST = {
    "asyncInferenceConfig": ASYNC,
    "dataCaptureConfig": CAPTURE,
    "executionRoleArn": text(force_new=True),
    "kmsKeyArn": text(force_new=True, aws="KmsKeyId"),
    "productionVariants": objects(VARIANT, required=True, **VARIANTS),
    "shadowProductionVariants": objects(VARIANT, **VARIANTS),
}


def create(cloud: Cloud, inputs: Values) -> str:
    name = str(inputs.get("name") or inputs["namePrefix"] + secrets.token_hex(8))
    arguments: dict[str, Any] = to_api(REQUEST, inputs)
    for variant in [*arguments["ProductionVariants"], *arguments.get("ShadowProductionVariants", [])]:
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


def validate(inputs: Values) -> list[tuple[str, str]]:
    problems = []
    for key in ("productionVariants", "shadowProductionVariants"):
        variants = inputs.get(key, UNKNOWN)
        for number_, variant in enumerate(variants if variants != UNKNOWN else []):
            where = f"{key}[{number_}]"
            if variant == UNKNOWN:
                continue
            if "serverlessConfig" in variant:
                for other in ("initialInstanceCount", "instanceType", "volumeSizeInGb"):
                    if other in variant:
                        problems.append((f"{where}.{other}", f"{where}.{other}: conflicts with serverlessConfig"))
            elif "initialInstanceCount" not in variant or "instanceType" not in variant:
                needed = "initialInstanceCount and instanceType, or serverlessConfig"
                problems.append((where, f"{where}: needs {needed}"))
    return problems


def delete(cloud: Cloud, identifier: str, _old: Values) -> None:
    try:
        cloud.sagemaker.delete_endpoint_config(EndpointConfigName=identifier)
    except ClientError as error:
        if not is_missing(error):
            raise


RESOURCE = Resource(
    label="SageMaker EndpointConfiguration",
    service="sagemaker",
    inputs={
        "name": text(force_new=True, computed=True),
        "namePrefix": text(force_new=True, computed=True),
        "region": REGION,
        "tags": TAGS,
        **REQUEST,
    },
    outputs=("arn",),
    autoname=Autoname(prefix_property="namePrefix", longest=NAME_LIMIT),
    import_id="the configuration's name",
    create=create,
    read=read,
    update=update_tags,
    delete=delete,
    validate=validate,
)
