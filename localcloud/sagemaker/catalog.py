"""The declarative half of hosting: models, endpoint configurations and tags of one region, as they were asked for.

Apart from endpoints because these are plain data: what a persistent store would save and load.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from localcloud import emulation
from localcloud.errors import UnsupportedError, ValidationException

MODEL_MEMBERS = {
    "ModelName",
    "PrimaryContainer",
    "Containers",
    "ExecutionRoleArn",
    "Tags",
    "VpcConfig",
    "EnableNetworkIsolation",
}
CONTAINER_MEMBERS = {
    "ContainerHostname",
    "Image",
    "ImageConfig",
    "Mode",
    "ModelDataUrl",
    "ModelDataSource",
    "Environment",
}
CONFIG_MEMBERS = {
    "EndpointConfigName",
    "ProductionVariants",
    "Tags",
    "KmsKeyId",
    "ExecutionRoleArn",
    "VpcConfig",
    "EnableNetworkIsolation",
    "AsyncInferenceConfig",
    "DataCaptureConfig",
    "ShadowProductionVariants",
}
VARIANT_MEMBERS = {
    "VariantName",
    "ModelName",
    "InitialInstanceCount",
    "InstanceType",
    "InitialVariantWeight",
    "VolumeSizeInGB",
    "ModelDataDownloadTimeoutInSeconds",
    "ContainerStartupHealthCheckTimeoutInSeconds",
    "EnableSSMAccess",
    "RoutingConfig",
    "InferenceAmiVersion",
    "ServerlessConfig",
}

_WORDS = {"model": "model", "endpoint-config": "endpoint configuration", "endpoint": "endpoint"}


@dataclass(frozen=True)
class Record:
    """One resource: what was asked for, under its name and ARN."""

    name: str
    arn: str
    created: float
    request: dict[str, Any]


@dataclass
class Catalog:
    """Models, endpoint configurations and tags of one region."""

    region: str
    now: Callable[[], float] = time.time
    models: dict[str, Record] = field(default_factory=dict)
    configs: dict[str, Record] = field(default_factory=dict)
    tags: dict[str, dict[str, str]] = field(default_factory=dict)

    def arn(self, kind: str, name: str) -> str:
        # AWS answers ARNs with the name in lower case.
        return f"arn:aws:sagemaker:{self.region}:{emulation.ACCOUNT}:{kind}/{name.lower()}"

    def add_model(self, request: dict[str, Any]) -> Record:
        """Raises AwsError for a name in use, what is not emulated, an unusable role, or data that is not in S3."""
        name = request["ModelName"]
        if name in self.models:
            raise already_exists("model", self.arn("model", name))
        container = _single_container(request)
        check_role(request.get("ExecutionRoleArn"))
        _check_model_data(container)
        kept = {key: value for key, value in request.items() if key not in ("Containers", "Tags")}
        kept["PrimaryContainer"] = {"Mode": "SingleModel", **container}
        kept.setdefault("EnableNetworkIsolation", False)
        record = Record(name, self.arn("model", name), self.now(), kept)
        self.models[name] = record
        self.set_tags(record.arn, request.get("Tags", []))
        return record

    def add_config(self, request: dict[str, Any]) -> Record:
        """Raises AwsError for a name in use, what is not emulated, or a model that does not exist."""
        name = request["EndpointConfigName"]
        if name in self.configs:
            raise already_exists("endpoint-config", self.arn("endpoint-config", name))
        refuse_others(request, CONFIG_MEMBERS, "CreateEndpointConfig")
        variants = [self._checked_variant(variant) for variant in request["ProductionVariants"]]
        shadows = [self._checked_variant(variant) for variant in request.get("ShadowProductionVariants", [])]
        _check_kinds(request, variants, shadows)
        names = [variant["VariantName"] for variant in [*variants, *shadows]]
        if len(set(names)) < len(names):
            raise ValidationException(f"Variant names must be unique; got: {', '.join(names)}.")
        if not any(variant["InitialVariantWeight"] > 0 for variant in variants):
            raise ValidationException("At least one production variant needs a weight above 0.")
        kept = {key: value for key, value in request.items() if key != "Tags"}
        kept["ProductionVariants"] = variants
        if shadows:
            kept["ShadowProductionVariants"] = shadows
        kept.setdefault("EnableNetworkIsolation", False)
        record = Record(name, self.arn("endpoint-config", name), self.now(), kept)
        self.configs[name] = record
        self.set_tags(record.arn, request.get("Tags", []))
        return record

    def _checked_variant(self, variant: dict[str, Any]) -> dict[str, Any]:
        refuse_others(variant, VARIANT_MEMBERS, "a production variant")
        name = variant["VariantName"]
        if "ModelName" not in variant:
            raise ValidationException(f"Production variant '{name}' needs ModelName.")
        if "ServerlessConfig" in variant:
            _check_serverless(variant)
        else:
            for member in ("InitialInstanceCount", "InstanceType"):
                if member not in variant:
                    raise ValidationException(
                        f"Production variant '{name}' needs {member}, or ServerlessConfig in its place."
                    )
        self.model(variant["ModelName"])
        return {"InitialVariantWeight": 1.0, **variant}

    def model(self, name: str) -> Record:
        if name not in self.models:
            raise could_not_find("model", self.arn("model", name))
        return self.models[name]

    def config(self, name: str) -> Record:
        if name not in self.configs:
            raise could_not_find("endpoint-config", self.arn("endpoint-config", name))
        return self.configs[name]

    def remove_model(self, name: str) -> None:
        self.tags.pop(self.model(name).arn, None)
        del self.models[name]

    def remove_config(self, name: str) -> None:
        self.tags.pop(self.config(name).arn, None)
        del self.configs[name]

    def set_tags(self, arn: str, tags: list[dict[str, str]]) -> None:
        merged = {**self.tags.get(arn, {}), **{tag["Key"]: tag["Value"] for tag in tags}}
        if len(merged) > 50:
            raise ValidationException(f"A resource carries at most 50 tags; {arn} would have {len(merged)}.")
        self.tags[arn] = merged

    def tag_list(self, arn: str) -> list[dict[str, str]]:
        return [{"Key": key, "Value": value} for key, value in sorted(self.tags.get(arn, {}).items())]


def could_not_find(kind: str, arn: str) -> ValidationException:
    return ValidationException(f'Could not find {_WORDS[kind]} "{arn}".')


def already_exists(kind: str, arn: str) -> ValidationException:
    return ValidationException(f'Cannot create already existing {_WORDS[kind]} "{arn}".')


def refuse_others(request: dict[str, Any], emulated: set[str], of: str) -> None:
    """Raises UnsupportedError for members that AWS knows and the local AWS would have to ignore."""
    others = sorted(request.keys() - emulated)
    if others:
        raise UnsupportedError(f"The local AWS does not emulate {', '.join(others)} of {of}.")


def split_s3_uri(uri: str) -> tuple[str, str]:
    """(bucket, key) of `s3://bucket/key`."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket or not key:
        raise ValidationException(f"This is not an S3 address of the form s3://bucket/key: {uri}")
    return bucket, key


