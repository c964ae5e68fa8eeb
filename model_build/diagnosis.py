"""What is published of a model, measured again: does it still hold its gates here, and which candidate would?

Apart from `build`, which decides and publishes: this only looks. The live endpoint is the command line's part.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from model_build import gates, package, paired
from model_build.build import FOLDER, Build
from model_build.errors import UserError
from model_build.evidence import SOURCE, Evidence, afresh
from model_build.inputs import Inputs
from model_build.manifest import GateResult, Manifest, read_manifest, verify
from model_build.passes.base import Model
from model_build.progress import SILENT, Progress
from model_build.spec import Spec
from model_build.workshop import recorded
from serving.config import FILE as CONFIG

PUBLISHED = "the artifact"


@dataclass(frozen=True)
class Diagnosis:
    """The published artifact and the other candidates, side by side with the source, now and here."""

    manifest: Manifest
    report: Mapping[str, Any]
    problems: list[str]
    """Of the published files: changed inputs, a damaged artifact."""
    evidence: Mapping[str, Evidence]
    """Of the source, the artifact (PUBLISHED) and every other candidate whose model is still in the cache."""
    results: Mapping[str, tuple[GateResult, ...]]
    missing: list[str]
    """Candidates of the report whose model is no longer in the cache."""

    @property
    def missed(self) -> list[GateResult]:
        return [result for result in self.results[PUBLISHED] if not result.passed]

    def holding(self, by: Any) -> str | None:
        """The other candidate that the spec would choose of those that hold every gate now."""
        holds = {
            label: self.evidence[label].measurement
            for label, results in self.results.items()
            if label != PUBLISHED and gates.passed(results)
        }
        return gates.choose(holds, by) if holds else None


def diagnose(spec: Spec, root: Path, path: Path, progress: Progress = SILENT) -> Diagnosis:
    """Measures what is published of a spec. Raises UserError or ManifestError where nothing is."""
    directory = root / FOLDER / spec.name
    manifest = read_manifest(directory / "manifest.json")
    try:
        report: dict[str, Any] = json.loads((directory / "report.json").read_bytes())
    except (OSError, ValueError):
        raise UserError(f"{directory}/report.json cannot be read", f"run: slipway build {spec.name}") from None
    problems = verify(manifest, directory, root)
    inputs = Inputs(spec, root, path)
    build = Build(spec, root, inputs, inputs.build_key(), progress)
    with TemporaryDirectory(prefix="slipway-") as scratch:
        models = {PUBLISHED: _unpacked(directory / manifest.artifact.file, Path(scratch))}
        missing = []
        for one in report["candidates"]:
            if one["chosen"]:
                continue
            node = build.workshop.cache.find(one["passes"][-1]["node"]) if one["passes"] else None
            if node:
                models[one["label"]] = recorded(node)
            else:
                missing.append(one["label"])
        evidence = afresh(build.workshop, models)
    source = evidence[SOURCE]
    results = {
        label: gates.check(
            spec.gates, source.measurement, one.measurement, paired.estimates(source.latency, one.latency)
        )
        for label, one in evidence.items()
        if label != SOURCE
    }
    return Diagnosis(manifest, report, problems, evidence, results, missing)


def _unpacked(artifact: Path, folder: Path) -> Model:
    try:
        with tarfile.open(artifact) as archive:
            archive.extract(CONFIG, folder, filter="data")
            config = json.loads((folder / CONFIG).read_bytes())
            name: str = config.get("model", package.MODEL)
            parts = tuple(part for part in package.PARTS if part in config.get("files", {}))
            for file in (name, *parts):
                archive.extract(file, folder, filter="data")
            return Model(package.FORMATS[Path(name).suffix], folder, name, parts=parts)
    except (OSError, ValueError, KeyError, tarfile.TarError) as error:
        what = "is missing" if isinstance(error, FileNotFoundError) else f"is no artifact: {error}"
        raise UserError(f"{artifact} {what}", "build the model again: slipway build") from None
