"""Which passes do not pay: smaller, faster and more accurate count; noise does not."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from model_build import dominance
from model_build.candidates import Candidate, Step
from model_build.evidence import Evidence
from model_build.manifest import Measurement
from model_build.measure import Latency
from model_build.passes import PASSES

ROUNDS = (1.00, 1.02, 0.99, 1.01, 1.00)


def evidence(p50s: tuple[float, ...] = ROUNDS, **changes: Any) -> Evidence:
    values: dict[str, Any] = {
        "metric": "accuracy",
        "score": 0.9,
        "samples": 1000,
        "latency_p50_ms": p50s[0],
        "latency_p95_ms": p50s[0],
        "memory_peak_mb": 100.0,
        "size_mb": 10.0,
        "threads": 1,
    }
    latency = Latency(tuple((p50, p50) for p50 in p50s), memory_mb=1, load_seconds=1, weight_bytes=1)
    return Evidence(Measurement(**(values | changes)), latency, None)


def candidate(*names: str) -> Candidate:
    steps = tuple(
        Step(name, name, PASSES[name], PASSES[name].Config.model_validate({}), key=" ".join(names[: number + 1]))
        for number, name in enumerate(names)
    )
    return Candidate(" → ".join(names), steps)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Two models of one size that differ, and compress alike."""
    noise = random.Random(1)
    paths = tmp_path / "base.onnx", tmp_path / "one.onnx"
    for path in paths:
        path.write_bytes(noise.randbytes(5000))
    return paths


@pytest.mark.parametrize(
    ("one", "pays"),
    [
        (evidence(), False),
        (evidence(tuple(value * 0.9 for value in ROUNDS)), True),
        (evidence(tuple(value * 0.99 for value in ROUNDS)), False),  # what two processes of one model differ by
        (evidence((0.5, 0.5, 0.5, 0.5, 1.01)), False),  # one round of five was not faster: noise
        (evidence(tuple(value * 1.5 for value in ROUNDS)), False),
        (evidence(tuple(value * 1.5 for value in ROUNDS), size_mb=5.0), True),
        (evidence(size_mb=9.95), False),
        (evidence(score=0.93), True),
        (evidence(score=0.905), False),  # within the luck of 1,000 samples
    ],
)
def test_it_pays_to_be_smaller_or_beyond_the_noise_faster_or_more_accurate(
    one: Evidence, pays: bool, files: tuple[Path, Path]
) -> None:
    base, other = candidate("export_onnx"), candidate("export_onnx", "quantize_dynamic")
    found = dominance.dropped(
        [base, other],
        {base.label: evidence(), other.label: one},
        {base.label: True, other.label: True},
        dict(zip((base.label, other.label), files, strict=True)),
    )
    assert (found == {}) is pays


def test_a_model_that_compresses_to_less_pays_and_one_that_did_not_change_is_said_to(
    files: tuple[Path, Path],
) -> None:
    base, one = files
    one.write_bytes(base.read_bytes())
    assert dominance.unpaid(evidence(), evidence(), base, one, False) == "it changed nothing of"
    one.write_bytes(base.read_bytes()[:2500] + b"\0" * 2500)
    assert dominance.unpaid(evidence(), evidence(), base, one, False) == ""


def test_the_reason_names_the_passes_that_do_not_pay_and_what_they_were_added_to(files: tuple[Path, Path]) -> None:
    base, one = candidate("export_onnx"), candidate("prune_weights", "export_onnx")
    found = dominance.dropped(
        [base, one],
        {base.label: evidence(), one.label: evidence(tuple(value * 1.1 for value in ROUNDS))},
        {base.label: True, one.label: True},
        dict(zip((base.label, one.label), files, strict=True)),
    )
    assert found == {
        one.label: "prune_weights does not pay: × 1.100 (1.100 to 1.100) the time, × 1.000 the size of export_onnx"
    }


@pytest.mark.parametrize("passing", [True, False])
def test_a_candidate_is_only_dropped_for_one_that_passes_every_gate(files: tuple[Path, Path], passing: bool) -> None:
    base, one = candidate("export_onnx"), candidate("export_onnx", "quantize_dynamic")
    found = dominance.dropped(
        [base, one],
        {base.label: evidence(), one.label: evidence()},
        {base.label: passing, one.label: True},
        dict(zip((base.label, one.label), files, strict=True)),
    )
    assert (one.label in found) is passing


def test_candidates_that_are_no_part_of_one_another_are_not_compared(files: tuple[Path, Path]) -> None:
    one, other = candidate("export_onnx", "quantize_dynamic"), candidate("export_onnx", "quantize_static")
    found = dominance.dropped(
        [one, other],
        {one.label: evidence(), other.label: evidence(tuple(value * 3 for value in ROUNDS))},
        {one.label: True, other.label: True},
        dict(zip((one.label, other.label), files, strict=True)),
    )
    assert found == {}


@pytest.mark.parametrize(
    ("p50s", "size", "passing", "measured_longer"),
    [
        ((0.5, 0.5, 0.5, 0.5, 1.01), 10.0, True, True),
        ((0.5, 0.5, 0.5, 0.5, 1.01), 5.0, True, False),  # it pays by its size already
        ((0.5, 0.5, 0.5, 0.5, 1.01), 10.0, False, False),  # it will not be taken anyway
        ((0.5, 0.5, 0.5, 0.5, 0.5), 10.0, True, False),
        ((2.0, 2.0, 2.0, 2.0, 2.0), 10.0, True, False),
    ],
)
def test_what_may_be_faster_is_measured_longer_with_what_it_stands_on(
    p50s: tuple[float, ...], size: float, passing: bool, measured_longer: bool
) -> None:
    base, one = candidate("export_onnx"), candidate("export_onnx", "quantize_dynamic")
    figures = {base.label: evidence(), one.label: evidence(p50s, size_mb=size)}
    found = dominance.unclear([base, one], figures, {base.label: True, one.label: passing})
    assert found == ({base.label, one.label} if measured_longer else set())
