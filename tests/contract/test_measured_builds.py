"""Builds whose measurements decide: gates on time, throughput, passes that do not pay, the search."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from test_build import SPEC, build, make_project

from model_build.errors import GatesMissed
from model_build.manifest import read_manifest

pytestmark = pytest.mark.contract


def report(root: Path) -> dict[str, Any]:
    written: dict[str, Any] = json.loads((root / "build" / "tiny" / "report.json").read_text())
    return written


def test_a_gate_on_time_is_measured_until_the_rounds_can_tell(tmp_path: Path) -> None:
    gates = {"latency_p50": {"max_ratio": 1000}, "throughput": {"min_rps": 0.1, "min_ratio": 0.0001}}
    optimize = {"candidates": [["export_onnx"]]}
    root = make_project(
        tmp_path / "p", gates=gates, optimize=optimize, measure={"rounds": 2, "requests": 5, "clients": 2}
    )
    results = {one.gate: one for one in build(root).manifest.gates}
    assert set(results) == {"latency_p50.max_ratio", "throughput.min_rps", "throughput.min_ratio"}
    for result in results.values():
        assert result.passed
        assert result.interval is not None
        assert result.interval[0] <= (result.measured or 0) <= result.interval[1]
    written = report(root)
    for one in (written["source"], *written["candidates"]):
        assert len(one["rounds_ms"]) == 5  # two tell nothing, so three more were measured
        assert one["measurement"]["throughput_rps"] > 1
    assert any(step["step"].startswith("measure 2 models, longer") for step in written["steps"])


def test_a_limit_that_no_number_of_rounds_can_resolve_is_a_miss_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from model_build import paired

    # Rounds that are half below and half above the limit, however many there are.
    monkeypatch.setattr(paired, "ratio", lambda one, other: paired.estimate([0.5, 1.5] * (len(one) // 2) + [1.0]))
    gates = {"latency_p50": {"max_ratio": 1.0}}
    measure = {"rounds": 3, "requests": 5, "max_rounds": 12}
    root = make_project(tmp_path / "p", gates=gates, measure=measure, optimize={"candidates": [["export_onnx"]]})
    with pytest.raises(GatesMissed) as missed:
        build(root)
    assert "not resolved: × 0.5 to × 1.5" in str(missed.value)
    records = [json.loads(path.read_text()) for path in (root / "build/.cache/nodes").glob("*/result.json")]
    rounds = sorted(len(one["latencies"]["source"]["rounds"]) for one in records if "latencies" in one)
    assert rounds == [3, 3, 6]  # twice as many in total each time, and no more than 12


def test_a_pass_that_changes_nothing_worth_having_is_dropped_and_the_report_says_so(tmp_path: Path) -> None:
    # At opset 18 the exporter writes what it writes at 17 but for the number.
    candidates = [["export_onnx"], [{"prune_weights": {"ratio": 0.0}}, "export_onnx"]]
    root = make_project(tmp_path / "p", optimize={"candidates": candidates}, gates={"accuracy": {"max_drop": 0.5}})
    assert build(root).manifest.candidate == "export_onnx"
    first, second = report(root)["candidates"]
    assert first["dropped"] is None
    assert second["dropped"] == "prune_weights(ratio=0.0) does not pay: it changed nothing of export_onnx"
    page = (root / "build" / "tiny" / "report.md").read_text()
    assert "dropped **prune_weights(ratio=0.0) → export_onnx**" in page
    assert "it changed nothing of export_onnx" in (root / "build" / "tiny" / "report.html").read_text()


def test_every_class_has_its_samples_and_right_answers_of_source_and_candidates(tmp_path: Path) -> None:
    root = make_project(tmp_path / "p", optimize={"candidates": [["export_onnx"]]})
    build(root)
    written = report(root)
    for one in (written["source"], *written["candidates"]):
        classes = one["classes"]
        assert len(classes) == 3
        assert sum(samples for samples, _, _ in classes) == 60
        assert sum(right for _, _, right in classes) == round(60 * one["measurement"]["score"])
        assert all(right <= min(samples, answers) for samples, answers, right in classes)
    assert "| a | " in (root / "build" / "tiny" / "report.md").read_text()


def test_auto_finds_candidates_gates_them_and_tells_what_it_tried(tmp_path: Path) -> None:
    gates = {"accuracy": {"max_drop": 0.5}}
    root = make_project(tmp_path / "p", optimize={"auto": True, "budget": "60s", "choose": "smallest"}, gates=gates)
    manifest = build(root).manifest
    written = report(root)
    assert manifest.chosen.size_mb == min(
        one["measurement"]["size_mb"] for one in written["candidates"] if not one["dropped"]
    )
    search = written["search"]
    assert search["stopped"] in ("nothing was left to try", "the budget was spent")
    tried = {one["label"]: one for one in search["tried"]}
    assert tried["export_onnx"]["why"] == "named by the spec"
    assert any("quantize_static" in label for label in tried)
    finalists = [label for label, one in tried.items() if one["status"] == "finalist"]
    assert {one["label"] for one in written["candidates"]} == {"export_onnx", *finalists}
    assert all(one["why"] for one in tried.values() if one["status"] in ("dropped", "pruned", "skipped"))
    # Ranked on the calibration half that no pass saw (20 of 40 samples), gated on the evaluation data.
    assert {round(one["score"] * 20, 6) % 1 for one in tried.values() if one["score"] is not None} == {0}
    assert read_manifest(root / "build/tiny/manifest.json").chosen.samples == 60
    assert not build(root).built


def test_auto_is_refused_without_a_gate_on_accuracy() -> None:
    from model_build import rules
    from model_build.spec import Spec

    spec = Spec.model_validate(SPEC | {"optimize": {"auto": True}, "gates": {"size": {"max_mb": 1}}})
    assert any("give gates.accuracy" in finding.message for finding in rules.check(spec, Path.cwd()))
