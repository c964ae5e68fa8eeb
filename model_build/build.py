"""Builds specs: candidates are made, measured beside the source, gated, and the best one is packaged and published.

    inputs → keys → nodes (cache) → measurements (cache) → gates → choice → package → publish

Every key is known before anything runs, so what is there already costs a look into the cache: an unchanged spec ends
after the first arrow, one whose gates or deployment changed imports neither torch nor ONNX Runtime.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_build import (
    archive,
    candidates,
    dominance,
    gates,
    locks,
    measure,
    package,
    paired,
    publish,
    report,
    report_html,
    search,
    stat_index,
    targets,
    wheels,
)
from model_build.cache import Cache, Node
from model_build.candidates import Candidate
from model_build.errors import DISK_FULL, GatesMissed, SpecError, UserError
from model_build.evidence import SOURCE, Evidence, gather, kinds_to_measure
from model_build.inputs import LIBRARIES, Inputs, pass_libraries, versions
from model_build.manifest import (
    Artifact,
    GateResult,
    Manifest,
    ManifestError,
    Sample,
    file_sha256,
    read_manifest,
)
from model_build.passes.base import InstructionSet, Model
from model_build.progress import SILENT, Progress
from model_build.project_files import resolve
from model_build.shared_cache import SharedCache
from model_build.sources import federated
from model_build.spec import CONTENT_TYPES, Spec, Step
from model_build.watched import watched
from model_build.workshop import Workshop
from stores.store import Store

if TYPE_CHECKING:
    from model_build.parallel import Makers

FOLDER = "build"
BUILT_ON = "SLIPWAY_BUILT_ON"
"""Variable that says in words which machine this is, where a report's reader would take it for another one."""


@dataclass(frozen=True)
class Outcome:
    """What `build` published, or found published already."""

    directory: Path
    manifest: Manifest
    built: bool
    """False: nothing had changed, and nothing was done."""
    seconds: float

    def summary(self) -> dict[str, Any]:
        """What a program wants to know of it, as JSON values; `stat_index` keeps it for the next time."""
        manifest = self.manifest
        return {
            "name": manifest.name,
            "directory": f"{FOLDER}/{manifest.name}",
            "candidate": manifest.candidate,
            "artifact": manifest.artifact.model_dump(mode="json"),
            "manifest": manifest.digest,
            "source": manifest.source.model_dump(mode="json"),
            "chosen": manifest.chosen.model_dump(mode="json"),
            "gates": [result.model_dump(mode="json") for result in manifest.gates],
        }


def build_all(names: Sequence[str], root: Path, progress: Progress = SILENT, **how: Any) -> list[Outcome]:
    """`attempt_all`, which it takes its options from; raises UserError with everything that failed in the end."""
    outcomes, failures = attempt_all(names, root, progress, **how)
    if failures:
        raise together(failures)
    return outcomes


def together(failures: Sequence[UserError]) -> UserError:
    """One error that says all."""
    return failures[0] if len(failures) == 1 else UserError("\n\n".join(map(str, failures)))


