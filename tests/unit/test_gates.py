"""Gates over measurements: limits, missing evidence, the choice."""

from __future__ import annotations

from typing import Any

import pytest

from model_build import gates
from model_build.manifest import GateResult, Measurement
from model_build.paired import Estimate
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
        ({"throughput": {"min_rps": 100}}, {"throughput_rps": 100.0}, 100.0, True),
        ({"throughput": {"min_rps": 100}}, {"throughput_rps": 99.0}, 99.0, False),
        ({"throughput": {"min_ratio": 2}}, {"throughput_rps": 90.0}, 1.8, False),
    ],
)
def test_a_gate_holds_up_to_its_limit(
    gate: dict[str, Any], candidate: dict[str, float], value: float, passes: bool
) -> None:
    source = measured(throughput_rps=50.0)
    (result,) = gates.check(Gates.model_validate(gate), source, measured(**candidate))
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


@pytest.mark.parametrize(
    ("gate", "interval", "passed", "unresolved"),
    [
        ({"latency_p50": {"max_ratio": 0.5}}, (0.40, 0.50), True, False),
        ({"latency_p50": {"max_ratio": 0.5}}, (0.40, 0.51), False, True),
        ({"latency_p50": {"max_ratio": 0.5}}, (0.51, 0.60), False, False),
        ({"latency_p95": {"max_ms": 3}}, (2.9, 3.1), False, True),
        ({"throughput": {"min_rps": 100}}, (100, 120), True, False),
        ({"throughput": {"min_rps": 100}}, (99, 120), False, True),
        ({"throughput": {"min_rps": 100}}, (90, 99), False, False),
    ],
)
def test_a_limit_inside_the_interval_is_not_resolved_and_that_is_a_miss(
    gate: dict[str, Any], interval: tuple[float, float], passed: bool, unresolved: bool
) -> None:
    ((name, limits),) = gate.items()
    (limit,) = limits
    estimates = {f"{name}.{limit}": Estimate(sum(interval) / 2, interval)}
    (result,) = gates.check(Gates.model_validate(gate), measured(), measured(), estimates)
    assert (result.passed, result.unresolved, result.interval) == (passed, unresolved, interval)
    assert result.measured == sum(interval) / 2
    assert gates.unresolved([result]) is unresolved


def test_too_few_rounds_resolve_nothing() -> None:
    estimates = {"latency_p50.max_ms": Estimate(0.1, None)}
    some = Gates.model_validate({"latency_p50": {"max_ms": 1000}})
    (result,) = gates.check(some, measured(), measured(), estimates)
    assert (result.passed, result.unresolved, result.interval) == (False, True, None)


def test_nothing_is_measured_longer_for_a_candidate_that_misses_another_gate() -> None:
    open_one = GateResult(gate="latency_p50.max_ms", limit=1, measured=1, passed=False, unresolved=True)
    missed = GateResult(gate="size.max_mb", limit=1, measured=2, passed=False)
    assert gates.unresolved([open_one])
    assert not gates.unresolved([open_one, missed])
