"""The request that starts a remote build: CreateProcessingJob's input, from settings and names alone. Pure."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from infra.remote_builds import RemoteBuilds

FOLDER = "/opt/ml/processing"
PROGRAM = "remote_job.py"
JOB_LIMIT = 63
STORE_FOLDER = f"{FOLDER}/output/store"


def job_name(names: Sequence[str]) -> str:
    """A name that no job had before: what is built, when, and four characters."""
    said = names[0] if len(names) == 1 else f"{len(names)}-models"
    ending = f"-{datetime.now(UTC):%y%m%d%H%M%S}-{secrets.token_hex(2)}"
    return re.sub(r"-+", "-", f"build-{said}"[: JOB_LIMIT - len(ending)]).rstrip("-") + ending


def folder(job: str) -> str:
    """Of a job's own files in the store."""
    return f"jobs/{job}"


def request(
    job: str,
    builds: RemoteBuilds,
    *,
    store: str,
    image: str,
    instance: str,
    region: str,
    tags: Mapping[str, str],
) -> dict[str, Any]:
    """`store` is the URL of the store; `builds.role` is given."""
    cluster: dict[str, Any] = {"InstanceCount": 1, "InstanceType": instance, "VolumeSizeInGB": builds.volume_gb}
    if builds.kms_key:
        cluster["VolumeKmsKeyId"] = builds.kms_key
    asked: dict[str, Any] = {
        "ProcessingJobName": job,
        "RoleArn": builds.role,
        "AppSpecification": {
            "ImageUri": image,
            "ContainerEntrypoint": ["python3", f"{FOLDER}/input/job/{PROGRAM}"],
        },
        "ProcessingResources": {"ClusterConfig": cluster},
        "StoppingCondition": {"MaxRuntimeInSeconds": max(60, round(builds.max_hours * 3600))},
        "ProcessingInputs": [
            _input("job", f"{store}/{folder(job)}/input/", "S3Prefix"),
            _input("tree", f"{store}/{folder(job)}/tree.manifest", "ManifestFile"),
        ],
        "Environment": {"AWS_DEFAULT_REGION": region},
        "NetworkConfig": _network(builds),
        "Tags": [{"Key": key, "Value": value} for key, value in sorted(tags.items())],
    }
    if builds.isolated:
        output = {"S3Uri": store, "LocalPath": STORE_FOLDER, "S3UploadMode": "EndOfJob"}
        asked["ProcessingOutputConfig"] = {"Outputs": [{"OutputName": "store", "S3Output": output}]}
    return asked


def _input(name: str, uri: str, kind: str) -> dict[str, Any]:
    source = {"S3Uri": uri, "LocalPath": f"{FOLDER}/input/{name}", "S3DataType": kind, "S3InputMode": "File"}
    return {"InputName": name, "S3Input": source}


def _network(builds: RemoteBuilds) -> dict[str, Any]:
    network: dict[str, Any] = {"EnableNetworkIsolation": builds.isolated}
    if builds.subnets:
        network["VpcConfig"] = {
            "Subnets": list(builds.subnets),
            "SecurityGroupIds": list(builds.security_groups),
        }
    return network
