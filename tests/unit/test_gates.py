"""Gates over measurements: limits, missing evidence, the choice."""

from __future__ import annotations

from typing import Any

import pytest

from model_build import gates
from model_build.manifest import Measurement
from model_build.spec import Gates


def measured(**changes: Any) -> Measurement:
    values: dict[str, Any] = {
        "metric": "accuracy",
        "score": 0.93,
        "samples": 100,
        "latency_p50_ms": 2.0,
        "latency_p95_ms": 4.0,
        "memory_peak_mb": 200.0,
        "size_mb": 8.0,
        "threads": 1,
    }
    return Measurement(**(values | changes))


@pytest.mark.parametrize(
    ("gate", "candidate", "value", "passes"),
    [
        ({"accuracy": {"max_drop": 0.01}}, {"score": 0.92}, 0.01, True),
        ({"accuracy": {"max_drop": 0.01}}, {"score": 0.919}, 0.011, False),
        ({"accuracy": {"max_drop": 0}}, {"score": 0.94}, -0.01, True),
        ({"accuracy": {"min": 0.9}}, {"score": 0.9}, 0.9, True),
        ({"accuracy": {"min": 0.9}}, {"score": 0.899}, 0.899, False),
        ({"latency_p50": {"max_ratio": 0.5}}, {"latency_p50_ms": 1.0}, 0.5, True),
        ({"latency_p50": {"max_ratio": 0.5}}, {"latency_p50_ms": 1.01}, 0.505, False),
        ({"latency_p95": {"max_ms": 3}}, {"latency_p95_ms": 3.5}, 3.5, False),
        ({"memory_peak": {"max_mb": 100}}, {"memory_peak_mb": 99.9}, 99.9, True),
        ({"memory_peak": {"max_ratio": 0.4}}, {"memory_peak_mb": 100.0}, 0.5, False),
        ({"size": {"max_mb": 2}}, {"size_mb": 2.0}, 2.0, True),
        ({"size": {"max_ratio": 0.25}}, {"size_mb": 2.1}, 0.2625, False),
    ],
)
def test_a_gate_holds_up_to_its_limit(
    gate: dict[str, Any], candidate: dict[str, float], value: float, passes: bool
) -> None:
    (result,) = gates.check(Gates.model_validate(gate), measured(), measured(**candidate))
    assert result.measured == pytest.approx(value)
    assert result.passed is passes
    (name,) = gate
    (limit,) = gate[name]
    assert result.gate == f"{name}.{limit}"


def test_every_limit_of_a_gate_has_its_own_result() -> None:
    both = Gates.model_validate({"size": {"max_mb": 10, "max_ratio": 0.3}})
    assert [(one.gate, one.passed) for one in gates.check(both, measured(), measured())] == [
        ("size.max_mb", True),
        ("size.max_ratio", False),
    ]


def test_no_gates_pass() -> None:
    assert gates.passed(gates.check(Gates(), measured(), measured()))


@pytest.mark.parametrize("limit", [{"max_drop": 1.0}, {"min": 0.0}])
def test_missing_evidence_is_a_miss(limit: dict[str, float]) -> None:
    unknown = measured(score=None)
    (result,) = gates.check(Gates.model_validate({"accuracy": limit}), unknown, unknown)
    assert (result.measured, result.passed) == (None, False)


def test_a_candidate_that_was_not_measured_misses_every_gate() -> None:
    some = Gates.model_validate({"size": {"max_mb": 10}, "latency_p50": {"max_ratio": 5}})
    results = gates.check(some, measured(), None)
    assert [(one.measured, one.passed) for one in results] == [(None, False)] * 2


def test_the_fastest_and_the_smallest_are_chosen_and_the_other_figure_decides_between_equals() -> None:
    some = {
        "fast": measured(latency_p50_ms=1.0, size_mb=9.0),
        "small": measured(latency_p50_ms=3.0, size_mb=1.0),
        "small and quicker": measured(latency_p50_ms=2.0, size_mb=1.0),
    }
    assert gates.choose(some, "fastest") == "fast"
    assert gates.choose(some, "smallest") == "small and quicker"
