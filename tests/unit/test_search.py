"""The search over figures that a test makes up: what is grown, pruned, dropped, skipped, and when it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx_models
import pytest

from model_build import candidates, search
from model_build.candidates import Candidate
from model_build.errors import UserError
from model_build.evidence import Evidence
from model_build.manifest import Measurement
from model_build.measure import Latency, Score
from model_build.passes.base import InstructionSet, Model
from model_build.spec import Spec, Step
from model_build.workshop import Workshop

SAMPLES = 200
SPEC: dict[str, Any] = {
    "name": "m",
    "task": "tensor",
    "tensor": {"inputs": {"x": {"shape": [64]}}},
    "source": {"onnx": {"path": "m.onnx"}},
    "data": {"evaluation": {"factory": "a:b"}, "calibration": {"factory": "a:c"}},
    "optimize": {"auto": True, "budget": "10m"},
    "gates": {"accuracy": {"max_drop": 0.01}},
}
LINEAR, STATIC = "quantize_dynamic(ops=linear)", "quantize_static"
Figures = Mapping[str, tuple[float, float, int]]
"""Label → p50, size, right answers; what is not named is as fast and as large as the model at the start."""


class FakeWorkshop:
    """Makes a model file for every candidate, each of other bytes; those named in `broken` fail."""

    def __init__(self, spec: Spec, folder: Path, broken: Sequence[str] = ()) -> None:
        self.spec = spec
        self.folder = folder
        self.broken = broken
        self.made: list[str] = []

    def half_key(self, number: int) -> str:
        return str(number)

    def model(self, steps: Sequence[candidates.Step]) -> Model:
        label = " → ".join(step.label for step in steps) or "as it is"
        if any(step.name in self.broken for step in steps):
            raise UserError("it cannot be")
        if label not in self.made:
            self.made.append(label)
        number = self.made.index(label)
        directory = self.folder / str(number)
        directory.mkdir(exist_ok=True)
        onnx_models.write_linear(directory / "model.onnx", seed=number)
        return Model("onnx", directory, "model.onnx")

    def make(self, some: Iterable[Candidate]) -> Iterator[tuple[Candidate, UserError | None]]:
        return Workshop.make(self, some)  # type: ignore[arg-type]


def run(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    figures: Figures,
    *,
    broken: Sequence[str] = (),
    unmeasurable: str = "",
    clock: Callable[[], float] = lambda: 0.0,
    make: Callable[[FakeWorkshop], search.Make] | None = None,
    **changes: Any,
) -> tuple[search.Search, FakeWorkshop]:
    spec = Spec.model_validate(SPEC | changes)
    workshop = FakeWorkshop(spec, tmp_path, broken)

    def compare(_: Any, some: Sequence[Candidate], built: Mapping[str, Model], data: Any) -> dict[str, Evidence]:
        assert data.key == "1"  # the half of the calibration data that no pass saw
        assert {one.label for one in some} <= set(built)
        if any(one.label == unmeasurable for one in some):
            raise UserError("it cannot be run")
        return {one.label: evidence(*figures.get(one.label, (1.0, 10.0, 180))) for one in some}

    def plan(given: Sequence[tuple[Step, ...]]) -> list[Candidate]:
        return candidates.plan(
            spec.optimize.model_copy(update={"candidates": tuple(given)}),
            *("s", "p", "c", "t"),
            lambda step: None,
            InstructionSet("some", vnni=True),
            {},
        )

    monkeypatch.setattr(search, "compare", compare)
    making = make(workshop) if make else None
    found = search.grow(workshop, plan, search.starting(spec), making, clock=clock)  # type: ignore[arg-type]
    return found, workshop


def evidence(p50: float, size: float, correct: int) -> Evidence:
    latency = Latency(((p50, p50),) * 5, memory_mb=1, load_seconds=1, weight_bytes=1)
    measurement = Measurement(
        metric="accuracy",
        score=correct / SAMPLES,
        samples=SAMPLES,
        latency_p50_ms=p50,
        latency_p95_ms=p50,
        memory_peak_mb=1,
        size_mb=size,
        threads=1,
    )
    return Evidence(measurement, latency, Score(correct / SAMPLES, SAMPLES))


def told(found: search.Search) -> dict[str, tuple[str, str]]:
    return {one.label: (one.status, one.why) for one in found.tried}


def test_what_helped_is_grown_and_what_did_not_is_dropped_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, _ = run(tmp_path, monkeypatch, {LINEAR: (0.5, 3.0, 180), f"{LINEAR} → optimize_graph": (0.4, 3.0, 180)})
    said = told(found)
    assert said["as it is"] == ("kept", "named by the spec")
    assert said[LINEAR][0] == said[f"{LINEAR} → optimize_graph"][0] == "finalist"
    assert said[STATIC] == ("dropped", "× 1.000 (1.000 to 1.000) the time, × 1.000 the size of as it is")
    assert f"{STATIC} → optimize_graph" not in said
    assert [one.label for one in found.candidates] == ["as it is", f"{LINEAR} → optimize_graph", LINEAR]
    assert found.stopped == "nothing was left to try"


def test_what_loses_more_than_the_gate_and_chance_allow_is_pruned_and_not_grown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The gate allows 2 of 200 samples, and chance about 3.5 more.
    found, _ = run(tmp_path, monkeypatch, {LINEAR: (0.5, 3.0, 174), STATIC: (0.5, 3.0, 175)})
    said = told(found)
    assert said[LINEAR] == ("pruned", "loses 0.030 of the accuracy on 200 held-out samples")
    assert said[STATIC][0] == "finalist"
    assert f"{LINEAR} → optimize_graph" not in said
    assert f"{STATIC} → optimize_graph" in said


def test_what_lost_too_much_is_mended_after_everything_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = "export_onnx → quantize_static"
    mended = f"quantize_aware → {lost}"
    figures = {lost: (0.3, 3.0, 150), mended: (0.3, 3.0, 180), "export_onnx → optimize_graph": (0.9, 10.0, 180)}
    data = SPEC["data"] | {"training": {"factory": "a:d"}}
    source = {"pytorch": {"factory": "a:network"}}
    found, workshop = run(tmp_path, monkeypatch, figures, data=data, source=source)
    assert told(found)[lost][0] == "pruned"
    assert told(found)[mended][0] == "finalist"
    assert f"{lost} → optimize_graph" not in told(found)  # by nothing but what mends
    assert workshop.made.index(mended) > workshop.made.index("export_onnx → optimize_graph → quantize_static")
    (tmp_path / "without").mkdir()
    without, _ = run(tmp_path / "without", monkeypatch, figures, source=source)
    assert mended not in told(without)


def test_the_order_in_which_models_are_made_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def backwards(workshop: FakeWorkshop) -> search.Make:
        return lambda some: reversed(list(workshop.make(some)))

    figures = {LINEAR: (0.5, 3.0, 180), STATIC: (0.5, 3.0, 180)}
    results = []
    for name, make in (("one", None), ("other", backwards)):
        (tmp_path / name).mkdir()
        found, _ = run(tmp_path / name, monkeypatch, figures, make=make, broken=["optimize_graph"])
        results.append(([one.label for one in found.candidates], told(found)))
    assert results[0] == results[1]


def test_a_floor_prunes_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gates = {"accuracy": {"min": 0.9}}
    found, _ = run(tmp_path, monkeypatch, {LINEAR: (0.5, 3.0, 160), STATIC: (0.5, 3.0, 175)}, gates=gates)
    assert told(found)[LINEAR] == ("pruned", "accuracy is 0.800 on 200 held-out samples")
    assert told(found)[STATIC][0] == "finalist"


def test_a_pass_that_fails_is_skipped_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, _ = run(tmp_path, monkeypatch, {LINEAR: (0.5, 3.0, 180)}, broken=["quantize_static", "optimize_graph"])
    assert told(found)[STATIC] == ("skipped", "it cannot be")
    assert told(found)[LINEAR][0] == "finalist"


def test_one_model_that_cannot_be_run_does_not_take_the_others_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, _ = run(tmp_path, monkeypatch, {LINEAR: (0.5, 3.0, 180)}, unmeasurable=STATIC)
    assert told(found)[STATIC] == ("skipped", "it cannot be run")
    assert told(found)[LINEAR][0] == "finalist"


def test_no_candidate_is_begun_after_the_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter(range(0, 100_000, 200))  # each look at the clock is 200 s later
    found, workshop = run(tmp_path, monkeypatch, {}, clock=lambda: float(next(seconds)))
    assert found.stopped == "the budget was spent"
    assert workshop.made == ["as it is", "optimize_graph"]
    assert found.candidates[0].label == "as it is"


def test_the_best_is_grown_first_by_what_the_spec_chooses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = {LINEAR: (0.9, 2.0, 180), STATIC: (0.5, 5.0, 180)}
    for choose, first in (("fastest", STATIC), ("smallest", LINEAR)):
        (tmp_path / choose).mkdir()
        optimize = SPEC["optimize"] | {"choose": choose}
        _, workshop = run(tmp_path / choose, monkeypatch, figures, optimize=optimize)
        second_level = [label for label in workshop.made if label.endswith(" → optimize_graph")]
        assert second_level[0] == f"{first} → optimize_graph"


def test_candidates_of_the_spec_stay_whatever_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    optimize = SPEC["optimize"] | {"candidates": [[], ["quantize_static"]]}
    found, _ = run(tmp_path, monkeypatch, {STATIC: (9.0, 90.0, 20), LINEAR: (0.5, 3.0, 180)}, optimize=optimize)
    assert [one.label for one in found.candidates[:2]] == ["as it is", STATIC]
    assert told(found)[STATIC][0] == "pruned"  # it is not grown, and still gated


def test_a_more_accurate_one_is_a_finalist_beside_faster_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = {LINEAR: (0.5, 3.0, 178)}
    faster = [f"quantize_static(method={name})" for name in ("percentile",)] + [STATIC, "optimize_graph"]
    figures |= {label: (0.3 + number / 100, 3.0, 177) for number, label in enumerate(faster)}
    monkeypatch.setattr(search, "FINALISTS", 2)
    found, _ = run(tmp_path, monkeypatch, figures)
    assert LINEAR in [one.label for one in found.candidates]


def test_a_model_too_large_for_its_gate_is_no_finalist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gates = {"accuracy": {"max_drop": 0.01}, "size": {"max_ratio": 0.4}}
    found, _ = run(tmp_path, monkeypatch, {LINEAR: (0.5, 6.0, 180), STATIC: (0.7, 3.0, 180)}, gates=gates)
    labels = [one.label for one in found.candidates]
    assert STATIC in labels
    assert LINEAR not in labels
    assert told(found)[LINEAR][0] == "kept"
