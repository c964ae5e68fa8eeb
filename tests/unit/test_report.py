"""The report's tables."""

from __future__ import annotations

from typing import Any

import pytest

from model_build import report
from model_build.manifest import GateResult


@pytest.mark.parametrize(
    ("gate", "limit", "measured", "cells"),
    [
        ("accuracy.max_drop", 0.005, 0.0123, ("accuracy drop", "≤ 0.005", "0.0123", "missed by 0.0073")),
        ("accuracy.min", 0.92, 0.9, ("accuracy", "≥ 0.92", "0.9", "missed by 0.02")),
        ("latency_p95.max_ms", 2.0, 2.5, ("latency_p95", "≤ 2 ms", "2.5 ms", "missed by 0.5 ms")),
        ("size.max_ratio", 0.3, 0.9999, ("size of the source's", "≤ × 0.3", "× 0.9999", "missed by × 0.6999")),
        ("memory_peak.max_mb", 300, None, ("memory_peak", "≤ 300 MiB", "not measured", "missed: no evidence")),
    ],
)
def test_a_missed_gate_says_by_how_much(gate: str, limit: float, measured: float | None, cells: object) -> None:
    result = GateResult(gate=gate, limit=limit, measured=measured, passed=False)
    assert report.gate_cells(result) == cells


@pytest.mark.parametrize(
    ("interval", "said"),
    [
        ((0.68, 0.75), "not resolved: × 0.68 to × 0.75, as far as can be told"),
        (None, "not resolved: too few rounds to tell"),
    ],
)
def test_a_gate_that_noise_leaves_open_says_between_what(interval: tuple[float, float] | None, said: str) -> None:
    result = GateResult(
        gate="latency_p50.max_ratio", limit=0.7, measured=0.71, passed=False, interval=interval, unresolved=True
    )
    assert report.gate_cells(result) == ("latency_p50 of the source's", "≤ × 0.7", "× 0.71", said)


def test_the_table_of_misses_is_aligned_and_leaves_out_what_passed() -> None:
    missed = GateResult(gate="size.max_mb", limit=1, measured=2, passed=False)
    passed = GateResult(gate="accuracy.min", limit=0.1, measured=0.2, passed=True)
    lines = report.missed_table({"export_onnx": [missed, passed], "x": [missed]}).splitlines()
    assert lines == [
        "  candidate    gate  limit   measured",
        "  export_onnx  size  ≤ 1 MB  2 MB      missed by 1 MB",
        "  x            size  ≤ 1 MB  2 MB      missed by 1 MB",
    ]


def test_a_long_candidate_does_not_push_what_it_missed_off_the_screen() -> None:
    missed = GateResult(gate="size.max_mb", limit=1, measured=2, passed=False)
    label = "export_onnx → " * 12 + "quantize_static"
    lines = report.missed_table({label: [missed, missed], "x": [missed]}).splitlines()
    assert lines[1] == f"  {label}"
    assert [line.split() for line in lines[2:4]] == [["size", "≤", "1", "MB", "2", "MB", "missed", "by", "1", "MB"]] * 2
    assert max(len(line) for line in lines if label not in line) < 60
    assert lines[4].startswith("  x          size  ≤ 1 MB")


def measured(score: float | None, p50: float) -> dict[str, Any]:
    return {
        "measurement": {
            "metric": "accuracy",
            "score": score,
            "samples": 50 if score else 0,
            "latency_p50_ms": p50,
            "latency_p95_ms": 2 * p50,
            "memory_peak_mb": 100.0,
            "size_mb": 4.0,
            "threads": 2,
        },
        "spread": {"p50_ms": (p50 - 0.1, p50 + 0.1), "p95_ms": (2 * p50 - 0.1, 2 * p50 + 0.1)},
    }


def page(score: float | None, **changes: Any) -> str:
    missed = {"gate": "size.max_mb", "limit": 1.0, "measured": 4.0, "passed": False}
    return report.markdown(
        {
            "name": "m",
            "description": "What it does.",
            "choose": "fastest",
            "source": measured(score, 4.0),
            "candidates": [
                {"label": "a", "chosen": True, "gates": [], "warnings": [], **measured(score, 1.0)},
                {"label": "b", "chosen": False, "gates": [missed], "warnings": ["beware"], **measured(score, 2.0)},
            ],
            "measure": {"threads": 2, "rounds": 3, "requests": 10},
            "environment": {"cpu": "some CPU", "python": "3.11.7", "versions": {"torch": "2.15.0"}},
            "instruction_set": {"instances": ["ml.m5.large"], "target": "t", "machine": "u", "vnni": False},
            "steps": [{"step": "package", "seconds": 0.25, "cached": True}],
        }
        | changes
    )


def test_the_page_has_before_and_after_every_candidate_and_how_it_was_measured() -> None:
    text = page(0.93)
    assert "Chosen: **a**, the fastest" in text
    assert "| p50 latency, ms | 4.000 | 1.000 | × 0.25 |" in text
    assert "| **a** | 0.9300 | 1.000 (0.900–1.100) |" in text
    assert "misses size.max_mb" in text
    assert "> **b**: beware" in text
    assert "2 threads" in text
    assert "7 bits" in text
    assert "| package | 0.2 | from the cache |" in text


@pytest.mark.parametrize(
    ("instance", "cpu", "said"),
    [
        ("ml.c7g.large", "some CPU (x86_64, 6/1/1), 2 cores", True),
        ("ml.c7g.large", "some CPU (aarch64, 8/1/1), 2 cores", False),
        ("ml.c7i.large", "some CPU (x86_64, 6/1/1), 2 cores", False),
    ],
)
def test_times_of_another_kind_of_cpu_than_serves_are_called_that(instance: str, cpu: str, said: bool) -> None:
    target = {"instances": [instance], "target": "t", "machine": "u", "vnni": True}
    environment = {"cpu": cpu, "python": "3.11.7", "versions": {"torch": "2.15.0"}}
    text = page(0.93, instruction_set=target, environment=environment)
    assert (f"{instance}: Arm. Times, memory and scores here are of another kind of CPU" in text) is said


def test_the_page_says_that_accuracy_was_not_measured() -> None:
    text = page(None)
    assert "| accuracy | not measured | not measured |  |" in text
    assert "no evaluation data" in text
