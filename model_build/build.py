"""Builds specs: candidates are made, measured beside the source, gated, and the best one is packaged and published.

    inputs → keys → nodes (cache) → measurements (cache) → gates → choice → package → publish

Every key is known before anything runs, so what is there already costs a look into the cache: an unchanged spec ends
after the first arrow, one whose gates or deployment changed imports neither torch nor ONNX Runtime.
"""

from __future__ import annotations

import json
import platform
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from model_build import candidates, gates, package, publish, report, targets
from model_build.cache import Cache
from model_build.candidates import Candidate
from model_build.errors import GatesMissed, SpecError, UserError
from model_build.evidence import SOURCE, Evidence, gather
from model_build.inputs import LIBRARIES, Inputs, versions
from model_build.manifest import (
    Artifact,
    GateResult,
    Manifest,
    ManifestError,
    Sample,
    file_sha256,
    read_manifest,
)
from model_build.passes.base import InstructionSet
from model_build.progress import SILENT, Progress
from model_build.project_files import resolve
from model_build.spec import CONTENT_TYPES, Spec
from model_build.workshop import Workshop

FOLDER = "build"


@dataclass(frozen=True)
class Outcome:
    """What `build` published, or found published already."""

    directory: Path
    manifest: Manifest
    built: bool
    """False: nothing had changed, and nothing was done."""
    seconds: float


def build_all(names: Sequence[str], root: Path, progress: Progress = SILENT) -> list[Outcome]:
    """Builds the named specs, or all. One that fails does not keep the others from being built.

    Raises UserError with everything that failed, after the others are built.
    """
    from model_build import loading

    specs, problems = loading.load_all(names, root)
    if problems:
        raise SpecError([str(problem) for problem in problems])
    outcomes, failures = [], []
    for path, spec in specs.items():
        try:
            with progress.step(f"build {spec.name}"):
                outcomes.append(build(spec, root, path=path, progress=progress))
        except UserError as error:
            failures.append(error)
    if len(failures) == 1:
        raise failures[0]
    if failures:
        raise UserError("\n\n".join(map(str, failures)))
    return outcomes


