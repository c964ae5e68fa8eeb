"""`slipway:builds` of a stack: what its remote builds run on. Pure; `slipway build --on sagemaker` reads it too.

Apart from `settings`, which imports Pulumi.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from model_build.manifest import Frozen

DEFAULT_IMAGE = "huggingface-pytorch-inference:2.6.0-transformers5.5.3-cpu-py312-ubuntu22.04"
"""A Python and no more is asked of it. AWS publishes it in its own registry, of which SageMaker pulls."""
FALLBACK_INSTANCE = "ml.m5.xlarge"


class RemoteBuilds(Frozen):
    store: Annotated[str, Field(pattern=r"^s3://[a-z0-9][a-z0-9-]{1,61}[a-z0-9](/[\w.=@+-]+)*$")] | None = Field(
        None, description="Bucket and prefix that tree, nodes and results travel through: a shared cache."
    )
    role: Annotated[str, Field(pattern=r"^arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+$")] | None = Field(
        None, description="ARN of the role that the job has."
    )
    image: str = Field(DEFAULT_IMAGE, description="Image with a Python from 3.11 on; what a build needs is installed.")
    instance: Annotated[str, Field(pattern=r"^ml\.[a-z0-9-]+\.[a-z0-9]+$")] | None = Field(
        None, description="Instance type; that of `deploy`, if not given and all models agree."
    )
    volume_gb: int = Field(30, ge=1, le=16384, description="Disk of the instance.")
    max_hours: float = Field(4, gt=0, le=216, description="Longest time that a job may take.")
    kms_key: str | None = Field(None, description="Key that encrypts the instance's disk.")
    subnets: tuple[Annotated[str, Field(pattern=r"^subnet-[0-9a-f]{8,17}$")], ...] = Field((), max_length=16)
    security_groups: tuple[Annotated[str, Field(pattern=r"^sg-[0-9a-f]{8,17}$")], ...] = Field((), max_length=5)
    isolated: bool = Field(
        False, description="No network for the job: the image must have every package, and nothing is shared midway."
    )


def problems(builds: RemoteBuilds) -> list[str]:
    """What keys do not say together."""
    if bool(builds.subnets) != bool(builds.security_groups):
        return ["subnets, security_groups: a network needs both lists, or neither"]
    return []


def described(error: dict[str, Any]) -> str:
    """A problem of pydantic's in one line, with its key."""
    return f"{'.'.join(map(str, error['loc']))}: {error['msg'].removeprefix('Value error, ')}"
