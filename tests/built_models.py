"""Projects with built models, made without building any: a spec, an artifact and a sealed manifest each.

Shared by the unit and the contract tests of `infra`, which never opens a spec or an artifact.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from model_build.manifest import Artifact, Deploy, Manifest, Measurement, file_sha256

MEASURED = Measurement(
    metric="accuracy",
    score=0.9,
    samples=100,
    latency_p50_ms=1.0,
    latency_p95_ms=2.0,
    memory_peak_mb=100.0,
    size_mb=1.0,
    threads=1,
)


def write_model(
    root: Path,
    name: str,
    *,
    artifact: bytes = b"an artifact",
    deploy: dict[str, Any] | None = None,
    environments: dict[str, dict[str, Any]] | None = None,
    build: str = "build",
) -> Manifest:
    """Writes `specs/NAME.yaml` and `build/NAME/`; a second call with other bytes is a rebuilt model."""
    spec = root / "specs" / f"{name}.yaml"
    spec.parent.mkdir(parents=True, exist_ok=True)
    spec.write_text(f"name: {name}\n")
    directory = root / build / name
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "model.tar.gz").write_bytes(artifact)
    manifest = Manifest(
        name=name,
        task="tensor",
        inputs={f"specs/{name}.yaml": file_sha256(spec)},
        artifact=Artifact(sha256=hashlib.sha256(artifact).hexdigest(), bytes=len(artifact)),
        candidate="export_onnx → quantize_dynamic",
        source=MEASURED,
        chosen=MEASURED,
        gates=(),
        deploy=Deploy.model_validate(deploy or {}),
        environments={key: Deploy.model_validate(value) for key, value in (environments or {}).items()},
    ).sealed()
    (directory / "manifest.json").write_text(manifest.to_json())
    return manifest
