"""Batch transform of what an endpoint runs: which model that is, and the job that is asked for. Pure, but for looking.

Files are moved by `batch_data`; `batch_job` starts a job and goes along with it.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import PurePosixPath
from typing import Any

from infra import names
from infra.hosting import LOCAL_DISKS
from model_build.deployment import Batch
from model_build.errors import UserError
from model_build.spec import CONTENT_TYPES
from slipway.live import address_of, running

JSON, JSON_LINES = "application/json", "application/jsonlines"
ENDINGS = {
    **CONTENT_TYPES,
    ".jsonl": JSON_LINES,
    ".ndjson": JSON_LINES,
    ".safetensors": "application/x-safetensors",
}
GZIP = ".gz"
MAX_PAYLOAD_MB = 100
"""SageMaker's limit, also of payload × requests at once."""
DEFAULT_PAYLOAD_MB = 6
SERVERLESS_INSTANCE = "ml.m5.large"
"""Where the endpoint has no instances whose type could be taken."""
PATIENCE_SECONDS = 3600
"""SageMaker's limit of an answer: a payload may hold thousands of records."""


@dataclass(frozen=True)
class Deployed:
    """What an endpoint runs. `bucket` is its stack's; `instance` is None for a serverless endpoint."""

    endpoint: str
    model: str
    digest: str
    bucket: str
    instance: str | None
    key: str | None


def deployed(control: Any, endpoint: str) -> Deployed:
    """The model of an endpoint's live configuration. Raises UserError where there is none."""

    def runs_a_model(found: Mapping[str, Any]) -> None:
        if found["EndpointStatus"] in ("Creating", "Failed", "Deleting"):
            raise UserError(
                f"{endpoint} is {found['EndpointStatus']}, so it runs no model yet"
                + (f": {found['FailureReason']}" if "FailureReason" in found else ""),
                "wait until it is InService, or deploy again",
            )

    config, model = running(control, endpoint, runs_a_model, "deploy it: slipway up, or slipway deploy --env ENV")
    variant = config["ProductionVariants"][0]
    address = address_of(model)
    place = re.fullmatch(r"s3://([^/]+)/[^/]+/([0-9a-f]{64})\.tar\.gz", address)
    if place is None:
        raise UserError(
            f"{endpoint}: its model's data is at {address or 'no address'}, which this project did not put there",
            "run it on an endpoint that slipway deployed",
        )
    return Deployed(
        endpoint, variant["ModelName"], place[2], place[1], variant.get("InstanceType"), config.get("KmsKeyId")
    )


@dataclass(frozen=True)
class Kind:
    """What a file holds."""

    content_type: str
    gzipped: bool


def kind_of(keys: Sequence[str], given: str | None) -> Kind:
    """What all inputs are, by `given` or by their endings. Raises UserError where these differ or are unknown."""
    gzipped = {key.lower().endswith(GZIP) for key in keys}
    if len(gzipped) > 1:
        raise UserError("some inputs end in .gz and some do not", "give them to two jobs")
    packed = gzipped == {True}
    if given:
        return Kind(given, packed)
    found: dict[str | None, str] = {}
    for key in keys:
        name = key.lower().removesuffix(GZIP) if packed else key.lower()
        found.setdefault(ENDINGS.get(PurePosixPath(name).suffix), key)
    if None in found:
        raise UserError(
            f"{found[None]}: no content type is known for this ending",
            f"give --content-type, or files that end in {', '.join(ENDINGS)}",
        )
    if len(found) > 1:
        two = [f"{key} is {kind}" for kind, key in list(found.items())[:2]]
        raise UserError(f"a job has inputs of one content type, but {' and '.join(two)}", "give each kind to a job")
    return Kind(str(next(iter(found))), packed)


@dataclass(frozen=True)
class Options:
    """What the command line says of a job; None where the rest decides."""

    split: str | None = None
    strategy: str | None = None
    assemble: str | None = None
    accept: str | None = None
    instances: int = 1
    instance: str | None = None
    max_concurrent: int | None = None
    max_payload: int = DEFAULT_PAYLOAD_MB
    join: bool = False
    input_filter: str | None = None
    output_filter: str | None = None

    def processing(self) -> dict[str, str]:
        """`DataProcessing` of the API; empty where records go and answers come as they are."""
        given = {
            "InputFilter": self.input_filter,
            "JoinSource": "Input" if self.join else None,
            "OutputFilter": self.output_filter,
        }
        return {name: value for name, value in given.items() if value}