def build(spec: Spec, root: Path, *, path: Path | None = None, progress: Progress = SILENT) -> Outcome:
    """Builds one spec, whose file is `path`, into `build/NAME/`. Raises UserError; what was published before stays."""
    from filelock import FileLock, Timeout

    started = time.monotonic()
    root = root.resolve()
    folder = root / FOLDER
    locks = folder / ".cache" / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    lock = FileLock(locks / f"{spec.name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        progress.note(f"another build of {spec.name} is running; waiting for it")
        lock.acquire()
    try:
        publish.recover(folder, spec.name)
        inputs = Inputs(spec, root, path)
        build_key = inputs.build_key()
        manifest = _up_to_date(folder / spec.name, inputs, build_key)
        if manifest is not None:
            progress.note(f"up to date: {manifest.candidate}")
        built = manifest is None
        if manifest is None:
            manifest = _Build(spec, root, inputs, build_key, progress).run()
        return Outcome(folder / spec.name, manifest, built, time.monotonic() - started)
    except UserError as error:
        if error.message.startswith(f"{spec.name}: "):
            raise
        raise UserError(f"{spec.name}: {error.message}", error.next_step) from error
    finally:
        lock.release()


def _up_to_date(directory: Path, inputs: Inputs, build_key: str) -> Manifest | None:
    """The published manifest, if it and all that lies beside it are what this build would publish."""
    try:
        manifest = read_manifest(directory / "manifest.json")
        written = json.loads((directory / "report.json").read_bytes())
        intact = (
            written["build_key"] == build_key
            and written["manifest"] == manifest.digest
            and manifest.inputs == inputs.files
            and file_sha256(directory / manifest.artifact.file) == manifest.artifact.sha256
            and (directory / "report.md").is_file()
            and (manifest.sample is None or file_sha256(directory / manifest.sample.file) == written["sample_sha256"])
        )
    except (ManifestError, OSError, ValueError, KeyError, TypeError):
        return None
    return manifest if intact else None


class _Build:
    """One build that has something to do."""

    def __init__(self, spec: Spec, root: Path, inputs: Inputs, build_key: str, progress: Progress) -> None:
        self.spec = spec
        self.root = root
        self.inputs = inputs
        self.build_key = build_key
        self.progress = progress
        self.machine = targets.this_machine()
        self.instances = sorted({deploy.instance for deploy in (spec.deploy, *spec.deployments().values())})
        self.target = targets.common(targets.of_instance(instance) for instance in self.instances)
        self.instruction_set = targets.common((self.target, self.machine))
        self.versions = versions(LIBRARIES)
        nodes = Cache(root / FOLDER / ".cache" / "nodes")
        self.workshop = Workshop(spec, root, inputs, nodes, self.instruction_set, progress)
        calibration = spec.data.calibration
        self.candidates = candidates.plan(
            spec.optimize,
            inputs.source_key(),
            inputs.preprocessing_key(),
            inputs.samples_key(calibration) if calibration else None,
            inputs.samples_key(spec.data.training) if spec.data.training else None,
            inputs.of_options,
            self.instruction_set,
            self.versions,
        )

    def run(self) -> Manifest:
        built = {candidate.label: self.workshop.model(candidate.steps) for candidate in self.candidates}
        evidence = gather(self.workshop, self.candidates, built)
        source = evidence[SOURCE].measurement
        results = {label: gates.check(self.spec.gates, source, evidence[label].measurement) for label in built}
        passing = {label: evidence[label].measurement for label in built if gates.passed(results[label])}
        if not passing:
            kept = (self.root / FOLDER / self.spec.name / "manifest.json").is_file()
            raise GatesMissed(self.spec.name, report.missed_table(results), kept)
        chosen = gates.choose(passing, self.spec.optimize.choose)
        self.progress.note(f"chosen: {chosen}")
        return self._publish(chosen, built[chosen].path, evidence, results)

    def _publish(
        self, chosen: str, model: Path, evidence: dict[str, Evidence], results: dict[str, tuple[GateResult, ...]]
    ) -> Manifest:
        folder = self.root / FOLDER
        scratch = publish.scratch(folder, self.spec.name)
        try:
            with self.workshop.step("package"):
                artifact = scratch / "model.tar.gz"
                package.pack(package.contents(self.spec, model, self.root), artifact)
                sample = self._copy_sample(scratch)
            manifest = Manifest(
                name=self.spec.name,
                task=self.spec.task,
                description=self.spec.description,
                inputs=self.inputs.files,
                artifact=Artifact(sha256=file_sha256(artifact), bytes=artifact.stat().st_size),
                candidate=chosen,
                source=evidence[SOURCE].measurement,
                chosen=evidence[chosen].measurement,
                gates=results[chosen],
                sample=sample,
                deploy=self.spec.deploy,
                environments=self.spec.deployments(),
            ).sealed()
            written = self._report(chosen, manifest, evidence, results)
            written["sample_sha256"] = file_sha256(scratch / sample.file) if sample else None
            for name, text in (
                ("report.json", json.dumps(written, indent=2, ensure_ascii=False) + "\n"),
                ("report.md", report.markdown(written)),
                ("manifest.json", manifest.to_json()),
            ):
                (scratch / name).write_text(text, encoding="utf-8")
            publish.publish(scratch, folder / self.spec.name)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        return manifest

    def _copy_sample(self, scratch: Path) -> Sample | None:
        if self.spec.sample is None:
            return None
        path = resolve(self.spec.sample, self.root)
        ending = path.suffix.lower()
        shutil.copyfile(path, scratch / f"sample{ending}")
        return Sample(file=f"sample{ending}", content_type=CONTENT_TYPES[ending])

    def _report(
        self,
        chosen: str,
        manifest: Manifest,
        evidence: dict[str, Evidence],
        results: dict[str, tuple[GateResult, ...]],
    ) -> dict[str, Any]:
        """The content of `report.json`."""
        return {
            "format": 1,
            "name": self.spec.name,
            "description": self.spec.description,
            "manifest": manifest.digest,
            "build_key": self.build_key,
            "built_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "environment": {
                "python": platform.python_version(),
                "platform": platform.platform(),
                "cpu": targets.cpu_model(),
                "versions": self.versions,
            },
            "instruction_set": {
                "instances": self.instances,
                "target": self.target.name,
                "machine": self.machine.name,
                "vnni": self.instruction_set.vnni,
            },
            "measure": self.spec.measure.model_dump(mode="json"),
            "choose": self.spec.optimize.choose,
            "source": _figures(evidence[SOURCE]),
            "candidates": [
                {
                    "label": candidate.label,
                    "chosen": candidate.label == chosen,
                    "passes": [
                        {"name": step.name, "options": step.config.model_dump(mode="json"), "node": step.key}
                        for step in candidate.steps
                    ],
                    **_figures(evidence[candidate.label]),
                    "gates": [result.model_dump(mode="json") for result in results[candidate.label]],
                    "warnings": _warnings(candidate, self.target, self.machine),
                }
                for candidate in self.candidates
            ],
            "steps": self.workshop.steps,
        }


def _figures(evidence: Evidence) -> dict[str, Any]:
    return {
        "measurement": evidence.measurement.model_dump(mode="json"),
        "spread": evidence.latency.spread(),
        "rounds_ms": evidence.latency.rounds,
        "load_seconds": round(evidence.latency.load_seconds, 3),
    }


def _warnings(candidate: Candidate, target: InstructionSet, machine: InstructionSet) -> list[str]:
    """Of 8-bit weights that the spec insists on where a CPU saturates."""
    if all(getattr(step.config, "reduce_range", True) for step in candidate.steps):
        return []
    return [
        f"has `reduce_range: false`, and {where} ({one.name}) may saturate: accuracy there can be lower"
        for where, one in (("a CPU that it is served on", target), ("the CPU that measured it", machine))
        if not one.vnni
    ]
