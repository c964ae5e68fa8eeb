"""What a candidate must hold, and which of those that hold it is taken: pure functions over measurements."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from model_build.manifest import GateResult, Measurement
from model_build.spec import Gates

FIELDS = {
    "accuracy": "score",
    "latency_p50": "latency_p50_ms",
    "latency_p95": "latency_p95_ms",
    "memory_peak": "memory_peak_mb",
    "size": "size_mb",
}
"""Gate → the field of a measurement that it looks at."""

ROUNDING = 1e-9
"""Share of a limit that is forgiven: .9287 - .9187 is a little more than .01 in binary."""


def check(gates: Gates, source: Measurement | None, candidate: Measurement | None) -> tuple[GateResult, ...]:
    """A result for every limit of every gate, in the order of the spec's fields. Missing evidence is a miss."""
    return tuple(
        _result(gate, limit, value, _field(source, gate), _field(candidate, gate))
        for gate in FIELDS
        if (limits := getattr(gates, gate)) is not None
        for limit, value in limits
        if value is not None
    )


def passed(results: Iterable[GateResult]) -> bool:
    return all(result.passed for result in results)


def choose(measured: Mapping[str, Measurement], by: Literal["fastest", "smallest"]) -> str:
    """The name of the best: by median latency or by size, the other one deciding between equals, then the order."""
    first, second = ("latency_p50_ms", "size_mb") if by == "fastest" else ("size_mb", "latency_p50_ms")
    return min(measured, key=lambda name: (getattr(measured[name], first), getattr(measured[name], second)))


def _field(measurement: Measurement | None, gate: str) -> float | None:
    return None if measurement is None else getattr(measurement, FIELDS[gate])


def _result(gate: str, limit: str, value: float, source: float | None, candidate: float | None) -> GateResult:
    measured: float | None
    if limit == "max_drop":
        measured = None if source is None or candidate is None else source - candidate
    elif limit == "max_ratio":
        measured = None if not source or candidate is None else candidate / source
    else:
        measured = candidate
    if measured is None:
        return GateResult(gate=f"{gate}.{limit}", limit=value, measured=None, passed=False)
    slack = abs(value) * ROUNDING + 1e-12
    ok = measured >= value - slack if limit == "min" else measured <= value + slack
    return GateResult(gate=f"{gate}.{limit}", limit=value, measured=measured, passed=ok)
