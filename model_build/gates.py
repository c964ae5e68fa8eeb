"""What a candidate must hold, and which of those that hold it is taken: pure functions over measurements."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Literal

from model_build.manifest import GateResult, Measurement
from model_build.paired import Estimate
from model_build.spec import Gates

FIELDS = {
    "accuracy": "score",
    "latency_p50": "latency_p50_ms",
    "latency_p95": "latency_p95_ms",
    "memory_peak": "memory_peak_mb",
    "size": "size_mb",
    "throughput": "throughput_rps",
}
"""Gate → the field of a measurement that it looks at."""

ROUNDING = 1e-9
"""Share of a limit that is forgiven: .9287 - .9187 is a little more than .01 in binary."""


def check(
    gates: Gates,
    source: Measurement | None,
    candidate: Measurement | None,
    estimates: Mapping[str, Estimate] = MappingProxyType({}),
) -> tuple[GateResult, ...]:
    """A result for every limit of every gate, in the order of the spec's fields. Missing evidence is a miss.

    `estimates` are of what was measured in rounds, by `gate.limit`: such a limit is held or broken only where the whole
    interval is on its one side; else it is not resolved, which is a miss too.
    """
    return tuple(
        _result(gate, limit, value, _field(source, gate), _field(candidate, gate), estimates.get(f"{gate}.{limit}"))
        for gate in FIELDS
        if (limits := getattr(gates, gate)) is not None
        for limit, value in limits
        if value is not None
    )


def passed(results: Iterable[GateResult]) -> bool:
    return all(result.passed for result in results)


def unresolved(results: Iterable[GateResult]) -> bool:
    """Whether measuring longer could still make the difference: nothing is missed, and something is open."""
    results = tuple(results)
    return any(one.unresolved for one in results) and all(one.passed or one.unresolved for one in results)


def choose(measured: Mapping[str, Measurement], by: Literal["fastest", "smallest"]) -> str:
    """The name of the best: by median latency or by size, the other one deciding between equals, then the order."""
    first, second = ("latency_p50_ms", "size_mb") if by == "fastest" else ("size_mb", "latency_p50_ms")
    return min(measured, key=lambda name: (getattr(measured[name], first), getattr(measured[name], second)))


def _field(measurement: Measurement | None, gate: str) -> float | None:
    return None if measurement is None else getattr(measurement, FIELDS[gate])


def _result(
    gate: str,
    limit: str,
    value: float,
    source: float | None,
    candidate: float | None,
    estimate: Estimate | None,
) -> GateResult:
    name = f"{gate}.{limit}"
    measured: float | None
    if estimate is not None:
        measured = estimate.value
    elif limit == "max_drop":
        measured = None if source is None or candidate is None else source - candidate
    elif limit in ("max_ratio", "min_ratio"):
        measured = None if not source or candidate is None else candidate / source
    else:
        measured = candidate
    if measured is None:
        return GateResult(gate=name, limit=value, measured=None, passed=False)
    slack = abs(value) * ROUNDING + 1e-12
    at_least = limit.startswith("min")
    if estimate is None:
        low = high = measured
    elif estimate.interval is None:
        return GateResult(gate=name, limit=value, measured=measured, passed=False, unresolved=True)
    else:
        low, high = estimate.interval
    holds = low >= value - slack if at_least else high <= value + slack
    breaks = high < value - slack if at_least else low > value + slack
    return GateResult(
        gate=name,
        limit=value,
        measured=measured,
        passed=holds,
        interval=estimate.interval if estimate else None,
        unresolved=not (holds or breaks),
    )
