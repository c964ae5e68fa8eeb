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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_build import cache, candidates, datasets, gates, measure, package, publish, report, targets
from model_build.cache import Cache, Node
from model_build.candidates import Candidate, Step
from model_build.errors import GatesMissed, SpecError, UserError
from model_build.inputs import LIBRARIES, Inputs, versions
from model_build.manifest import (
    Artifact,
    GateResult,
    Manifest,
    ManifestError,
    Measurement,
    Sample,
    file_sha256,
    read_manifest,
)
from model_build.measure import Latency, Score, Subject
from model_build.passes.base import Context, InstructionSet, Model
from model_build.progress import SILENT, Progress
from model_build.project_files import resolve
from model_build.sources import SOURCES
from model_build.spec import CONTENT_TYPES, Spec

if TYPE_CHECKING:
    from model_build.passes.base import Batch

FOLDER = "build"
SOURCE = "source"
CALIBRATION_BATCH = 16


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
            failures.append((spec.name, error))
    if len(failures) == 1:
        raise failures[0][1]
    if failures:
        raise UserError(
            "\n\n".join(str(error) if name in str(error) else f"{name}: {error}" for name, error in failures)
        )
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


@dataclass
class _Measured:
    """A candidate, or the source, with what was measured of it."""

    measurement: Measurement
    latency: Latency


