"""The manifest: the only thing that crosses from building to provisioning.

It is apart from the rest of `model_build` because `infra` imports it (with `deployment` and `capacity`): it depends on
pydantic and the standard library, so that provisioning needs no torch, no ONNX and no YAML.
"""

from __future__ import annotations

import hashlib
import json
import operator
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError

from model_build.deployment import Autoscaling, Deploy, Frozen, InstanceRange, is_none

__all__ = [
    "FORMAT", "Artifact", "Autoscaling", "Deploy", "Frozen", "GateResult", "InstanceRange", "Manifest", "ManifestError",
    "Measurement", "Name", "Sample", "Sha256", "file_sha256", "read_manifest", "verify",
]  # fmt: skip

FORMAT = 1


Name = Annotated[str, Field(pattern=r"^[a-z](?:[a-z0-9-]{0,38}[a-z0-9])?$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class ManifestError(Exception):
    """A manifest that cannot be trusted; the message ends with the command that mends it."""


class Measurement(Frozen):
    """What was measured of one model, at batch 1 unless it says more."""

    metric: str = Field(description="Name of the task's metric, for instance `accuracy`.")
    score: float | None = Field(
        description="The metric on the evaluation data; higher is better. None where the spec has no such data."
    )
    samples: int = Field(description="How many evaluation samples the score stands on.")
    details: dict[str, float] = Field(
        default_factory=dict,
        description="What else the metric says, by name and in the unit that the field uses: `bleu` is 0 to 100.",
        exclude_if=operator.not_,
    )
    latency_p50_ms: float
    latency_p95_ms: float
    memory_peak_mb: float = Field(
        description="Peak resident set of a fresh process that loads and runs the model, MiB."
    )
    size_mb: float = Field(description="Bytes of the model's files / 1e6.")
    threads: int = Field(description="Intra-op threads during the measurement.")
    # Left out of the JSON where there is none, so that a manifest of before there was such a field keeps its digest.
    throughput_rps: float | None = Field(
        None,
        description="Samples per second with several clients at once. None where no gate asks for it.",
        exclude_if=is_none,
    )


class GateResult(Frozen):
    gate: str = Field(description="For instance `accuracy.max_drop`.")
    limit: float
    measured: float | None = Field(description="None where the evidence is missing, which is a miss.")
    passed: bool
    # As above: where there is none, nothing is written.
    interval: tuple[float, float] | None = Field(
        None, description="Where the true value lies, as far as the measurement tells.", exclude_if=is_none
    )
    unresolved: bool = Field(
        False,
        description="The limit lies within the interval: neither held nor broken. It counts as a miss.",
        exclude_if=operator.not_,
    )


class Artifact(Frozen):
    file: Literal["model.tar.gz"] = "model.tar.gz"
    sha256: Sha256
    bytes: int


class Sample(Frozen):
    """An input to try the endpoint with; the file lies beside the manifest."""

    file: str
    content_type: str


class Manifest(Frozen):
    format: Literal[1] = 1
    name: Name
    task: str
    description: str = ""
    inputs: dict[str, Sha256] = Field(
        description="Every file of the project that the build read (paths relative to the project root), "
        "the spec first. A file that changed since makes the manifest stale."
    )
    artifact: Artifact
    candidate: str = Field(description="The chosen candidate, passes joined by ' → '.")
    source: Measurement
    chosen: Measurement
    gates: tuple[GateResult, ...]
    sample: Sample | None = None
    deploy: Deploy = Field(description="Where no environment overlay applies.")
    environments: dict[str, Deploy] = Field(default_factory=dict, description="Complete settings, overlay applied.")
    digest: str = Field(
        "", description="SHA-256 of this manifest's canonical JSON without this field: tells tampering."
    )

    def deployment(self, environment: str) -> Deploy:
        return self.environments.get(environment, self.deploy)

    def canonical(self) -> str:
        return json.dumps(self.model_dump(mode="json", exclude={"digest"}), sort_keys=True, separators=(",", ":"))

    def sealed(self) -> Self:
        """This manifest with its digest filled in."""
        return self.model_copy(update={"digest": hashlib.sha256(self.canonical().encode()).hexdigest()})

    def to_json(self) -> str:
        return json.dumps(self.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"


def file_sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_manifest(path: Path) -> Manifest:
    """Reads a manifest and checks its own digest, nothing else. Raises ManifestError."""
    name = path.parent.name
    mend = f"run: slipway build {name}"
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise ManifestError(f"{path}: there is no manifest, so nothing was built; {mend}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise ManifestError(f"{path}: not a manifest of this version ({where}: {first['msg']}); {mend}") from None
    if manifest.sealed().digest != manifest.digest:
        raise ManifestError(f"{path}: changed after it was built (its digest does not match); {mend}")
    if manifest.name != name:
        raise ManifestError(f"{path}: is of model '{manifest.name}', not '{name}'; {mend}")
    return manifest


def verify(manifest: Manifest, build_directory: Path, project_root: Path) -> list[str]:
    """What is wrong with a manifest's surroundings: a changed input, a changed or missing artifact. Empty is good."""
    mend = f"run: slipway build {manifest.name}"
    problems = []
    for relative, expected in manifest.inputs.items():
        path = project_root / relative
        if not path.is_file():
            problems.append(f"{relative}: was read by the build of {manifest.name} and is gone; {mend}")
        elif file_sha256(path) != expected:
            problems.append(f"{relative}: changed since {manifest.name} was built; {mend}")
    artifact = build_directory / manifest.artifact.file
    if not artifact.is_file():
        problems.append(f"{artifact}: the artifact is missing; {mend}")
    elif artifact.stat().st_size != manifest.artifact.bytes or file_sha256(artifact) != manifest.artifact.sha256:
        problems.append(f"{artifact}: is not the artifact that was built (its digest does not match); {mend}")
    return problems