def attempt_all(
    names: Sequence[str],
    root: Path,
    progress: Progress = SILENT,
    *,
    jobs: int | None = 1,
    store: Store | None = None,
    scheduler: str | None = None,
) -> tuple[list[Outcome], list[UserError]]:
    """Builds the named specs, or all, and gives what became of each. One that fails does not keep the others.

    With more than one job, specs and the nodes of their candidates are built by so many processes at once; None: by as
    many as there are cores where that pays, for several specs and for a PyTorch model. One job: in this process. With a
    scheduler (`tcp://…`), nodes are made by its Dask cluster. Raises UserError before anything is built.
    """
    from model_build import loading, parallel

    root = root.resolve()
    index = stat_index.Index(str(root), stat_index.environment())
    paths = loading.find(names, root)
    fresh = {path for path in paths if index.outcome(path.stem, _shown(path, root)) is not None}
    stale = [path for path in paths if path not in fresh]
    specs, problems = loading.load_all(map(str, stale), root) if stale else ({}, [])
    if problems:
        raise SpecError([str(problem) for problem in problems])
    outcomes: dict[Path, Outcome] = {}
    failures: dict[Path, UserError] = {}
    pays = len(stale) > 1 or any(spec.source.format == "pytorch" for spec in specs.values())
    jobs = jobs or (archive.cores() if pays else 1)
    at_once = jobs > 1 or scheduler is not None
    if len(stale) > 1 and at_once:
        shown = ", ".join(path.stem for path in stale) if len(stale) < 6 else f"{len(stale)} models"
        with progress.step(f"build {shown}, {jobs} at once"):
            outcomes, failures = parallel.build(specs, root, jobs, progress, store, scheduler)
    for path in paths:
        if path in outcomes or path in failures:
            continue
        try:
            with progress.step(f"build {path.stem}"):
                if path in fresh:
                    outcomes[path] = _unchanged(root / FOLDER / path.stem, progress)
                else:
                    with parallel.Makers(path, specs[path], root, jobs, progress, store, scheduler) as makers:
                        outcomes[path] = build(
                            specs[path],
                            root,
                            path=path,
                            progress=progress,
                            store=store,
                            makers=makers if at_once else None,
                        )
        except UserError as error:
            failures[path] = error
    if any(outcome.built for outcome in outcomes.values()) or not (root / FOLDER / "report.html").is_file():
        report_html.write_index(root / FOLDER)
    return [outcomes[path] for path in paths if path in outcomes], [failures[p] for p in paths if p in failures]


def build(
    spec: Spec,
    root: Path,
    *,
    path: Path | None = None,
    progress: Progress = SILENT,
    store: Store | None = None,
    makers: Makers | None = None,
) -> Outcome:
    """Builds one spec, whose file is `path`, into `build/NAME/`. Raises UserError; what was published before stays.

    Nodes that `store` has are fetched from there, and what is made is stored there. They are made by `makers`; without
    any in this process.
    """
    root = root.resolve()
    lock = root / FOLDER / ".cache" / "locks" / f"{spec.name}.lock"
    try:
        with locks.held(lock, lambda owner: progress.note(f"{owner} builds {spec.name}; waiting for it")):
            return _locked(spec, root, path, progress, store, makers)
    except UserError as error:
        if error.message.startswith(f"{spec.name}: "):
            raise
        raise UserError(f"{spec.name}: {error.message}", error.next_step) from error
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        raise UserError(
            f"{spec.name}: there is no space left to write {error.filename or 'the results'}; "
            "what was published before is as it was",
            "free space (build/.cache holds what is not published and can be removed), then build again",
        ) from error


def _locked(
    spec: Spec, root: Path, path: Path | None, progress: Progress, store: Store | None, makers: Makers | None
) -> Outcome:
    """`build`, while no other build of the spec runs."""
    started = time.monotonic()
    folder = root / FOLDER
    publish.recover(folder, spec.name)
    around = stat_index.environment()
    before = stat_index.take(str(root), *watched(spec, root, path))  # before the content is read
    published = folder / spec.name
    inputs = Inputs(spec, root, path)
    build_key = inputs.build_key()
    seen = _look(published, root)
    manifest = _up_to_date(published, inputs, build_key)
    built = manifest is None
    if manifest is not None:
        progress.note(f"up to date: {manifest.candidate}")
    else:
        shared = SharedCache(store, progress) if store else None
        manifest = Build(spec, root, inputs, build_key, progress, shared, makers).run()
        time.sleep(stat_index.TICK / 1e9)  # what was just written is old enough then to be told from a change
        seen = _look(published, root)
    outcome = Outcome(published, manifest, built, time.monotonic() - started)
    if seen and (not built or _up_to_date(published, inputs, build_key)):
        stat_index.write(str(root), spec.name, around, before, seen, outcome.summary())
    return outcome


def _shown(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def _unchanged(directory: Path, progress: Progress) -> Outcome:
    """The outcome of a spec that `stat_index` calls unchanged."""
    manifest = read_manifest(directory / "manifest.json")
    progress.note(f"up to date: {manifest.candidate}")
    return Outcome(directory, manifest, built=False, seconds=0.0)


def _look(directory: Path, root: Path) -> stat_index.Snapshot | None:
    """The published files as they are now; None where there are none."""
    if not directory.is_dir():
        return None
    files = sorted(path.relative_to(root).as_posix() for path in directory.iterdir())
    return stat_index.take(str(root), files, ())


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
            and (directory / "report.html").is_file()
            and (manifest.sample is None or file_sha256(directory / manifest.sample.file) == written["sample_sha256"])
        )
    except (ManifestError, OSError, ValueError, KeyError, TypeError):
        return None
    return manifest if intact else None


