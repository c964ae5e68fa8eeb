"""What is known of the source and of every candidate: measured now, or found in the cache.

Apart from `measure`, which knows models and processes, but neither specs nor keys.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from model_build import cache, measure, targets
from model_build.candidates import Candidate
from model_build.inputs import LIBRARIES, versions
from model_build.manifest import Measurement
from model_build.measure import Latency, Score, Subject
from model_build.passes.base import Model
from model_build.sources import SOURCES
from model_build.workshop import Workshop

SOURCE = "source"
RESULT = "result.json"


@dataclass(frozen=True)
class Evidence:
    measurement: Measurement
    latency: Latency


def gather(workshop: Workshop, candidates: list[Candidate], built: Mapping[str, Model]) -> dict[str, Evidence]:
    """The evidence of every candidate by its label, and that of the source as `source`. Raises UserError.

    Latencies are one node for the whole set, as they compare only side by side; a score is a node of its own.
    """
    evaluation = workshop.spec.data.evaluation
    source_key = workshop.inputs.source_key()
    keys = {SOURCE: source_key} | {
        candidate.label: candidate.steps[-1].key if candidate.steps else source_key for candidate in candidates
    }
    common = {
        "evaluation": workshop.inputs.samples_key(evaluation),
        "cpu": targets.cpu_model(),
        "versions": versions(LIBRARIES),
        "version": measure.VERSION,
    }
    settings = workshop.spec.measure
    latency_key = cache.key("latency", models=keys, settings=settings.model_dump(mode="json"), **common)
    score_keys = {label: cache.key("score", model=key, **common) for label, key in keys.items()} if evaluation else {}

    timed = workshop.cache.find(latency_key)
    unscored = [label for label, key in score_keys.items() if workshop.cache.find(key) is None]
    title = f"measure {len(keys)} models"
    if timed and not unscored:
        workshop.note_cached(title, timed.read_json(RESULT)["seconds"])
    else:
        data = workshop.samples(evaluation, "data.evaluation")
        subjects = [_subject(workshop, label, built.get(label)) for label in keys]
        with workshop.step(title):
            latencies, scores = measure.measure(
                subjects,
                data.directory,
                workshop.output_names,
                settings,
                time=not timed,
                score=unscored,
                progress=workshop.progress,
            )
        if not timed:
            values = {label: asdict(latency) for label, latency in latencies.items()}
            _keep(workshop, latency_key, title, {"seconds": workshop.steps[-1]["seconds"], "latencies": values})
        for label, score in scores.items():
            _keep(workshop, score_keys[label], f"score of {label}", asdict(score))

    stored = _stored(workshop, latency_key)["latencies"]
    return {
        label: _evidence(
            workshop,
            built.get(label),
            Latency(**(stored[label] | {"rounds": tuple((p50, p95) for p50, p95 in stored[label]["rounds"])})),
            Score(**_stored(workshop, score_keys[label])) if evaluation else None,
        )
        for label in keys
    }


def _keep(workshop: Workshop, key: str, title: str, value: Any) -> None:
    def make(directory: Path) -> None:
        (directory / RESULT).write_text(json.dumps(value) + "\n", encoding="utf-8")

    workshop.cache.obtain(key, make, {"model": workshop.spec.name, "step": title})


def _stored(workshop: Workshop, key: str) -> Any:
    node = workshop.cache.find(key)
    assert node is not None  # noqa: S101  # found or kept just before
    return node.read_json(RESULT)


def _subject(workshop: Workshop, label: str, model: Model | None) -> Subject:
    """What the measuring process is told of a model; None is the source, which PyTorch opens as the user has it."""
    source = workshop.spec.source.pytorch
    if model is not None or source is None:
        return Subject(label, "onnx", {"path": str((model or workshop.source()).path)})
    from model_build.sources.pytorch import weight_files

    weights = {submodule: str(path) for submodule, path in weight_files(source, workshop.root).items()}
    settings = {"factory": source.factory, "args": source.args, "weights": weights, "root": str(workshop.root)}
    return Subject(label, "pytorch", settings)


def _evidence(workshop: Workshop, model: Model | None, latency: Latency, score: Score | None) -> Evidence:
    if model is not None:
        size = model.path.stat().st_size
    else:
        source = workshop.spec.source
        files = SOURCES[source.kind].files(getattr(source, source.kind), workshop.root)
        size = sum(path.stat().st_size for path in files) or latency.weight_bytes
    measurement = Measurement(
        metric=measure.METRIC,
        score=round(score.value, 6) if score else None,
        samples=score.samples if score else 0,
        latency_p50_ms=round(latency.p50, 4),
        latency_p95_ms=round(latency.p95, 4),
        memory_peak_mb=round(latency.memory_mb, 1),
        size_mb=round(size / 1e6, 6),
        threads=workshop.spec.measure.threads,
    )
    return Evidence(measurement, latency)
