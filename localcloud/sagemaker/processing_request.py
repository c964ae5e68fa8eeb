"""What CreateProcessingJob asks for, read and judged before anything runs. Pure, over botocore's valid input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from localcloud.errors import UnsupportedError, ValidationException
from localcloud.sagemaker.catalog import refuse_others, split_s3_folder, split_s3_uri

MEMBERS = {
    "ProcessingJobName",
    "ProcessingInputs",
    "ProcessingOutputConfig",
    "ProcessingResources",
    "StoppingCondition",
    "AppSpecification",
    "Environment",
    "NetworkConfig",
    "RoleArn",
    "Tags",
}
INPUT_MEMBERS = {"InputName", "S3Input"}
OUTPUT_MEMBERS = {"OutputName", "S3Output"}
CLUSTER_MEMBERS = {"InstanceCount", "InstanceType", "VolumeSizeInGB", "VolumeKmsKeyId"}
FOLDER = "/opt/ml/processing"
DEFAULT_RUNTIME_SECONDS = 86_400
"""AWS's own, where StoppingCondition does not say."""


@dataclass(frozen=True)
class Input:
    uri: str
    path: str
    manifest: bool


@dataclass(frozen=True)
class Output:
    uri: str
    path: str
    continuous: bool


@dataclass(frozen=True)
class Plan:
    """What one instance does. `environment` and `command` name paths of the container."""

    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    command: tuple[str, ...]
    environment: dict[str, str]
    seconds: int


def read(request: dict[str, Any]) -> Plan:
    """Raises AwsError for what is not emulated, and what makes no sense together."""
    refuse_others(request, MEMBERS, "CreateProcessingJob")
    cluster = request["ProcessingResources"]["ClusterConfig"]
    refuse_others(cluster, CLUSTER_MEMBERS, "ClusterConfig")
    missing = [member for member in ("InstanceCount", "InstanceType") if member not in cluster]
    if missing:
        raise ValidationException(f"ClusterConfig needs {' and '.join(missing)}.")
    if cluster["InstanceCount"] != 1:
        raise UnsupportedError("The local AWS runs a processing job on one instance.")
    application = request["AppSpecification"]
    entry = application.get("ContainerEntrypoint")
    if not entry:
        raise UnsupportedError("The local AWS runs no image: a processing job needs ContainerEntrypoint.")
    inputs = tuple(_input(one) for one in request.get("ProcessingInputs", []))
    outputs = tuple(_output(one) for one in request.get("ProcessingOutputConfig", {}).get("Outputs", []))
    _distinct("InputName", [one["InputName"] for one in request.get("ProcessingInputs", [])])
    _distinct("LocalPath", [one.path for one in inputs])
    return Plan(
        inputs,
        outputs,
        (*entry, *application.get("ContainerArguments", [])),
        request.get("Environment", {}),
        request.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", DEFAULT_RUNTIME_SECONDS),
    )


def _input(given: dict[str, Any]) -> Input:
    name = given["InputName"]
    refuse_others(given, INPUT_MEMBERS, f"input '{name}'")
    if "S3Input" not in given:
        raise ValidationException(f"Input '{name}' needs S3Input.")
    source = given["S3Input"]
    if source.get("S3InputMode", "File") != "File" or source.get("S3CompressionType", "None") != "None":
        raise UnsupportedError(f"The local AWS brings input '{name}' as files: S3InputMode File, no compression.")
    manifest = source["S3DataType"] == "ManifestFile"
    (split_s3_uri if manifest else split_s3_folder)(source["S3Uri"])
    return Input(source["S3Uri"], _path(source, f"Input '{name}'"), manifest)


def _output(given: dict[str, Any]) -> Output:
    name = given["OutputName"]
    refuse_others(given, OUTPUT_MEMBERS, f"output '{name}'")
    if "S3Output" not in given:
        raise ValidationException(f"Output '{name}' needs S3Output.")
    target = given["S3Output"]
    split_s3_folder(target["S3Uri"])
    return Output(target["S3Uri"], _path(target, f"Output '{name}'"), target["S3UploadMode"] == "Continuous")


def _path(place: dict[str, Any], of: str) -> str:
    path: str = place.get("LocalPath", "")
    if not path.startswith(f"{FOLDER}/") or ".." in path.split("/"):
        raise ValidationException(f"{of} needs a LocalPath below {FOLDER}/; got '{path}'.")
    return path


def _distinct(member: str, values: list[str]) -> None:
    if len(set(values)) < len(values):
        raise ValidationException(f"{member} must be unique; got: {', '.join(values)}.")