class Build:
    """One build that has something to do."""

    def __init__(
        self,
        spec: Spec,
        root: Path,
        inputs: Inputs,
        build_key: str,
        progress: Progress = SILENT,
        shared: SharedCache | None = None,
        makers: Makers | None = None,
    ) -> None:
        self.spec = spec
        self.root = root
        self.inputs = inputs
        self.build_key = build_key
        self.progress = progress
        self.makers = makers
        self.machine = targets.this_machine()
        self.instances = sorted({deploy.instance for deploy in (spec.deploy, *spec.deployments().values())})
        self.target = targets.common(targets.of_instance(instance) for instance in self.instances)
        self.instruction_set = targets.common((self.target, self.machine))
        self.versions = versions(LIBRARIES)
        self.search: search.Search | None = None
        self.dropped: dict[str, str] = {}
        nodes = Cache(root / FOLDER / ".cache" / "nodes", shared, progress)
        self.workshop = Workshop(spec, root, inputs, nodes, self.instruction_set, progress)

    def plan(self, given: Sequence[tuple[Step, ...]]) -> list[Candidate]:
        """The candidates with their keys."""
        spec, inputs = self.spec, self.inputs
        return candidates.plan(
            spec.optimize.model_copy(update={"candidates": tuple(given)}),
            inputs.source_key(),
            inputs.preprocessing_key(),
            self.workshop.calibration_key(),
            inputs.samples_key(spec.data.training) if spec.data.training else None,
            inputs.of_options,
            self.instruction_set,
            self.versions,
        )

    def make(self, wanted: Iterable[Candidate]) -> Iterator[tuple[Candidate, UserError | None]]:
        """Makes the models of candidates, as many at once as there are makers. Each comes when its model is there, or
        with what went wrong."""
        if self.makers:
            return self.makers.make(wanted, self.workshop.cache)
        return self.workshop.make(wanted)

    def _made(self, starting: Sequence[tuple[Step, ...]], stack: ExitStack) -> dict[str, Model]:
        """Decides on the candidates and makes their models."""
        if self.spec.optimize.auto:
            with self.progress.step(f"search for at most {self.spec.optimize.budget}"):
                self.search = search.grow(self.workshop, self.plan, starting, self.make)
            self.candidates = self.search.candidates
            return self.search.built
        self.candidates = self.plan(starting)
        samples = self._prepare(stack) if self.makers else None
        for _, error in self.make(self.candidates):
            if error:
                raise error
        if samples:
            samples.result()
        return {candidate.label: self.workshop.model(candidate.steps) for candidate in self.candidates}

    def _prepare(self, stack: ExitStack) -> Future[Node] | None:
        """Begins what measuring needs beside the models, while others make those; gives the samples to come."""
        kinds = kinds_to_measure(self.workshop, self.candidates)
        if not kinds:
            return None
        one = stack.enter_context(ThreadPoolExecutor(1))
        self.workshop.ahead = measure.Ahead(kinds, self.spec.measure.threads)
        stack.callback(self.workshop.ahead.end)
        return one.submit(self.workshop.samples, self.spec.data.evaluation, "data.evaluation")

    def run(self) -> Manifest:
        _ = self.workshop.trained  # before all that stands on it
        with ExitStack() as stack:
            built = self._made(search.starting(self.spec), stack)
            if self.makers:
                self.makers.close()
            evidence = gather(self.workshop, self.candidates, built, self._open)
        results = self._check(evidence)
        holds = {label: gates.passed(result) for label, result in results.items()}
        files = {label: model.path for label, model in built.items()}
        self.dropped = dominance.dropped(self.candidates, evidence, holds, files)
        for label, why in self.dropped.items():
            self.progress.note(f"dropped: {label}: {why}")
        passing = {label: evidence[label].measurement for label in holds if holds[label] and label not in self.dropped}
        if not passing:
            kept = (self.root / FOLDER / self.spec.name / "manifest.json").is_file()
            raise GatesMissed(self.spec.name, report.missed_table(results), kept)
        chosen = gates.choose(passing, self.spec.optimize.choose)
        self.progress.note(f"chosen: {chosen}")
        return self._publish(chosen, built[chosen], evidence, results)

    def _check(self, evidence: Mapping[str, Evidence]) -> dict[str, tuple[GateResult, ...]]:
        """The gates' results of every candidate."""
        source = evidence[SOURCE]
        return {
            label: gates.check(
                self.spec.gates, source.measurement, one.measurement, paired.estimates(source.latency, one.latency)
            )
            for label, one in evidence.items()
            if label != SOURCE
        }

    def _open(self, evidence: Mapping[str, Evidence]) -> set[str]:
        results = self._check(evidence)
        holds = {label: gates.passed(result) for label, result in results.items()}
        near = {label for label, result in results.items() if gates.unresolved(result)}
        return near | dominance.unclear(self.candidates, evidence, holds)

    def _publish(
        self, chosen: str, model: Model, evidence: dict[str, Evidence], results: dict[str, tuple[GateResult, ...]]
    ) -> Manifest:
        folder = self.root / FOLDER
        scratch = publish.scratch(folder, self.spec.name)
        try:
            vendored = self._wheels(model.path)
            with self.workshop.step("package"):
                artifact = scratch / "model.tar.gz"
                content = package.contents(self.spec, model.path, self.root, vendored, model.files[1:])
                sha256 = archive.pack(content, artifact)
                sample = self._copy_sample(scratch)
            manifest = Manifest(
                name=self.spec.name,
                task=self.spec.task,
                description=self.spec.description,
                inputs=self.inputs.files,
                artifact=Artifact(sha256=sha256, bytes=artifact.stat().st_size),
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
                ("report.html", report_html.page(written)),
                ("manifest.json", manifest.to_json()),
            ):
                (scratch / name).write_text(text, encoding="utf-8")
            publish.publish(scratch, folder / self.spec.name)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        return manifest

    def _wheels(self, model: Path) -> Path | None:
        """The folder of those that the artifact brings along, if any."""
        python = wheels.python_for(self.spec)
        if python is None:
            return None
        lines = package.requirements(self.spec, package.FORMATS[model.suffix])
        return self.workshop.wheels(lines, python, wheels.machine_for(self.spec))

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
                **({"on": machine} if (machine := os.environ.get(BUILT_ON)) else {}),
                "versions": self.versions | versions(pass_libraries(self.spec)),
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
            **({"federated": federated.account(trained)} if (trained := self.workshop.trained) else {}),
            "candidates": [
                {
                    "label": candidate.label,
                    "chosen": candidate.label == chosen,
                    "dropped": self.dropped.get(candidate.label),
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
            "search": self.search.as_json(self.spec.optimize.budget) if self.search else None,
            "labels": self.spec.labels,
            "steps": self.workshop.steps,
        }


def _figures(evidence: Evidence) -> dict[str, Any]:
    return {
        "measurement": evidence.measurement.model_dump(mode="json"),
        "spread": evidence.latency.spread(),
        "rounds_ms": evidence.latency.rounds,
        "load_seconds": round(evidence.latency.load_seconds, 3),
        "classes": evidence.score.classes if evidence.score else None,
    }


def _warnings(candidate: Candidate, target: InstructionSet, machine: InstructionSet) -> list[str]:
    """What passes say of themselves, and of 8-bit weights that the spec insists on where a CPU saturates."""
    caveats = [caveat for step in candidate.steps if (caveat := getattr(step.the_pass, "CAVEAT", None))]
    if all(getattr(step.config, "reduce_range", True) for step in candidate.steps):
        return caveats
    return caveats + [
        f"has `reduce_range: false`, and {where} ({one.name}) may saturate: accuracy there can be lower"
        for where, one in (("a CPU that it is served on", target), ("the CPU that measured it", machine))
        if not one.vnni
    ]