def split_s3_folder(uri: str) -> tuple[str, str]:
    """(bucket, prefix) of `s3://bucket/prefix`; the prefix is empty or ends with a slash."""
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket:
        raise ValidationException(f"This is not an S3 address of the form s3://bucket/prefix: {uri}")
    return bucket, f"{prefix.rstrip('/')}/" if prefix.rstrip("/") else ""


def _check_serverless(variant: dict[str, Any]) -> None:
    name, config = variant["VariantName"], variant["ServerlessConfig"]
    instances = sorted(variant.keys() & {"InitialInstanceCount", "InstanceType", "VolumeSizeInGB"})
    if instances:
        raise ValidationException(f"Serverless variant '{name}' takes no {', '.join(instances)}.")
    if config["MemorySizeInMB"] % 1024:
        raise ValidationException(f"MemorySizeInMB of variant '{name}' must be 1024, 2048, 3072, 4096, 5120 or 6144.")
    if config.get("ProvisionedConcurrency", 0) > config["MaxConcurrency"]:
        raise ValidationException(f"ProvisionedConcurrency of variant '{name}' must not be above its MaxConcurrency.")


def _check_kinds(request: dict[str, Any], variants: list[dict[str, Any]], shadows: list[dict[str, Any]]) -> None:
    """Raises ValidationException for kinds of endpoints that AWS does not combine, or folders that are none."""
    serverless = [variant for variant in [*variants, *shadows] if "ServerlessConfig" in variant]
    if serverless and len(variants) > 1:
        raise ValidationException("A serverless endpoint has one production variant.")
    if serverless and shadows:
        raise ValidationException("Shadow variants are not for serverless endpoints.")
    if shadows and len(variants) > 1:
        raise ValidationException("Shadow variants need exactly one production variant.")
    for member in ("AsyncInferenceConfig", "DataCaptureConfig"):
        if member in request and serverless:
            raise ValidationException(f"{member} is not for serverless endpoints.")
    if "AsyncInferenceConfig" in request:
        if shadows or "DataCaptureConfig" in request or len(variants) > 1:
            raise ValidationException(
                "An asynchronous endpoint has one variant, no shadow variants and no data capture."
            )
        output = request["AsyncInferenceConfig"]["OutputConfig"]
        if "S3OutputPath" not in output:
            raise ValidationException("AsyncInferenceConfig needs an S3OutputPath in its OutputConfig.")
        for member in ("S3OutputPath", "S3FailurePath"):
            if member in output:
                split_s3_folder(output[member])
    if "DataCaptureConfig" in request:
        split_s3_folder(request["DataCaptureConfig"]["DestinationS3Uri"])


