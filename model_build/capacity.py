"""Capacity evidence: what one instance of an endpoint bore in a load test, `specs/capacity/NAME.json`.

`slipway loadtest` writes it, provisioning reads it for `autoscaling.target: auto`. Apart from the manifest because it
is measured after a deployment, not at a build; pydantic and the standard library alone.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from model_build.deployment import Frozen, InstanceType
from model_build.manifest import Name, Sha256

FOLDER = "specs/capacity"


class CapacityError(Exception):
    """Evidence that cannot be used; the message ends with the command that mends it."""


class Capacity(Frozen):
    """What one instance bears before its latency leaves the plateau: the knee of the load test."""

    format: Literal[1] = 1
    name: Name
    artifact: Sha256 = Field(description="SHA-256 of the artifact that was loaded.")
    instance: InstanceType = Field(description="The instance type that it ran on.")
    environment: str = Field(description="The environment whose endpoint was loaded.")
    max_rps: float = Field(gt=0, description="Requests per second that one instance answers at the knee.")
    concurrency: float = Field(gt=0, description="Requests in flight on one instance at the knee, on average.")
    latency_p50_ms: float = Field(gt=0, description="Client's latency at the knee, median.")
    latency_p95_ms: float = Field(gt=0, description="Client's latency at the knee, 95th percentile.")
    measured: date

    def target(self, metric: Literal["invocations", "concurrency"], safety: float) -> float:
        """What target tracking should hold an instance at: invocations a minute, or requests in flight."""
        at_the_knee = self.max_rps * 60 if metric == "invocations" else self.concurrency
        return float(f"{at_the_knee * safety:.4g}")

    def to_json(self) -> str:
        return self.model_dump_json(indent=2) + "\n"


def path_of(name: str, root: Path) -> Path:
    return root / FOLDER / f"{name}.json"


def read_capacity(
    root: Path, *, name: str, artifact: str, instance: str, environment: str, local: str = "local"
) -> Capacity:
    """The evidence for exactly this artifact on this instance type. Raises CapacityError."""
    shown = f"{FOLDER}/{name}.json"
    mend = (
        "deploy it with a number as autoscaling.target in one environment, "
        f"run: slipway loadtest {name} --env ENV, and pulumi up again"
    )
    try:
        found = Capacity.model_validate_json(path_of(name, root).read_bytes())
    except FileNotFoundError:
        raise CapacityError(f"{shown}: there is no capacity evidence for `target: auto`; {mend}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise CapacityError(f"{shown}: is no capacity evidence ({where}: {first['msg']}); {mend}") from None
    if found.name != name:
        raise CapacityError(f"{shown}: is of the model '{found.name}'; {mend}")
    if found.artifact != artifact:
        raise CapacityError(
            f"{shown}: was measured of another artifact ({found.artifact[:12]}, and {artifact[:12]} is built); {mend}"
        )
    if found.instance != instance:
        raise CapacityError(f"{shown}: was measured on {found.instance}, and {instance} is asked for; {mend}")
    if found.environment == local and environment != local:
        raise CapacityError(f"{shown}: was measured on this machine (environment {local}), not on {instance}; {mend}")
    return found