def job_name(model: str, environment: str, now: datetime | None = None) -> str:
    moment = now or datetime.now(UTC)
    return f"{names.batch_jobs(model, environment)}-{moment:%y%m%d%H%M%S}-{secrets.token_hex(2)[:3]}"


def request(
    name: str, model: Deployed, source: str, target: str, kind: Kind, options: Options, known: Sequence[str] = ()
) -> dict[str, Any]:
    """CreateTransformJob's arguments; `known` are the instance types that it takes, none for any. Raises UserError."""
    if (options.max_concurrent or 1) * options.max_payload > MAX_PAYLOAD_MB:
        raise UserError(
            f"{options.max_concurrent} requests at once of {options.max_payload} MB are more than SageMaker's "
            f"{MAX_PAYLOAD_MB} MB",
            "lower --max-concurrent or --max-payload",
        )
    lines = kind.content_type == JSON_LINES
    split = options.split or ("line" if lines else "none")
    strategy = options.strategy or ("multi-record" if lines else "single-record")
    if options.strategy == "multi-record" and split == "none":
        raise UserError("files that are not split have no records to put together", "give --split line too")
    processing = options.processing()
    if processing and kind.content_type not in (JSON, JSON_LINES):
        raise UserError(
            f"--join and filters look into records, which {kind.content_type} does not allow",
            f"give records of {JSON_LINES} or {JSON}",
        )
    assemble = options.assemble or ("line" if split == "line" else "none")
    accept = options.accept or (JSON_LINES if lines else JSON)
    instance = _instance(model, options.instance, known)
    own = f"s3://{model.bucket}/"
    keys = {"VolumeKmsKeyId": model.key} if model.key and not LOCAL_DISKS.fullmatch(instance) else {}
    asked: dict[str, Any] = {
        "TransformJobName": name,
        "ModelName": model.model,
        "MaxPayloadInMB": options.max_payload,
        "ModelClientConfig": {"InvocationsTimeoutInSeconds": PATIENCE_SECONDS},
        "TransformInput": {
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": source}},
            "ContentType": kind.content_type,
            "SplitType": "Line" if split == "line" else "None",
            "CompressionType": "Gzip" if kind.gzipped else "None",
        },
        "TransformOutput": {
            "S3OutputPath": target.rstrip("/"),
            "Accept": accept,
            "AssembleWith": "Line" if assemble == "line" else "None",
            **({"KmsKeyId": model.key} if model.key and f"{target}/".startswith(own) else {}),
        },
        "TransformResources": {"InstanceType": instance, "InstanceCount": options.instances, **keys},
        "Tags": [
            {"Key": "slipway:endpoint", "Value": model.endpoint},
            {"Key": "slipway:digest", "Value": model.digest},
        ],
    }
    if split == "line":
        asked["BatchStrategy"] = "MultiRecord" if strategy == "multi-record" else "SingleRecord"
    if options.max_concurrent:
        asked["MaxConcurrentTransforms"] = options.max_concurrent
    if processing:
        asked["DataProcessing"] = processing
    return asked


def _instance(model: Deployed, given: str | None, known: Sequence[str]) -> str:
    chosen = given or model.instance or SERVERLESS_INSTANCE
    if known and chosen not in known:
        whose = "" if given else ", which the endpoint runs on"
        near = get_close_matches(chosen, known, 4, 0.5)
        raise UserError(
            f"batch transform has no instances of type {chosen}{whose}",
            f"give --instance, for instance {', '.join(near or [SERVERLESS_INSTANCE])}",
        )
    return chosen


def require_granted(
    name: str, batch: Batch | None, model: Deployed, environment: str, source: str, target: str
) -> None:
    """Raises UserError where the spec does not let the model's role do the job, which AWS would tell minutes later."""
    if batch is None:
        raise UserError(
            f"{name} is not deployed for batch transform: its role may not read the inputs",
            f"write `batch: {{}}` under deploy in specs/{name}.yaml, then: slipway build {name} and "
            f"slipway deploy --env {environment}",
        )
    own = f"s3://{model.bucket}/{names.batch(name)}"
    for address, key, folders in ((source, "inputs", batch.inputs), (target, "outputs", batch.outputs)):
        if not any(f"{address.rstrip('/')}/".startswith(folder) for folder in (own, *folders)):
            raise UserError(
                f"{name}'s role may not reach {address}: deploy.batch.{key} of its spec does not name it",
                f"name its folder there and deploy again, or use {own}",
            )
