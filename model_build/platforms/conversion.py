"""Converts a spec's source for a platform, and measures the result beside the source before it gets its name.

    source → passes that the platform starts from (cache) → its file → both on the evaluation data → limits → record

The file of a conversion that misses its limits is kept for a look, as `NAME.rejected` with its ending, and never takes
the place of one that held them.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from model_build import datasets, machine, measure, paired, targets
from model_build.build import FOLDER, Build
from model_build.errors import UserError
from model_build.evidence import judge_of
from model_build.inputs import Inputs, versions
from model_build.manifest import file_sha256
from model_build.measure import Latency, Score, Subject
from model_build.metrics import metric_of
from model_build.passes.base import Context
from model_build.platforms import PLATFORMS
from model_build.platforms.base import Platform, require
from model_build.platforms.comparison import Comparison, compare
from model_build.progress import SILENT, Progress
from model_build.sources import SOURCES
from model_build.spec import Spec, Step
from model_build.workshop import Workshop

if TYPE_CHECKING:
    from model_build.passes.base import Array

SOURCE, CONVERTED = "source", "converted"
PLACE = "platforms"
"""Below `build/NAME`. A build that publishes anew clears it: what is in there was made of the source before."""
BATCH = 64
ALONE = 32
"""Samples that are also compared one by one: a conversion may hold for batches and not for one."""


@dataclass(frozen=True)
class Limits:
    agreement: float = 0.995
    """Least share of the samples that must keep their class."""
    difference: float = 1e-3
    """Most that an output may differ where it is no score of a class, as a share of its largest value."""

    def hold(self, found: Comparison) -> bool:
        if found.agreement is None:
            return found.largest <= self.difference
        return found.agreement >= self.agreement


@dataclass(frozen=True)
class Conversion:
    """What became of it. `path` is the file, by its name of rejection where it missed its limits."""

    platform: str
    path: Path
    record: Mapping[str, Any]
    """The content of the JSON file beside it."""

    @property
    def holds(self) -> bool:
        return bool(self.record["holds"])


def convert(
    spec: Spec,
    root: Path,
    path: Path,
    name: str,
    output: Path | None = None,
    limits: Limits = Limits(),  # frozen
    progress: Progress = SILENT,
) -> Conversion:
    """Converts the source of the spec in `path` for the platform `name`. Raises UserError where that cannot be done.

    `output` is the file to write, with the platform's ending; `build/NAME/platforms/NAME.ENDING` if None.
    """
    platform = PLATFORMS[name]
    target = output or root / FOLDER / spec.name / PLACE / f"{spec.name}{platform.ENDING}"
    if target.suffix != platform.ENDING:
        raise UserError(f"{target.name} must end in {platform.ENDING}, which {name} goes by", "change --output")
    if spec.task == "text-generation":
        raise UserError(
            f"{spec.name}: text-generation is two graphs and a loop around them, of which no one file can be made",
            "build it: the artifact is ONNX, and serving has the loop",
        )
    if spec.source.format not in platform.STARTS_FROM:
        raise UserError(
            f"{spec.name}: source.{spec.source.kind} is read as {spec.source.format.upper()}, "
            f"of which no {name} can be made",
            platform.INSTEAD,
        )
    require(name, platform.NEEDS)
    inputs = Inputs(spec, root, path)
    build = Build(spec, root, inputs, inputs.build_key(), progress)
    shop = build.workshop
    steps = tuple(Step(name=one) for one in platform.STARTS_FROM[spec.source.format])
    (candidate,) = build.plan([steps])
    with TemporaryDirectory(prefix="slipway-") as scratch:
        folder = Path(scratch, "model")
        folder.mkdir()
        made = folder / target.name
        with progress.step(f"convert {spec.name} to {name}"), machine.working():
            platform.write(shop.model(candidate.steps), _context(shop, folder), made)
        measured = _measure(shop, platform, made, Path(scratch))
        if not limits.hold(measured.comparison):
            for one in list(folder.iterdir()):
                one.rename(one.with_name(f"{target.stem}.rejected{one.suffix}"))
            made = folder / f"{target.stem}.rejected{platform.ENDING}"
        record = _record(shop, name, made, limits, measured)
        target.parent.mkdir(parents=True, exist_ok=True)
        for one in list(folder.iterdir()):
            _put(one, target.with_name(one.name))
    placed = target.with_name(made.name)
    beside = placed.with_name(f"{placed.name}.json")
    beside.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return Conversion(name, placed, record)


def _context(shop: Workshop, folder: Path) -> Context:
    return Context(
        output=folder,
        example=lambda: datasets.example(shop.spec, shop.root),
        input_axes=shop.task.input_axes(shop.serving),
        output_names=shop.output_names,
        serving=shop.serving,
        root=shop.root,
        progress=shop.progress.note,
    )


@dataclass(frozen=True)
class _Measured:
    comparison: Comparison
    labelled: bool
    scores: Mapping[str, Score]
    latencies: Mapping[str, Latency]


def _measure(shop: Workshop, platform: Platform, made: Path, scratch: Path) -> _Measured:
    """Both models in fresh processes: their outputs compared, then scored, then timed in turn where they run here."""
    spec, evaluation = shop.spec, shop.spec.data.evaluation
    subjects = [_source(shop), Subject(CONVERTED, platform.KIND, platform.settings(made, shop.root))]
    samples = shop.samples(evaluation, "data.evaluation").directory
    with shop.progress.step("compare the outputs"), machine.working():
        sources, converted = (_outputs(subject, shop, samples, scratch / subject.label) for subject in subjects)
    comparisons = [
        compare(_paired(*folders, len(shop.output_names)), len(spec.labels))
        for folders in zip(sources, converted, strict=True)
    ]
    latencies, scores = measure.measure(
        subjects,
        samples,
        shop.output_names,
        spec.measure,
        time=platform.RUNS_HERE,
        score=[subject.label for subject in subjects] if evaluation else (),
        judge=judge_of(shop),
        progress=shop.progress,
    )
    return _Measured(_worst(comparisons), evaluation is not None, scores, latencies)


def _source(shop: Workshop) -> Subject:
    source = shop.spec.source
    if source.format == "onnx":
        return Subject(SOURCE, "onnx", {"path": str(shop.source().path)})
    return Subject(SOURCE, source.kind, SOURCES[source.kind].settings(shop.spec, shop.root))


def _outputs(subject: Subject, shop: Workshop, data: Path, folder: Path) -> list[Path]:
    """Folders of a model's outputs: of all samples in batches, and of the first ones alone."""
    threads = shop.spec.measure.threads
    folders = []
    with measure.Worker(subject.label, threads) as worker:
        worker.ask(
            "load",
            kind=subject.kind,
            model=dict(subject.settings),
            outputs=list(shop.output_names),
            threads=threads,
            data=str(data),
            requests=1,
        )
        for name, batch, samples in (("batches", BATCH, 2**40), ("alone", 1, ALONE)):
            folders.append(folder / name)
            folders[-1].mkdir(parents=True)
            worker.ask("keep", folder=str(folders[-1]), batch=batch, samples=samples)
    return folders