def _single_container(request: dict[str, Any]) -> dict[str, Any]:
    refuse_others(request, MODEL_MEMBERS, "CreateModel")
    containers = request.get("Containers", [])
    if "PrimaryContainer" in request:
        containers = [request["PrimaryContainer"], *containers]
    if len(containers) != 1:
        raise UnsupportedError(f"The local AWS hosts models of exactly one container; this one has {len(containers)}.")
    container: dict[str, Any] = containers[0]
    refuse_others(container, CONTAINER_MEMBERS, "a container")
    if container.get("Mode", "SingleModel") != "SingleModel":
        raise UnsupportedError("The local AWS does not emulate multi-model containers.")
    if "Image" not in container:
        raise ValidationException("The container needs an Image.")
    return container


def check_role(arn: str | None) -> None:
    if arn is None:
        raise ValidationException("ExecutionRoleArn is missing: the model's data is read with this role.")
    role = emulation.find_role(arn)
    if role is None or not role.trusts_sagemaker:
        raise ValidationException(
            f"Could not assume role {arn}. Please ensure that the role exists and allows principal "
            "'sagemaker.amazonaws.com' to assume the role."
        )


def _check_model_data(container: dict[str, Any]) -> None:
    if ("ModelDataUrl" in container) == ("ModelDataSource" in container):
        raise UnsupportedError(
            "The local AWS serves a model's data, not its image: give either ModelDataUrl or ModelDataSource."
        )
    source = container.get("ModelDataSource", {}).get("S3DataSource")
    if source is None:
        if "ModelDataUrl" not in container:
            raise ValidationException("ModelDataSource needs S3DataSource.")
        uri = container["ModelDataUrl"]
    else:
        refuse_others(source, {"S3Uri", "S3DataType", "CompressionType"}, "S3DataSource")
        if (source["S3DataType"], source["CompressionType"]) not in {("S3Object", "Gzip"), ("S3Prefix", "None")}:
            raise UnsupportedError("The local AWS reads model data as S3Object with Gzip, or S3Prefix with None.")
        uri = source["S3Uri"]
    bucket, key = split_s3_uri(uri)
    prefix = source is not None and source["S3DataType"] == "S3Prefix"
    try:
        found = bool(emulation.list_objects(bucket, key)) if prefix else emulation.object_exists(bucket, key)
    except emulation.ObjectMissingError:
        found = False
    if not found:
        raise ValidationException(f"Could not find model data at {uri}.")
