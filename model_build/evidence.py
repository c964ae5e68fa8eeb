"""What is known of the source and of every candidate: measured now, or found in the cache.

Apart from `measure`, which knows models and processes, but neither specs nor keys.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from model_build import cache, datasets, measure, targets
from model_build.cache import Node
from model_build.candidates import Candidate
from model_build.inputs import LIBRARIES, versions
from model_build.manifest import Measurement
from model_build.measure import Judge, Latency, Score, Subject
from model_build.metrics import METRICS, metric_of
from model_build.paired import FEWEST
from model_build.passes.base import Model
from model_build.spec import Measure
from model_build.workshop import Workshop

SOURCE = "source"
RESULT = "result.json"


@dataclass(frozen=True)
class Evidence:
    measurement: Measurement
    latency: Latency
    score: Score | None


Open = Callable[[Mapping[str, Evidence]], Collection[str]]
"""The labels whose figures do not yet tell whether a limit holds."""


def gather(
    workshop: Workshop, candidates: Sequence[Candidate], built: Mapping[str, Model], is_open: Open = lambda _: ()
) -> dict[str, Evidence]:
    """The evidence of every candidate by its label, and that of the source as `source`. Raises UserError.

    What is open after the first rounds is measured again beside the source, in fresh processes and for twice as many
    rounds in total each time, until nothing is or `measure.max_rounds` is reached.
    """
    settings = workshop.spec.measure
    evidence = _look(workshop, candidates, built, settings, 0)
    done = settings.rounds
    look = 1
    within = {candidate.label for candidate in candidates}
    # Never one that an earlier look left out: its rounds would be paired with those of another minute.
    while done < settings.max_rounds and (within := within & set(is_open(evidence))):
        longer = settings.model_copy(update={"rounds": min(max(done, FEWEST - done), settings.max_rounds - done)})
        names = ", ".join(label for label in evidence if label in within)
        workshop.progress.note(f"too close to a limit to tell, {longer.rounds} rounds more: {names}")
        again = [candidate for candidate in candidates if candidate.label in within]
        for label, one in _look(workshop, again, built, longer, look).items():
            evidence[label] = _longer(evidence[label], one)
        done += longer.rounds
        look += 1
    return evidence


def _longer(one: Evidence, more: Evidence) -> Evidence:
    latency = replace(
        one.latency,
        rounds=one.latency.rounds + more.latency.rounds,
        throughput=one.latency.throughput + more.latency.throughput,
    )
    return replace(one, measurement=one.measurement.model_copy(update=_times(latency)), latency=latency)


def _look(
    workshop: Workshop, candidates: Sequence[Candidate], built: Mapping[str, Model], settings: Measure, look: int
) -> dict[str, Evidence]:
    """One measurement of the source and some candidates on the evaluation data."""
    return _measured(
        workshop, _keys(workshop, candidates, SOURCE), {SOURCE: None, **built}, _evaluation(workshop), settings, look
    )


@dataclass(frozen=True)
class Samples:
    """Encoded samples to measure on."""

    key: str
    node: Callable[[], Node]
    """Makes them, where they are not in the cache."""
    labelled: bool


def compare(
    workshop: Workshop, candidates: Sequence[Candidate], built: Mapping[str, Model], data: Samples
) -> dict[str, Evidence]:
    """The evidence of some candidates on some samples, side by side, without the source. Raises UserError."""
    settings = workshop.spec.measure.model_copy(update={"rounds": max(FEWEST, workshop.spec.measure.rounds)})
    return _measured(workshop, _keys(workshop, candidates), built, data, settings, 0)


def kinds_to_measure(workshop: Workshop, candidates: Sequence[Candidate]) -> list[str]:
    """The kind of each subject that `gather` will measure first; none where all of it is in the cache."""
    source, settings = workshop.spec.source, workshop.spec.measure
    kinds = {SOURCE: "onnx" if source.format == "onnx" else source.kind}
    kinds |= {one.label: one.steps[-1].the_pass.PRODUCES if one.steps else "onnx" for one in candidates}
    keys = _keys(workshop, candidates, SOURCE)
    latency_key, score_keys = _kept_as(workshop, keys, _evaluation(workshop), settings, 0)
    if workshop.cache.find(latency_key) is None:
        return list(kinds.values())
    return [kinds[label] for label, key in score_keys.items() if workshop.cache.find(key) is None]


def _evaluation(workshop: Workshop) -> Samples:
    evaluation = workshop.spec.data.evaluation
    key = workshop.inputs.samples_key(evaluation)
    return Samples(key, lambda: workshop.samples(evaluation, "data.evaluation"), labelled=evaluation is not None)


def afresh(workshop: Workshop, models: Mapping[str, Model]) -> dict[str, Evidence]:
    """The evidence of some models and the source, measured now whatever the cache knows. Raises UserError."""
    evaluation = workshop.spec.data.evaluation
    built: dict[str, Model | None] = {SOURCE: None, **models}
    settings = workshop.spec.measure.model_copy(update={"rounds": max(FEWEST, workshop.spec.measure.rounds)})
    latencies, scores = measure.measure(
        [_subject(workshop, label, model) for label, model in built.items()],
        workshop.samples(evaluation, "data.evaluation").directory,
        workshop.output_names,
        settings,
        clients=settings.clients if workshop.spec.gates.throughput else 0,
        score=list(built) if evaluation else (),
        judge=judge_of(workshop),
        progress=workshop.progress,
    )
    return {label: _evidence(workshop, model, latencies[label], scores.get(label)) for label, model in built.items()}


def judge_of(workshop: Workshop) -> Judge:
    """How the spec's models are scored."""
    return Judge(metric_of(workshop.spec), datasets.serving_values(workshop.spec, workshop.root), str(workshop.root))