@dataclass
class _Build:
    """One build that has something to do."""

    spec: Spec
    root: Path
    inputs: Inputs
    build_key: str
    progress: Progress
    steps: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.cache = Cache(self.root / FOLDER / ".cache" / "nodes")
        self.machine = targets.this_machine()
        self.instances = sorted({deploy.instance for deploy in (self.spec.deploy, *self.spec.deployments().values())})
        self.target = targets.common(targets.of_instance(instance) for instance in self.instances)
        self.instruction_set = targets.common((self.target, self.machine))
        self.versions = versions(LIBRARIES)
        self.source_key = self.inputs.source_key()
        calibration = self.spec.data.calibration
        self.candidates = candidates.plan(
            self.spec.optimize,
            self.source_key,
            self.inputs.preprocessing_key(),
            self.inputs.samples_key(calibration) if calibration else None,
            self.instruction_set,
            self.versions,
        )
        self.output_names: tuple[str, ...] = self._task().output_names(self._serving())

    def run(self) -> Manifest:
        built = {candidate.label: self._model(candidate.steps) for candidate in self.candidates}
        measured = self._measure(built)
        source = measured.pop(SOURCE)
        results = {
            label: gates.check(self.spec.gates, source.measurement, one.measurement) for label, one in measured.items()
        }
        passing = {label: measured[label].measurement for label in measured if gates.passed(results[label])}
        if not passing:
            kept = (self.root / FOLDER / self.spec.name / "manifest.json").is_file()
            raise GatesMissed(self.spec.name, report.missed_table(results), kept)
        chosen = gates.choose(passing, self.spec.optimize.choose)
        self.progress.note(f"chosen: {chosen}")
        return self._publish(chosen, built[chosen].path, source, measured, results)

    def _task(self) -> Any:
        from serving.tasks import TASKS

        return TASKS[self.spec.task]

    def _serving(self) -> Any:
        return datasets.serving_config(self.spec, self.root)

    @contextmanager
    def _step(self, title: str, cached: float | None = None) -> Iterator[None]:
        """A step of the report; `cached` is what it took when it was really done."""
        started = time.monotonic()
        with self.progress.step(title):
            yield
        self.steps.append({"step": title, "seconds": round(time.monotonic() - started, 3), "cached": False})

    def _obtain(self, title: str, key: str, make: Any) -> Node:
        """A node; a step of the report in either case, of the progress only where it is made now."""
        if node := self.cache.find(key):
            if not any(step["step"] == title for step in self.steps):
                self.steps.append({"step": title, "seconds": node.seconds, "cached": True})
            return node
        with self._step(title):
            return self.cache.obtain(key, make, {"model": self.spec.name, "step": title})

    def _source(self) -> Model:
        source = self.spec.source
        model = SOURCES[source.kind].open(getattr(source, source.kind), self.root)
        if model.format != "onnx":
            return model
        from model_build.sources.onnx import write_single_file

        names = tuple(self._task().input_axes(self._serving()))

        def make(directory: Path) -> None:
            write_single_file(model, directory / package.MODEL, names, self.output_names)

        node = self._obtain("read the source", self.source_key, make)
        return Model("onnx", node.directory, package.MODEL)

    def _model(self, steps: Sequence[Step]) -> Model:
        """The model after some passes; those before are made only where it is not in the cache."""
        if not steps:
            return self._source()
        *before, step = steps
        title = " → ".join(one.name for one in steps)

        def make(directory: Path) -> None:
            model = self._model(before)
            try:
                result = step.the_pass.run(model, step.config, self._context(directory))
            except UserError as error:
                raise UserError(f"{self.spec.name}: {error.message}", error.next_step) from error
            except Exception as error:  # the libraries below have no common base, and a model may be beyond them
                raise UserError(
                    f"{self.spec.name}: {step.name} failed: {type(error).__name__}: {str(error).strip()[:500]}",
                    f"leave {step.name} out of this candidate, or change its options",
                ) from error
            entry = {"format": result.format, "entry": result.entry}
            (directory / "model.json").write_text(json.dumps(entry) + "\n", encoding="utf-8")

        node = self.cache.find(step.key)
        if node is None and before:
            self._model(before)  # first, so that its time is not a part of this step's
        node = self._obtain(title, step.key, make)
        made = node.read_json("model.json")
        return Model(made["format"], node.directory, made["entry"])

    def _context(self, directory: Path) -> Context:
        calibration = self.spec.data.calibration

        def batches() -> Iterator[Batch]:
            node = self._samples(calibration, "data.calibration")
            return datasets.batches(node.directory, CALIBRATION_BATCH)

        return Context(
            output=directory,
            example=lambda: datasets.example(self.spec, self.root),
            input_axes=self._task().input_axes(self._serving()),
            output_names=self.output_names,
            serving=self._serving(),
            calibration=batches if calibration else None,
            instruction_set=self.instruction_set,
            progress=self.progress.note,
        )

    def _samples(self, factory: Any, key: str) -> Node:
        """The encoded samples of a factory; made-up ones where there is none."""

        def make(directory: Path) -> None:
            if factory is None:
                datasets.write_example(self.spec, self.root, directory)
            else:
                datasets.write(factory, key, self.spec, self.root, directory)

        return self._obtain(f"encode {key}", self.inputs.samples_key(factory), make)

    def _measure(self, built: dict[str, Model]) -> dict[str, _Measured]:
        """The measurements of the source and of every candidate, by label; the source's is `source`."""
        evaluation = self.spec.data.evaluation
        keys = {SOURCE: self.source_key} | {
            candidate.label: candidate.steps[-1].key if candidate.steps else self.source_key
            for candidate in self.candidates
        }
        common = {
            "evaluation": self.inputs.samples_key(evaluation),
            "cpu": targets.cpu_model(),
            "versions": self.versions,
            "version": measure.VERSION,
        }
        settings = self.spec.measure
        set_key = cache.key("latency", models=keys, settings=settings.model_dump(mode="json"), **common)
        score_keys = {label: cache.key("score", model=key, **common) for label, key in keys.items()}
        missing = [label for label in keys if evaluation and self.cache.find(score_keys[label]) is None]
        timed = self.cache.find(set_key) is not None
        if not timed or missing:
            data = self._samples(evaluation, "data.evaluation")
            subjects = [self._subject(label, built.get(label)) for label in keys]
            with self._step(f"measure {len(keys)} models"):
                latencies, scores = measure.measure(
                    subjects,
                    data.directory,
                    self.output_names,
                    settings,
                    time=not timed,
                    score=missing,
                    progress=self.progress,
                )
            if not timed:
                self._keep(set_key, "latency", {label: asdict(latency) for label, latency in latencies.items()})
            for label, score in scores.items():
                self._keep(score_keys[label], f"score of {label}", asdict(score))
        else:
            self.steps.append({"step": f"measure {len(keys)} models", "seconds": 0.0, "cached": True})
        stored = self._stored(set_key)
        return {
            label: self._measured(
                label,
                built.get(label),
                Latency(**{**stored[label], "rounds": tuple(map(tuple, stored[label]["rounds"]))}),
                Score(**self._stored(score_keys[label])) if evaluation else None,
            )
            for label in keys
        }

    def _keep(self, key: str, title: str, value: Any) -> None:
        def make(directory: Path) -> None:
            (directory / "result.json").write_text(json.dumps(value) + "\n", encoding="utf-8")

        self.cache.obtain(key, make, {"model": self.spec.name, "step": title})

    def _stored(self, key: str) -> Any:
        node = self.cache.find(key)
        assert node is not None  # noqa: S101  # found or kept just before
        return node.read_json("result.json")

    def _subject(self, label: str, model: Model | None) -> Subject:
        source = self.spec.source.pytorch
        if model is None and source is not None:
            from model_build.sources.pytorch import weight_files

            weights = {name: str(path) for name, path in weight_files(source, self.root).items()}
            settings = {"factory": source.factory, "args": source.args, "weights": weights, "root": str(self.root)}
            return Subject(label, "pytorch", settings)
        return Subject(label, "onnx", {"path": str((model or self._source()).path)})

    def _measured(self, label: str, model: Model | None, latency: Latency, score: Score | None) -> _Measured:
        if model is not None:
            size = model.path.stat().st_size
        else:
            source = self.spec.source
            files = SOURCES[source.kind].files(getattr(source, source.kind), self.root)
            size = sum(path.stat().st_size for path in files) or latency.weight_bytes
        return _Measured(
            Measurement(
                metric=measure.METRIC,
                score=round(score.value, 6) if score else None,
                samples=score.samples if score else 0,
                latency_p50_ms=round(latency.p50, 4),
                latency_p95_ms=round(latency.p95, 4),
                memory_peak_mb=round(latency.memory_mb, 1),
                size_mb=round(size / 1e6, 6),
                threads=self.spec.measure.threads,
            ),
            latency,
        )

    def _publish(
        self,
        chosen: str,
        model: Path,
        source: _Measured,
        measured: dict[str, _Measured],
        results: dict[str, tuple[GateResult, ...]],
    ) -> Manifest:
        folder = self.root / FOLDER
        scratch = publish.scratch(folder, self.spec.name)
        try:
            with self._step("package"):
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
                source=source.measurement,
                chosen=measured[chosen].measurement,
                gates=results[chosen],
                sample=sample,
                deploy=self.spec.deploy,
                environments=self.spec.deployments(),
            ).sealed()
            written = self._report(chosen, manifest, source, measured, results)
            written["sample_sha256"] = file_sha256(scratch / sample.file) if sample else None
            _write(scratch / "report.json", json.dumps(written, indent=2, ensure_ascii=False) + "\n")
            _write(scratch / "report.md", report.markdown(written))
            _write(scratch / "manifest.json", manifest.to_json())
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
        source: _Measured,
        measured: dict[str, _Measured],
        results: dict[str, tuple[GateResult, ...]],
    ) -> dict[str, Any]:
        def entry(one: _Measured) -> dict[str, Any]:
            return {
                "measurement": one.measurement.model_dump(mode="json"),
                "spread": one.latency.spread(),
                "rounds_ms": one.latency.rounds,
                "load_seconds": round(one.latency.load_seconds, 3),
            }

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
            "source": entry(source),
            "candidates": [
                {
                    "label": candidate.label,
                    "chosen": candidate.label == chosen,
                    "passes": [
                        {"name": step.name, "options": step.config.model_dump(mode="json"), "node": step.key}
                        for step in candidate.steps
                    ],
                    **entry(measured[candidate.label]),
                    "gates": [result.model_dump(mode="json") for result in results[candidate.label]],
                    "warnings": _warnings(candidate, self.target, self.machine),
                }
                for candidate in self.candidates
            ],
            "steps": self.steps,
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


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
