"""CreateTransformJob's input as a plan, with the rules that its service model does not know, or what is not emulated.

The defaults are the API reference's: one request at a time and 6 MB, since our server has no `/execution-parameters`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from localcloud.errors import UnsupportedError, ValidationException
from localcloud.sagemaker.catalog import refuse_others, split_s3_folder
from localcloud.sagemaker.transform_data import MEGABYTE
from localcloud.sagemaker.transform_filters import PathError, Processing

MEMBERS = {
    "TransformJobName",
    "ModelName",
    "MaxConcurrentTransforms",
    "ModelClientConfig",
    "MaxPayloadInMB",
    "BatchStrategy",
    "Environment",
    "TransformInput",
    "TransformOutput",
    "TransformResources",
    "DataProcessing",
    "Tags",
}
MAX_PAYLOAD_MB = 100
DEFAULT_PAYLOAD_MB = 6
DEFAULT_TIMEOUT_SECONDS = 600
DEFAULT_RETRIES = 3
JSON_KINDS = ("application/json", "application/jsonlines")


@dataclass(frozen=True)
class Source:
    """Where inputs lie: all keys with a prefix, or those that a manifest names."""

    bucket: str
    key: str
    by_manifest: bool

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True)
class Plan:
    """One job, as it is to be done. `folder` of the output is empty or ends with a slash; `payload` is in bytes."""

    source: Source
    bucket: str
    folder: str
    instances: int
    concurrency: int
    payload: int
    together: bool
    by_line: bool
    assemble_lines: bool
    gzipped: bool
    timeout: float
    retries: int
    headers: Mapping[str, str]
    environment: Mapping[str, str]
    processing: Processing

    @property
    def strategy(self) -> str:
        return "MULTI_RECORD" if self.together else "SINGLE_RECORD"


def read(request: dict[str, Any]) -> Plan:
    """Raises ValidationException or UnsupportedError."""
    refuse_others(request, MEMBERS, "CreateTransformJob")
    given, output = request["TransformInput"], request["TransformOutput"]
    split, together = given.get("SplitType", "None"), request.get("BatchStrategy", "MultiRecord") == "MultiRecord"
    if split not in ("None", "Line"):
        raise UnsupportedError(f"The local AWS splits inputs by Line or not at all, not as {split}.")
    concurrency = request.get("MaxConcurrentTransforms") or 1
    megabytes = request.get("MaxPayloadInMB", DEFAULT_PAYLOAD_MB)
    if megabytes == 0:
        raise UnsupportedError("The local AWS sends no payloads of any size, as MaxPayloadInMB 0 asks for.")
    if megabytes * concurrency > MAX_PAYLOAD_MB:
        raise ValidationException(
            f"MaxConcurrentTransforms ({concurrency}) × MaxPayloadInMB ({megabytes}) must not be above "
            f"{MAX_PAYLOAD_MB} MB."
        )
    client = request.get("ModelClientConfig", {})
    bucket, folder = split_s3_folder(output["S3OutputPath"])
    named = {"content-type": given.get("ContentType"), "accept": output.get("Accept")}
    return Plan(
        source=_source(given["DataSource"]),
        bucket=bucket,
        folder=folder,
        instances=request["TransformResources"]["InstanceCount"],
        concurrency=concurrency,
        payload=megabytes * MEGABYTE,
        together=together and split == "Line",
        by_line=split == "Line",
        assemble_lines=output.get("AssembleWith") == "Line",
        gzipped=given.get("CompressionType") == "Gzip",
        timeout=float(client.get("InvocationsTimeoutInSeconds", DEFAULT_TIMEOUT_SECONDS)),
        retries=client.get("InvocationsMaxRetries", DEFAULT_RETRIES),
        headers={name: value for name, value in named.items() if value},
        environment={**request.get("Environment", {}), **_told(request)},
        processing=_processing(request, given.get("ContentType", "")),
    )


def _source(given: dict[str, Any]) -> Source:
    source = given.get("S3DataSource")
    if source is None:
        raise ValidationException("TransformInput needs an S3DataSource.")
    if source["S3DataType"] not in ("S3Prefix", "ManifestFile"):
        raise ValidationException(f"A transform job reads S3Prefix or ManifestFile, not {source['S3DataType']}.")
    bucket, _, key = source["S3Uri"].removeprefix("s3://").partition("/")
    by_manifest = source["S3DataType"] == "ManifestFile"
    if not source["S3Uri"].startswith("s3://") or not bucket or (by_manifest and not key):
        raise ValidationException(f"This is not an S3 address of the form s3://bucket/key: {source['S3Uri']}")
    return Source(bucket, key, by_manifest)


def _told(request: dict[str, Any]) -> dict[str, str]:
    """What a container of a transform job is told of it; the last three where the caller gave them.

    https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-batch-code.html
    """
    strategies = {"MultiRecord": "MULTI_RECORD", "SingleRecord": "SINGLE_RECORD"}
    told = {
        "SAGEMAKER_MAX_PAYLOAD_IN_MB": request.get("MaxPayloadInMB"),
        "SAGEMAKER_BATCH_STRATEGY": strategies.get(request.get("BatchStrategy", "")),
        "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS": request.get("MaxConcurrentTransforms"),
    }
    return {"SAGEMAKER_BATCH": "true"} | {name: str(value) for name, value in told.items() if value}


def _processing(request: dict[str, Any], content_type: str) -> Processing:
    try:
        found = Processing.parse(request.get("DataProcessing", {}))
    except PathError as error:
        raise ValidationException(f"DataProcessing: {error}.") from None
    kind = content_type.partition(";")[0].strip().lower()
    if found.active and kind not in JSON_KINDS:
        raise UnsupportedError(
            f"The local AWS does DataProcessing on records of {' or '.join(JSON_KINDS)}, not of "
            f"'{content_type or 'no ContentType'}'."
        )
    return found