def _keys(workshop: Workshop, candidates: Sequence[Candidate], *others: str) -> dict[str, str]:
    """The keys of what is measured, by label; `others` are the source's."""
    source = workshop.inputs.source_key()
    return dict.fromkeys(others, source) | {one.label: one.steps[-1].key if one.steps else source for one in candidates}


def _kept_as(
    workshop: Workshop, keys: Mapping[str, str], data: Samples, settings: Measure, look: int
) -> tuple[str, dict[str, str]]:
    """The keys of a measurement: of the latencies, one node for all as they compare only side by side, and of each
    label's score."""
    clients = settings.clients if workshop.spec.gates.throughput else 0
    common = {
        "evaluation": data.key,
        "cpu": targets.cpu_model(),
        "versions": versions(LIBRARIES),
        "version": measure.VERSION,
    }
    wanted = settings.model_dump(mode="json", exclude={"max_rounds", "clients", "metric"}) | {"clients": clients}
    latency_key = cache.key("latency", models=dict(keys), settings=wanted, look=look, **common)
    name = metric_of(workshop.spec)
    judged: dict[str, Any] = {"metric": name}
    if metric := METRICS.get(name):
        judged |= {"metric_version": metric.VERSION, "metric_libraries": versions(metric.LIBRARIES)}
    scores = {label: cache.key("score", model=key, **judged, **common) for label, key in keys.items()}
    return latency_key, scores if data.labelled else {}


def _measured(
    workshop: Workshop,
    keys: Mapping[str, str],
    models: Mapping[str, Model | None],
    data: Samples,
    settings: Measure,
    look: int,
) -> dict[str, Evidence]:
    """One measurement of a set, by label; the model of the source is None."""
    latency_key, score_keys = _kept_as(workshop, keys, data, settings, look)
    timed = workshop.cache.find(latency_key)
    unscored = [label for label, key in score_keys.items() if workshop.cache.find(key) is None]
    title = f"measure {len(keys)} models" + (f", longer ({look})" if look else "")
    if timed and not unscored:
        workshop.note_cached(title, timed.read_json(RESULT)["seconds"])
    else:
        samples = data.node()
        subjects = [_subject(workshop, label, models[label]) for label in keys]
        with workshop.step(title):
            latencies, scores = measure.measure(
                subjects,
                samples.directory,
                workshop.output_names,
                settings,
                time=not timed,
                clients=settings.clients if workshop.spec.gates.throughput else 0,
                score=unscored,
                judge=judge_of(workshop),
                ahead=workshop.ahead,
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
            models[label],
            latency_of(stored[label]),
            measure.scored(_stored(workshop, score_keys[label])) if score_keys else None,
        )
        for label in keys
    }


def latency_of(values: Mapping[str, Any]) -> Latency:
    """A latency from its JSON values."""
    rounds = tuple((p50, p95) for p50, p95 in values["rounds"])
    return Latency(**{**values, "rounds": rounds, "throughput": tuple(values["throughput"])})


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
    source = workshop.spec.source
    if model is not None or source.format == "onnx":
        model = model or workshop.source()
        generates = {"serving": asdict(judge_of(workshop))} if model.parts else {}
        return Subject(label, model.format, {"path": str(model.path), **generates})
    return Subject(label, source.kind, workshop.source_settings())


def _evidence(workshop: Workshop, model: Model | None, latency: Latency, score: Score | None) -> Evidence:
    if model is not None:
        size = sum(path.stat().st_size for path in model.files)
    else:
        size = sum(path.stat().st_size for path in workshop.source_files()) or latency.weight_bytes
    measurement = Measurement(
        metric=metric_of(workshop.spec),
        score=round(score.value, 6) if score else None,
        samples=score.samples if score else 0,
        details={name: round(value, 4) for name, value in score.details.items()} if score else {},
        **_times(latency),
        memory_peak_mb=round(latency.memory_mb, 1),
        size_mb=round(size / 1e6, 6),
        threads=workshop.spec.measure.threads,
    )
    return Evidence(measurement, latency, score)


def _times(latency: Latency) -> dict[str, Any]:
    """The fields of a measurement that are medians over its rounds."""
    return {
        "latency_p50_ms": round(latency.p50, 4),
        "latency_p95_ms": round(latency.p95, 4),
        "throughput_rps": round(median(latency.throughput), 2) if latency.throughput else None,
    }