def _paired(source: Path, converted: Path, outputs: int) -> Iterator[tuple[list[Array], list[Array]]]:
    import numpy as np

    for number in range(outputs):
        names = sorted(path.name for path in source.glob(f"{number}.*.npy"))
        one, other = ([np.load(folder / name, mmap_mode="r") for name in names] for folder in (source, converted))
        yield one, other


def _worst(comparisons: Sequence[Comparison]) -> Comparison:
    """The first one, which is of all samples, with what others found that is worse."""
    agreements = [one.agreement for one in comparisons if one.agreement is not None]
    return Comparison(
        comparisons[0].samples,
        min(agreements, default=None),
        max(one.largest for one in comparisons),
        max(one.mean for one in comparisons),
    )


def _record(shop: Workshop, name: str, made: Path, limits: Limits, measured: _Measured) -> dict[str, Any]:
    spec, platform, found = shop.spec, PLATFORMS[name], measured.comparison
    files = [path for path in sorted(made.parent.rglob("*")) if path.is_file()]
    libraries = {*platform.RUN_BY.values(), *platform.NEEDS} - {""}
    latency = {}
    if measured.latencies:
        rounds = [[p50 for p50, _ in measured.latencies[one].rounds] for one in (CONVERTED, SOURCE)]
        ratio = paired.ratio(*rounds)
        latency = {
            "source_p50_ms": round(measured.latencies[SOURCE].p50, 4),
            "converted_p50_ms": round(measured.latencies[CONVERTED].p50, 4),
            "ratio": round(ratio.value, 4),
            "interval": [round(one, 4) for one in ratio.interval] if ratio.interval else None,
            "cpu": targets.cpu_model(),
            "threads": spec.measure.threads,
        }
    sources = SOURCES[spec.source.kind].files(spec, shop.root)
    return {
        "format": 1,
        "name": spec.name,
        "platform": name,
        "holds": limits.hold(found),
        "limits": asdict(limits),
        "source": {
            "kind": spec.source.kind,
            "key": shop.inputs.source_key(),
            "size_mb": round(sum(path.stat().st_size for path in sources) / 1e6, 3) or None,
        },
        "size_mb": round(sum(path.stat().st_size for path in files) / 1e6, 3),
        "files": {path.relative_to(made.parent).as_posix(): file_sha256(path) for path in files},
        "compared": {
            "samples": found.samples,
            "data": "data.evaluation" if measured.labelled else "made up: the spec has no data.evaluation",
            "agreement": found.agreement,
            "largest_difference": _finite(found.largest),
            "mean_difference": _finite(found.mean),
        },
        "metric": metric_of(spec),
        "score": {label: round(score.value, 6) for label, score in measured.scores.items()},
        "latency": latency,
        "run_by": sorted(f"{one} {version(of)}" if of else one for one, of in platform.RUN_BY.items()),
        "versions": versions(libraries | {"torch", "onnx"}),
        "gains": list(platform.GAINS),
        "loses": list(platform.LOSES),
    }


def _finite(value: float) -> float | None:
    """JSON has no infinity: None says that outputs have other shapes, or are no numbers."""
    return value if math.isfinite(value) else None


def _put(made: Path, target: Path) -> None:
    """Moves a file or folder to its name, in place of what is there."""
    fresh = target.with_name(f".{target.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.move(made, fresh)
    if target.is_dir():
        shutil.rmtree(target)
    fresh.replace(target)
